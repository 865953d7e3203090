/* A growing text buffer that can write JSON strings and name/value objects. */
#ifndef TEXT_H
#define TEXT_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct text {
  char *bytes;
  size_t length;
  size_t capacity;
};

static inline void text_add(struct text *text, const char *bytes, size_t length) {
  if (text->length + length > text->capacity) {
    size_t capacity = text->capacity * 2 > text->length + length ? text->capacity * 2
                                                                 : text->length + length + 256;
    text->bytes = realloc(text->bytes, capacity);
    if (!text->bytes) __builtin_trap();
    text->capacity = capacity;
  }
  if (length > 0) memcpy(text->bytes + text->length, bytes, length);
  text->length += length;
}

static inline void text_add_string(struct text *text, const char *string) {
  text_add(text, string, strlen(string));
}

/* Writes `bytes` as a JSON string; bytes from 0x80 up are taken to be UTF-8 and kept as they are. */
static inline void text_add_json(struct text *text, const char *bytes, size_t length) {
  text_add(text, "\"", 1);
  for (size_t i = 0; i < length; i++) {
    unsigned char c = (unsigned char)bytes[i];
    char escape[8];
    if (c == '"' || c == '\\') {
      snprintf(escape, sizeof escape, "\\%c", c);
      text_add(text, escape, 2);
    } else if (c < 0x20) {
      snprintf(escape, sizeof escape, "\\u%04x", c);
      text_add(text, escape, 6);
    } else {
      text_add(text, bytes + i, 1);
    }
  }
  text_add(text, "\"", 1);
}

/* Writes `"name":"value"`, with a comma before it unless it is the first of its object. */
static inline void text_add_member(struct text *text, const char *name, size_t name_len,
                                   const char *value, size_t value_len) {
  if (text->length > 0 && text->bytes[text->length - 1] != '{') text_add(text, ",", 1);
  text_add_json(text, name, name_len);
  text_add(text, ":", 1);
  text_add_json(text, value, value_len);
}

#endif
