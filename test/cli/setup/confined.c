// SPDX-License-Identifier: Apache-2.0
//
// Runs a program with the system calls and address families that a unit allows, as systemd does it with seccomp:
// SystemCallFilter with SystemCallErrorNumber=EPERM, and RestrictAddressFamilies. allowed.h is generated: one #ifdef'd
// number for each name of the filter, and the families.
//
//   confined PROGRAM ARGUMENT…
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static const unsigned CALLS[] = {
#define CALL(number) number,
#include "allowed.h"
#undef CALL
};
static const unsigned FAMILIES[] = {ALLOWED_FAMILIES};

enum { MOST = 4096 };
static struct sock_filter program[MOST];
static unsigned length;
static void put(struct sock_filter instruction) { program[length++] = instruction; }
static void give(unsigned value) { put((struct sock_filter)BPF_STMT(BPF_RET | BPF_K, value)); }
static void load(size_t offset) { put((struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (unsigned)offset)); }
static void allow_if(unsigned value) {
  put((struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, 1));
  give(SECCOMP_RET_ALLOW);
}

int main(int count, char **arguments) {
  if (count < 2) return 2;
  const unsigned families = sizeof FAMILIES / sizeof *FAMILIES;
  load(offsetof(struct seccomp_data, nr));
  put((struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_socket, 0, (unsigned char)(2 + 2 * families)));
  load(offsetof(struct seccomp_data, args[0]));
  for (unsigned i = 0; i < families; i++) allow_if(FAMILIES[i]);
  give(SECCOMP_RET_ERRNO | EAFNOSUPPORT);
  for (unsigned i = 0; i < sizeof CALLS / sizeof *CALLS; i++) allow_if(CALLS[i]);
  give(SECCOMP_RET_ERRNO | EPERM);
  struct sock_fprog filter = {.len = (unsigned short)length, .filter = program};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0) {
    perror("seccomp");
    return 1;
  }
  execvp(arguments[1], arguments + 1);
  perror(arguments[1]);
  return 1;
}
