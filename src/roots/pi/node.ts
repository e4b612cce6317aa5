/**
 * The node of the firmware's mailbox: /dev/vcio_crypto, through which a newer kernel lets only the crypto service, or
 * /dev/vcio, through which it lets everything.
 */
import { constants } from "node:os";
import { Writer } from "../../bytes/writer.ts";
import { libc, O_CLOEXEC } from "../../machine/libc.ts";
import { losesNode, unopened } from "./errors.ts";
import type { Mailbox } from "./mailbox.ts";

const O_RDONLY = 0;

/** In the order in which they are tried. */
const NODES = ["/dev/vcio_crypto", "/dev/vcio"] as const;

/** _IOWR(100, 0, char *): the size in it is that of a pointer, and not of what it points to. */
const PROPERTY = ["arm", "ia32", "mips", "mipsel"].includes(process.arch) ? 0xc004_6400 : 0xc008_6400;

/** Where the firmware is reached. */
export interface Node extends Mailbox {
  /** Opens it unless it is open. @returns its path. @throws ThornkeyError `ROOT_UNAVAILABLE` */
  open(): string;
  close(): void;
}

/** Before the path of an emulator's socket. */
const EMULATED = "unix:";

/**
 * @param name a path, `unix:` and the path of an emulator's socket, or undefined for the first node there is
 * @param patience milliseconds that an emulator may take
 */
export function openNode(name: string | undefined, patience: number): Node {
  return name?.startsWith(EMULATED) ? socketNode(name.slice(EMULATED.length), patience) : deviceNode(name);
}

/**
 * A node that is opened when it is needed, and again after it was lost. All of it blocks.
 *
 * @param path default: the first there is
 */
export function deviceNode(path?: string): Node {
  const c = libc();
  const candidates = path === undefined ? NODES : [path];
  let [fd, opened] = [-1, ""];

  function close(): void {
    if (fd >= 0) c.close(fd);
    fd = -1;
  }

  function open(): string {
    if (fd >= 0) return opened;
    const failures: number[] = [];
    for (const candidate of candidates) {
      fd = c.open(candidate, O_RDONLY | O_CLOEXEC, 0);
      if (fd >= 0) {
        opened = candidate;
        return opened;
      }
      failures.push(c.errno());
    }
    const { ENOENT } = constants.errno;
    throw unopened(candidates, failures.find((errno) => errno !== ENOENT) ?? ENOENT);
  }

  return {
    open,
    ioctl(message) {
      open();
      if (c.ioctlBytes(fd, PROPERTY, message) >= 0) return 0;
      const errno = c.errno();
      if (losesNode(errno)) close();
      return errno;
    },
    close,
  };
}

const AF_UNIX = 1;
const SOCK_STREAM = 1;
const MSG_NOSIGNAL = 0x4000;
const SOL_SOCKET = 1;
/** The forms of SO_RCVTIMEO and SO_SNDTIMEO (Linux 5.1) whose value is two 64-bit numbers on every processor. */
const TIMEOUTS = [66, 67] as const;
/** sockaddr_un: family (2 bytes), path (108 bytes with its final zero). */
const PATH_SIZE = 108;
const NO_EMULATOR = "check the path, and that 'thornkey emulator pi-firmware' runs there";

/**
 * An emulated firmware on its socket: a request is the message, a reply an error number of Linux and, when that is 0, the
 * message again.
 *
 * @param patience milliseconds that one answer may take
 */
export function socketNode(path: string, patience: number): Node {
  const c = libc();
  let fd = -1;

  function close(): void {
    if (fd >= 0) c.close(fd);
    fd = -1;
  }

  function open(): string {
    if (fd >= 0) return path;
    const name = Buffer.from(path);
    if (name.length >= PATH_SIZE || name.includes(0)) throw unopened([path], constants.errno.ENAMETOOLONG, NO_EMULATOR);
    const time = new Uint8Array(16);
    const view = new DataView(time.buffer);
    view.setBigInt64(0, BigInt(Math.floor(patience / 1000)), true);
    view.setBigInt64(8, BigInt((patience % 1000) * 1000), true);
    const address = new Writer(2 + PATH_SIZE)
      .u16le(AF_UNIX)
      .put(name)
      .zeros(PATH_SIZE - name.length)
      .done();
    fd = c.socket(AF_UNIX, SOCK_STREAM | O_CLOEXEC, 0);
    const ready =
      fd >= 0 &&
      TIMEOUTS.every((option) => c.setsockopt(fd, SOL_SOCKET, option, time, time.length) === 0) &&
      c.connect(fd, address, address.length) === 0;
    if (ready) return path;
    const errno = c.errno();
    close();
    throw unopened([path], errno, NO_EMULATOR);
  }

  /** Fails with the error number of a lost node. */
  function carry(bytes: Uint8Array, move: (rest: Uint8Array) => number, deadline: number): number {
    for (let done = 0; done < bytes.length; ) {
      const count = move(bytes.subarray(done));
      if (count > 0) done += count;
      else if (count === 0) return constants.errno.EIO;
      else if (c.errno() === constants.errno.EAGAIN) return constants.errno.ETIMEDOUT;
      else if (c.errno() !== constants.errno.EINTR) return constants.errno.EIO;
      if (done < bytes.length && performance.now() >= deadline) return constants.errno.ETIMEDOUT;
    }
    return 0;
  }

  return {
    open,
    ioctl(message) {
      open();
      const deadline = performance.now() + patience;
      const status = new Uint8Array(4);
      const send = (rest: Uint8Array) => c.send(fd, rest, rest.length, MSG_NOSIGNAL);
      const receive = (rest: Uint8Array) => c.recv(fd, rest, rest.length, 0);
      const lost = carry(message, send, deadline) || carry(status, receive, deadline);
      if (lost !== 0) {
        close();
        return lost;
      }
      const errno = new DataView(status.buffer).getUint32(0, true);
      const answered = errno === 0 ? carry(message, receive, deadline) : errno & 0xfff;
      if (answered !== 0 && losesNode(answered)) close();
      return errno !== 0 && answered === 0 ? constants.errno.EIO : answered;
    },
    close,
  };
}
