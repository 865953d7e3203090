/* Calls http_fetch with the request body as its argument and tells what came of it. The path says how:
   /whole      head and body, as they came
   /count/N    how many bytes the body has, read N at a time
   /open/N     N fetches left open, and the result of each
   /leave      fetches, and leaves the response to the host
   /handle/N   the three other functions on a handle that was never given
   /pair       two fetches, the second closed before the first is read
   /at/N       a request of N bytes, wherever that ends */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "action.h"
#include "edgefn.h"
#include "text.h"

EDGEFN_EXPORT("alloc") void *edgefn_alloc(int32_t size) { return malloc(size); }

static char chunk[65536];

static void add_number(struct text *text, const char *label, int32_t number) {
  char line[64];
  snprintf(line, sizeof line, "%s %d\n", label, number);
  text_add_string(text, line);
}

static void add_head(struct text *text, int32_t handle) {
  int32_t length = edgefn_http_response_head(handle, chunk, sizeof chunk);
  if (length < 0) return add_number(text, "head", length);
  text_add(text, chunk, length);
  text_add_string(text, "\n");
}

/* Adds the body unless it is only counted; returns the result that ended it. */
static int32_t read_body(struct text *text, int32_t handle, int32_t at_once, int32_t *total) {
  for (;;) {
    int32_t length = edgefn_http_response_body(handle, chunk, at_once);
    if (length <= 0) return length;
    *total += length;
    if (text) text_add(text, chunk, length);
  }
}

static int32_t answer(struct text *text) {
  static const char head[] = "content-type: text/plain\r\n";
  edgefn_response_head(200, head, sizeof head - 1);
  edgefn_response_write(text->bytes, text->length);
  free(text->bytes);
  return 0;
}

/* Order of `actions`. */
enum { WHOLE, COUNT, OPEN, LEAVE, HANDLE, PAIR, AT };
static const char *const actions[] = {"whole", "count", "open", "leave", "handle", "pair", "at", 0};

static int32_t fetch_and_tell(int action, int32_t number, const char *request, int32_t length) {
  struct text text = {0};
  int32_t total = 0;
  int32_t fetch = edgefn_http_fetch(request, action == AT ? number : length);
  add_number(&text, "result", fetch);
  if (fetch < 0 || action == LEAVE) return answer(&text);
  if (action == PAIR) {
    int32_t other = edgefn_http_fetch(request, length);
    add_number(&text, "result", other);
    add_number(&text, "close", edgefn_http_response_close(other));
    add_number(&text, "closed", edgefn_http_response_body(other, chunk, sizeof chunk));
  }
  if (action == COUNT) {
    int32_t end = read_body(0, fetch, number, &total);
    add_number(&text, "bytes", total);
    add_number(&text, "end", end);
    return answer(&text);
  }
  add_head(&text, fetch);
  int32_t end = read_body(&text, fetch, sizeof chunk, &total);
  add_number(&text, "\nend", end);
  add_number(&text, "close", edgefn_http_response_close(fetch));
  return answer(&text);
}

static int32_t open_many(int32_t count, const char *request, int32_t length) {
  struct text text = {0};
  for (int32_t i = 0; i < count; i++)
    add_number(&text, "result", edgefn_http_fetch(request, length));
  return answer(&text);
}

static int32_t use_handle(int32_t handle) {
  struct text text = {0};
  add_number(&text, "head", edgefn_http_response_head(handle, chunk, sizeof chunk));
  add_number(&text, "body", edgefn_http_response_body(handle, chunk, sizeof chunk));
  add_number(&text, "close", edgefn_http_response_close(handle));
  return answer(&text);
}

EDGEFN_EXPORT("handle") int32_t handle(EDGEFN_HANDLE_PARAMETERS) {
  char target[128] = {0}, *argument = target;
  memcpy(target, path, path_len < 127 ? path_len : 127);
  int action = find_action(target, actions, &argument);
  int32_t number = atoi(argument);
  if (action < 0) return -1;
  if (action == OPEN) return open_many(number, body, body_len);
  if (action == HANDLE) return use_handle(number);
  return fetch_and_tell(action, number, body, body_len);
}
