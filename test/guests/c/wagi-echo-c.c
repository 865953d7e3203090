/* Answers with the request as JSON, through WAGI: CGI variables in, stdin in, stdout out. */
#include "text.h"
#include <ctype.h>

extern char **environ;

static const char *variable(const char *name) {
  const char *value = getenv(name);
  return value ? value : "";
}

/* HTTP_USER_AGENT=x becomes "user-agent":"x"; CONTENT_TYPE and CONTENT_LENGTH are headers without the prefix. */
static void add_headers(struct text *text) {
  for (char **entry = environ; *entry; entry++) {
    const char *name = *entry, *equals = strchr(name, '=');
    if (!equals) continue;
    if (strncmp(name, "HTTP_", 5) == 0) {
      name += 5;
    } else if (strncmp(name, "CONTENT_", 8) != 0 || !equals[1]) {
      continue;
    }
    char lower[256];
    size_t length = (size_t)(equals - name);
    if (length > sizeof lower) continue;
    for (size_t i = 0; i < length; i++) {
      lower[i] = name[i] == '_' ? '-' : (char)tolower((unsigned char)name[i]);
    }
    text_add_member(text, lower, length, equals + 1, strlen(equals + 1));
  }
}

static void read_body(struct text *body) {
  char chunk[4096];
  size_t got;
  while ((got = fread(chunk, 1, sizeof chunk, stdin)) > 0) text_add(body, chunk, got);
}

int main(void) {
  struct text path = {0}, body = {0}, json = {0};
  text_add_string(&path, variable("SCRIPT_NAME"));
  text_add_string(&path, variable("X_RAW_PATH_INFO"));
  read_body(&body);

  text_add_string(&json, "{");
  text_add_member(&json, "method", 6, variable("REQUEST_METHOD"), strlen(variable("REQUEST_METHOD")));
  text_add_member(&json, "path", 4, path.bytes, path.length);
  text_add_member(&json, "query", 5, variable("QUERY_STRING"), strlen(variable("QUERY_STRING")));
  text_add_string(&json, ",\"headers\":{");
  add_headers(&json);
  text_add_string(&json, "}");
  text_add_member(&json, "body", 4, body.bytes, body.length);
  text_add_string(&json, "}");

  fputs("Status: 200 OK\nContent-Type: application/json\nX-Guest: c\n\n", stdout);
  fwrite(json.bytes, 1, json.length, stdout);
  return 0;
}
