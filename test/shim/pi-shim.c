// SPDX-License-Identifier: Apache-2.0
//
// Makes /dev/vcio_crypto and /dev/vcio of a process the mailbox of an emulated firmware: LD_PRELOAD this. An ioctl sends
// the message, and receives an error number and, when that is 0, the message again. A lost socket is EIO.
//
//   PI_FIRMWARE_SOCK   path of the socket; without it the process is left alone
//   PI_FIRMWARE_NODE   the one node there is, such as /dev/vcio; default: both
//   PI_FIRMWARE_ERRNO  opening the node fails with this error number
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

// The function of this name that comes after ours, looked up once.
#define REAL(name) ({ \
  static __typeof__(&name) found; \
  if (found == NULL) found = (__typeof__(&name))dlsym(RTLD_NEXT, #name); \
  found; })
#define EXPORT __attribute__((visibility("default")))

// As the driver of the kernel has it: the size in the number is that of a pointer.
#define PROPERTY _IOWR(100, 0, char *)
enum { MOST = 1024, SHORTEST = 12, LONGEST = 65536 };

static int nodes[MOST];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static int is_node(int fd) { return fd >= 0 && fd < MOST && __atomic_load_n(&nodes[fd], __ATOMIC_ACQUIRE); }
static int fail(int error) { return errno = error, -1; }

static int is_ours(const char *path) {
  return getenv("PI_FIRMWARE_SOCK") && (strcmp(path, "/dev/vcio_crypto") == 0 || strcmp(path, "/dev/vcio") == 0);
}

static int open_node(const char *path, int flags) {
  const char *only = getenv("PI_FIRMWARE_NODE"), *error = getenv("PI_FIRMWARE_ERRNO");
  if (only && strcmp(only, path) != 0) return fail(ENOENT);
  if (error) return fail(atoi(error));
  struct sockaddr_un name = {.sun_family = AF_UNIX};
  struct timeval patience = {.tv_sec = 10};
  strncpy(name.sun_path, getenv("PI_FIRMWARE_SOCK"), sizeof name.sun_path - 1);
  int fd = socket(AF_UNIX, SOCK_STREAM | (flags & O_CLOEXEC ? SOCK_CLOEXEC : 0), 0);
  if (fd < 0) return -1;
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  int many = fd >= MOST;
  if (many || connect(fd, (struct sockaddr *)&name, sizeof name) != 0)
    return REAL(close)(fd), fail(many ? EMFILE : ENOENT);
  __atomic_store_n(&nodes[fd], 1, __ATOMIC_RELEASE);
  return fd;
}

static int carry(int fd, uint8_t *bytes, size_t length, int out) {
  for (ssize_t n; length > 0; bytes += n, length -= (size_t)n) {
    do n = out ? send(fd, bytes, length, MSG_NOSIGNAL) : recv(fd, bytes, length, 0);
    while (n < 0 && errno == EINTR);
    if (n <= 0) return -1;
  }
  return 0;
}

static uint32_t word(const uint8_t *bytes) {
  return bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
}

static int property(int fd, uint8_t *message) {
  uint32_t size = word(message);
  uint8_t status[4], answer[LONGEST];
  if (size < SHORTEST || size > LONGEST) return fail(EINVAL);
  if (carry(fd, message, size, 1) != 0 || carry(fd, status, 4, 0) != 0) return fail(EIO);
  if (word(status) != 0) return fail((int)word(status));
  // The driver gives back all of it or nothing.
  if (carry(fd, answer, size, 0) != 0) return fail(EIO);
  memcpy(message, answer, size);
  return 0;
}

// ---- The intercepted functions

// An argument that the caller may have left out; then it is rubbish, and nobody looks at it.
#define OPTIONAL(type, name, last) va_list list; va_start(list, last); type name = va_arg(list, type); va_end(list)

#define OPEN(name) \
  EXPORT int name(const char *path, int flags, ...) { \
    OPTIONAL(int, mode, flags); \
    return is_ours(path) ? open_node(path, flags) : REAL(name)(path, flags, mode); \
  }
OPEN(open) OPEN(open64)

#define OPENAT(name) \
  EXPORT int name(int directory, const char *path, int flags, ...) { \
    OPTIONAL(int, mode, flags); \
    return is_ours(path) ? open_node(path, flags) : REAL(name)(directory, path, flags, mode); \
  }
OPENAT(openat) OPENAT(openat64)

// What open() becomes in programs compiled with _FORTIFY_SOURCE.
int __open_2(const char *path, int flags), __open64_2(const char *path, int flags);
#define OPEN_2(name) \
  EXPORT int name(const char *path, int flags) { \
    return is_ours(path) ? open_node(path, flags) : REAL(name)(path, flags); \
  }
OPEN_2(__open_2) OPEN_2(__open64_2)

EXPORT int ioctl(int fd, unsigned long request, ...) {
  OPTIONAL(void *, argument, request);
  if (!is_node(fd)) return REAL(ioctl)(fd, request, argument);
  if (request != PROPERTY) return fail(ENOTTY);
  pthread_mutex_lock(&lock);
  int result = property(fd, argument), error = errno;
  pthread_mutex_unlock(&lock);
  return result == 0 ? 0 : fail(error);
}

EXPORT int close(int fd) {
  if (is_node(fd)) __atomic_store_n(&nodes[fd], 0, __ATOMIC_RELEASE);
  return REAL(close)(fd);
}
