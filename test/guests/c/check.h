/* Checks whose outcome is the response: a line for each that fails, and how many there were. */
#ifndef CHECK_H
#define CHECK_H

#include <stdio.h>
#include <unistd.h>

static int checks_made, checks_failed;
static char check_report[16384];
static size_t check_report_used;

#define CHECK_REPORT(...)                                                                               \
  do {                                                                                                  \
    if (check_report_used < sizeof check_report - 512)                                                  \
      check_report_used += (size_t)snprintf(check_report + check_report_used, 512, __VA_ARGS__);        \
  } while (0)

/* Compares two numbers, naming both in words when they differ. */
static inline void check_number(const char *what, long long got, long long wanted) {
  checks_made++;
  if (got == wanted) return;
  checks_failed++;
  CHECK_REPORT("%.400s is %lld, not %lld\n", what, got, wanted);
}

#define CHECK_IS(got, wanted) check_number(#got, (long long)(got), (long long)(wanted))
#define CHECK(condition) check_number(#condition, !!(condition), 1)

/* Writes what failed and a last line, `N checks, N failed`, past stdio to a descriptor. */
static inline void report_checks(int fd) {
  CHECK_REPORT("%d checks, %d failed\n", checks_made, checks_failed);
  for (size_t at = 0; at < check_report_used;) {
    ssize_t done = write(fd, check_report + at, check_report_used - at);
    if (done <= 0) return;
    at += (size_t)done;
  }
}

#endif
