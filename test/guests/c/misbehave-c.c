/* An edgefn guest that does what the path says, most of it bad: /loop, /trap, /write100m, /status/418 … */
#include "action.h"
#include "edgefn.h"
#include <stdarg.h>
#include <stdio.h>
#include <time.h>

EDGEFN_EXPORT("alloc") void *edgefn_alloc(int32_t size) { return malloc((size_t)size); }

static char *response_bytes;
static int32_t response_size;

__attribute__((format(printf, 1, 2))) static int32_t answer(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  int32_t length = vsnprintf(response_bytes, (size_t)response_size, format, arguments);
  va_end(arguments);
  return length < response_size ? length : -2;
}

static void log_text(int32_t level, const char *text) {
  edgefn_log(level, text, (int32_t)strlen(text));
}

static int32_t do_loop(char *argument) {
  for (volatile unsigned i = 0;; i++) {
  }
}

static int32_t do_alloc(char *argument) {
  while (__builtin_wasm_memory_grow(0, 1) != (size_t)-1) {
  }
  __builtin_trap();
}

static int32_t do_grow_ok(char *argument) {
  size_t before = __builtin_wasm_memory_grow(0, 1);
  return answer("\r\n%zu %zu\n", before, __builtin_wasm_memory_size(0));
}

/* Not a tail call, and nothing of it is in linear memory: only the engine's own call stack grows. */
static int deeper(int depth);
static int (*volatile next)(int) = deeper;
static int deeper(int depth) { return next(depth + 1) * 3 + depth; }

static int32_t do_recurse_deep(char *argument) { return answer("\r\n%d\n", deeper(1)); }

/* The same with a frame in linear memory, which C's own stack runs out of first. */
__attribute__((noinline)) static int deeper_in_memory(volatile int *depth) {
  if (*depth < 0) return 0;
  volatile int frame = *depth + 1;
  int below = deeper_in_memory(&frame);
  return below + frame;
}

static int32_t do_recurse(char *argument) {
  volatile int zero = 0;
  return answer("\r\n%d\n", deeper_in_memory(&zero));
}

static int32_t do_trap(char *argument) { __builtin_trap(); }

static int32_t do_oob(char *argument) { return *(volatile int32_t *)0xfffffff0u; }

static int32_t do_div0(char *argument) {
  volatile int32_t one = 1, zero = 0;
  return one / zero;
}

static int32_t write_chunks(int32_t chunks, int32_t chunk_bytes) {
  char *chunk = malloc((size_t)chunk_bytes);
  if (!chunk) __builtin_trap();
  memset(chunk, 'x', (size_t)chunk_bytes);
  static const char head[] = "content-type: text/plain\r\n";
  edgefn_response_head(200, head, sizeof head - 1);
  for (int32_t i = 0; i < chunks; i++) edgefn_response_write(chunk, chunk_bytes);
  free(chunk);
  return 0;
}

/* Goes on writing whatever the host answers. */
static int32_t do_write100m(char *argument) { return write_chunks(1600, 65536); }

/* Well under the limit of a response, well over any response buffer a host would hand out at first. */
static int32_t do_large(char *argument) { return write_chunks(16, 65536); }

static int32_t do_log(char *argument) {
  log_text(EDGEFN_DEBUG, "a debug message");
  log_text(EDGEFN_INFO, "an info message");
  log_text(EDGEFN_WARN, "a warn message");
  log_text(EDGEFN_ERROR, "an error message");
  return answer("\r\nlogged\n");
}

static int32_t do_logflood(char *argument) {
  for (int i = 0; i < 5000; i++) {
    char line[32];
    snprintf(line, sizeof line, "message %d", i);
    log_text(EDGEFN_INFO, line);
  }
  return answer("\r\nflooded\n");
}

static int32_t do_negative(char *argument) { return -7; }

static int32_t do_badcgi(char *argument) { return answer("there is no header block in here"); }

/* 200 header fields of 1000 bytes. */
static int32_t do_bigheaders(char *argument) {
  static char headers[200 * 1020];
  int32_t length = 0;
  for (int i = 0; i < 200; i++) {
    length += sprintf(headers + length, "x-big-%d: ", i);
    memset(headers + length, 'h', 1000);
    length += 1000;
    length += sprintf(headers + length, "\r\n");
  }
  edgefn_response_head(200, headers, length);
  return 0;
}

static int32_t do_hopbyhop(char *argument) {
  return answer("Connection: x-private\r\nX-Private: 1\r\nKeep-Alive: timeout=5\r\nUpgrade: h2c\r\n"
                "Transfer-Encoding: chunked\r\nTrailer: x-end\r\nContent-Length: 3\r\n"
                "Content-Type: text/plain\r\nX-Kept: 1\r\n\r\nhop by hop\n");
}

/* A bare CR and a NUL in a value: in the buffer, or through response_head with /crlf/head. */
static int32_t do_crlf(char *argument) {
  static const char evil[] = "content-type: text/plain\r\nx-evil: a\rset-cookie: s=1\0z\r\n";
  if (strcmp(argument, "head") == 0) {
    int32_t result = edgefn_response_head(200, evil, sizeof evil - 1);
    return result < 0 ? result : 0;
  }
  memcpy(response_bytes, evil, sizeof evil - 1);
  memcpy(response_bytes + sizeof evil - 1, "\r\nbody\n", 7);
  return (int32_t)sizeof evil + 6;
}

static int32_t do_redirect(char *argument) {
  return answer("Location: https://example.com/next\r\n\r\n");
}

static int32_t do_status(char *argument) {
  return answer("Status: %s\r\nContent-Type: text/plain\r\n\r\nstatus %s\n", argument, argument);
}

static int32_t do_binary(char *argument) {
  int32_t head = answer("Content-Type: application/octet-stream\r\n\r\n");
  for (int i = 0; i < 256; i++) response_bytes[head + i] = (char)i;
  return head + 256;
}

static int32_t do_empty(char *argument) { return answer("Status: 204 No Content\r\n\r\n"); }

/* The answer is `<full length> <what fitted into 64 bytes>`. */
static int32_t answer_filled(int32_t full, const char *buffer) {
  int32_t present = full < 0 ? 0 : full < 64 ? full : 64;
  return answer("Content-Type: text/plain\r\n\r\n%d %.*s", full, present, buffer);
}

static int32_t do_env(char *argument) {
  char value[64];
  return answer_filled(
      edgefn_env_get(argument, (int32_t)strlen(argument), value, sizeof value), value);
}

static int32_t do_header(char *argument) {
  char value[64];
  return answer_filled(
      edgefn_request_header(argument, (int32_t)strlen(argument), value, sizeof value), value);
}

static int32_t do_request_id(char *argument) {
  char value[64];
  return answer_filled(edgefn_request_id(value, sizeof value), value);
}

static int32_t do_stream(char *argument) {
  static const char head[] = "content-type: text/plain\r\nx-streamed: 1\r\n";
  edgefn_response_head(201, head, sizeof head - 1);
  for (int i = 0; i < 3; i++) {
    char line[16];
    edgefn_response_write(line, snprintf(line, sizeof line, "part %d\n", i));
  }
  return 0;
}

/* Shows whether the instance is used again. */
static int32_t do_counter(char *argument) {
  static int calls;
  return answer("Content-Type: text/plain\r\n\r\n%d", ++calls);
}

static int64_t now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

static int32_t do_sleep(char *argument) {
  int64_t end = now_ms() + atoi(argument);
  while (now_ms() < end) {
  }
  return answer("\r\nslept %s\n", argument);
}

/* Hands the host pointers outside of the memory. */
static int32_t do_badpointer(char *argument) {
  edgefn_log(EDGEFN_INFO, (const char *)0xfffffff0u, 64);
  int32_t wrote = edgefn_response_write((const void *)0x7ffffff0u, 0x7fffffff);
  int32_t filled = edgefn_request_id((char *)0xfffffff0u, 64);
  return answer("Content-Type: text/plain\r\n\r\n%d %d", wrote, filled);
}

/* Claims to have written more than the buffer holds. */
static int32_t do_overlong(char *argument) { return 0x7fffffff; }

static const char *const names[] = {
    "loop",       "alloc",    "grow-ok",  "recurse",     "trap",   "oob",     "div0", "write100m",
    "log",        "logflood", "negative", "badcgi",      "bigheaders", "hopbyhop", "crlf", "redirect",
    "status",     "binary",   "empty",    "env",         "header", "request-id", "stream", "large",
    "counter",    "sleep",    "badpointer", "overlong",  "recurse-deep", NULL};

static int32_t (*const actions[])(char *) = {
    do_loop,    do_alloc,    do_grow_ok,  do_recurse,    do_trap,   do_oob,     do_div0, do_write100m,
    do_log,     do_logflood, do_negative, do_badcgi,     do_bigheaders, do_hopbyhop, do_crlf, do_redirect,
    do_status,  do_binary,   do_empty,    do_env,        do_header, do_request_id, do_stream, do_large,
    do_counter, do_sleep,    do_badpointer, do_overlong, do_recurse_deep};

_Static_assert(sizeof names / sizeof *names == sizeof actions / sizeof *actions + 1, "one action per name");

EDGEFN_EXPORT("handle") int32_t handle(EDGEFN_HANDLE_PARAMETERS) {
  response_bytes = response;
  response_size = response_cap;
  char target[512], *argument;
  snprintf(target, sizeof target, "%.*s", path_len, path);
  int action = find_action(target, names, &argument);
  if (action >= 0) return actions[action](argument);
  return answer("Content-Type: text/plain\r\n\r\n%.*s %.*s\n%.*s", method_len, method, path_len, path,
                body_len, body);
}
