/*
 * Sends one recorded command to a TPM's socket again and again, as fast as the TPM answers:
 *
 *     tpm-replay SOCKET COMMAND-FILE SECONDS
 *
 * prints one line of JSON as pkcs11-loop does. It is the floor: blocking send and recv, nothing is made or checked but
 * the length and the response code.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec / 1e9;
}

static void fail(const char *what) {
  perror(what);
  exit(1);
}

static int compare(const void *a, const void *b) {
  float x = *(const float *)a, y = *(const float *)b;
  return (x > y) - (x < y);
}

int main(int argc, char **argv) {
  if (argc < 4) return 2;
  unsigned char command[4096], answer[4096];
  FILE *file = fopen(argv[2], "rb");
  if (file == NULL) fail(argv[2]);
  size_t length = fread(command, 1, sizeof command, file);
  double seconds = atof(argv[3]);
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  strncpy(address.sun_path, argv[1], sizeof address.sun_path - 1);
  int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) < 0) fail(argv[1]);
  uint64_t count = 0, room = 4000000;
  float *times = malloc(room * sizeof(float));
  double start = now(), end = start + seconds, before = start;
  while (before < end) {
    if (send(fd, command, length, MSG_NOSIGNAL) != (ssize_t)length) fail("send");
    size_t received = 0, wanted = 10;
    while (received < wanted) {
      ssize_t some = recv(fd, answer + received, sizeof answer - received, 0);
      if (some <= 0) fail("recv");
      received += (size_t)some;
      if (received >= 10) wanted = (size_t)answer[2] << 24 | answer[3] << 16 | answer[4] << 8 | answer[5];
    }
    if (memcmp(answer + 6, "\0\0\0\0", 4) != 0) {
      fprintf(stderr, "the TPM refuses with %02x%02x\n", answer[8], answer[9]);
      return 1;
    }
    double after = now();
    if (count < room) times[count] = (float)((after - before) * 1e6);
    count++;
    before = after;
  }
  uint64_t kept = count < room ? count : room;
  qsort(times, kept, sizeof(float), compare);
  printf("{\"operations\":%llu,\"seconds\":%.3f,\"p50\":%.1f,\"p99\":%.1f}\n", (unsigned long long)count, before - start,
         times[kept / 2], times[kept * 99 / 100]);
  return 0;
}
