/*
 * A vendor's PKCS#11 module as it should not be: passes everything on to another module, and misbehaves as a file says.
 *
 *     VENDOR_MODULE    the module behind it
 *     VENDOR_CONTROL   a file with lines `NAME BEHAVIOUR TIMES`; it is read, and counted down, at every call
 *
 * NAME is a function; VALUE, POINT, EXTRACTABLE for what C_GetAttributeValue gives; MECHANISM_1050 for what
 * C_GetMechanismInfo says of one. Every call of C_Login, C_Sign,
 * C_Initialize is noted in VENDOR_CONTROL.log. While VENDOR_CONTROL.gone exists, the token is not plugged in. It prints
 * PINs, as some do. With STALE yes, a token that was taken out is seen again only when the module starts anew.
 *
 * Names, order of functions and numbers: PKCS #11 Cryptographic Token Interface Base Specification 2.40.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef unsigned long U;
typedef struct { U type; void *value; U length; } Attribute;
typedef struct { unsigned char major, minor; void *function[68]; } List;

enum { INITIALIZE = 0, GET_SLOT_LIST = 4, MECHANISM_INFO = 8, OPEN_SESSION = 12, CLOSE_ALL = 14, LOGIN = 18,
       DESTROY = 22, GET_ATTRIBUTE = 24, FIND_INIT = 26, FIND = 27, SIGN_INIT = 42, SIGN = 43, GENERATE_PAIR = 59, DERIVE = 62, RANDOM = 64 };

static List real, *behind, list;
static int lost, stale;
static U slot_seen, last_private;

/* The base point of P-256 (SEC 2, 2.4.2): a public key that is right in form, and nobody's here. */
static const unsigned char base_point[] = {
    0x04, 0x41, 0x04, 0x6b, 0x17, 0xd1, 0xf2, 0xe1, 0x2c, 0x42, 0x47, 0xf8, 0xbc, 0xe6, 0xe5, 0x63, 0xa4,
    0x40, 0xf2, 0x77, 0x03, 0x7d, 0x81, 0x2d, 0xeb, 0x33, 0xa0, 0xf4, 0xa1, 0x39, 0x45, 0xd8, 0x98, 0xc2,
    0x96, 0x4f, 0xe3, 0x42, 0xe2, 0xfe, 0x1a, 0x7f, 0x9b, 0x8e, 0xe7, 0xeb, 0x4a, 0x7c, 0x0f, 0x9e, 0x16,
    0x2b, 0xce, 0x33, 0x57, 0x6b, 0x31, 0x5e, 0xce, 0xcb, 0xb6, 0x40, 0x68, 0x37, 0xbf, 0x51, 0xf5};
static const char *control;

#define REAL(index, ...) (((U (*)())behind->function[index])(__VA_ARGS__))

static void note(const char *what) {
  char path[4096];
  snprintf(path, sizeof path, "%s.log", control);
  int fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
  if (fd < 0) return;
  if (write(fd, what, strlen(what)) < 0 || write(fd, "\n", 1) < 0) { }
  close(fd);
}

static int gone(void) {
  char path[4096];
  snprintf(path, sizeof path, "%s.gone", control);
  return access(path, F_OK) == 0;
}

/* The behaviour for a name, counted down; an empty text for none. */
static const char *behaviour(const char *name) {
  static char found[64];
  char lines[64][256], at[64], what[64];
  int count = 0, left, hit = -1;
  found[0] = 0;
  FILE *file = fopen(control, "r");
  if (file == NULL) return found;
  while (count < 64 && fgets(lines[count], sizeof lines[count], file)) count++;
  fclose(file);
  for (int i = 0; i < count && hit < 0; i++) {
    if (sscanf(lines[i], "%63s %63s %d", at, what, &left) == 3 && strcmp(at, name) == 0 && left != 0) {
      hit = i;
      strcpy(found, what);
      if (left > 0) snprintf(lines[i], sizeof lines[i], "%s %s %d\n", at, what, left - 1);
    }
  }
  if (hit < 0) return found;
  char other[4096];
  snprintf(other, sizeof other, "%s.%d", control, getpid());
  file = fopen(other, "w");
  if (file == NULL) return found;
  for (int i = 0; i < count; i++) fputs(lines[i], file);
  fclose(file);
  rename(other, control);
  return found;
}

static void noise(unsigned char *bytes, U length) {
  int fd = open("/dev/urandom", O_RDONLY);
  if (fd < 0 || read(fd, bytes, length) < 0) abort();
  close(fd);
}

/* What ends the call, or the process, before anything is done. @returns 1 when *rv is the answer */
static int before(const char *name, const char **how, U *rv) {
  *how = behaviour(name);
  if (strcmp(*how, "exit") == 0) _exit(3);
  if (strcmp(*how, "segv") == 0) { signal(SIGSEGV, SIG_DFL); *(volatile int *)8 = 1; }
  if (strcmp(*how, "kill") == 0) kill(getpid(), SIGKILL);
  if (strcmp(*how, "hang") == 0) for (;;) sleep(60);
  if (strncmp(*how, "rv=", 3) == 0) { *rv = strtoul(*how + 3, NULL, 16); return 1; }
  return 0;
}

/* What becomes of bytes that were given out. */
static void after(const char *how, unsigned char *bytes, U *length) {
  if (bytes == NULL || (intptr_t)*length < 0) return;
  if (strcmp(how, "garbage") == 0) noise(bytes, *length);
  if (strcmp(how, "another") == 0 && *length == sizeof base_point) memcpy(bytes, base_point, *length);
  if (strcmp(how, "zeros") == 0) memset(bytes, 0, *length);
  if (strcmp(how, "short") == 0) *length /= 2;
  if (strcmp(how, "empty") == 0) *length = 0;
  if (strcmp(how, "long") == 0) *length += 7;
  if (strcmp(how, "huge") == 0) *length = 0x7ffffff0;
  if (strcmp(how, "absurd") == 0) *length = (U)-2;
}

/* A token that was taken out: its sessions are gone for ever, also when it is there again. */
static U plugged(int opens) {
  if (gone()) {
    if (!lost) REAL(CLOSE_ALL, slot_seen);
    lost = 1;
    return 0x32; /* CKR_DEVICE_REMOVED */
  }
  if (opens) lost = 0;
  return lost ? 0xb3 : 0; /* CKR_SESSION_HANDLE_INVALID */
}

#define BEGIN(name, opens)                      \
  const char *how;                              \
  U rv;                                         \
  if ((rv = plugged(opens)) != 0) return rv;    \
  if (before(name, &how, &rv)) return rv;

static U initialize(void *args) {
  const char *how;
  U rv;
  note("C_Initialize");
  stale = 0;
  if (before("C_Initialize", &how, &rv)) return rv;
  return REAL(INITIALIZE, args);
}

static U get_slot_list(unsigned char present, U *slots, U *count) {
  const char *how;
  U rv;
  if (before("C_GetSlotList", &how, &rv)) return rv;
  if (gone() && strcmp(behaviour("STALE"), "yes") == 0) stale = 1;
  if (gone() || stale) { *count = 0; return 0; }
  rv = REAL(GET_SLOT_LIST, present, slots, count);
  if (rv == 0 && strcmp(how, "huge") == 0) *count = 0x7ffffff0;
  return rv;
}

static U mechanism_info(U slot, U type, U *info) {
  const char *how;
  char name[64];
  U rv;
  snprintf(name, sizeof name, "MECHANISM_%lx", type);
  if (before(name, &how, &rv)) return rv;
  return REAL(MECHANISM_INFO, slot, type, info);
}

static U open_session(U slot, U flags, void *a, void *b, U *session) {
  slot_seen = slot;
  BEGIN("C_OpenSession", 1)
  return REAL(OPEN_SESSION, slot, flags, a, b, session);
}

static U login(U session, U user, unsigned char *pin, U length) {
  note("C_Login");
  fprintf(stderr, "vendor: login with %.*s\n", (int)length, pin);
  printf("vendor: login with %.*s\n", (int)length, pin);
  fflush(stdout);
  BEGIN("C_Login", 0)
  rv = REAL(LOGIN, session, user, pin, length);
  if (strcmp(how, "diesafter") == 0) kill(getpid(), SIGKILL);
  return rv;
}

static U destroy(U session, U object) {
  BEGIN("C_DestroyObject", 0)
  if (strcmp(how, "lies") == 0) return 0;
  rv = REAL(DESTROY, session, object);
  if (strcmp(how, "diesafter") == 0) kill(getpid(), SIGKILL);
  return rv;
}

static U get_attribute(U session, U object, Attribute *attributes, U count) {
  BEGIN("C_GetAttributeValue", 0)
  rv = REAL(GET_ATTRIBUTE, session, object, attributes, count);
  for (U i = 0; rv == 0 && i < count; i++) {
    const char *name = attributes[i].type == 0x11 ? "VALUE" : attributes[i].type == 0x181 ? "POINT" : "";
    if (attributes[i].value == NULL) continue;
    after(how, attributes[i].value, &attributes[i].length);
    if (*name) after(behaviour(name), attributes[i].value, &attributes[i].length);
    if (attributes[i].type == 0x162 && strcmp(behaviour("EXTRACTABLE"), "true") == 0) *(unsigned char *)attributes[i].value = 1;
  }
  return rv;
}

static U find_init(U session, void *attributes, U count) {
  BEGIN("C_FindObjectsInit", 0)
  return REAL(FIND_INIT, session, attributes, count);
}

static U find(U session, U *objects, U most, U *count) {
  BEGIN("C_FindObjects", 0)
  rv = REAL(FIND, session, objects, most, count);
  if (rv == 0 && strcmp(how, "huge") == 0) *count = 0x7ffffff0;
  if (rv == 0 && strcmp(how, "nothing") == 0) *count = 0;
  return rv;
}

static U sign_init(U session, void *mechanism, U key) {
  BEGIN("C_SignInit", 0)
  return REAL(SIGN_INIT, session, mechanism, key);
}

static U sign(U session, unsigned char *data, U length, unsigned char *signature, U *signed_length) {
  note("C_Sign");
  BEGIN("C_Sign", 0)
  rv = REAL(SIGN, session, data, length, signature, signed_length);
  if (rv == 0) after(how, signature, signed_length);
  return rv;
}

static U generate_pair(U session, void *mechanism, void *a, U an, void *b, U bn, U *public, U *private) {
  BEGIN("C_GenerateKeyPair", 0)
  rv = REAL(GENERATE_PAIR, session, mechanism, a, an, b, bn, public, private);
  if (strcmp(how, "diesafter") == 0) kill(getpid(), SIGKILL);
  if (rv == 0) last_private = *private;
  if (strcmp(how, "half") == 0) { REAL(DESTROY, session, *private); kill(getpid(), SIGKILL); }
  return rv;
}

static U derive(U session, void *mechanism, U key, void *attributes, U count, U *object) {
  BEGIN("C_DeriveKey", 0)
  if (strcmp(how, "otherkey") == 0) key = last_private;
  return REAL(DERIVE, session, mechanism, key, attributes, count, object);
}

static U generate_random(U session, unsigned char *bytes, U length) {
  BEGIN("C_GenerateRandom", 0)
  rv = REAL(RANDOM, session, bytes, length);
  if (rv == 0) after(how, bytes, &length);
  return rv;
}

U C_GetFunctionList(List **given) {
  control = getenv("VENDOR_CONTROL");
  void *library = dlopen(getenv("VENDOR_MODULE"), RTLD_NOW);
  U (*get)(List **) = library ? dlsym(library, "C_GetFunctionList") : NULL;
  if (get == NULL || control == NULL || get(&behind) != 0) return 5;
  real = *behind;
  list = real;
  list.function[INITIALIZE] = initialize;
  list.function[GET_SLOT_LIST] = get_slot_list;
  list.function[MECHANISM_INFO] = mechanism_info;
  list.function[OPEN_SESSION] = open_session;
  list.function[LOGIN] = login;
  list.function[DESTROY] = destroy;
  list.function[GET_ATTRIBUTE] = get_attribute;
  list.function[FIND_INIT] = find_init;
  list.function[FIND] = find;
  list.function[SIGN_INIT] = sign_init;
  list.function[SIGN] = sign;
  list.function[GENERATE_PAIR] = generate_pair;
  list.function[DERIVE] = derive;
  list.function[RANDOM] = generate_random;
  *given = &list;
  return 0;
}
