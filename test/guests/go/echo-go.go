// An edgefn guest in Go, a reactor. The path says what it does; any other gives method, path and body back.
package main

import (
	"fmt"
	"runtime"
	"strings"
	"time"
	"unsafe"
)

// What alloc gave out, so that the garbage collector leaves it alone.
var buffers = map[unsafe.Pointer][]byte{}

var calls int

var constructed = len(strings.Repeat("x", 41)) + 1

func init() { constructed++ }

//go:wasmimport edgefn log
func hostLog(level int32, message unsafe.Pointer, length uint32)

//go:wasmexport alloc
func alloc(size uint32) unsafe.Pointer {
	buffer := make([]byte, max(size, 1))
	at := unsafe.Pointer(&buffer[0])
	buffers[at] = buffer
	return at
}

//go:wasmexport handle
func handle(method unsafe.Pointer, methodLen uint32, path unsafe.Pointer, pathLen uint32,
	headers unsafe.Pointer, headersLen uint32, body unsafe.Pointer, bodyLen uint32,
	response unsafe.Pointer, responseCap uint32) int32 {
	calls++
	target := unsafe.String((*byte)(path), pathLen)
	var text string
	switch target {
	case "/count":
		text = fmt.Sprintf("%d calls, constructed %d", calls, constructed)
	case "/garbage":
		// Far more in all than the memory holds at once.
		for range 200 {
			_ = strings.Repeat("garbage", 10_000)
		}
		runtime.GC()
		text = "collected"
	case "/goroutines":
		answers := make(chan int)
		for n := range 10 {
			go func() { answers <- n * n }()
		}
		sum := 0
		for range 10 {
			sum += <-answers
		}
		text = fmt.Sprint(sum)
	case "/sleep":
		begun := time.Now()
		time.Sleep(15 * time.Millisecond)
		text = fmt.Sprint(time.Since(begun) >= 15*time.Millisecond)
	case "/log":
		message := []byte("from Go")
		hostLog(2, unsafe.Pointer(&message[0]), uint32(len(message)))
	case "/panic":
		panic("on purpose")
	default:
		text = unsafe.String((*byte)(method), methodLen) + " " + target + " " + unsafe.String((*byte)(body), bodyLen)
	}
	return int32(copy(unsafe.Slice((*byte)(response), responseCap), "Content-Type: text/plain\r\n\r\n"+text))
}

func main() {}
