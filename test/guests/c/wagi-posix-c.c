/* A WAGI guest that uses libc as POSIX programs do. The path says what: /checks compares, the rest each end in their way. */
#include "action.h"
#include "check.h"
#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <time.h>

static void head(void) { fputs("Content-Type: text/plain\n\n", stdout); }

static long long elapsed_ms(const struct timespec *from) {
  struct timespec to;
  clock_gettime(CLOCK_MONOTONIC, &to);
  return (to.tv_sec - from->tv_sec) * 1000LL + (to.tv_nsec - from->tv_nsec) / 1000000;
}

static void check_streams(void) {
  struct stat status;
  for (int fd = 0; fd < 3; fd++) {
    errno = 0;
    CHECK_IS(isatty(fd), 0);
    CHECK_IS(errno, ENOTTY);
    CHECK_IS(lseek(fd, 0, SEEK_CUR), -1);
    CHECK_IS(errno, ESPIPE);
    CHECK_IS(fstat(fd, &status), 0);
    CHECK(!S_ISREG(status.st_mode) && !S_ISDIR(status.st_mode) && !S_ISCHR(status.st_mode));
    CHECK_IS(fsync(fd), -1);
    CHECK_IS(errno, EINVAL);
    CHECK_IS(ftruncate(fd, 0), -1);
    CHECK_IS(errno, EINVAL);
  }
  CHECK_IS(fseek(stdin, 0, SEEK_SET), -1);
  CHECK_IS(errno, ESPIPE);
  CHECK_IS(ftell(stdout), -1);
  CHECK_IS(errno, ESPIPE);
  CHECK_IS(isatty(3), 0);
  CHECK_IS(errno, EBADF);
  CHECK_IS(fcntl(0, F_GETFL) & O_NONBLOCK, 0);
  CHECK_IS(fcntl(0, F_SETFL, O_NONBLOCK), 0);
  CHECK_IS(fcntl(0, F_GETFL) & O_NONBLOCK, O_NONBLOCK);
  CHECK_IS(write(0, "x", 1), -1);
  CHECK_IS(errno, EBADF);
  CHECK_IS(read(1, &status, 1), -1);
  CHECK_IS(errno, EBADF);
}

/* libc finds no preopened directory, so no path leads anywhere; which of these two it says depends on its version. */
#define CHECK_NOWHERE(call)                                                                             \
  do {                                                                                                  \
    errno = 0;                                                                                          \
    CHECK(call);                                                                                        \
    CHECK(errno == ENOTCAPABLE || errno == ENOENT);                                                     \
  } while (0)

static void check_no_files(void) {
  struct stat status;
  CHECK_NOWHERE(fopen("/etc/passwd", "r") == NULL);
  CHECK_NOWHERE(fopen("made.txt", "w") == NULL);
  CHECK_NOWHERE(open("/", O_RDONLY | O_DIRECTORY) == -1);
  CHECK_NOWHERE(opendir(".") == NULL);
  CHECK_NOWHERE(stat("/etc/passwd", &status) == -1);
  CHECK_NOWHERE(access("../secret", R_OK) == -1);
  CHECK_NOWHERE(mkdir("/made", 0700) == -1);
  CHECK_NOWHERE(unlink("/etc/passwd") == -1);
  CHECK_NOWHERE(rename("/a", "/b") == -1);
  CHECK_NOWHERE(symlink("/a", "/b") == -1);
}

static void check_time(void) {
  struct timespec start, pause = {.tv_nsec = 15000000}, first, second;
  CHECK(time(NULL) > 1600000000);
  clock_gettime(CLOCK_MONOTONIC, &first);
  clock_gettime(CLOCK_MONOTONIC, &second);
  CHECK(first.tv_sec < second.tv_sec || (first.tv_sec == second.tv_sec && first.tv_nsec < second.tv_nsec));
  clock_gettime(CLOCK_MONOTONIC, &start);
  CHECK_IS(nanosleep(&pause, NULL), 0);
  CHECK(elapsed_ms(&start) >= 15);
  CHECK_IS(usleep(15000), 0);
  CHECK(elapsed_ms(&start) >= 30);
  struct pollfd ready[3] = {{.fd = 0, .events = POLLIN}, {.fd = 1, .events = POLLOUT}, {.fd = 9, .events = POLLIN}};
  CHECK_IS(poll(ready, 3, 1000), 3);
  CHECK(ready[0].revents & POLLIN);
  CHECK_IS(ready[1].revents, POLLOUT);
  CHECK_IS(ready[2].revents, POLLNVAL);
}

/* The request body is `first line\nsecond\nlast without end`. */
static void check_input(void) {
  char *line = NULL;
  size_t capacity = 0;
  CHECK_IS(getline(&line, &capacity, stdin), 11);
  CHECK_IS(strcmp(line, "first line\n"), 0);
  CHECK_IS(ungetc('S', stdin), 'S');
  CHECK_IS(getline(&line, &capacity, stdin), 8);
  CHECK_IS(strcmp(line, "Ssecond\n"), 0);
  CHECK_IS(getline(&line, &capacity, stdin), 16);
  CHECK(feof(stdin));
  CHECK_IS(getline(&line, &capacity, stdin), -1);
  CHECK_IS(getchar(), EOF);
  CHECK(!ferror(stdin));
  CHECK_IS(read(0, line, 8), 0);
  free(line);
}

static void check_environment(void) {
  const char *method = getenv("REQUEST_METHOD");
  CHECK(method != NULL && strcmp(method, "POST") == 0);
  CHECK(getenv("NOT_THERE") == NULL);
  CHECK_IS(setenv("OWN", "value", 1), 0);
  CHECK(strcmp(getenv("OWN"), "value") == 0);
}

static void do_checks(void) {
  head();
  fflush(stdout);
  check_streams();
  check_no_files();
  check_time();
  check_environment();
  check_input();
  report_checks(1);
}

static void do_abort(void) { abort(); }

static void do_assert(void) {
  int wanted = 1;
  assert(wanted == 2);
}

static void say_goodbye(void) { puts("from atexit"); }

/* What stdio holds back, and what atexit adds, leaves with exit(0), through a buffer of the program's own. */
static void do_atexit(void) {
  static char buffer[100];
  setvbuf(stdout, buffer, _IOFBF, sizeof buffer);
  atexit(say_goodbye);
  head();
  fputs("buffered, ", stdout);
  exit(0);
}

/* _exit leaves stdio's buffer behind. */
static void do_exit_now(void) {
  head();
  fflush(stdout);
  fputs("lost", stdout);
  _exit(0);
}

static void do_megabyte(void) {
  static char block[1 << 20];
  for (size_t i = 0; i < sizeof block; i++) block[i] = (char)(i * 7 + i / 256);
  head();
  fflush(stdout);
  for (size_t at = 0; at < sizeof block;) at += (size_t)write(1, block + at, sizeof block - at);
}

/* Copies stdin to stdout in pieces of an odd size, zeros and all. */
static void do_cat(void) {
  char piece[1021];
  ssize_t length;
  fputs("Content-Type: application/octet-stream\n\n", stdout);
  fflush(stdout);
  while ((length = read(0, piece, sizeof piece)) > 0) write(1, piece, (size_t)length);
}

static void do_closed(void) {
  head();
  puts("before");
  fclose(stdout);
  if (write(1, "after\n", 6) != -1 || errno != EBADF) exit(9);
}

/* Seen from everywhere, so that the compiler does not think that nobody needs the memory. */
char *volatile taken;

/* Takes memory until there is none and goes on without, as a careful program does. */
static void do_careful(void) {
  size_t blocks = 0;
  while ((taken = malloc(1 << 16))) blocks++;
  head();
  printf("%zu blocks\n", blocks);
}

static void do_greedy(void) {
  for (;;) {
    taken = malloc(1 << 16);
    if (taken == NULL) abort();
  }
}

static const char *const names[] = {"checks",   "abort", "assert", "atexit",  "exit-now",
                                    "megabyte", "cat",   "closed", "careful", "greedy", NULL};
static void (*const actions[])(void) = {do_checks,   do_abort, do_assert, do_atexit,  do_exit_now,
                                        do_megabyte, do_cat,   do_closed, do_careful, do_greedy};

_Static_assert(sizeof names / sizeof *names == sizeof actions / sizeof *actions + 1, "one action per name");

int main(void) {
  const char *uri = getenv("REQUEST_URI");
  char target[512], *argument;
  snprintf(target, sizeof target, "%s", uri ? uri : "");
  int action = find_action(target, names, &argument);
  if (action < 0) return 3;
  actions[action]();
  return 0;
}
