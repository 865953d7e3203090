/* A WAGI guest that calls poll_oneoff past libc, with a request body of ten bytes, and compares events and times. */
#include "check.h"
#include <stdint.h>
#include <string.h>
#include <wasi/api.h>

#define BEYOND ((void *)0xfffffff0u)
#define MS 1000000ull

static __wasi_event_t events[4];
static __wasi_size_t count;

static __wasi_subscription_t clock_event(uint64_t userdata, __wasi_clockid_t id, uint64_t timeout, uint16_t flags) {
  __wasi_subscription_t subscription = {.userdata = userdata, .u.tag = __WASI_EVENTTYPE_CLOCK};
  subscription.u.u.clock = (__wasi_subscription_clock_t){.id = id, .timeout = timeout, .precision = 0, .flags = flags};
  return subscription;
}

static __wasi_subscription_t fd_event(uint64_t userdata, uint8_t type, __wasi_fd_t fd) {
  __wasi_subscription_t subscription = {.userdata = userdata, .u.tag = type};
  subscription.u.u.fd_read.file_descriptor = fd;
  return subscription;
}

static uint64_t now(__wasi_clockid_t id) {
  __wasi_timestamp_t time = 0;
  CHECK_IS(__wasi_clock_time_get(id, 0, &time), 0);
  return time;
}

/* Polls and returns how long it took, with the answer in `events` and `count`. */
static uint64_t timed_poll(const __wasi_subscription_t *subscriptions, size_t length) {
  memset(events, 0xee, sizeof events);
  uint64_t start = now(__WASI_CLOCKID_MONOTONIC);
  CHECK_IS(__wasi_poll_oneoff(subscriptions, events, length, &count), 0);
  return now(__WASI_CLOCKID_MONOTONIC) - start;
}

static void check_waits(void) {
  const __wasi_clockid_t clocks[] = {__WASI_CLOCKID_MONOTONIC, __WASI_CLOCKID_REALTIME};
  for (int i = 0; i < 2; i++) {
    __wasi_subscription_t relative = clock_event(7, clocks[i], 20 * MS, 0);
    uint64_t took = timed_poll(&relative, 1);
    CHECK(took >= 20 * MS && took < 500 * MS);
    CHECK_IS(count, 1);
    CHECK_IS(events[0].userdata, 7);
    CHECK_IS(events[0].error, 0);
    CHECK_IS(events[0].type, __WASI_EVENTTYPE_CLOCK);
    uint64_t target = now(clocks[i]) + 20 * MS;
    __wasi_subscription_t absolute = clock_event(8, clocks[i], target, __WASI_SUBCLOCKFLAGS_SUBSCRIPTION_CLOCK_ABSTIME);
    took = timed_poll(&absolute, 1);
    CHECK(now(clocks[i]) >= target && took < 500 * MS);
    absolute.u.u.clock.timeout = 1;
    CHECK(timed_poll(&absolute, 1) < 100 * MS);
    CHECK_IS(events[0].userdata, 8);
  }
}

/* The earliest alone; two at the same time both; and streams, which are always ready, before any clock. */
static void check_choice(void) {
  __wasi_subscription_t two[2] = {clock_event(1, __WASI_CLOCKID_MONOTONIC, 400 * MS, 0),
                                  clock_event(2, __WASI_CLOCKID_MONOTONIC, 10 * MS, 0)};
  CHECK(timed_poll(two, 2) < 390 * MS);
  CHECK_IS(count, 1);
  CHECK_IS(events[0].userdata, 2);
  __wasi_subscription_t mixed[4] = {clock_event(1, __WASI_CLOCKID_MONOTONIC, 400 * MS, 0),
                                    fd_event(2, __WASI_EVENTTYPE_FD_READ, 0), fd_event(3, __WASI_EVENTTYPE_FD_WRITE, 1),
                                    fd_event(4, __WASI_EVENTTYPE_FD_WRITE, 2)};
  CHECK(timed_poll(mixed, 4) < 390 * MS);
  CHECK_IS(count, 3);
  for (uint64_t i = 0; i < 3; i++) {
    CHECK_IS(events[i].userdata, i + 2);
    CHECK_IS(events[i].error, 0);
  }
  CHECK_IS(events[0].type, __WASI_EVENTTYPE_FD_READ);
  CHECK_IS(events[0].fd_readwrite.nbytes, 10);
  CHECK_IS(events[0].fd_readwrite.flags, __WASI_EVENTRWFLAGS_FD_READWRITE_HANGUP);
  CHECK_IS(events[1].type, __WASI_EVENTTYPE_FD_WRITE);
  CHECK(events[1].fd_readwrite.nbytes > 0);
  CHECK_IS(events[1].fd_readwrite.flags, 0);
}

static void check_mistakes(void) {
  __wasi_subscription_t bad[4] = {fd_event(1, __WASI_EVENTTYPE_FD_READ, 9), fd_event(2, __WASI_EVENTTYPE_FD_WRITE, 0),
                                  clock_event(3, 17, 400 * MS, 0), fd_event(4, 200, 1)};
  const __wasi_errno_t wanted[4] = {__WASI_ERRNO_BADF, __WASI_ERRNO_BADF, __WASI_ERRNO_INVAL, __WASI_ERRNO_INVAL};
  CHECK(timed_poll(bad, 4) < 390 * MS);
  CHECK_IS(count, 4);
  for (uint64_t i = 0; i < 4; i++) {
    CHECK_IS(events[i].userdata, i + 1);
    CHECK_IS(events[i].error, wanted[i]);
  }
  CHECK_IS(__wasi_poll_oneoff(bad, events, 0, &count), __WASI_ERRNO_INVAL);
  __wasi_subscription_t late = clock_event(1, __WASI_CLOCKID_MONOTONIC, 400 * MS, 0);
  uint64_t start = now(__WASI_CLOCKID_MONOTONIC);
  CHECK_IS(__wasi_poll_oneoff(&late, BEYOND, 1, &count), __WASI_ERRNO_FAULT);
  CHECK_IS(__wasi_poll_oneoff(&late, events, 1, BEYOND), __WASI_ERRNO_FAULT);
  CHECK_IS(__wasi_poll_oneoff(BEYOND, events, 1, &count), __WASI_ERRNO_FAULT);
  CHECK(now(__WASI_CLOCKID_MONOTONIC) - start < 390 * MS);
}

static void check_end_of_input(void) {
  char body[10];
  CHECK_IS(read(0, body, 3), 3);
  __wasi_subscription_t in = fd_event(1, __WASI_EVENTTYPE_FD_READ, 0);
  timed_poll(&in, 1);
  CHECK_IS(events[0].fd_readwrite.nbytes, 7);
  CHECK_IS(read(0, body, 10), 7);
  timed_poll(&in, 1);
  CHECK_IS(count, 1);
  CHECK_IS(events[0].error, 0);
  CHECK_IS(events[0].fd_readwrite.nbytes, 0);
  CHECK_IS(events[0].fd_readwrite.flags, __WASI_EVENTRWFLAGS_FD_READWRITE_HANGUP);
  close(0);
  timed_poll(&in, 1);
  CHECK_IS(events[0].error, __WASI_ERRNO_BADF);
}

int main(void) {
  puts("Content-Type: text/plain\n");
  fflush(stdout);
  check_waits();
  check_choice();
  check_mistakes();
  check_end_of_input();
  report_checks(1);
  return 0;
}
