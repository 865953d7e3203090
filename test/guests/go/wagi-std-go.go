// A WAGI guest that uses Go's standard library as programs do. The query says what: checks, exit, panic, fill, loop, deadlock.
package main

import (
	"bufio"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
	"time"
)

var made, failed int

func check(what string, holds bool) {
	made++
	if !holds {
		failed++
		fmt.Println(what, "does not hold")
	}
}

// With the request body `{"n": 7}`, a newline and a rest of 100 000 bytes.
func checks() {
	fmt.Print("Content-Type: text/plain\n\n")
	in := bufio.NewReader(os.Stdin)
	line, err := in.ReadBytes('\n')
	var parsed struct{ N int }
	check("the line", err == nil && json.Unmarshal(line, &parsed) == nil && parsed.N == 7)
	rest, err := io.ReadAll(in)
	check("the rest", err == nil && len(rest) == 100_000)
	n, err := os.Stdin.Read(make([]byte, 8))
	check("the end", n == 0 && err == io.EOF)

	check("arguments", len(os.Args) == 2 && os.Args[1] == "checks")
	check("a variable", os.Getenv("REQUEST_METHOD") == "POST" && len(os.Environ()) > 20)

	start := time.Now()
	time.Sleep(15 * time.Millisecond)
	check("a sleep", time.Since(start) >= 15*time.Millisecond && start.Year() > 2020)
	select {
	case <-time.After(time.Millisecond):
	case <-time.After(time.Minute):
		check("the shorter wait", false)
	}

	var sum int
	var lock sync.Mutex
	var group sync.WaitGroup
	for i := range 100 {
		group.Add(1)
		go func() {
			defer group.Done()
			lock.Lock()
			sum += i
			lock.Unlock()
		}()
	}
	group.Wait()
	check("goroutines", sum == 4950)

	key := make([]byte, 32)
	n, err = rand.Read(key)
	check("random numbers", n == 32 && err == nil && sha256.Sum256(key) != sha256.Sum256(make([]byte, 32)))

	_, err = os.ReadFile("/etc/passwd")
	check("no file", err != nil)
	check("no new file", os.WriteFile("made.txt", rest, 0o600) != nil)
	_, err = os.ReadDir(".")
	check("no directory", err != nil)
	_, err = os.StartProcess("/bin/true", nil, &os.ProcAttr{})
	check("no process", err != nil)
	_, err = os.Stdout.Seek(0, io.SeekCurrent)
	check("no seek", errors.Is(err, syscall.ESPIPE))
	fmt.Println(made, "checks,", failed, "failed")
}

func main() {
	if len(os.Args) != 2 {
		os.Exit(3)
	}
	switch os.Args[1] {
	case "checks":
		checks()
	case "exit":
		os.Exit(41)
	case "panic":
		panic("on purpose")
	case "fill":
		var kept [][]byte
		for {
			kept = append(kept, make([]byte, 1<<20))
		}
	case "loop":
		for n := 0; ; n++ {
			made = n
		}
	case "deadlock":
		select {}
	}
}
