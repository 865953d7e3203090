/* An Extism plug-in whose config http.path says what it does; `handle` is its entrypoint among several exports. */
#include <stdio.h>
#include <stdlib.h>

#include "extism.h"

static int constructed;
__attribute__((constructor)) static void construct(void) { constructed++; }

static int is(const char *path, const char *wanted) { return strcmp(path, wanted) == 0; }

/* The block's bytes as a string; empty for none. */
static char *load(uint64_t address) {
  uint64_t length = address ? extism_length(address) : 0;
  char *bytes = malloc(length + 1);
  for (uint64_t at = 0; at < length; at++) bytes[at] = (char)extism_load_u8(address + at);
  bytes[length] = 0;
  return bytes;
}

static void output_text(const char *text) {
  extism_output_set(extism_store_text(text), strlen(text));
}

static void set_var(const char *name, const char *value) {
  extism_var_set(extism_store_text(name), value ? extism_store_text(value) : 0);
}

EXTISM_EXPORT("other") int32_t other(void) { return 7; }

EXTISM_EXPORT("handle") int32_t handle(void) {
  char *path = load(extism_config_get(extism_store_text("http.path")));
  if (is(path, "/echo")) {
    /* The input is a block too: its address and length can be the output. */
    extism_output_set(extism_input_offset(), extism_input_length());
  } else if (is(path, "/copy")) {
    uint64_t length = extism_input_length();
    uint64_t copy = extism_alloc(length);
    uint64_t at = 0;
    for (; at + 8 <= length; at += 8) extism_store_u64(copy + at, extism_input_load_u64(at));
    for (; at < length; at++) extism_store_u8(copy + at, extism_input_load_u8(at));
    extism_output_set(copy, length);
  } else if (is(path, "/method")) {
    output_text(load(extism_config_get(extism_store_text("http.method"))));
  } else if (is(path, "/query")) {
    output_text(load(extism_config_get(extism_store_text("http.query"))));
  } else if (is(path, "/header")) {
    output_text(load(extism_config_get(extism_store_text("http.header.X-One"))));
  } else if (is(path, "/created")) {
    set_var("http.status", "201");
    set_var("http.headers", "Location: /made\nX-Made: yes\n");
    output_text("made");
  } else if (is(path, "/bad-status")) {
    set_var("http.status", "99");
  } else if (is(path, "/bad-header")) {
    set_var("http.headers", "no colon\n");
  } else if (is(path, "/long-header")) {
    char *field = malloc(70001);
    memset(field, 'x', 70000);
    memcpy(field, "X-Long: ", 8);
    field[70000] = 0;
    set_var("http.headers", field);
  } else if (is(path, "/constructed")) {
    output_text(constructed == 1 ? "once" : "not once");
  } else if (is(path, "/log")) {
    extism_log_info(extism_store_text("to know"));
    extism_log_warn(extism_store_text("to mind"));
  } else if (is(path, "/error")) {
    extism_error_set(extism_store_text("the reason"));
  } else if (is(path, "/result")) {
    return 3;
  } else if (is(path, "/exit")) {
    exit(4);
  } else if (is(path, "/http")) {
    /* The input is the request; its status is the response's, its fields are the output and its body is logged. */
    uint64_t body = extism_http_request(extism_input_offset(), extism_store_text("sent"));
    char status[12];
    snprintf(status, sizeof status, "%d", extism_http_status_code());
    set_var("http.status", status);
    output_text(load(extism_http_headers()));
    extism_log_info(body);
  } else if (is(path, "/output-outside")) {
    extism_output_set(1 << 30, 10);
  } else if (is(path, "/output-negative")) {
    extism_output_set(extism_alloc(8), (uint64_t)-8);
  } else if (is(path, "/load-outside")) {
    extism_load_u64((uint64_t)-4);
  } else if (is(path, "/load-null")) {
    extism_load_u8(0);
  } else if (is(path, "/store-outside")) {
    extism_store_u8(1ull << 40, 1);
  } else if (is(path, "/free-twice")) {
    uint64_t block = extism_alloc(10);
    extism_free(block);
    extism_free(block);
    extism_free((uint64_t)-1);
    uint64_t first = extism_alloc(10), second = extism_alloc(10);
    output_text(first == second ? "same" : "different");
  } else if (is(path, "/alloc")) {
    /* Until there is no more; then all is given back, and there is as much again. */
    uint64_t blocks[64], count = 0, address;
    while (count < 64 && (address = extism_alloc(65536)) != 0) blocks[count++] = address;
    uint64_t first = count;
    while (count > 0) extism_free(blocks[--count]);
    while (count < 64 && (address = extism_alloc(65536)) != 0) blocks[count++] = address;
    for (uint64_t at = 0; at < count; at++) extism_free(blocks[at]);
    output_text(first > 4 && first == count ? "bounded" : "not bounded");
  } else if (is(path, "/alloc-many")) {
    while (extism_alloc(1) != 0);
    extism_output_set(0, 0);
  } else if (is(path, "/alloc-huge")) {
    output_text(extism_alloc((uint64_t)-1) == 0 && extism_alloc(1ull << 62) == 0 ? "none" : "some");
  } else if (is(path, "/output-large")) {
    uint64_t block = extism_alloc(6 * 1024 * 1024 + 1);
    extism_output_set(block, extism_length(block));
  } else if (is(path, "/vars")) {
    char *value = malloc(100001);
    memset(value, 'x', 100000);
    value[100000] = 0;
    for (char name[2] = "a"; name[0] <= 'z'; name[0]++) set_var(name, value);
  } else if (is(path, "/loop")) {
    for (;;) extism_input_length();
  } else {
    output_text("none of these");
  }
  free(path);
  return 0;
}
