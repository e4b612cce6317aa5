// SPDX-License-Identifier: Apache-2.0
//
// Makes every /dev/i2c-* of a process the bus of an emulated chip: LD_PRELOAD this, with ATECC_SOCK naming the
// emulator's socket (framing: docs/emulator.md). A transaction that is not acknowledged fails as it does with the
// driver of the Raspberry Pi (EREMOTEIO); a lost socket is EIO.
//
//   ATECC_SOCK      path of the socket; without it the process is left alone
//   ATECC_NACK      another errno for "not acknowledged", as a number: 6 (ENXIO) is what bit-banged buses give
//   ATECC_CLAIMED   an address that a kernel driver has claimed: I2C_SLAVE fails with EBUSY
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/i2c-dev.h>
#include <linux/i2c.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
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

// The descriptors that are buses, each with the address its transactions go to. One transaction at a time on each.
enum { MOST = 1024 };
static struct bus { int open, address; } buses[MOST];
static pthread_mutex_t locks[MOST] = {[0 ... MOST - 1] = PTHREAD_MUTEX_INITIALIZER};

static long number(const char *name, long otherwise) {
  const char *text = getenv(name);
  return text ? strtol(text, NULL, 0) : otherwise;
}
static int is_bus(int fd) { return fd >= 0 && fd < MOST && __atomic_load_n(&buses[fd].open, __ATOMIC_ACQUIRE); }
static int fail(int error) { return errno = error, -1; }

static int send_all(int fd, const uint8_t *bytes, size_t length) {
  for (ssize_t n; length > 0; bytes += n, length -= (size_t)n) {
    while ((n = send(fd, bytes, length, MSG_NOSIGNAL)) < 0 && errno == EINTR);
    if (n <= 0) return fail(EIO);
  }
  return 0;
}

static int receive_all(int fd, uint8_t *bytes, size_t length) {
  for (ssize_t n; length > 0; bytes += n, length -= (size_t)n) {
    while ((n = recv(fd, bytes, length, 0)) < 0 && errno == EINTR);
    if (n <= 0) return fail(EIO);
  }
  return 0;
}

// One transaction; returns its length, or -1. An int holds every length: i2c-dev takes 8192 bytes at most.
static int transfer(int fd, int address, char op, uint8_t *bytes, size_t length) {
  if (length > 8192) length = 8192;
  uint8_t head[4] = {(uint8_t)op, (uint8_t)address, length & 0xff, length >> 8}, reply[3];
  size_t payload = op == 'W' ? length : 0;
  int result = -1;
  pthread_mutex_lock(&locks[fd]);
  if (send_all(fd, head, 4) == 0 && send_all(fd, bytes, payload) == 0 && receive_all(fd, reply, 3) == 0) {
    size_t count = reply[1] | (size_t)reply[2] << 8;
    if (count > length || (count > 0 && (op == 'W' || reply[0] != 0))) fail(EIO);
    else if (receive_all(fd, bytes, count) == 0)
      result = reply[0] == 0 ? (int)(op == 'W' ? length : count) : fail((int)number("ATECC_NACK", EREMOTEIO));
  }
  pthread_mutex_unlock(&locks[fd]);
  return result;
}

static int open_bus(int flags) {
  struct sockaddr_un name = {.sun_family = AF_UNIX};
  struct timeval patience = {.tv_sec = 10};
  strncpy(name.sun_path, getenv("ATECC_SOCK"), sizeof name.sun_path - 1);
  int fd = socket(AF_UNIX, SOCK_STREAM | (flags & O_CLOEXEC ? SOCK_CLOEXEC : 0), 0);
  if (fd < 0) return -1;
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  int many = fd >= MOST;
  if (many || connect(fd, (struct sockaddr *)&name, sizeof name) != 0)
    return REAL(close)(fd), fail(many ? EMFILE : ENOENT);
  buses[fd].address = 0;
  __atomic_store_n(&buses[fd].open, 1, __ATOMIC_RELEASE);
  return fd;
}

// ---- SMBus, as the kernel makes it of plain transactions (i2c_smbus_xfer_emulated)

static int smbus(int fd, int address, struct i2c_smbus_ioctl_data *request) {
  union i2c_smbus_data *data = request->data;
  int reads = request->read_write == I2C_SMBUS_READ;
  uint8_t bytes[2 + I2C_SMBUS_BLOCK_MAX] = {request->command};
  uint8_t *value = NULL;  // where in `data` the bytes after the command are
  size_t size = 0;
  switch (request->size) {
    case I2C_SMBUS_QUICK: return transfer(fd, address, reads ? 'R' : 'W', bytes, 0) < 0 ? -1 : 0;
    case I2C_SMBUS_BYTE: return transfer(fd, address, reads ? 'R' : 'W', reads ? &data->byte : bytes, 1) < 0 ? -1 : 0;
    case I2C_SMBUS_BYTE_DATA: value = &data->byte, size = 1; break;
    case I2C_SMBUS_WORD_DATA: value = (uint8_t *)&data->word, size = 2; break;
    case I2C_SMBUS_I2C_BLOCK_BROKEN:
    case I2C_SMBUS_I2C_BLOCK_DATA: value = data->block + 1, size = data->block[0]; break;
    default: return fail(EOPNOTSUPP);
  }
  if (size > I2C_SMBUS_BLOCK_MAX) return fail(EINVAL);
  if (!reads) memcpy(bytes + 1, value, size);
  if (transfer(fd, address, 'W', bytes, reads ? 1 : 1 + size) < 0) return -1;
  return reads && transfer(fd, address, 'R', value, size) < 0 ? -1 : 0;
}

static int control(int fd, unsigned long request, void *argument) {
  struct bus *bus = &buses[fd];
  switch (request) {
    case I2C_SLAVE:
    case I2C_SLAVE_FORCE:
      if ((uintptr_t)argument > 0x7f) return fail(EINVAL);
      if (request == I2C_SLAVE && (long)(uintptr_t)argument == number("ATECC_CLAIMED", -1)) return fail(EBUSY);
      __atomic_store_n(&bus->address, (int)(uintptr_t)argument, __ATOMIC_RELEASE);
      return 0;
    case I2C_TIMEOUT: case I2C_RETRIES: case I2C_TENBIT: case I2C_PEC: return 0;
    case I2C_FUNCS:
      *(unsigned long *)argument = I2C_FUNC_I2C | I2C_FUNC_SMBUS_QUICK | I2C_FUNC_SMBUS_BYTE |
        I2C_FUNC_SMBUS_BYTE_DATA | I2C_FUNC_SMBUS_WORD_DATA | I2C_FUNC_SMBUS_I2C_BLOCK;
      return 0;
    case I2C_SMBUS: return smbus(fd, __atomic_load_n(&bus->address, __ATOMIC_ACQUIRE), argument);
    case I2C_RDWR: {
      struct i2c_rdwr_ioctl_data *list = argument;
      for (unsigned i = 0; i < list->nmsgs; i++) {
        struct i2c_msg *message = &list->msgs[i];
        char op = message->flags & I2C_M_RD ? 'R' : 'W';
        if (transfer(fd, message->addr, op, message->buf, message->len) < 0) return -1;
      }
      return (int)list->nmsgs;
    }
    default: return fail(ENOTTY);
  }
}

// ---- The intercepted functions

#define OURS(path) (strncmp(path, "/dev/i2c-", 9) == 0 && getenv("ATECC_SOCK") != NULL)
// An argument that the caller may have left out; then it is rubbish, and nobody looks at it.
#define OPTIONAL(type, name, last) va_list list; va_start(list, last); type name = va_arg(list, type); va_end(list)

#define OPEN(name) \
  EXPORT int name(const char *path, int flags, ...) { \
    OPTIONAL(int, mode, flags); \
    return OURS(path) ? open_bus(flags) : REAL(name)(path, flags, mode); \
  }
OPEN(open) OPEN(open64)

#define OPENAT(name) \
  EXPORT int name(int directory, const char *path, int flags, ...) { \
    OPTIONAL(int, mode, flags); \
    return OURS(path) ? open_bus(flags) : REAL(name)(directory, path, flags, mode); \
  }
OPENAT(openat) OPENAT(openat64)

// What open() becomes in programs compiled with _FORTIFY_SOURCE.
int __open_2(const char *path, int flags), __open64_2(const char *path, int flags);
#define OPEN_2(name) \
  EXPORT int name(const char *path, int flags) { return OURS(path) ? open_bus(flags) : REAL(name)(path, flags); }
OPEN_2(__open_2) OPEN_2(__open64_2)

EXPORT int ioctl(int fd, unsigned long request, ...) {
  OPTIONAL(void *, argument, request);
  return is_bus(fd) ? control(fd, request, argument) : REAL(ioctl)(fd, request, argument);
}

#define BUS_READ(fd, bytes, length) transfer(fd, buses[fd].address, 'R', bytes, length)
#define BUS_WRITE(fd, bytes, length) transfer(fd, buses[fd].address, 'W', (uint8_t *)(uintptr_t)bytes, length)

EXPORT ssize_t read(int fd, void *bytes, size_t length) {
  return is_bus(fd) ? BUS_READ(fd, bytes, length) : REAL(read)(fd, bytes, length);
}
EXPORT ssize_t write(int fd, const void *bytes, size_t length) {
  return is_bus(fd) ? BUS_WRITE(fd, bytes, length) : REAL(write)(fd, bytes, length);
}

// A character device has no offsets. Node reads and writes files this way.
#define PREAD(name, offset_type) \
  EXPORT ssize_t name(int fd, void *bytes, size_t length, offset_type at) { \
    return is_bus(fd) ? BUS_READ(fd, bytes, length) : REAL(name)(fd, bytes, length, at); \
  }
#define PWRITE(name, offset_type) \
  EXPORT ssize_t name(int fd, const void *bytes, size_t length, offset_type at) { \
    return is_bus(fd) ? BUS_WRITE(fd, bytes, length) : REAL(name)(fd, bytes, length, at); \
  }
PREAD(pread, off_t) PREAD(pread64, off64_t) PWRITE(pwrite, off_t) PWRITE(pwrite64, off64_t)

EXPORT int close(int fd) {
  if (is_bus(fd)) __atomic_store_n(&buses[fd].open, 0, __ATOMIC_RELEASE);
  return REAL(close)(fd);
}
