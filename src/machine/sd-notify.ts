/** What a service tells systemd about itself (sd_notify(3)): one datagram to the socket that NOTIFY_SOCKET names. */
import { libc } from "./libc.ts";

const AF_UNIX = 1;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0o2000000;
const MSG_NOSIGNAL = 0x4000;
const SOL_SOCKET = 1;
/** The form of SO_SNDTIMEO (Linux 5.1) whose value is two 64-bit numbers on every processor. */
const SO_SNDTIMEO_NEW = 67;
/** sun_path of sockaddr_un, in bytes. */
const PATH_SIZE = 108;
const FAMILY_SIZE = 2;
/** How long systemd may be too busy to take a message. */
const WAIT_SECONDS = 1n;

/** What can be told; a value is one line. */
export interface ServiceState {
  /** It serves now. */
  readonly READY?: 1;
  /** It reads its configuration anew; with the monotonic time in microseconds. */
  readonly RELOADING?: 1;
  readonly MONOTONIC_USEC?: number;
  /** It is about to end. */
  readonly STOPPING?: 1;
  /** It is alive, or (`trigger`) wants to be restarted. */
  readonly WATCHDOG?: 1 | "trigger";
  /** A sentence for a person. */
  readonly STATUS?: string;
  /** It asks for so much more time, in microseconds. */
  readonly EXTEND_TIMEOUT_USEC?: number;
  readonly MAINPID?: number;
}

type Environment = Readonly<Record<string, string | undefined>>;

/**
 * Tells systemd, when it has asked to be told. Waits a second at most, and never throws: a service does not fail because
 * nobody listens.
 *
 * @returns whether it was told
 */
export function notifySystemd(state: ServiceState, environment: Environment = process.env): boolean {
  const address = addressOf(environment.NOTIFY_SOCKET);
  const lines = Object.entries(state).map(([name, value]) => `${name}=${String(value).replace(/[\0\r\n]+/g, " ")}`);
  if (address === undefined || lines.length === 0) return false;
  try {
    return send(address, new TextEncoder().encode(`${lines.join("\n")}\n`));
  } catch {
    return false; // no native calls on this platform
  }
}

/**
 * @returns how often systemd wants to hear `WATCHDOG=1`, in milliseconds: half of the time after which it ends the
 *   service; undefined when it does not watch this process
 */
export function watchdogInterval(environment: Environment = process.env): number | undefined {
  const { WATCHDOG_USEC: time = "", WATCHDOG_PID: pid } = environment;
  if (!/^[1-9]\d{0,15}$/.test(time) || (pid !== undefined && pid !== String(process.pid))) return undefined;
  return Number(time) / 2000;
}

/** @returns sockaddr_un with no more bytes than it needs: in an abstract name every byte counts */
function addressOf(name: string | undefined): Uint8Array | undefined {
  if (name === undefined || !/^[/@][^\0]/.test(name)) return undefined;
  const path = new TextEncoder().encode(name);
  const isAbstract = name.startsWith("@");
  if (isAbstract) path[0] = 0;
  const length = FAMILY_SIZE + path.length + (isAbstract ? 0 : 1);
  if (length > FAMILY_SIZE + PATH_SIZE || path.includes(0, 1)) return undefined;
  const address = new Uint8Array(length);
  address.set(new Uint8Array(Uint16Array.of(AF_UNIX).buffer));
  address.set(path, FAMILY_SIZE);
  return address;
}

function send(address: Uint8Array, message: Uint8Array): boolean {
  const c = libc();
  const fd = c.socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return false;
  try {
    const wait = new Uint8Array(BigInt64Array.of(WAIT_SECONDS, 0n).buffer);
    if (c.setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO_NEW, wait, wait.length) !== 0) return false;
    if (c.connect(fd, address, address.length) !== 0) return false;
    return c.send(fd, message, message.length, MSG_NOSIGNAL) === message.length;
  } finally {
    c.close(fd);
  }
}
