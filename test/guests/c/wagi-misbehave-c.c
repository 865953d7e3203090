/* A WAGI guest that does what the path says, most of it bad: /loop, /exit/3, /files, /environ … */
#include "action.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <wasi/api.h>

extern char **environ;
static int arguments_count;
static char **arguments;

static void head(void) { fputs("Content-Type: text/plain\n\n", stdout); }

static void do_loop(char *argument) {
  for (volatile unsigned i = 0;; i++) {
  }
}

static void do_trap(char *argument) { __builtin_trap(); }

/* A whole response first: an exit code other than 0 must count all the same. */
static void do_exit(char *argument) {
  head();
  puts("leaving");
  fflush(stdout);
  exit(atoi(argument));
}

static void do_write100m(char *argument) {
  static char chunk[65536];
  memset(chunk, 'x', sizeof chunk);
  head();
  for (int i = 0; i < 1600; i++) fwrite(chunk, 1, sizeof chunk, stdout);
}

static void do_stderr(char *argument) {
  fputs("first line\nsecond line\n", stderr);
  fputs("a line without an end", stderr);
  head();
  puts("logged");
}

static void do_environ(char *argument) {
  head();
  for (char **entry = environ; *entry; entry++) puts(*entry);
}

static void do_args(char *argument) {
  head();
  for (int i = 0; i < arguments_count; i++) puts(arguments[i]);
}

static void do_count(char *argument) {
  char chunk[4096];
  size_t got, total = 0;
  while ((got = fread(chunk, 1, sizeof chunk, stdin)) > 0) total += got;
  head();
  printf("%zu\n", total);
}

static void do_random(char *argument) {
  unsigned char bytes[16];
  if (getentropy(bytes, sizeof bytes) != 0) exit(1);
  head();
  for (size_t i = 0; i < sizeof bytes; i++) printf("%02x", bytes[i]);
  puts("");
}

static void do_clock(char *argument) {
  struct timespec wall, steady, resolution;
  clock_gettime(CLOCK_REALTIME, &wall);
  clock_gettime(CLOCK_MONOTONIC, &steady);
  clock_getres(CLOCK_MONOTONIC, &resolution);
  head();
  printf("realtime_ms %lld\nmonotonic_ms %lld\nresolution_ns %lld\n",
         wall.tv_sec * 1000LL + wall.tv_nsec / 1000000,
         steady.tv_sec * 1000LL + steady.tv_nsec / 1000000,
         resolution.tv_sec * 1000000000LL + resolution.tv_nsec);
}

/* nanosleep is poll_oneoff in WASI. */
static void do_sleep(char *argument) {
  long ms = atol(argument);
  struct timespec pause = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
  int result = nanosleep(&pause, NULL);
  head();
  printf("slept %ld %s\n", ms, result == 0 ? "ok" : strerror(errno));
}

static void report(const char *what, int result) {
  printf("%s %s\n", what, result < 0 ? strerror(errno) : "ok");
}

static void do_files(char *argument) {
  struct stat status;
  head();
  report("open", open("/etc/passwd", O_RDONLY));
  report("create", open("out.txt", O_CREAT | O_WRONLY, 0600));
  report("stat", stat("/", &status));
  report("mkdir", mkdir("/made", 0700));
  report("unlink", unlink("/etc/passwd"));
  report("rename", rename("/a", "/b"));
}

static void do_readdir(char *argument) {
  head();
  report("opendir", opendir("/") ? 0 : -1);
}

/* Past libc, which refuses some of these itself: the numbers are what the host answered. */
static void do_socket(char *argument) {
  uint8_t byte = 0;
  __wasi_iovec_t in = {.buf = &byte, .buf_len = 1};
  __wasi_ciovec_t out = {.buf = &byte, .buf_len = 1};
  __wasi_size_t count;
  __wasi_roflags_t flags;
  __wasi_fd_t opened;
  head();
  printf("sock_recv %d\n", __wasi_sock_recv(3, &in, 1, 0, &count, &flags));
  printf("sock_send %d\n", __wasi_sock_send(3, &out, 1, 0, &count));
  printf("sock_shutdown %d\n", __wasi_sock_shutdown(3, 1));
  printf("path_open %d\n", __wasi_path_open(3, 0, "etc/passwd", 0, __WASI_RIGHTS_FD_READ, 0, 0, &opened));
  printf("fd_readdir %d\n", __wasi_fd_readdir(3, &byte, 1, 0, &count));
  printf("fd_sync %d\n", __wasi_fd_sync(1));
}

static void do_badcgi(char *argument) { puts("there is no header block in here"); }

static void do_status(char *argument) {
  printf("Status: %s\nContent-Type: text/plain\n\nstatus %s\n", argument, argument);
}

static const char *const names[] = {"loop",  "trap",   "exit",  "write100m", "stderr",  "environ",
                                    "args",  "count",  "random", "clock",    "sleep",   "files",
                                    "readdir", "socket", "badcgi", "status", NULL};

static void (*const actions[])(char *) = {do_loop, do_trap,  do_exit,   do_write100m, do_stderr, do_environ,
                                          do_args, do_count, do_random, do_clock,     do_sleep,  do_files,
                                          do_readdir, do_socket, do_badcgi, do_status};

_Static_assert(sizeof names / sizeof *names == sizeof actions / sizeof *actions + 1, "one action per name");

int main(int argc, char **argv) {
  arguments_count = argc;
  arguments = argv;
  const char *script = getenv("SCRIPT_NAME"), *info = getenv("PATH_INFO");
  char target[512], *argument;
  snprintf(target, sizeof target, "%s%s", script ? script : "", info ? info : "");
  int action = find_action(target, names, &argument);
  if (action < 0) {
    puts("Status: 404\nContent-Type: text/plain\n\nno such action");
    return 0;
  }
  actions[action](argument);
  return 0;
}
