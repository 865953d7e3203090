/*
 * The edgefn ABI for C guests: one header, no library. docs/GUEST-ABI.md is the reference.
 *
 *   #include "edgefn.h"
 *
 *   EDGEFN_HANDLER(request, response) {
 *     ef_header(response, "content-type", "text/plain");
 *     ef_print(response, "Hello from C: ");
 *     ef_write(response, request->path);
 *   }
 *
 *   clang --target=wasm32-wasi -mexec-model=reactor -O2 -Isdk/c hello.c -o hello.wasm
 *   clang --target=wasm32-unknown-unknown -O2 -nostdlib -Wl,--no-entry -Isdk/c hello.c -o hello.wasm
 *
 * `edgefn_*` are the host's functions as they are; `ef_*` is what this header makes of them. A module imports those it uses.
 * Texts are `ef_text`: bytes and their number, not ended by a zero. What an `ef_*` function returns lives until the handler
 * does; memory of the handler's own comes from `ef_memory`, or from malloc where there is a libc.
 */
#ifndef EDGEFN_H
#define EDGEFN_H

#include <stdint.h>
#ifdef __wasi__
#include <stdlib.h>
#endif

#ifdef __cplusplus
extern "C" {
#endif

#define EDGEFN_IMPORT(name) __attribute__((import_module("edgefn"), import_name(name)))
#define EDGEFN_EXPORT(name) __attribute__((export_name(name)))

/* --- The host's functions ---------------------------------------------------------------------------------------- */

/* Levels of edgefn_log. */
enum { EDGEFN_DEBUG, EDGEFN_INFO, EDGEFN_WARN, EDGEFN_ERROR };

/* Results below zero. */
enum {
  EDGEFN_NOT_FOUND = -1,   /* no header, variable or key of that name */
  EDGEFN_INVALID = -2,     /* an argument out of range, or a call at the wrong time */
  EDGEFN_TOO_LARGE = -3,   /* a key, value, name or label over its limit */
  EDGEFN_QUOTA_FULL = -4,  /* the function has used up what it may store */
  EDGEFN_UNAVAILABLE = -5, /* the node cannot do it now */
  /* Of http_fetch: */
  EDGEFN_NOT_ALLOWED = -6,       /* the URL is not on the version's allow-list */
  EDGEFN_FORBIDDEN = -7,         /* the host is at an address that is not public */
  EDGEFN_TIMEOUT = -8,           /* it took longer than a fetch may */
  EDGEFN_NETWORK = -9,           /* no such name, no connection, or a broken answer */
  EDGEFN_TOO_MANY = -10,         /* too many fetches are open */
  EDGEFN_TOO_MANY_REDIRECTS = -11,
  EDGEFN_BUSY = -12,      /* others were writing to the tables all the time */
  EDGEFN_SQL_ERROR = -13, /* SQLite refuses; sql_result has its words */
};

EDGEFN_IMPORT("log")
void edgefn_log(int32_t level, const char *text, int32_t length);

/* These three write min(length, cap) bytes to `buffer` and return the full length; -1 when there is no such name. */
EDGEFN_IMPORT("request_id")
int32_t edgefn_request_id(char *buffer, int32_t cap);
EDGEFN_IMPORT("request_header")
int32_t edgefn_request_header(const char *name, int32_t name_len, char *buffer, int32_t cap);
EDGEFN_IMPORT("env_get")
int32_t edgefn_env_get(const char *name, int32_t name_len, char *buffer, int32_t cap);

/* For responses that do not fit the response buffer: head first, then the body in pieces, then `return 0`. */
EDGEFN_IMPORT("response_head")
int32_t edgefn_response_head(int32_t status, const char *headers, int32_t length);
EDGEFN_IMPORT("response_write")
int32_t edgefn_response_write(const void *bytes, int32_t length);

/* Keys that stay on the node. `ttl_seconds` is 0 for ever. `kv_list` writes a page of entries, each a length of four bytes
   and a key; the last key of a page is the cursor of the next; 0 is the end. */
EDGEFN_IMPORT("kv_get")
int32_t edgefn_kv_get(const void *key, int32_t key_len, void *buffer, int32_t cap);
EDGEFN_IMPORT("kv_put")
int32_t edgefn_kv_put(const void *key, int32_t key_len, const void *value, int32_t value_len,
                      int32_t ttl_seconds);
EDGEFN_IMPORT("kv_delete")
int32_t edgefn_kv_delete(const void *key, int32_t key_len);
EDGEFN_IMPORT("kv_list")
int32_t edgefn_kv_list(const void *prefix, int32_t prefix_len, const void *cursor,
                       int32_t cursor_len, void *buffer, int32_t cap);

/* Tables that the function has on its node (docs/SQL.md). Parameters and results are JSON (`format` 0) or CBOR (1). The result is
   the full length of the document, of which the buffer has the beginning; `sql_result` gives it again, and runs nothing. */
EDGEFN_IMPORT("sql_query")
int32_t edgefn_sql_query(const void *sql, int32_t sql_len, const void *params, int32_t params_len,
                         int32_t format, void *buffer, int32_t cap);
EDGEFN_IMPORT("sql_exec")
int32_t edgefn_sql_exec(const void *sql, int32_t sql_len, const void *params, int32_t params_len,
                        int32_t format, void *buffer, int32_t cap);
EDGEFN_IMPORT("sql_result")
int32_t edgefn_sql_result(void *buffer, int32_t cap);

/* Adds to a counter at the node's /metrics. Labels are lines `name=value`. */
EDGEFN_IMPORT("metrics_increment")
int32_t edgefn_metrics_increment(const char *name, int32_t name_len, const char *labels,
                                 int32_t labels_len, double value);

/* An HTTP request to elsewhere: `METHOD URL\r\n`, header lines, `\r\n`, body. A handle, or below zero. */
EDGEFN_IMPORT("http_fetch")
int32_t edgefn_http_fetch(const void *request, int32_t request_len);
/* `Status: 200\r\n` and header lines; the full length is the result. */
EDGEFN_IMPORT("http_response_head")
int32_t edgefn_http_response_head(int32_t handle, char *buffer, int32_t cap);
/* The next bytes of the body; 0 at its end. */
EDGEFN_IMPORT("http_response_body")
int32_t edgefn_http_response_body(int32_t handle, void *buffer, int32_t cap);
EDGEFN_IMPORT("http_response_close")
int32_t edgefn_http_response_close(int32_t handle);

/* The parameters of `handle`, for those who write it themselves. */
#define EDGEFN_HANDLE_PARAMETERS                                                                     \
  const char *method, int32_t method_len, const char *path, int32_t path_len, const char *headers,   \
      int32_t headers_len, const char *body, int32_t body_len, char *response, int32_t response_cap

/* --- Texts and memory -------------------------------------------------------------------------------------------- */

typedef struct {
  const char *bytes; /* NULL says that there is none, as where a header is missing */
  int32_t length;
} ef_text;

/* A text of known content: EF_TEXT("GET"). */
#define EF_TEXT(literal) ((ef_text){(literal), (int32_t)sizeof(literal) - 1})

/* These two are written so that the compiler does not make calls of memcpy and memcmp of them: there may be no libc. */
__attribute__((no_builtin)) static inline void ef__copy(char *to, const char *from, int32_t length) {
  if (to <= from) {
    for (int32_t i = 0; i < length; i++) to[i] = from[i];
  } else {
    for (int32_t i = length; i-- > 0;) to[i] = from[i];
  }
}

__attribute__((no_builtin)) static inline int32_t ef__length(const char *string) {
  int32_t length = 0;
  while (string[length]) length++;
  return length;
}

/* Makes blanks of line ends, which would begin another header. */
static inline void ef__one_line(char *bytes, int32_t length) {
  for (int32_t i = 0; i < length; i++) {
    if (bytes[i] == '\r' || bytes[i] == '\n') bytes[i] = ' ';
  }
}

/* The text of a C string. */
static inline ef_text ef_string(const char *string) {
  ef_text text = {string, ef__length(string)};
  return text;
}

static inline char ef__lower(char c) { return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c; }

static inline int ef_equal(ef_text a, ef_text b) {
  if (a.length != b.length) return 0;
  for (int32_t i = 0; i < a.length; i++) {
    if (a.bytes[i] != b.bytes[i]) return 0;
  }
  return 1;
}

static inline int ef_starts_with(ef_text text, ef_text prefix) {
  if (text.length < prefix.length) return 0;
  text.length = prefix.length;
  return ef_equal(text, prefix);
}

/* Blocks of memory, which are used again by every request. Where there is a libc they are malloc's: it takes all memory there
   is at its first call for its own. Elsewhere they are taken from the end of the linear memory. */
typedef struct ef__block {
  struct ef__block *next;
  uint32_t size;
  uint32_t used;
} ef__block;

/* One of these per module, whichever of its files it is compiled into. */
__attribute__((weak)) ef__block *ef__blocks;
__attribute__((weak)) ef__block *ef__last;

/* Memory that is never given back, in whole pages; NULL when there is no more. */
static inline void *ef__pages(uint32_t bytes, uint32_t *taken) {
  uint32_t pages = (bytes + 65535u) / 65536u;
  *taken = pages * 65536u;
#ifdef __wasi__
  return malloc(*taken);
#else
  uint32_t before = (uint32_t)__builtin_wasm_memory_grow(0, pages);
  return before == (uint32_t)-1 ? (void *)0 : (void *)(uintptr_t)(before * 65536u);
#endif
}

/* `size` bytes until the handler returns; NULL when there is no memory. */
static inline void *ef_memory(int32_t size) {
  uint32_t needed = ((uint32_t)size + 15u) & ~15u;
  if (size < 0 || needed > 0x7fff0000u) return (void *)0;
  for (ef__block *block = ef__last; block; block = block->next) {
    if (block->size - block->used >= needed) {
      void *found = (char *)block + block->used;
      block->used += needed;
      ef__last = block;
      return found;
    }
  }
  uint32_t head = (sizeof(ef__block) + 15u) & ~15u, taken;
  ef__block *block = (ef__block *)ef__pages(needed + head, &taken);
  if (!block) return (void *)0;
  block->next = (ef__block *)0;
  block->size = taken;
  block->used = head + needed;
  ef__block **end = &ef__blocks;
  while (*end) end = &(*end)->next;
  *end = block;
  ef__last = block;
  return (char *)block + head;
}

static inline void ef__forget(void) {
  for (ef__block *block = ef__blocks; block; block = block->next) {
    block->used = (sizeof(ef__block) + 15u) & ~15u;
  }
  ef__last = ef__blocks;
}

/* A text that is not there is empty where it is written: `.length` may say why there is none. */
static inline ef_text ef__present(ef_text text) {
  if (!text.bytes || text.length < 0) text.length = 0;
  return text;
}

/* Both texts, one after the other. */
static inline ef_text ef_join(ef_text a, ef_text b) {
  a = ef__present(a), b = ef__present(b);
  ef_text joined = {(char *)ef_memory(a.length + b.length), a.length + b.length};
  if (!joined.bytes) return (ef_text){(char *)0, 0};
  ef__copy((char *)joined.bytes, a.bytes, a.length);
  ef__copy((char *)joined.bytes + a.length, b.bytes, b.length);
  return joined;
}

/* A number in decimal. */
static inline ef_text ef_number(int64_t number) {
  char *digits = (char *)ef_memory(24);
  if (!digits) return (ef_text){(char *)0, 0};
  uint64_t rest = number < 0 ? 0 - (uint64_t)number : (uint64_t)number;
  int32_t at = 24;
  do {
    digits[--at] = (char)('0' + rest % 10);
    rest /= 10;
  } while (rest);
  if (number < 0) digits[--at] = '-';
  return (ef_text){digits + at, 24 - at};
}

/* The number that a text begins with; 0 when it begins with none. */
static inline int64_t ef_parse(ef_text text) {
  int64_t number = 0;
  int32_t at = text.length > 0 && text.bytes[0] == '-' ? 1 : 0;
  int negative = at;
  for (; at < text.length && text.bytes[at] >= '0' && text.bytes[at] <= '9'; at++) {
    number = (int64_t)((uint64_t)number * 10u + (uint64_t)(text.bytes[at] - '0'));
  }
  return negative ? -number : number;
}

/* --- Request ----------------------------------------------------------------------------------------------------- */

typedef struct {
  ef_text method;
  ef_text path;    /* without the query */
  ef_text query;   /* without `?`, not decoded */
  ef_text headers; /* lines `name: value\r\n`, names in lower case */
  ef_text body;
} ef_request;

/* The value of a header line of `headers`; `.bytes` is NULL when there is none. */
static inline ef_text ef_header_of(ef_text headers, const char *name) {
  int32_t name_len = ef__length(name);
  const char *line = headers.bytes, *end = headers.bytes + headers.length;
  while (line < end) {
    const char *stop = line;
    while (stop < end && *stop != '\n') stop++;
    int32_t i = 0;
    while (i < name_len && line + i < stop && ef__lower(line[i]) == ef__lower(name[i])) i++;
    if (i == name_len && line + i < stop && line[i] == ':') {
      const char *value = line + i + 1, *last = stop;
      while (value < last && *value == ' ') value++;
      if (last > value && last[-1] == '\r') last--;
      return (ef_text){value, (int32_t)(last - value)};
    }
    line = stop + 1;
  }
  return (ef_text){(char *)0, 0};
}

/* A header of the request, by its name in any case. */
static inline ef_text ef_request_header(const ef_request *request, const char *name) {
  return ef_header_of(request->headers, name);
}

static inline int ef__hex(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  c = ef__lower(c);
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* A text without its %20 and +. */
static inline ef_text ef_decode(ef_text text) {
  char *decoded = (char *)ef_memory(text.length);
  int32_t length = 0;
  if (!decoded) return (ef_text){(char *)0, 0};
  for (int32_t i = 0; i < text.length; i++) {
    char c = text.bytes[i];
    if (c == '%' && i + 2 < text.length) {
      int high = ef__hex(text.bytes[i + 1]), low = ef__hex(text.bytes[i + 2]);
      if (high >= 0 && low >= 0) {
        c = (char)(high * 16 + low);
        i += 2;
      }
    } else if (c == '+') {
      c = ' ';
    }
    decoded[length++] = c;
  }
  return (ef_text){decoded, length};
}

/* A parameter of the query, decoded; `.bytes` is NULL when there is none. */
static inline ef_text ef_query(const ef_request *request, const char *name) {
  ef_text wanted = ef_string(name);
  const char *at = request->query.bytes, *end = at + request->query.length;
  while (at < end) {
    const char *stop = at, *equals;
    while (stop < end && *stop != '&') stop++;
    for (equals = at; equals < stop && *equals != '=';) equals++;
    if (ef_equal(ef_decode((ef_text){at, (int32_t)(equals - at)}), wanted)) {
      const char *value = equals < stop ? equals + 1 : stop;
      return ef_decode((ef_text){value, (int32_t)(stop - value)});
    }
    at = stop + 1;
  }
  return (ef_text){(char *)0, 0};
}

/* --- Response ---------------------------------------------------------------------------------------------------- */

/* The body is collected in the host's response buffer; what does not fit goes to the host in pieces. */
typedef struct {
  int32_t status; /* 200 unless set, before more than the buffer holds was written */
  ef_text headers;
  int32_t headers_cap;
  char *buffer;
  int32_t cap;
  int32_t used;
  int32_t sent;   /* whether the head has gone out */
  int32_t failed; /* what the host, or memory, refused; 0 as long as all is well */
} ef_response;

static inline void ef_status(ef_response *response, int32_t status) { response->status = status; }

/* Adds a header; the value may be any text. Line ends in it become blanks, or they would begin another. */
static inline void ef_header_text(ef_response *response, const char *name, ef_text value) {
  value = ef__present(value);
  int32_t name_len = ef__length(name);
  int32_t needed = response->headers.length + name_len + 2 + value.length + 2;
  if (response->sent) response->failed = EDGEFN_INVALID;
  if (needed > response->headers_cap) {
    int32_t cap = needed < 256 ? 256 : needed * 2;
    char *grown = (char *)ef_memory(cap);
    if (!grown) {
      response->failed = EDGEFN_UNAVAILABLE;
      return;
    }
    ef__copy(grown, response->headers.bytes, response->headers.length);
    response->headers.bytes = grown;
    response->headers_cap = cap;
  }
  char *at = (char *)response->headers.bytes + response->headers.length;
  ef__copy(at, name, name_len);
  ef__copy(at + name_len, ": ", 2);
  ef__copy(at + name_len + 2, value.bytes, value.length);
  ef__one_line(at, name_len + 2 + value.length);
  ef__copy(at + name_len + 2 + value.length, "\r\n", 2);
  response->headers.length = needed;
}

static inline void ef_header(ef_response *response, const char *name, const char *value) {
  ef_header_text(response, name, ef_string(value));
}

/* Sends the head, once, and what the buffer holds. */
static inline void ef__flush(ef_response *response) {
  if (!response->sent) {
    int32_t result = edgefn_response_head(response->status, response->headers.bytes,
                                          response->headers.length);
    if (result < 0) response->failed = result;
    response->sent = 1;
  }
  if (response->used > 0 && !response->failed) {
    edgefn_response_write(response->buffer, response->used);
  }
  response->used = 0;
}

/* Adds to the body. */
static inline void ef_write(ef_response *response, ef_text text) {
  text = ef__present(text);
  if (text.length > response->cap - response->used) ef__flush(response);
  if (text.length > response->cap) {
    if (!response->failed) edgefn_response_write(text.bytes, text.length);
    return;
  }
  ef__copy(response->buffer + response->used, text.bytes, text.length);
  response->used += text.length;
}

/* Adds a C string to the body. */
static inline void ef_print(ef_response *response, const char *string) {
  ef_write(response, ef_string(string));
}

/* What `handle` returns: head and body in the buffer where both fit. */
static inline int32_t ef__finish(ef_response *response) {
  static const char status_name[] = "Status: ";
  ef_text status = ef_number(response->status);
  int32_t head = (int32_t)sizeof status_name - 1 + status.length + 2 + response->headers.length + 2;
  if (!response->sent && head <= response->cap - response->used) {
    char *at = response->buffer;
    ef__copy(at + head, at, response->used);
    ef__copy(at, status_name, (int32_t)sizeof status_name - 1);
    at += sizeof status_name - 1;
    ef__copy(at, status.bytes, status.length);
    at += status.length;
    ef__copy(at, "\r\n", 2);
    ef__copy(at + 2, response->headers.bytes, response->headers.length);
    ef__copy(at + 2 + response->headers.length, "\r\n", 2);
    return response->failed ? response->failed : head + response->used;
  }
  ef__flush(response);
  return response->failed;
}

/* --- The node ---------------------------------------------------------------------------------------------------- */

static inline void ef_log(int32_t level, const char *string) {
  edgefn_log(level, string, ef__length(string));
}

/* Asks the host for something of unknown length, again when the first buffer was too small. `call` uses `buffer`, `cap`. */
#define EF__FILL(call)                                                                               \
  int32_t cap = 256;                                                                                 \
  for (;;) {                                                                                         \
    char *buffer = (char *)ef_memory(cap);                                                           \
    if (!buffer) return (ef_text){(char *)0, EDGEFN_UNAVAILABLE};                                    \
    int32_t length = (call);                                                                         \
    if (length < 0) return (ef_text){(char *)0, length};                                             \
    if (length <= cap) return (ef_text){buffer, length};                                             \
    cap = length;                                                                                    \
  }

static inline ef_text ef_request_id(void) { EF__FILL(edgefn_request_id(buffer, cap)) }

/* A variable of the version; `.bytes` is NULL when there is none. */
static inline ef_text ef_env(const char *name) {
  EF__FILL(edgefn_env_get(name, ef__length(name), buffer, cap))
}

/* A header as the host finds it, for files that do not have the request at hand. */
static inline ef_text ef_host_header(const char *name) {
  EF__FILL(edgefn_request_header(name, ef__length(name), buffer, cap))
}

/* The value of a key; when `.bytes` is NULL, `.length` is the result that says why (EDGEFN_NOT_FOUND, ...). */
static inline ef_text ef_kv_get(ef_text key) {
  EF__FILL(edgefn_kv_get(key.bytes, key.length, buffer, cap))
}

/* 0, or a result below zero. `ttl_seconds` is 0 for ever. */
static inline int32_t ef_kv_put(ef_text key, ef_text value, int32_t ttl_seconds) {
  return edgefn_kv_put(key.bytes, key.length, value.bytes, value.length, ttl_seconds);
}

static inline int32_t ef_kv_delete(ef_text key) { return edgefn_kv_delete(key.bytes, key.length); }

/* The last result of this call, or the words of its error after EDGEFN_SQL_ERROR. */
static inline ef_text ef_sql_result(void) { EF__FILL(edgefn_sql_result(buffer, cap)) }

/* The JSON document of a statement that reads; `params` is a JSON array, or empty. Without `.bytes`, `.length` says why. */
static inline ef_text ef_sql_query(ef_text sql, ef_text params) {
  int32_t length = edgefn_sql_query(sql.bytes, sql.length, params.bytes, params.length, 0, 0, 0);
  return length < 0 ? (ef_text){(char *)0, length} : ef_sql_result();
}

/* The same of a statement that changes rows: 0 or more, or a result below zero. */
static inline int32_t ef_sql_exec(ef_text sql, ef_text params) {
  return edgefn_sql_exec(sql.bytes, sql.length, params.bytes, params.length, 0, 0, 0);
}

/* Keys that begin with a prefix: `ef_keys keys = {prefix}; while (ef_kv_next(&keys)) use(keys.key);` */
typedef struct {
  ef_text prefix;
  ef_text key; /* the current one */
  ef_text page;
  char *buffer;
  int32_t result; /* below zero when the list ended because it could not be read on */
} ef_keys;

enum { EF__PAGE_BYTES = 16384 };

static inline int ef_kv_next(ef_keys *keys) {
  if (keys->page.length == 0) {
    /* The last key lies in the page that the next one overwrites. */
    ef_text cursor = keys->key.length > 0 ? ef_join(keys->key, EF_TEXT("")) : keys->key;
    if (!keys->buffer) keys->buffer = (char *)ef_memory(EF__PAGE_BYTES);
    if (!keys->buffer) return 0;
    keys->result = edgefn_kv_list(keys->prefix.bytes, keys->prefix.length, cursor.bytes,
                                  cursor.length, keys->buffer, EF__PAGE_BYTES);
    if (keys->result <= 0) return 0;
    keys->page = (ef_text){keys->buffer, keys->result};
  }
  const unsigned char *size = (const unsigned char *)keys->page.bytes;
  keys->key.length = (int32_t)(size[0] | size[1] << 8 | size[2] << 16 | (uint32_t)size[3] << 24);
  keys->key.bytes = keys->page.bytes + 4;
  keys->page.bytes += 4 + keys->key.length;
  keys->page.length -= 4 + keys->key.length;
  return 1;
}

/* Adds to a counter; `labels` are lines `name=value`, or "". 0, or a result below zero. */
static inline int32_t ef_count(const char *name, const char *labels, double value) {
  return edgefn_metrics_increment(name, ef__length(name), labels, ef__length(labels), value);
}

/* The answer to ef_fetch. */
typedef struct {
  int32_t status; /* of the answer; below zero when there is none, and why */
  ef_text headers;
  ef_text body;
} ef_fetched;

/* Sends a request and takes the whole answer. `headers` are lines `name: value\r\n`, or "". */
static inline ef_fetched ef_fetch(const char *method, const char *url, const char *headers,
                                  ef_text body) {
  ef_fetched fetched = {EDGEFN_UNAVAILABLE, {(char *)0, 0}, {(char *)0, 0}};
  ef_text line = ef_join(ef_join(ef_string(method), EF_TEXT(" ")), ef_string(url));
  if (line.bytes) ef__one_line((char *)line.bytes, line.length);
  ef_text head = ef_join(ef_join(line, EF_TEXT("\r\n")), ef_string(headers));
  ef_text request = ef_join(ef_join(head, EF_TEXT("\r\n")), body);
  int32_t handle = request.bytes ? edgefn_http_fetch(request.bytes, request.length) : fetched.status;
  if (handle < 0) {
    fetched.status = handle;
    return fetched;
  }
  int32_t cap = 4096, length;
  char *buffer = (char *)ef_memory(cap);
  length = buffer ? edgefn_http_response_head(handle, buffer, cap) : EDGEFN_UNAVAILABLE;
  if (length > cap) {
    buffer = (char *)ef_memory(length);
    length = buffer ? edgefn_http_response_head(handle, buffer, length) : EDGEFN_UNAVAILABLE;
  }
  int32_t result = length;
  if (length >= 0) {
    fetched.headers = (ef_text){buffer, length};
    int32_t body_cap = 65536, used = 0;
    char *bytes = (char *)ef_memory(body_cap);
    while (bytes && (result = edgefn_http_response_body(handle, bytes + used, body_cap - used)) > 0) {
      used += result;
      if (used < body_cap) continue;
      char *grown = (char *)ef_memory(body_cap * 2);
      if (grown) ef__copy(grown, bytes, used);
      bytes = grown;
      body_cap *= 2;
    }
    if (!bytes) result = EDGEFN_UNAVAILABLE;
    fetched.body = (ef_text){bytes, used};
  }
  edgefn_http_response_close(handle);
  fetched.status = result < 0 ? result : (int32_t)ef_parse(ef_header_of(fetched.headers, "status"));
  return fetched;
}

/* --- The handler ------------------------------------------------------------------------------------------------- */

/* The host's buffers, which stay the host's. */
static inline void *ef__alloc(int32_t size) {
#ifdef __wasi__
  return malloc((size_t)(uint32_t)size);
#else
  uint32_t taken;
  return size < 0 ? (void *)0 : ef__pages((uint32_t)size, &taken);
#endif
}

static inline ef_request ef__request(EDGEFN_HANDLE_PARAMETERS) {
  (void)response, (void)response_cap;
  int32_t mark = 0;
  while (mark < path_len && path[mark] != '?') mark++;
  ef_text query = {path + path_len, 0};
  if (mark < path_len) query = (ef_text){path + mark + 1, path_len - mark - 1};
  return (ef_request){{method, method_len}, {path, mark}, query, {headers, headers_len}, {body, body_len}};
}

/* Defines the handler of the module, once: `EDGEFN_HANDLER(request, response) { ... }`. */
#define EDGEFN_HANDLER(request_name, response_name)                                                  \
  static void ef__handler(const ef_request *request_name, ef_response *response_name);               \
  EDGEFN_EXPORT("alloc") void *ef__exported_alloc(int32_t size) { return ef__alloc(size); }          \
  EDGEFN_EXPORT("handle") int32_t ef__exported_handle(EDGEFN_HANDLE_PARAMETERS) {                    \
    ef_request given = ef__request(method, method_len, path, path_len, headers, headers_len, body,   \
                                   body_len, response, response_cap);                                \
    ef_response answer = {200, {(char *)0, 0}, 0, response, response_cap, 0, 0, 0};                  \
    ef__forget();                                                                                    \
    ef__handler(&given, &answer);                                                                    \
    return ef__finish(&answer);                                                                      \
  }                                                                                                  \
  static void ef__handler(__attribute__((unused)) const ef_request *request_name,                    \
                          __attribute__((unused)) ef_response *response_name)

#ifdef __cplusplus
}
#endif

#endif
