/* The kernel of Extism as a plug-in in C sees it, and how its PDK moves bytes. */
#ifndef EXTISM_H
#define EXTISM_H

#include <stdint.h>
#include <string.h>

#define EXTISM_IMPORT(name) __attribute__((import_module("extism:host/env"), import_name(name)))
#define EXTISM_EXPORT(name) __attribute__((export_name(name)))

EXTISM_IMPORT("alloc") uint64_t extism_alloc(uint64_t length);
EXTISM_IMPORT("free") void extism_free(uint64_t address);
EXTISM_IMPORT("length") uint64_t extism_length(uint64_t address);
EXTISM_IMPORT("load_u8") uint8_t extism_load_u8(uint64_t address);
EXTISM_IMPORT("load_u64") uint64_t extism_load_u64(uint64_t address);
EXTISM_IMPORT("store_u8") void extism_store_u8(uint64_t address, uint8_t value);
EXTISM_IMPORT("store_u64") void extism_store_u64(uint64_t address, uint64_t value);
EXTISM_IMPORT("input_offset") uint64_t extism_input_offset(void);
EXTISM_IMPORT("input_length") uint64_t extism_input_length(void);
EXTISM_IMPORT("input_load_u8") uint8_t extism_input_load_u8(uint64_t offset);
EXTISM_IMPORT("input_load_u64") uint64_t extism_input_load_u64(uint64_t offset);
EXTISM_IMPORT("output_set") void extism_output_set(uint64_t address, uint64_t length);
EXTISM_IMPORT("error_set") void extism_error_set(uint64_t address);
EXTISM_IMPORT("config_get") uint64_t extism_config_get(uint64_t name);
EXTISM_IMPORT("var_get") uint64_t extism_var_get(uint64_t name);
EXTISM_IMPORT("var_set") void extism_var_set(uint64_t name, uint64_t value);
EXTISM_IMPORT("http_request") uint64_t extism_http_request(uint64_t request, uint64_t body);
EXTISM_IMPORT("http_status_code") int32_t extism_http_status_code(void);
EXTISM_IMPORT("http_headers") uint64_t extism_http_headers(void);
EXTISM_IMPORT("log_info") void extism_log_info(uint64_t text);
EXTISM_IMPORT("log_warn") void extism_log_warn(uint64_t text);

/* Eight bytes at a time and the rest one by one, as the PDKs do. */
static inline uint64_t extism_store(const void *bytes, uint64_t length) {
  uint64_t address = extism_alloc(length);
  const unsigned char *from = bytes;
  uint64_t at = 0;
  for (; at + 8 <= length; at += 8) {
    uint64_t word;
    memcpy(&word, from + at, 8);
    extism_store_u64(address + at, word);
  }
  for (; at < length; at++) extism_store_u8(address + at, from[at]);
  return address;
}

static inline uint64_t extism_store_text(const char *text) { return extism_store(text, strlen(text)); }

#endif
