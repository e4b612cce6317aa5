import { ThornkeyError } from "../errors.ts";
import type { I2cBus } from "./i2c-bus.ts";
import { ERRNO, errnoName, libc } from "./libc.ts";

const AF_UNIX = 1;
const SOCK_STREAM = 1;
const SOCK_CLOEXEC = 0o2000000;
const MSG_NOSIGNAL = 0x4000;
const MSG_DONTWAIT = 0x40;
const MSG_PEEK = 0x02;
const SOL_SOCKET = 1;
/** The forms of SO_RCVTIMEO and SO_SNDTIMEO (Linux 5.1) whose value is two 64-bit numbers on every processor. */
const SO_RCVTIMEO_NEW = 66;
const SO_SNDTIMEO_NEW = 67;

/** sockaddr_un: family (2 bytes), path (108 bytes with its final zero). */
const FAMILY_SIZE = 2;
const PATH_SIZE = 108;

const OP_WRITE = 0x57;
const OP_READ = 0x52;
const ACK = 0;
const NACK = 1;
const REQUEST_HEADER = 4;
const REPLY_HEADER = 3;
const MOST_BYTES = 0xffff;
const BITS_PER_MILLISECOND = 100;

/**
 * The bus of an emulated chip: one request and one reply on a Unix stream socket for each transaction (see
 * docs/emulator.md). In the good case a transaction is one `send` and one `recv`.
 *
 * @param path of the socket; less than 108 bytes
 * @param options.timeoutMilliseconds longest wait for the emulator to take a request, and again for it to answer;
 * at least 1, default 2000
 * @throws ThornkeyError `ROOT_UNAVAILABLE` when nobody listens there. Transactions throw the same when the connection
 * is lost, answers too late or answers nonsense; the connection is closed then and every later transaction throws.
 */
export function openI2cSocket(path: string, options: { timeoutMilliseconds?: number } = {}): I2cBus {
  const timeout = Math.max(1, options.timeoutMilliseconds ?? 2000);
  const c = libc();
  let fd = connect(path, timeout);
  /** The last transaction took about what it takes on a real bus: the emulator keeps time. */
  let timed = false;
  let request = new Uint8Array(REQUEST_HEADER + 256);
  let reply = new Uint8Array(REPLY_HEADER + 256);

  function fail(what: string): never {
    closeNow();
    throw new ThornkeyError("ROOT_UNAVAILABLE", `The emulated bus at ${path} ${what}.`, {
      hint: "Check that the emulator is running, and try again.",
    });
  }

  function failErrno(deadline: number): void {
    const errno = c.errno();
    if (errno === ERRNO.EINTR && performance.now() < deadline) return;
    if (errno === ERRNO.EINTR || errno === ERRNO.EAGAIN) fail(`did not answer within ${timeout} ms`);
    fail(`was lost (${errnoName(errno)})`);
  }

  function send(length: number, deadline: number): void {
    let rest = request;
    let sent = 0;
    while (sent < length) {
      const count = c.send(fd, rest, length - sent, MSG_NOSIGNAL);
      if (count < 0) failErrno(deadline);
      else {
        sent += count;
        rest = request.subarray(sent);
        if (sent < length && performance.now() >= deadline) fail(`did not answer within ${timeout} ms`);
      }
    }
  }

  /** Receives a reply of at most `most` data bytes. @returns the number of data bytes, or undefined for NACK */
  function receive(most: number, deadline: number): number | undefined {
    let rest = reply;
    let received = 0;
    let wanted = REPLY_HEADER + most;
    while (received < wanted) {
      const count = c.recv(fd, rest, wanted - received, 0);
      if (count === 0) fail("was closed by the emulator");
      if (count < 0) failErrno(deadline);
      else {
        received += count;
        rest = reply.subarray(received);
        if (received >= REPLY_HEADER) {
          const announced = (reply[1] ?? 0) | ((reply[2] ?? 0) << 8);
          const ack = reply[0];
          if (ack !== ACK && ack !== NACK) fail("answered nonsense: neither ACK nor NACK");
          if (announced > (ack === ACK ? most : 0)) fail(`answered nonsense: ${announced} bytes, ${most} asked`);
          wanted = REPLY_HEADER + announced;
          if (received > wanted) fail("answered nonsense: more bytes than announced");
        }
        if (received < wanted && performance.now() >= deadline) fail(`did not answer within ${timeout} ms`);
      }
    }
    return reply[0] === ACK ? wanted - REPLY_HEADER : undefined;
  }

  /**
   * Waits for a reply that a timed emulator gives after the time of the transaction on a 100 kHz bus. To be woken by the
   * kernel would cost a good part of that time again, so it looks until a little after, and blocks only then.
   */
  function lookForReply(start: number, busTime: number): void {
    const end = start + busTime * 1.5;
    while (performance.now() < end) {
      if (c.recv(fd, reply, 1, MSG_DONTWAIT | MSG_PEEK) >= 0) return;
    }
  }

  function transact(op: number, address: number, length: number, payload: Uint8Array | undefined): number | undefined {
    if (fd < 0) fail("is closed");
    checkRange("address", address, 0x7f);
    checkRange("length", length, MOST_BYTES);
    const size = REQUEST_HEADER + (payload?.length ?? 0);
    if (request.length < size) request = new Uint8Array(size);
    request[0] = op;
    request[1] = address;
    request[2] = length & 0xff;
    request[3] = length >> 8;
    if (payload !== undefined) request.set(payload, REQUEST_HEADER);
    const deadline = performance.now() + timeout;
    const busTime = (9 * (length + 1) + 2) / BITS_PER_MILLISECOND;
    send(size, deadline);
    request.fill(0, REQUEST_HEADER, size); // keys pass through here, and answers that are secret
    const start = performance.now();
    if (timed) lookForReply(start, busTime);
    const count = receive(payload === undefined ? length : 0, deadline);
    const took = performance.now() - start;
    if (count !== undefined) timed = took > busTime * 0.95 && took < busTime * 3;
    return count;
  }

  function closeNow(): void {
    if (fd >= 0) c.close(fd);
    fd = -1;
  }

  return {
    write: (address, bytes) => transact(OP_WRITE, address, bytes.length, bytes) !== undefined,
    read(address, length) {
      if (reply.length < REPLY_HEADER + length) reply = new Uint8Array(REPLY_HEADER + length);
      const count = transact(OP_READ, address, length, undefined);
      if (count === undefined) return undefined;
      const bytes = reply.slice(REPLY_HEADER, REPLY_HEADER + count);
      reply.fill(0, 0, REPLY_HEADER + count);
      return bytes;
    },
    close: closeNow,
  };
}

/** @returns the descriptor of a connected socket whose calls give up after `timeout` milliseconds */
function connect(path: string, timeout: number): number {
  const c = libc();
  const name = Buffer.from(path);
  if (name.length >= PATH_SIZE || name.length === 0 || name.includes(0)) {
    throw new ThornkeyError("ROOT_UNAVAILABLE", `${path} cannot be the path of a socket.`, {
      hint: `A socket path is 1 to ${PATH_SIZE - 1} bytes long; choose a shorter one.`,
    });
  }
  const fd = c.socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) throw unreachable(path, c.errno());
  const time = new Uint8Array(16);
  const view = new DataView(time.buffer);
  view.setBigInt64(0, BigInt(Math.floor(timeout / 1000)), true);
  view.setBigInt64(8, BigInt(Math.floor((timeout % 1000) * 1000)), true);
  const address = new Uint8Array(FAMILY_SIZE + PATH_SIZE);
  address[0] = AF_UNIX;
  address.set(name, FAMILY_SIZE);
  if (
    c.setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO_NEW, time, time.length) < 0 ||
    c.setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO_NEW, time, time.length) < 0 ||
    c.connect(fd, address, address.length) < 0
  ) {
    const errno = c.errno();
    c.close(fd);
    throw unreachable(path, errno);
  }
  return fd;
}

function unreachable(path: string, errno: number): ThornkeyError {
  return new ThornkeyError("ROOT_UNAVAILABLE", `No emulated bus at ${path} (${errnoName(errno)}).`, {
    hint: HINTS.get(errno) ?? "Check the path, and that the emulator is running.",
  });
}

const HINTS = new Map<number, string>([
  [ERRNO.ENOENT, "There is no such socket: start the emulator, or correct the path."],
  [ERRNO.ECONNREFUSED, "The socket is there but nobody listens: start the emulator again."],
  [ERRNO.EACCES, "This user may not use that socket: check its owner and mode."],
  [ERRNO.EAGAIN, "The emulator is too busy to accept a connection: try again."],
]);

function checkRange(what: string, value: number, most: number): void {
  if (!Number.isInteger(value) || value < 0 || value > most) {
    throw new RangeError(`${what} ${value} is not an integer from 0 to ${most}`);
  }
}
