/* The smallest edgefn guest: no libc, no WASI, no imports at all. */
#include "edgefn.h"

extern unsigned char __heap_base;
static uintptr_t heap_end;

/* Memory that is never given back: the host asks for its buffers once and keeps them. */
EDGEFN_EXPORT("alloc") void *edgefn_alloc(int32_t size) {
  if (heap_end == 0) heap_end = (uintptr_t)&__heap_base;
  uintptr_t start = (heap_end + 15) & ~(uintptr_t)15;
  heap_end = start + (uintptr_t)size;
  uintptr_t pages = (heap_end + 65535) / 65536;
  uintptr_t present = __builtin_wasm_memory_size(0);
  if (pages > present && __builtin_wasm_memory_grow(0, pages - present) == (uintptr_t)-1) {
    __builtin_trap();
  }
  return (void *)start;
}

EDGEFN_EXPORT("handle") int32_t handle(EDGEFN_HANDLE_PARAMETERS) {
  static const char answer[] = "Content-Type: text/plain\r\n\r\nHello, edge!\n";
  int32_t length = (int32_t)sizeof answer - 1;
  if (length > response_cap) return -1;
  for (int32_t i = 0; i < length; i++) ((volatile char *)response)[i] = answer[i];
  return length;
}
