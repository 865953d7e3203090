/* Fetches the URL in its variable TARGET, which is slow, and passes the body on. */
#include <string.h>

#include "edgefn.h"

EDGEFN_EXPORT("alloc") void *edgefn_alloc(int32_t size) { return malloc((size_t)size); }

EDGEFN_EXPORT("handle") int32_t handle(EDGEFN_HANDLE_PARAMETERS) {
  char request[256] = "GET ";
  int32_t length = edgefn_env_get("TARGET", 6, request + 4, sizeof request - 8);
  if (length < 0 || length > (int32_t)sizeof request - 8) return -1;
  memcpy(request + 4 + length, "\r\n\r\n", 4);
  int32_t fetched = edgefn_http_fetch(request, length + 8);
  if (fetched < 0) return fetched;
  static const char head[] = "content-type: text/plain\r\n\r\n";
  char *out = response + sizeof head - 1;
  memcpy(response, head, sizeof head - 1);
  for (;;) {
    int32_t got = edgefn_http_response_body(fetched, out, (int32_t)(response + response_cap - out));
    if (got < 0) return got;
    if (got == 0) return (int32_t)(out - response);
    out += got;
  }
}
