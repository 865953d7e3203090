/* Answers with the request's x-field headers, a line each, and its body. */
#include <string.h>

#include "edgefn.h"

EDGEFN_EXPORT("alloc") void *edgefn_alloc(int32_t size) { return malloc((size_t)size); }

static const char head[] = "content-type: text/plain\r\n\r\n";
static const char prefix[] = "x-field-";

EDGEFN_EXPORT("handle") int32_t handle(EDGEFN_HANDLE_PARAMETERS) {
  size_t most = sizeof head + (size_t)headers_len + (size_t)body_len;
  if (most > (size_t)response_cap) return -1;
  char *out = (char *)response;
  memcpy(out, head, sizeof head - 1);
  out += sizeof head - 1;
  const char *line = headers, *end = headers + headers_len;
  while (line < end) {
    const char *stop = memchr(line, '\r', (size_t)(end - line));
    if (!stop) break;
    size_t length = (size_t)(stop - line);
    if (length >= sizeof prefix - 1 && memcmp(line, prefix, sizeof prefix - 1) == 0) {
      memcpy(out, line, length);
      out += length;
      *out++ = '\n';
    }
    line = stop + 2;
  }
  memcpy(out, body, (size_t)body_len);
  return (int32_t)(out + body_len - (char *)response);
}
