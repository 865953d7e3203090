/* clang --target=wasm32-wasi -mexec-model=reactor -O2 hello.c -o hello.wasm */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define EXPORT(name) __attribute__((export_name(name)))

EXPORT("alloc") void *alloc_buffer(int32_t size) { return malloc(size); }

EXPORT("handle")
int32_t handle(const char *method, int32_t method_len, const char *path, int32_t path_len,
               const char *headers, int32_t headers_len, const char *body, int32_t body_len,
               char *response, int32_t response_cap) {
  return snprintf(response, response_cap,
                  "Status: 200 OK\r\nContent-Type: text/plain\r\n\r\nHello from C: %.*s %.*s\n",
                  method_len, method, path_len, path);
}
