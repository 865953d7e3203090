/* clang --target=wasm32-wasi -mexec-model=reactor -O2 -Isdk/c examples/hello.c -o hello.wasm */
#include "edgefn.h"

EDGEFN_HANDLER(request, response) {
  ef_header(response, "content-type", "text/plain");
  ef_print(response, "Hello from C: ");
  ef_write(response, request->method);
  ef_print(response, " ");
  ef_write(response, request->path);
  ef_print(response, "\n");
}
