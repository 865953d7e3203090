/* A reactor whose constructor must have run, once, before the first call: the answer shows how often it did. */
#include "edgefn.h"
#include <stdio.h>
#include <stdlib.h>

static int constructed;
static int calls;

__attribute__((constructor)) static void construct(void) { constructed++; }

EDGEFN_EXPORT("alloc") void *edgefn_alloc(int32_t size) { return malloc((size_t)size); }

EDGEFN_EXPORT("handle") int32_t handle(EDGEFN_HANDLE_PARAMETERS) {
  return snprintf(response, (size_t)response_cap,
                  "Content-Type: application/json\r\n\r\n{\"constructed\":%d,\"calls\":%d}",
                  constructed, ++calls);
}
