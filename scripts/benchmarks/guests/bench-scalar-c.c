/* Runs the kernel that the path names, so many times: /…/sha256/20. Answers with the checksum. */
#include "kernels.h"
#include "edgefn.h"

EDGEFN_EXPORT("alloc") void *edgefn_alloc(int32_t size) { return malloc((size_t)size); }

/* For a harness without HTTP. */
EDGEFN_EXPORT("run") uint32_t run(uint32_t kernel, uint32_t times) {
  return kernel < KERNELS ? run_kernel(kernel, times) : 0;
}

EDGEFN_EXPORT("handle") int32_t handle(EDGEFN_HANDLE_PARAMETERS) {
  const char *last = path + path_len, *name;
  while (last > path && last[-1] != '/') last--;
  for (name = last - 1; name > path && name[-1] != '/';) name--;
  uint32_t times = 0, kernel = 0;
  for (const char *at = last; at < path + path_len; at++) times = times * 10 + (uint32_t)(*at - '0');
  size_t length = (size_t)(last - 1 - name);
  while (kernel < KERNELS &&
         (strlen(kernels[kernel].name) != length || memcmp(kernels[kernel].name, name, length) != 0)) {
    kernel++;
  }
  if (kernel == KERNELS) return -1;
  uint32_t sum = run_kernel(kernel, times);
  static const char head[] = "content-type: text/plain\r\n\r\n";
  char digits[10];
  int count = 0;
  do {
    digits[count++] = (char)('0' + sum % 10);
  } while ((sum /= 10) > 0);
  memcpy(response, head, sizeof head - 1);
  for (int i = 0; i < count; i++) response[sizeof head - 1 + (size_t)i] = digits[count - 1 - i];
  return (int32_t)(sizeof head - 1) + count;
}
