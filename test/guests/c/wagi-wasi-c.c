/* A WAGI guest that calls WASI past libc, with the request body `0123456789`, and compares what the host answers. */
#include "check.h"
#include <stdint.h>
#include <string.h>
#include <wasi/api.h>

#define BEYOND ((void *)0xfffffff0u)

static __wasi_fdstat_t stat;

static __wasi_errno_t read_into(__wasi_fd_t fd, void *buffer, __wasi_size_t length, __wasi_size_t *got) {
  __wasi_iovec_t piece = {.buf = buffer, .buf_len = length};
  return __wasi_fd_read(fd, &piece, 1, got);
}

static __wasi_errno_t write_from(__wasi_fd_t fd, const void *bytes, __wasi_size_t length, __wasi_size_t *done) {
  __wasi_ciovec_t piece = {.buf = bytes, .buf_len = length};
  return __wasi_fd_write(fd, &piece, 1, done);
}

static void check_clocks(void) {
  __wasi_timestamp_t first, second, resolution;
  CHECK_IS(__wasi_clock_time_get(__WASI_CLOCKID_MONOTONIC, 1, &first), 0);
  CHECK_IS(__wasi_clock_time_get(__WASI_CLOCKID_MONOTONIC, 0, &second), 0);
  CHECK(first < second);
  CHECK_IS(__wasi_clock_time_get(__WASI_CLOCKID_REALTIME, UINT64_MAX, &first), 0);
  CHECK(first > 1600000000ull * 1000000000ull);
  CHECK_IS(__wasi_clock_time_get(__WASI_CLOCKID_PROCESS_CPUTIME_ID, 0, &first), 0);
  CHECK_IS(__wasi_clock_time_get(__WASI_CLOCKID_THREAD_CPUTIME_ID, 0, &first), 0);
  CHECK_IS(__wasi_clock_time_get(4, 0, &first), __WASI_ERRNO_INVAL);
  CHECK_IS(__wasi_clock_time_get(__WASI_CLOCKID_MONOTONIC, 0, BEYOND), __WASI_ERRNO_FAULT);
  for (uint32_t clock = 0; clock < 4; clock++) {
    resolution = 0;
    CHECK_IS(__wasi_clock_res_get(clock, &resolution), 0);
    CHECK(resolution > 0 && resolution < 1000000000);
  }
  CHECK_IS(__wasi_clock_res_get(4, &resolution), __WASI_ERRNO_INVAL);
  CHECK_IS(__wasi_clock_res_get(0, BEYOND), __WASI_ERRNO_FAULT);
}

static void check_random(void) {
  static uint8_t bytes[200000];
  size_t zeros = 0;
  CHECK_IS(__wasi_random_get(bytes, sizeof bytes), 0);
  for (size_t i = 0; i < sizeof bytes; i++) zeros += bytes[i] == 0;
  CHECK(zeros > 400 && zeros < 1200);
  CHECK_IS(__wasi_random_get(bytes, 0), 0);
  CHECK_IS(__wasi_random_get(BEYOND, 32), __WASI_ERRNO_FAULT);
  CHECK_IS(__wasi_random_get(bytes, 0xffffffffu), __WASI_ERRNO_FAULT);
}

/* Partial reads, pieces without bytes, the end of the body, and calls that must not take anything. */
static void check_stdin(void) {
  uint8_t one[4] = {0}, two[3] = {0};
  __wasi_size_t got = 99;
  __wasi_iovec_t pieces[3] = {{.buf = one, .buf_len = 2}, {.buf = BEYOND, .buf_len = 0}, {.buf = two, .buf_len = 3}};
  CHECK_IS(read_into(0, one, 0, &got), 0);
  CHECK_IS(got, 0);
  CHECK_IS(__wasi_fd_read(0, pieces, 0, &got), 0);
  CHECK_IS(got, 0);
  CHECK_IS(read_into(0, one, 4, BEYOND), __WASI_ERRNO_FAULT);
  pieces[1].buf_len = 1;
  CHECK_IS(__wasi_fd_read(0, pieces, 3, &got), __WASI_ERRNO_FAULT);
  pieces[1].buf_len = 0;
  CHECK_IS(__wasi_fd_read(0, pieces, 3, &got), 0);
  CHECK_IS(got, 5);
  CHECK(memcmp(one, "01", 2) == 0 && memcmp(two, "234", 3) == 0);
  CHECK_IS(read_into(0, one, 4, &got), 0);
  CHECK_IS(got, 4);
  CHECK(memcmp(one, "5678", 4) == 0);
  CHECK_IS(read_into(0, one, 4, &got), 0);
  CHECK_IS(got, 1);
  CHECK_IS(one[0], '9');
  CHECK_IS(read_into(0, one, 4, &got), 0);
  CHECK_IS(got, 0);
  CHECK_IS(read_into(1, one, 4, &got), __WASI_ERRNO_BADF);
  CHECK_IS(read_into(3, one, 4, &got), __WASI_ERRNO_BADF);
  CHECK_IS(__wasi_fd_read(0, BEYOND, 2, &got), __WASI_ERRNO_FAULT);
}

static void check_writes(void) {
  __wasi_size_t done = 99;
  __wasi_ciovec_t pieces[2] = {{.buf = (const uint8_t *)"gone", .buf_len = 4}, {.buf = BEYOND, .buf_len = 8}};
  CHECK_IS(write_from(1, "", 0, &done), 0);
  CHECK_IS(done, 0);
  CHECK_IS(write_from(0, "x", 1, &done), __WASI_ERRNO_BADF);
  CHECK_IS(write_from((__wasi_fd_t)-31337, "x", 1, &done), __WASI_ERRNO_BADF);
  CHECK_IS(__wasi_fd_write(1, pieces, 2, &done), __WASI_ERRNO_FAULT);
  CHECK_IS(write_from(1, "gone", 4, BEYOND), __WASI_ERRNO_FAULT);
  CHECK_IS(write_from(2, "to the log\n", 11, &done), 0);
  CHECK_IS(done, 11);
}

static void check_status(void) {
  __wasi_filestat_t file;
  __wasi_filesize_t offset;
  __wasi_size_t count;
  __wasi_ciovec_t out = {.buf = (const uint8_t *)"x", .buf_len = 1};
  uint8_t byte;
  __wasi_iovec_t in = {.buf = &byte, .buf_len = 1};
  for (__wasi_fd_t fd = 0; fd < 3; fd++) {
    CHECK_IS(__wasi_fd_fdstat_get(fd, &stat), 0);
    CHECK(stat.fs_filetype != __WASI_FILETYPE_CHARACTER_DEVICE);
    CHECK_IS(stat.fs_flags, 0);
    CHECK_IS(stat.fs_rights_base & (__WASI_RIGHTS_FD_SEEK | __WASI_RIGHTS_FD_TELL), 0);
    CHECK_IS(!!(stat.fs_rights_base & __WASI_RIGHTS_FD_READ), fd == 0);
    CHECK_IS(!!(stat.fs_rights_base & __WASI_RIGHTS_FD_WRITE), fd != 0);
    CHECK_IS(__wasi_fd_filestat_get(fd, &file), 0);
    CHECK_IS(file.filetype, stat.fs_filetype);
    CHECK_IS(file.size, 0);
    CHECK_IS(__wasi_fd_seek(fd, 0, __WASI_WHENCE_CUR, &offset), __WASI_ERRNO_SPIPE);
    CHECK_IS(__wasi_fd_tell(fd, &offset), __WASI_ERRNO_SPIPE);
    CHECK_IS(__wasi_fd_pread(fd, &in, 1, 0, &count), __WASI_ERRNO_SPIPE);
    CHECK_IS(__wasi_fd_pwrite(fd, &out, 1, 0, &count), __WASI_ERRNO_SPIPE);
    CHECK_IS(__wasi_fd_advise(fd, 0, 1, __WASI_ADVICE_NORMAL), __WASI_ERRNO_SPIPE);
    CHECK_IS(__wasi_fd_allocate(fd, 0, 1), __WASI_ERRNO_SPIPE);
    CHECK_IS(__wasi_fd_sync(fd), __WASI_ERRNO_INVAL);
    CHECK_IS(__wasi_fd_datasync(fd), __WASI_ERRNO_INVAL);
    CHECK_IS(__wasi_fd_filestat_set_size(fd, 0), __WASI_ERRNO_INVAL);
    CHECK_IS(__wasi_fd_filestat_set_times(fd, 0, 0, 0), __WASI_ERRNO_NOTCAPABLE);
    CHECK_IS(__wasi_fd_readdir(fd, &byte, 1, 0, &count), __WASI_ERRNO_NOTDIR);
  }
  CHECK_IS(__wasi_fd_fdstat_get(3, &stat), __WASI_ERRNO_BADF);
  CHECK_IS(__wasi_fd_fdstat_get(1, BEYOND), __WASI_ERRNO_FAULT);
  CHECK_IS(__wasi_fd_filestat_get(3, &file), __WASI_ERRNO_BADF);
  CHECK_IS(__wasi_fd_seek(3, 0, __WASI_WHENCE_SET, &offset), __WASI_ERRNO_BADF);
  CHECK_IS(__wasi_fd_filestat_set_size(3, 0), __WASI_ERRNO_BADF);
}

static void check_flags_and_rights(void) {
  __wasi_rights_t all, less;
  __wasi_size_t done;
  CHECK_IS(__wasi_fd_fdstat_set_flags(1, __WASI_FDFLAGS_NONBLOCK | __WASI_FDFLAGS_APPEND), 0);
  CHECK_IS(__wasi_fd_fdstat_get(1, &stat), 0);
  CHECK_IS(stat.fs_flags, __WASI_FDFLAGS_NONBLOCK | __WASI_FDFLAGS_APPEND);
  CHECK_IS(__wasi_fd_fdstat_set_flags(1, 0), 0);
  CHECK_IS(__wasi_fd_fdstat_set_flags(1, 32), __WASI_ERRNO_INVAL);
  CHECK_IS(__wasi_fd_fdstat_set_flags(3, 0), __WASI_ERRNO_BADF);
  all = stat.fs_rights_base;
  CHECK_IS(__wasi_fd_fdstat_set_rights(1, all, 0), 0);
  CHECK_IS(__wasi_fd_fdstat_set_rights(1, all | __WASI_RIGHTS_FD_READ, 0), __WASI_ERRNO_NOTCAPABLE);
  CHECK_IS(__wasi_fd_fdstat_set_rights(1, all, __WASI_RIGHTS_FD_READ), __WASI_ERRNO_NOTCAPABLE);
  CHECK_IS(__wasi_fd_fdstat_set_rights(3, 0, 0), __WASI_ERRNO_BADF);
  CHECK_IS(__wasi_fd_fdstat_get(2, &stat), 0);
  less = stat.fs_rights_base & ~__WASI_RIGHTS_FD_WRITE;
  CHECK_IS(__wasi_fd_fdstat_set_rights(2, less, 0), 0);
  CHECK_IS(__wasi_fd_fdstat_get(2, &stat), 0);
  CHECK_IS(stat.fs_rights_base, less);
  CHECK_IS(write_from(2, "x", 1, &done), __WASI_ERRNO_BADF);
  CHECK_IS(__wasi_fd_fdstat_set_rights(2, less | __WASI_RIGHTS_FD_WRITE, 0), __WASI_ERRNO_NOTCAPABLE);
}

/* Everything that would lead out: no directory, no file, no socket, no signal. */
static void check_refused(void) {
  __wasi_prestat_t prestat;
  __wasi_filestat_t file;
  __wasi_fd_t opened;
  __wasi_size_t count;
  __wasi_roflags_t flags;
  uint8_t byte;
  __wasi_iovec_t in = {.buf = &byte, .buf_len = 1};
  __wasi_ciovec_t out = {.buf = &byte, .buf_len = 1};
  for (__wasi_fd_t fd = 0; fd < 5; fd++) {
    CHECK_IS(__wasi_fd_prestat_get(fd, &prestat), __WASI_ERRNO_BADF);
    CHECK_IS(__wasi_fd_prestat_dir_name(fd, &byte, 1), __WASI_ERRNO_BADF);
    CHECK_IS(__wasi_path_open(fd, 0, "/etc/passwd", 0, __WASI_RIGHTS_FD_READ, 0, 0, &opened), __WASI_ERRNO_NOTCAPABLE);
    CHECK_IS(__wasi_path_filestat_get(fd, 0, "../x", &file), __WASI_ERRNO_NOTCAPABLE);
    CHECK_IS(__wasi_path_create_directory(fd, "d"), __WASI_ERRNO_NOTCAPABLE);
    CHECK_IS(__wasi_path_unlink_file(fd, "f"), __WASI_ERRNO_NOTCAPABLE);
    CHECK_IS(__wasi_path_readlink(fd, "f", &byte, 1, &count), __WASI_ERRNO_NOTCAPABLE);
    CHECK_IS(__wasi_path_symlink("a", fd, "b"), __WASI_ERRNO_NOTCAPABLE);
    CHECK_IS(__wasi_path_rename(fd, "a", fd, "b"), __WASI_ERRNO_NOTCAPABLE);
    CHECK_IS(__wasi_path_link(fd, 0, "a", fd, "b"), __WASI_ERRNO_NOTCAPABLE);
    const __wasi_errno_t wanted = fd < 3 ? __WASI_ERRNO_NOTSOCK : __WASI_ERRNO_BADF;
    CHECK_IS(__wasi_sock_recv(fd, &in, 1, 0, &count, &flags), wanted);
    CHECK_IS(__wasi_sock_send(fd, &out, 1, 0, &count), wanted);
    CHECK_IS(__wasi_sock_shutdown(fd, __WASI_SDFLAGS_RD), wanted);
    CHECK_IS(__wasi_sock_accept(fd, 0, &opened), wanted);
  }
}

static void check_arguments(void) {
  __wasi_size_t count = 0, bytes = 0;
  static uint8_t *pointers[256];
  static uint8_t buffer[65536];
  CHECK_IS(__wasi_args_sizes_get(&count, &bytes), 0);
  CHECK_IS(count, 3);
  CHECK_IS(bytes, sizeof "/wasi" + sizeof "x=1" + sizeof "%22y%22");
  CHECK_IS(__wasi_args_get(pointers, buffer), 0);
  CHECK_IS(strcmp((char *)pointers[0], "/wasi"), 0);
  CHECK_IS(strcmp((char *)pointers[1], "x=1"), 0);
  CHECK_IS(strcmp((char *)pointers[2], "%22y%22"), 0);
  CHECK(pointers[1] == pointers[0] + sizeof "/wasi");
  CHECK_IS(__wasi_args_get(pointers, BEYOND), __WASI_ERRNO_FAULT);
  CHECK_IS(__wasi_args_sizes_get(BEYOND, &bytes), __WASI_ERRNO_FAULT);
  CHECK_IS(__wasi_environ_sizes_get(&count, &bytes), 0);
  CHECK(count > 20 && count < 256 && bytes < sizeof buffer);
  buffer[bytes] = 0xaa;
  CHECK_IS(__wasi_environ_get(pointers, buffer), 0);
  CHECK(buffer[bytes - 1] == 0 && buffer[bytes] == 0xaa);
  for (__wasi_size_t i = 0; i < count; i++) CHECK(strchr((char *)pointers[i], '=') != NULL);
}

/* Closing and renumbering come last: the standard error stream and then stdin go. */
static void check_descriptors(void) {
  __wasi_size_t count;
  uint8_t byte;
  CHECK_IS(__wasi_sched_yield(), 0);
  CHECK_IS(__wasi_fd_close(3), __WASI_ERRNO_BADF);
  CHECK_IS(__wasi_fd_renumber(1, 3), __WASI_ERRNO_BADF);
  CHECK_IS(__wasi_fd_renumber(3, 1), __WASI_ERRNO_BADF);
  CHECK_IS(__wasi_fd_renumber(1, 1), 0);
  CHECK_IS(__wasi_fd_renumber(1, 2), 0);
  CHECK_IS(__wasi_fd_fdstat_get(1, &stat), __WASI_ERRNO_BADF);
  CHECK_IS(write_from(1, "x", 1, &count), __WASI_ERRNO_BADF);
  CHECK_IS(write_from(2, "through two\n", 12, &count), 0);
  CHECK_IS(count, 12);
  CHECK_IS(__wasi_fd_renumber(2, 1), __WASI_ERRNO_BADF);
  CHECK_IS(__wasi_fd_close(0), 0);
  CHECK_IS(__wasi_fd_close(0), __WASI_ERRNO_BADF);
  CHECK_IS(read_into(0, &byte, 1, &count), __WASI_ERRNO_BADF);
  CHECK_IS(__wasi_fd_fdstat_set_flags(0, 0), __WASI_ERRNO_BADF);
  CHECK_IS(__wasi_fd_seek(0, 0, __WASI_WHENCE_SET, &(__wasi_filesize_t){0}), __WASI_ERRNO_BADF);
}

int main(void) {
  __wasi_size_t done;
  write_from(1, "Content-Type: text/plain\n\n", 26, &done);
  check_clocks();
  check_random();
  check_arguments();
  check_status();
  check_stdin();
  check_writes();
  check_flags_and_rights();
  check_refused();
  check_descriptors();
  report_checks(2); /* which is stdout now */
  return 0;
}
