import { createRequire } from "node:module";
import { getSystemErrorName } from "node:util";
import { ThornkeyError } from "../errors.ts";

/**
 * The functions of the C library that the house calls directly, one table line each. They are looked up in the running
 * process (`dlopen(NULL)`), so a library loaded with LD_PRELOAD comes first.
 *
 * `ioctl` is variadic in C. On x86-64, AArch64 and 32-bit ARM hard-float Linux a variadic integer or pointer argument
 * travels in the same register as a fixed one, so it is declared with three fixed arguments: once with a number
 * (`ioctlNumber`) and once with a pointer to bytes that the kernel reads or fills (`ioctlBytes`). The same holds for
 * `prctl` and `syscall`.
 *
 * All of them block the calling thread: they belong in the worker that owns a device, never on the main loop.
 */
const PROTOTYPES = {
  open: "int open(const char *path, int flags, int mode)",
  close: "int close(int fd)",
  read: "long read(int fd, uint8_t *bytes, size_t length)",
  write: "long write(int fd, const uint8_t *bytes, size_t length)",
  ioctlNumber: "int ioctl(int fd, unsigned long request, intptr_t argument)",
  ioctlBytes: "int ioctl(int fd, unsigned long request, uint8_t *argument)",
  socket: "int socket(int domain, int type, int protocol)",
  connect: "int connect(int fd, const uint8_t *address, uint length)",
  getsockopt: "int getsockopt(int fd, int level, int name, uint8_t *value, uint8_t *length)",
  setsockopt: "int setsockopt(int fd, int level, int name, const uint8_t *value, uint length)",
  send: "long send(int fd, const uint8_t *bytes, size_t length, int flags)",
  recv: "long recv(int fd, uint8_t *bytes, size_t length, int flags)",
  flock: "int flock(int fd, int operation)",
  poll: "int poll(uint8_t *descriptors, unsigned long count, int milliseconds)",
  prctl: "int prctl(int option, unsigned long a, unsigned long b, unsigned long c, unsigned long d)",
  setrlimit: "int setrlimit(int resource, const uint8_t *limits)",
  syscall: "long syscall(long number, long a, long b)",
} as const;

/**
 * What {@link libc} gives. Every call returns what the C function returns: -1 on failure, with the reason in
 * {@link Libc.errno} until the next call from the same thread. A byte array is passed as it lies in memory, without a
 * copy; the caller makes sure that it is at least as long as the length it names.
 */
export interface Libc {
  open(path: string, flags: number, mode: number): number;
  close(fd: number): number;
  read(fd: number, bytes: Uint8Array, length: number): number;
  write(fd: number, bytes: Uint8Array, length: number): number;
  ioctlNumber(fd: number, request: number, argument: number): number;
  ioctlBytes(fd: number, request: number, argument: Uint8Array): number;
  socket(domain: number, type: number, protocol: number): number;
  connect(fd: number, address: Uint8Array, length: number): number;
  getsockopt(fd: number, level: number, name: number, value: Uint8Array, length: Uint8Array): number;
  setsockopt(fd: number, level: number, name: number, value: Uint8Array, length: number): number;
  send(fd: number, bytes: Uint8Array, length: number, flags: number): number;
  recv(fd: number, bytes: Uint8Array, length: number, flags: number): number;
  flock(fd: number, operation: number): number;
  /** @param descriptors `struct pollfd`, 8 bytes each: descriptor (4), events (2), what happened (2) */
  poll(descriptors: Uint8Array, count: number, milliseconds: number): number;
  prctl(option: number, a: number, b: number, c: number, d: number): number;
  /** @param limits two numbers of the size of a C long: soft and hard */
  setrlimit(resource: number, limits: Uint8Array): number;
  syscall(number: number, a: number, b: number): number;
  /** @returns the error number of the last failed call of this thread */
  errno(): number;
}

/** Flags and numbers of Linux, the same on x86-64, AArch64 and 32-bit ARM. */
export const O_RDWR = 0o2;
export const O_CLOEXEC = 0o2000000;

/** Error numbers of Linux that drivers tell apart. */
export const ERRNO = {
  ENOENT: 2,
  EINTR: 4,
  EIO: 5,
  ENXIO: 6,
  EBADF: 9,
  EAGAIN: 11,
  EACCES: 13,
  EBUSY: 16,
  ENODEV: 19,
  ENOTTY: 25,
  EPROTO: 71,
  ETIMEDOUT: 110,
  ECONNREFUSED: 111,
  EREMOTEIO: 121,
} as const;

/** The part of koffi that is used here and by the neighbours of this file. */
export type Koffi = typeof import("koffi");

let koffi: Koffi | undefined;
let functions: Libc | undefined;

/**
 * Loads koffi on first use, so that a command that needs no device never does.
 *
 * @throws ThornkeyError `NOT_SUPPORTED` when there is no koffi binary for this processor and C library
 */
export function loadKoffi(): Koffi {
  try {
    koffi ??= createRequire(import.meta.url)("koffi") as Koffi;
  } catch (cause) {
    throw new ThornkeyError(
      "NOT_SUPPORTED",
      `Native calls are not available on ${process.platform} ${process.arch}: the koffi package did not load.`,
      { hint: "Install again with npm ci, without --omit=optional: koffi's binary is an optional package.", cause },
    );
  }
  return koffi;
}

/**
 * The C library of this process, bound on first use.
 *
 * @throws ThornkeyError `NOT_SUPPORTED` when there is no koffi binary for this platform
 */
export function libc(): Libc {
  if (functions === undefined) {
    const loaded = loadKoffi();
    const library = loaded.load(null);
    const bound = Object.entries(PROTOTYPES).map(([name, prototype]) => [name, library.func(prototype)]);
    functions = { ...Object.fromEntries(bound), errno: () => loaded.errno() } as Libc;
  }
  return functions;
}

/**
 * @param errno an error number of Linux, above 0
 * @returns its name, such as `EREMOTEIO`
 */
export function errnoName(errno: number): string {
  try {
    return getSystemErrorName(-errno);
  } catch {
    return `errno ${errno}`;
  }
}
