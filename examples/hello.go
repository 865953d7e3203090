// GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared -o hello.wasm hello.go
package main

import "unsafe"

// What alloc gave out: the garbage collector must leave it alone.
var buffers [][]byte

//go:wasmexport alloc
func alloc(size uint32) unsafe.Pointer {
	buffer := make([]byte, max(size, 1))
	buffers = append(buffers, buffer)
	return unsafe.Pointer(&buffer[0])
}

//go:wasmexport handle
func handle(method unsafe.Pointer, methodLen uint32, path unsafe.Pointer, pathLen uint32,
	headers unsafe.Pointer, headersLen uint32, body unsafe.Pointer, bodyLen uint32,
	response unsafe.Pointer, responseCap uint32) int32 {
	target := unsafe.String((*byte)(path), pathLen)
	answer := "Content-Type: text/plain\r\n\r\nHello from Go, you asked for " + target + "\n"
	return int32(copy(unsafe.Slice((*byte)(response), responseCap), answer))
}

func main() {}
