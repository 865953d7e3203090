/* Does with the C header what the query asks for; sdk-rust and sdk-as do the same with theirs. */
#include "edgefn.h"

static void line(ef_response *response, const char *name, ef_text value) {
  ef_print(response, name);
  ef_print(response, "=");
  if (value.bytes) ef_write(response, value);
  ef_print(response, value.bytes ? "\n" : "(none)\n");
}

static void echo(const ef_request *request, ef_response *response) {
  line(response, "method", request->method);
  line(response, "path", request->path);
  line(response, "q", ef_query(request, "q"));
  line(response, "header", ef_request_header(request, "X-A"));
  line(response, "host_header", ef_host_header("X-A"));
  line(response, "missing", ef_host_header("x-missing"));
  line(response, "id", ef_request_id());
  line(response, "env", ef_env("NAME"));
  line(response, "body", request->body);
}

static void result(ef_response *response, int32_t code) { ef_write(response, ef_number(code)); }

static void big(ef_response *response, int64_t bytes) {
  static const char xs[] = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";
  ef_status(response, 201);
  ef_header(response, "x-big", "yes");
  while (bytes > 0) {
    int32_t piece = bytes < 64 ? (int32_t)bytes : 64;
    ef_write(response, (ef_text){xs, piece});
    bytes -= piece;
  }
}

static void list(ef_response *response, ef_text prefix) {
  ef_keys keys = {.prefix = prefix};
  while (ef_kv_next(&keys)) {
    ef_write(response, keys.key);
    ef_print(response, "\n");
  }
  if (keys.result < 0) result(response, keys.result);
}

#ifdef __wasi__
/* Memory of malloc's and of the header's, taken in turns: neither may be given twice. */
static int take_turns(void) {
  static char *kept[128];
  for (int i = 0; i < 256; i++) {
    char *from_header = (char *)ef_memory(3000), *from_malloc = (char *)malloc(3000);
    if (!from_header || !from_malloc) return 0;
    __builtin_memset(from_header, -1, 3000);
    __builtin_memset(from_malloc, i, 3000);
    char *old = kept[i % 128];
    for (int at = 0; old && at < 3000; at++) {
      if (old[at] != (char)(i + 128)) return 0;
    }
    free(old);
    kept[i % 128] = from_malloc;
  }
  return 1;
}
#else
static int take_turns(void) { return 1; }
#endif

static const char *c_string(ef_text text) { return ef_join(text, EF_TEXT("\0")).bytes; }

EDGEFN_HANDLER(request, response) {
  ef_text op = ef_query(request, "op"), key = ef_query(request, "key");
  ef_header(response, "content-type", "text/plain");
  if (ef_equal(op, EF_TEXT("echo"))) echo(request, response);
  if (ef_equal(op, EF_TEXT("big"))) big(response, ef_parse(ef_query(request, "n")));
  if (ef_equal(op, EF_TEXT("header"))) ef_header_text(response, "x-given", key);
  if (ef_equal(op, EF_TEXT("put"))) {
    result(response, ef_kv_put(key, request->body, (int32_t)ef_parse(ef_query(request, "ttl"))));
  }
  if (ef_equal(op, EF_TEXT("get"))) {
    ef_text value = ef_kv_get(key);
    if (value.bytes) ef_write(response, value);
    else ef_status(response, 404), result(response, value.length);
  }
  if (ef_equal(op, EF_TEXT("absent"))) {
    /* Without a look at what came back. */
    ef_text value = ef_kv_get(key);
    ef_header_text(response, "x-absent", value);
    ef_write(response, value);
    ef_print(response, "[");
    ef_write(response, ef_join(value, EF_TEXT("]")));
  }
  if (ef_equal(op, EF_TEXT("delete"))) result(response, ef_kv_delete(key));
  if (ef_equal(op, EF_TEXT("keys"))) list(response, key);
  if (ef_equal(op, EF_TEXT("count"))) {
    double value = (double)ef_parse(ef_query(request, "value"));
    result(response, ef_count(c_string(key), c_string(request->body), value));
  }
  if (ef_equal(op, EF_TEXT("memory"))) result(response, take_turns());
  if (ef_equal(op, EF_TEXT("log"))) ef_log(EDGEFN_WARN, c_string(key));
  if (ef_equal(op, EF_TEXT("fetch"))) {
    ef_fetched fetched = ef_fetch("POST", c_string(key), "x-from: guest\r\n", request->body);
    line(response, "status", ef_number(fetched.status));
    line(response, "x-answer", ef_header_of(fetched.headers, "X-Answer"));
    line(response, "body", fetched.body);
  }
}
