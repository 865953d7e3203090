/* The edgefn ABI as a C guest sees it: host calls, exports, how to answer. docs/GUEST-ABI.md is the reference. */
#ifndef EDGEFN_H
#define EDGEFN_H

#include <stdint.h>

#define EDGEFN_IMPORT(name) __attribute__((import_module("edgefn"), import_name(name)))
#define EDGEFN_EXPORT(name) __attribute__((export_name(name)))

enum { EDGEFN_DEBUG, EDGEFN_INFO, EDGEFN_WARN, EDGEFN_ERROR };

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

/* The request is `METHOD URL\r\n`, header lines `name: value\r\n`, `\r\n`, and the body. Returns a handle, or a negative code. */
EDGEFN_IMPORT("http_fetch")
int32_t edgefn_http_fetch(const void *request, int32_t length);
/* Writes min(length, cap) bytes of `Status: 200\r\n` and header lines, and returns the full length. */
EDGEFN_IMPORT("http_response_head")
int32_t edgefn_http_response_head(int32_t handle, char *buffer, int32_t cap);
/* Writes the next bytes of the body, and returns how many: 0 at the end. */
EDGEFN_IMPORT("http_response_body")
int32_t edgefn_http_response_body(int32_t handle, void *buffer, int32_t cap);
EDGEFN_IMPORT("http_response_close")
int32_t edgefn_http_response_close(int32_t handle);

/* The parameters of `handle`, so that a guest spells them once. */
#define EDGEFN_HANDLE_PARAMETERS                                                                     \
  const char *method, int32_t method_len, const char *path, int32_t path_len, const char *headers,   \
      int32_t headers_len, const char *body, int32_t body_len, char *response, int32_t response_cap

#endif
