/** Who is at the other end of a Unix socket, as the kernel tells (unix(7): SO_PEERCRED, SO_PEERGROUPS). */
import { createHash } from "node:crypto";
import { createReadStream, readFileSync, readlinkSync } from "node:fs";
import type { Socket } from "node:net";
import { pipeline } from "node:stream/promises";
import { Reader } from "../bytes/reader.ts";
import { ThornkeyError } from "../errors.ts";
import { loadKoffi } from "./libc.ts";

export interface Peer {
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
  /** Supplementary groups. */
  readonly groups: readonly number[];
  /** @returns whether the process that connected still runs, so that its pid is still its own */
  alive(): boolean;
  close(): void;
}

/** What program a peer is. */
export interface PeerProgram {
  /** Path of its executable, where it can be read. */
  readonly program: string | undefined;
  /** The systemd unit it runs in. */
  readonly unit: string | undefined;
  /** @returns SHA-256 of its executable, 64 hexadecimal digits, or undefined when that cannot be told */
  sha256(): Promise<string | undefined>;
}

const SOL_SOCKET = 1;
const SO_PEERCRED = 17;
const SO_PEERGROUPS = 59;
/** As many as Linux allows (NGROUPS_MAX). */
const MOST_GROUPS = 65_536;

type GetSocketOption = (fd: number, level: number, name: number, value: Uint8Array, length: Uint32Array) => number;
let getsockopt: GetSocketOption | undefined;

/**
 * @param socket connected, and not closed
 * @throws ThornkeyError `NOT_PERMITTED` when the kernel does not tell
 */
export function peerOf(socket: Socket): Peer {
  const fd = (socket as { _handle?: { fd?: number } })._handle?.fd ?? -1;
  const credentials = new Reader(option(fd, SO_PEERCRED, 12));
  const [pid, uid, gid] = [credentials.u32le(), credentials.u32le(), credentials.u32le()];
  const list = new Reader(option(fd, SO_PEERGROUPS, 4 * MOST_GROUPS));
  const groups: number[] = [];
  while (list.remaining > 0) groups.push(list.u32le());
  const started = startOf(pid);
  if (pid === 0 || started === undefined) throw unknown();
  return { ...{ pid, uid, gid, groups }, alive: () => startOf(pid) === started, close: () => {} };
}

/** @returns what can be told of a peer's program; nothing when the process has ended */
export function describeProgram(peer: Peer): PeerProgram {
  const read = (from: () => string) => {
    try {
      return from();
    } catch {
      return undefined;
    }
  };
  const executable = `/proc/${peer.pid}/exe`;
  const program = read(() => readlinkSync(executable));
  const unit = read(() => readFileSync(`/proc/${peer.pid}/cgroup`, "utf8"))?.match(
    /\/([^/\n]+\.service)(?:\/|$)/m,
  )?.[1];
  const sure = peer.alive();
  return {
    program: sure && !program?.endsWith(" (deleted)") ? program : undefined,
    unit: sure ? unit : undefined,
    async sha256() {
      const hash = createHash("sha256");
      try {
        await pipeline(createReadStream(executable), hash);
      } catch {
        return undefined;
      }
      return peer.alive() ? hash.digest("hex") : undefined;
    },
  };
}

function option(fd: number, name: number, size: number): Uint8Array {
  getsockopt ??= loadKoffi()
    .load(null)
    .func("int getsockopt(int fd, int level, int name, uint8_t *value, uint32_t *length)") as GetSocketOption;
  const value = new Uint8Array(size);
  const length = Uint32Array.of(size);
  if (fd < 0 || getsockopt(fd, SOL_SOCKET, name, value, length) !== 0) throw unknown();
  return value.subarray(0, length[0]);
}

/** When a process started, in ticks since the machine did (proc(5): stat, field 22). */
function startOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19];
  } catch {
    return undefined;
  }
}

function unknown(): ThornkeyError {
  return new ThornkeyError("NOT_PERMITTED", "the kernel does not tell who connected");
}
