// GOOS=wasip1 GOARCH=wasm go build -o hello.wasm hello-wagi.go
package main

import (
	"fmt"
	"io"
	"os"
)

func main() {
	body, err := io.ReadAll(os.Stdin)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Print("Content-Type: text/plain\n\n")
	fmt.Printf("Hello from Go, you sent %d bytes to %s\n", len(body), os.Getenv("REQUEST_URI"))
}
