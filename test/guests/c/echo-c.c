/* Answers with the request as JSON, through the edgefn ABI. */
#include "edgefn.h"
#include "text.h"

EDGEFN_EXPORT("alloc") void *edgefn_alloc(int32_t size) { return malloc((size_t)size); }

static void add_headers(struct text *text, const char *headers, int32_t length) {
  const char *line = headers, *end = headers + length;
  while (line < end) {
    const char *newline = memchr(line, '\n', (size_t)(end - line));
    if (!newline) newline = end;
    const char *colon = memchr(line, ':', (size_t)(newline - line));
    const char *stop = newline > line && newline[-1] == '\r' ? newline - 1 : newline;
    if (colon) {
      const char *value = colon + 1;
      while (value < stop && *value == ' ') value++;
      text_add_member(text, line, (size_t)(colon - line), value, (size_t)(stop - value));
    }
    line = newline + 1;
  }
}

EDGEFN_EXPORT("handle") int32_t handle(EDGEFN_HANDLE_PARAMETERS) {
  const char *mark = memchr(path, '?', (size_t)path_len);
  size_t path_only = mark ? (size_t)(mark - path) : (size_t)path_len;
  const char *query = mark ? mark + 1 : "";
  size_t query_len = mark ? (size_t)path_len - path_only - 1 : 0;

  struct text json = {0};
  text_add_string(&json, "{");
  text_add_member(&json, "method", 6, method, (size_t)method_len);
  text_add_member(&json, "path", 4, path, path_only);
  text_add_member(&json, "query", 5, query, query_len);
  text_add_string(&json, ",\"headers\":{");
  add_headers(&json, headers, headers_len);
  text_add_string(&json, "}");
  text_add_member(&json, "body", 4, body, (size_t)body_len);
  text_add_string(&json, "}");

  static const char head[] = "content-type: application/json\r\nx-guest: c\r\n";
  size_t head_len = sizeof head - 1;
  int32_t length = (int32_t)(head_len + 2 + json.length);
  if (length <= response_cap) {
    memcpy(response, head, head_len);
    memcpy(response + head_len, "\r\n", 2);
    memcpy(response + head_len + 2, json.bytes, json.length);
  } else {
    length = edgefn_response_head(200, head, (int32_t)head_len);
    if (length == 0) length = edgefn_response_write(json.bytes, (int32_t)json.length);
  }
  free(json.bytes);
  return length;
}
