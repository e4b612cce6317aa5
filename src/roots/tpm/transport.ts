/**
 * Carries one command to a TPM and its answer back, with calls that block: it belongs into the thread that owns the TPM.
 * The kernel's device takes a command with one write and gives its answer with one read; the data socket of swtpm carries
 * the same bytes as a stream.
 */
import { closeSync, constants, openSync } from "node:fs";
import { ThornkeyError } from "../../errors.ts";
import { ERRNO, errnoName, libc, O_CLOEXEC } from "../../machine/libc.ts";
import { LARGEST } from "./codec.ts";
import type { TpmLocation } from "./location.ts";

export interface TpmTransport {
  /**
   * @param command as the specification lays it out
   * @param longest milliseconds until the answer must be there
   * @param meanwhile called once the command is on its way
   * @returns the answer, in an array that the next call uses again
   * @throws ThornkeyError `ROOT_UNAVAILABLE`: what the TPM did with the command is not known; the transport is closed
   */
  transmit(command: Uint8Array, longest: number, meanwhile?: () => void): Uint8Array;
  /** Others use this TPM as well: a resource manager keeps apart what is whose, and takes away what is left over. */
  readonly shared: boolean;
  close(): void;
}

const POLLIN = 0x1;
const POLLOUT = 0x4;
const MSG_NOSIGNAL = 0x4000;
const MSG_DONTWAIT = 0x40;
const AF_UNIX = 1;
const SOCK_STREAM = 1;
const SOL_SOCKET = 1;
const SO_RCVTIMEO = 20;
/** sun_path of Linux. */
const PATH_SIZE = 108;
/** Tag, size, code. */
const HEADER = 10;

/** @throws ThornkeyError `ROOT_UNAVAILABLE` */
export function openTransport(location: TpmLocation): TpmTransport {
  return location.kind === "device" ? openDevice(location.path) : openSocket(location.path);
}

/**
 * While the driver waits for the TPM the kernel holds this descriptor's lock, and poll does not come back either, whatever
 * its limit. Then only the thread's owner notices, and ends the thread; the kernel lets go of it when the driver gives up.
 */
function openDevice(path: string): TpmTransport {
  const c = libc();
  const line = lineOver(deviceDescriptor(path), path, closeSync);
  const answer = new Uint8Array(LARGEST);
  return {
    shared: true,
    close: line.close,
    transmit(command, longest, meanwhile) {
      const deadline = performance.now() + longest;
      if (c.write(line.descriptor(), command, command.length) !== command.length) line.fail(c.errno());
      meanwhile?.();
      line.wait(POLLIN, deadline);
      const length = c.read(line.descriptor(), answer, answer.length);
      if (length < 0) line.fail(c.errno());
      if (length < HEADER || sizeIn(answer) !== length) line.nonsense();
      return answer.subarray(0, length);
    },
  };
}

/**
 * Opened by Node, which closes it when the thread is ended over a command: a session that stayed behind in a descriptor of
 * nobody would in the end stop the sessions of all programs (TPM_RC_CONTEXT_GAP).
 */
function deviceDescriptor(path: string): number {
  try {
    return openSync(path, constants.O_RDWR | constants.O_NONBLOCK);
  } catch (error) {
    throw cannotOpen(path, -((error as NodeJS.ErrnoException).errno ?? 0));
  }
}

function openSocket(path: string): TpmTransport {
  const c = libc();
  const name = Buffer.from(path);
  if (name.length >= PATH_SIZE) throw new ThornkeyError("USAGE", `${path} is too long for the path of a socket`);
  const fd = c.socket(AF_UNIX, SOCK_STREAM | O_CLOEXEC, 0);
  const address = new Uint8Array(2 + PATH_SIZE);
  address[0] = AF_UNIX;
  address.set(name, 2);
  if (fd < 0 || c.connect(fd, address, address.length) < 0) {
    const errno = c.errno();
    if (fd >= 0) c.close(fd);
    throw cannotOpen(path, errno);
  }
  const line = lineOver(fd, path, c.close);
  const answer = new Uint8Array(LARGEST);
  let patience = -1;
  /** The kernel itself ends a wait, which saves asking it before each. @param milliseconds of one recv */
  const waitAtMost = (milliseconds: number) => {
    if (milliseconds === patience) return;
    if (c.setsockopt(line.descriptor(), SOL_SOCKET, SO_RCVTIMEO, timeval(milliseconds), 2 * WORD) < 0) {
      line.fail(c.errno());
    }
    patience = milliseconds;
  };
  return {
    shared: false,
    close: line.close,
    transmit(command, longest, meanwhile) {
      const deadline = performance.now() + longest;
      waitAtMost(longest);
      for (let sent = 0; sent < command.length; ) {
        const count = c.send(
          line.descriptor(),
          sent === 0 ? command : command.subarray(sent),
          command.length - sent,
          MSG_NOSIGNAL | MSG_DONTWAIT,
        );
        if (count > 0) sent += count;
        else if (c.errno() === ERRNO.EAGAIN) line.wait(POLLOUT, deadline);
        else line.fail(c.errno());
      }
      meanwhile?.();
      let received = 0;
      let wanted = HEADER;
      while (received < wanted) {
        const room = received === 0 ? answer : answer.subarray(received);
        const count = c.recv(line.descriptor(), room, room.length, 0);
        if (count < 0) {
          const errno = c.errno();
          if (errno !== ERRNO.EINTR && errno !== ERRNO.EAGAIN) line.fail(errno);
          line.mustBeBefore(deadline);
          continue;
        }
        if (count === 0) line.fail(0);
        received += count;
        if (received < wanted) {
          // The rest of a piece has only what is left of the time.
          line.mustBeBefore(deadline);
          waitAtMost(Math.max(1, Math.ceil(deadline - performance.now())));
        }
        if (received >= HEADER) {
          wanted = sizeIn(answer);
          if (wanted < HEADER || wanted > answer.length || received > wanted) line.nonsense();
        }
      }
      return answer.subarray(0, received);
    },
  };
}

/** Bytes of a C long here. */
const WORD = /64|s390x|riscv64/.test(process.arch) ? 8 : 4;

/** struct timeval: seconds and microseconds. */
function timeval(milliseconds: number): Uint8Array {
  const bytes = new Uint8Array(2 * WORD);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, Math.floor(milliseconds / 1000), true);
  view.setUint32(WORD, (milliseconds % 1000) * 1000, true);
  return bytes;
}

/** @returns the size in an answer's head */
function sizeIn(answer: Uint8Array): number {
  return new DataView(answer.buffer, answer.byteOffset + 2, 4).getUint32(0);
}

/** A descriptor that is closed for good with the first failure: what comes after it would be another command's answer. */
function lineOver(opened: number, path: string, closeDescriptor: (fd: number) => unknown) {
  const c = libc();
  let fd = opened;
  const watched = new Uint8Array(8);
  const view = new DataView(watched.buffer);
  const close = () => {
    if (fd >= 0) closeDescriptor(fd);
    fd = -1;
  };
  const end = (why: string): never => {
    close();
    throw new ThornkeyError("ROOT_UNAVAILABLE", `the TPM at ${path} ${why}`);
  };
  return {
    close,
    descriptor: () => fd,
    fail: (errno: number): never =>
      end(errno === 0 ? "closed the connection" : `does not answer (${errnoName(errno)})`),
    nonsense: (): never => end("answers what no TPM answers"),
    /** @throws ThornkeyError `ROOT_UNAVAILABLE` */
    mustBeBefore(deadline: number): void {
      if (performance.now() >= deadline) end("does not answer in time");
    },
    /** Until something can be read or written. */
    wait(events: number, deadline: number): void {
      for (;;) {
        if (fd < 0) end("was closed");
        view.setInt32(0, fd, true);
        view.setInt16(4, events, true);
        view.setInt16(6, 0, true);
        const left = Math.ceil(deadline - performance.now());
        if (left <= 0) end("does not answer in time");
        const ready = c.poll(watched, 1, left);
        if (ready > 0) return;
        if (ready < 0 && c.errno() !== ERRNO.EINTR) end(`does not answer (${errnoName(c.errno())})`);
      }
    },
  };
}

function cannotOpen(path: string, errno: number): ThornkeyError {
  return new ThornkeyError("ROOT_UNAVAILABLE", `no TPM at ${path} (${errnoName(errno)})`, {
    hint: HINTS.get(errno) ?? "check the path, and 'thornkey doctor'",
  });
}

const HINTS = new Map<number, string>([
  [ERRNO.ENOENT, "is its driver loaded? On a Raspberry Pi: dtparam=spi=on and dtoverlay=tpm-slb9670 in config.txt"],
  [ERRNO.EACCES, "this user may not use it: put him into the group tss, or let 'thornkey setup' write the udev rule"],
  [ERRNO.ECONNREFUSED, "the socket is there but nobody listens: start swtpm again"],
  [ERRNO.EBUSY, "another program has it open"],
]);
