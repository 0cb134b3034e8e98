/* Loaded before the C library, makes a program's calls fail as a bad machine does.
 *
 * FAULTY_FOLDER   the folder whose files are affected
 * FAULTY_AFTER    so many calls that change it succeed; all later ones fail
 * FAULTY_ERROR    with this number of an error
 * FAULTY_COUNT    a file that gets the number of such calls when the program ends
 * FAULTY_LOCK     every lock of a file fails with this number of an error
 * FAULTY_CLOCK    seconds to add to the time of day ...
 * FAULTY_FOR      ... for so many seconds from the start of the program; always, if it is not given
 *
 * cc -shared -fPIC -O2 -o faulty.so faulty.c -ldl
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define REAL(name) __typeof__(&name) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

static atomic_long calls;

static long number(const char *name, long otherwise) {
  const char *text = getenv(name);
  return text ? strtol(text, NULL, 10) : otherwise;
}

static int inside(const char *path) {
  const char *folder = getenv("FAULTY_FOLDER");
  return folder && path && strncmp(path, folder, strlen(folder)) == 0;
}

static int of_folder(int file) {
  char name[64], path[4096];
  snprintf(name, sizeof name, "/proc/self/fd/%d", file);
  ssize_t size = readlink(name, path, sizeof path - 1);
  if (size < 0) return 0;
  path[size] = 0;
  return inside(path);
}

/* Whether this call, which would change the folder, fails; counts it. */
static int fails(int concerned) {
  if (!concerned || !getenv("FAULTY_AFTER")) return 0;
  if (atomic_fetch_add(&calls, 1) < number("FAULTY_AFTER", 0)) return 0;
  errno = (int)number("FAULTY_ERROR", EIO);
  return 1;
}

__attribute__((destructor)) static void count(void) {
  const char *path = getenv("FAULTY_COUNT");
  FILE *file = path ? fopen(path, "w") : NULL;
  if (!file) return;
  fprintf(file, "%ld", (long)calls);
  fclose(file);
}

ssize_t write(int file, const void *data, size_t size) {
  REAL(write);
  return fails(of_folder(file)) ? -1 : real(file, data, size);
}

ssize_t writev(int file, const struct iovec *parts, int count) {
  REAL(writev);
  return fails(of_folder(file)) ? -1 : real(file, parts, count);
}

ssize_t pwrite64(int file, const void *data, size_t size, off64_t at) {
  REAL(pwrite64);
  return fails(of_folder(file)) ? -1 : real(file, data, size, at);
}

ssize_t pwrite(int file, const void *data, size_t size, off_t at) {
  REAL(pwrite);
  return fails(of_folder(file)) ? -1 : real(file, data, size, at);
}

int fsync(int file) {
  REAL(fsync);
  return fails(of_folder(file)) ? -1 : real(file);
}

int ftruncate64(int file, off64_t size) {
  REAL(ftruncate64);
  return fails(of_folder(file)) ? -1 : real(file, size);
}

int ftruncate(int file, off_t size) {
  REAL(ftruncate);
  return fails(of_folder(file)) ? -1 : real(file, size);
}

int rename(const char *from, const char *to) {
  REAL(rename);
  return fails(inside(to)) ? -1 : real(from, to);
}

int mkdir(const char *path, mode_t mode) {
  REAL(mkdir);
  return fails(inside(path)) ? -1 : real(path, mode);
}

#define WRITES(flags) (((flags) & O_ACCMODE) != O_RDONLY || ((flags) & O_CREAT))
#define OPEN(name)                                                          \
  int name(const char *path, int flags, ...) {                              \
    va_list rest;                                                           \
    va_start(rest, flags);                                                  \
    mode_t mode = (flags & O_CREAT) ? va_arg(rest, mode_t) : 0;             \
    va_end(rest);                                                           \
    REAL(name);                                                             \
    return fails(WRITES(flags) && inside(path)) ? -1 : real(path, flags, mode); \
  }
OPEN(open)
OPEN(open64)

int flock(int file, int how) {
  REAL(flock);
  long error = number("FAULTY_LOCK", 0);
  if (error && of_folder(file)) {
    errno = (int)error;
    return -1;
  }
  return real(file, how);
}

static long clock_off(void) {
  static _Atomic long began = -1;
  long off = number("FAULTY_CLOCK", 0), lasts = number("FAULTY_FOR", -1), unset = -1;
  if (!off || lasts < 0) return off;
  struct timespec now;
  int (*real)(clockid_t, struct timespec *) = dlsym(RTLD_NEXT, "clock_gettime");
  real(CLOCK_MONOTONIC, &now);
  atomic_compare_exchange_strong(&began, &unset, (long)now.tv_sec);
  return now.tv_sec - began < lasts ? off : 0;
}

int clock_gettime(clockid_t which, struct timespec *now) {
  REAL(clock_gettime);
  int done = real(which, now);
  if (which == CLOCK_REALTIME) now->tv_sec += clock_off();
  return done;
}

time_t time(time_t *out) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (out) *out = now.tv_sec;
  return now.tv_sec;
}
