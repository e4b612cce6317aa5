/*
 * A PKCS#11 program that signs in a loop, the same before every module:
 *
 *     pkcs11-loop MODULE ec|rsa|info LABEL THREADS SECONDS [PIN]
 *
 * prints one line of JSON: how many operations, in how many seconds, and the median and the 99th percentile of their
 * microseconds. Names, order of functions and numbers: PKCS #11 Cryptographic Token Interface Base Specification 2.40.
 */
#include <dlfcn.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef unsigned long CK_ULONG;
typedef struct { CK_ULONG type; void *value; CK_ULONG length; } CK_ATTRIBUTE;
typedef struct { CK_ULONG mechanism; void *parameter; CK_ULONG length; } CK_MECHANISM;
typedef struct { void *create, *destroy, *lock, *unlock; CK_ULONG flags; void *reserved; } CK_C_INITIALIZE_ARGS;
typedef struct { unsigned char major, minor; void *function[68]; } CK_FUNCTION_LIST;

enum { INITIALIZE = 0, FINALIZE = 1, GET_SLOT_LIST = 4, OPEN_SESSION = 12, GET_SESSION_INFO = 15, LOGIN = 18,
       FIND_OBJECTS_INIT = 26, FIND_OBJECTS = 27, FIND_OBJECTS_FINAL = 28, SIGN_INIT = 42, SIGN = 43 };
enum { CKM_RSA_PKCS = 1, CKM_ECDSA = 0x1041, CKO_PRIVATE_KEY = 3, CKA_CLASS = 0, CKA_LABEL = 3, CKF_OS_LOCKING_OK = 2,
       CKF_SERIAL_SESSION = 4, CKU_USER = 1 };

static CK_FUNCTION_LIST *list;
#define CALL(index, ...) (((CK_ULONG (*)())list->function[index])(__VA_ARGS__))

static const char *kind, *label, *pin;
static double seconds;
static CK_ULONG slot;
static pthread_barrier_t barrier;

struct Run { uint64_t count; float *times; uint64_t room; double took; };

static void must(const char *what, CK_ULONG rv) {
  if (rv == 0) return;
  fprintf(stderr, "%s: 0x%lx\n", what, rv);
  exit(1);
}

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec / 1e9;
}

static CK_ULONG find(CK_ULONG session) {
  CK_ULONG class = CKO_PRIVATE_KEY, found = 0, count = 0;
  CK_ATTRIBUTE wanted[] = {{CKA_CLASS, &class, sizeof class}, {CKA_LABEL, (void *)label, strlen(label)}};
  must("C_FindObjectsInit", CALL(FIND_OBJECTS_INIT, session, wanted, (CK_ULONG)2));
  must("C_FindObjects", CALL(FIND_OBJECTS, session, &found, (CK_ULONG)1, &count));
  must("C_FindObjectsFinal", CALL(FIND_OBJECTS_FINAL, session));
  if (count == 1) return found;
  fprintf(stderr, "no key '%s'\n", label);
  exit(1);
}

/* DigestInfo of SHA-256 (RFC 8017, 9.2). */
static const unsigned char digest_info[] = {0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01,
                                            0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20};

static void *work(void *argument) {
  struct Run *run = argument;
  CK_ULONG session, key = 0, info[4];
  unsigned char data[sizeof digest_info + 32], signature[512];
  int rsa = strcmp(kind, "rsa") == 0, asks = strcmp(kind, "info") == 0;
  CK_MECHANISM mechanism = {rsa ? CKM_RSA_PKCS : CKM_ECDSA, NULL, 0};
  must("C_OpenSession", CALL(OPEN_SESSION, slot, (CK_ULONG)CKF_SERIAL_SESSION, NULL, NULL, &session));
  if (pin) {
    CK_ULONG rv = CALL(LOGIN, session, (CK_ULONG)CKU_USER, pin, (CK_ULONG)strlen(pin));
    if (rv != 0x100) must("C_Login", rv); /* another thread was first */
  }
  if (!asks) key = find(session);
  memcpy(data, digest_info, sizeof digest_info);
  pthread_barrier_wait(&barrier);
  double start = now(), end = start + seconds, before = start;
  while (before < end) {
    if (asks) {
      must("C_GetSessionInfo", CALL(GET_SESSION_INFO, session, info));
    } else {
      CK_ULONG length = sizeof signature;
      for (int i = 0; i < 32; i++) data[sizeof digest_info + i] = (unsigned char)(run->count >> (i % 8));
      must("C_SignInit", CALL(SIGN_INIT, session, &mechanism, key));
      must("C_Sign", rsa ? CALL(SIGN, session, data, (CK_ULONG)sizeof data, signature, &length)
                         : CALL(SIGN, session, data + sizeof digest_info, (CK_ULONG)32, signature, &length));
    }
    double after = now();
    if (run->count < run->room) run->times[run->count] = (float)((after - before) * 1e6);
    run->count++;
    before = after;
  }
  run->took = before - start;
  return NULL;
}

static int compare(const void *a, const void *b) {
  float x = *(const float *)a, y = *(const float *)b;
  return (x > y) - (x < y);
}

int main(int argc, char **argv) {
  if (argc < 6) return 2;
  kind = argv[2], label = argv[3], seconds = atof(argv[5]), pin = argc > 6 ? argv[6] : NULL;
  int threads = atoi(argv[4]);
  void *library = dlopen(argv[1], RTLD_NOW);
  CK_ULONG (*get)(CK_FUNCTION_LIST **) = library ? dlsym(library, "C_GetFunctionList") : NULL;
  if (get == NULL) { fprintf(stderr, "%s\n", dlerror()); return 1; }
  must("C_GetFunctionList", get(&list));
  CK_C_INITIALIZE_ARGS args = {NULL, NULL, NULL, NULL, CKF_OS_LOCKING_OK, NULL};
  must("C_Initialize", CALL(INITIALIZE, &args));
  CK_ULONG slots[16], count = 16;
  must("C_GetSlotList", CALL(GET_SLOT_LIST, (unsigned char)1, slots, &count));
  if (count == 0) { fprintf(stderr, "no token\n"); return 1; }
  slot = slots[0];
  struct Run *runs = calloc(threads, sizeof *runs);
  pthread_t *ids = calloc(threads, sizeof *ids);
  pthread_barrier_init(&barrier, NULL, threads);
  for (int i = 0; i < threads; i++) {
    runs[i].room = 2000000;
    runs[i].times = malloc(runs[i].room * sizeof(float));
    pthread_create(&ids[i], NULL, work, &runs[i]);
  }
  uint64_t total = 0, kept = 0;
  double took = 0;
  for (int i = 0; i < threads; i++) {
    pthread_join(ids[i], NULL);
    total += runs[i].count;
    if (runs[i].took > took) took = runs[i].took;
  }
  float *all = malloc(total * sizeof(float));
  for (int i = 0; i < threads; i++) {
    uint64_t part = runs[i].count < runs[i].room ? runs[i].count : runs[i].room;
    memcpy(all + kept, runs[i].times, part * sizeof(float));
    kept += part;
  }
  qsort(all, kept, sizeof(float), compare);
  printf("{\"operations\":%llu,\"seconds\":%.3f,\"p50\":%.1f,\"p99\":%.1f}\n", (unsigned long long)total, took,
         all[kept / 2], all[kept * 99 / 100]);
  CALL(FINALIZE, NULL);
  return 0;
}
