/* clang --target=wasm32-wasi -O2 hello-wagi.c -o hello.wasm */
#include <stdio.h>
#include <stdlib.h>

int main(void) {
  printf("Content-Type: text/plain\n\n");
  printf("Hello from C: %s %s\n", getenv("REQUEST_METHOD"), getenv("REQUEST_URI"));
  return 0;
}
