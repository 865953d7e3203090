/* The smallest WAGI guest: headers, an empty line and the body on stdout. */
#include <stdio.h>

int main(void) {
  fputs("Content-Type: text/plain\n\nHello, edge!\n", stdout);
  return 0;
}
