/*
 * One request after the other over the vault's socket, by a client that does nothing else:
 *
 *     vault-loop SOCKET FRAMES COUNT
 *
 * FRAMES begins with the frame that introduces a caller, then the frame of a request; a frame is its length in four bytes,
 * big endian, and as many bytes. The request is sent COUNT times, each time after the answer to the one before; prints
 * the median and the 99th percentile of their microseconds as JSON, of the second half.
 */
#include <arpa/inet.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static unsigned char buffer[1 << 17];

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1e6 + t.tv_nsec / 1e3;
}

static void die(const char *what) {
  perror(what);
  exit(1);
}

/* Reads one frame whole. */
static void receive(int fd) {
  size_t have = 0, want = 4;
  while (have < want) {
    ssize_t got = read(fd, buffer + have, sizeof buffer - have);
    if (got <= 0) die("read");
    have += got;
    if (have >= 4) {
      uint32_t length;
      memcpy(&length, buffer, 4);
      want = 4 + ntohl(length);
    }
  }
}

static int compare(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

int main(int argc, char **argv) {
  if (argc != 4) return 2;
  int fd = socket(AF_UNIX, SOCK_STREAM, 0), count = atoi(argv[3]);
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  strncpy(address.sun_path, argv[1], sizeof address.sun_path - 1);
  if (connect(fd, (struct sockaddr *)&address, sizeof address)) die("connect");
  static unsigned char frames[1 << 16];
  FILE *file = fopen(argv[2], "rb");
  if (file == NULL) die(argv[2]);
  size_t all = fread(frames, 1, sizeof frames, file);
  uint32_t length;
  memcpy(&length, frames, 4);
  size_t first = 4 + ntohl(length);
  receive(fd); /* hello */
  if (write(fd, frames, first) != (ssize_t)first) die("write");
  double *times = calloc(count, sizeof *times);
  for (int i = 0; i < count; i++) {
    double start = now();
    if (write(fd, frames + first, all - first) != (ssize_t)(all - first)) die("write");
    receive(fd);
    times[i] = now() - start;
  }
  if (buffer[5] != 1) { /* TO_GATE.reply */
    fprintf(stderr, "the vault refused\n");
    return 1;
  }
  double *half = times + count / 2;
  qsort(half, count - count / 2, sizeof *half, compare);
  printf("{\"p50\":%.1f,\"p99\":%.1f}\n", half[(count - count / 2) / 2], half[(count - count / 2) * 99 / 100]);
  return 0;
}
