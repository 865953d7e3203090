/* Picks what a misbehaving guest does: the first path segment that names an action, and what follows it. */
#ifndef ACTION_H
#define ACTION_H

#include <stdlib.h>
#include <string.h>

/* Splits `/any/prefix/sleep/50?x` in place; returns the index of `sleep` in `names` and sets `argument` to "50", or -1. */
static inline int find_action(char *path, const char *const *names, char **argument) {
  path[strcspn(path, "?")] = '\0';
  for (char *segment = path; *segment;) {
    while (*segment == '/') segment++;
    size_t length = strcspn(segment, "/");
    for (int i = 0; names[i]; i++) {
      if (strlen(names[i]) == length && strncmp(names[i], segment, length) == 0) {
        *argument = segment + length + (segment[length] == '/');
        return i;
      }
    }
    segment += length;
  }
  return -1;
}

#endif
