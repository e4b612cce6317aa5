/**
 * Who is at the other end of a Unix socket, as the kernel tells it: SO_PEERCRED, SO_PEERGROUPS and, where there is one,
 * a pidfd that keeps the process in view (unix(7), pidfd_open(2)).
 */
import { createHash } from "node:crypto";
import { closeSync, createReadStream, readFileSync, readlinkSync, statSync } from "node:fs";
import type { Socket } from "node:net";
import { ThornkeyError } from "../errors.ts";
import { libc } from "./libc.ts";

export interface Peer {
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
  /** Supplementary groups. */
  readonly groups: readonly number[];
  /** @returns false once the process has ended; its number may then be somebody else's */
  alive(): boolean;
  close(): void;
}

const SOL_SOCKET = 1;
const SO_PEERCRED = 17;
const SO_PEERGROUPS = 59;
const SO_PEERPIDFD = 77;

/** Supplementary groups a process can have (limits.h, NGROUPS_MAX). */
const GROUPS_AT_MOST = 65_536;

/**
 * To be called while the connection is new: the descriptor is gone when the peer is.
 *
 * @throws ThornkeyError `NOT_PERMITTED` when it cannot be told who is there
 */
export function peerOf(socket: Socket): Peer {
  // Undocumented, and the same in every Node since 0.x; without it nobody is let in.
  const fd = (socket as unknown as { _handle?: { fd?: number } })._handle?.fd;
  if (fd === undefined || fd < 0) throw unknown("the connection has no descriptor");
  const credentials = option(fd, SO_PEERCRED, 12);
  if (credentials?.length !== 12) throw unknown("the kernel does not tell");
  const [pid, uid, gid] = new Int32Array(credentials.slice().buffer) as unknown as [number, number, number];
  const groups = option(fd, SO_PEERGROUPS, 4 * 64) ?? option(fd, SO_PEERGROUPS, 4 * GROUPS_AT_MOST);
  const handle = option(fd, SO_PEERPIDFD, 4);
  let pidfd = handle?.length === 4 ? (new Int32Array(handle.slice().buffer)[0] ?? -1) : -1;
  return {
    pid,
    uid: uid >>> 0,
    gid: gid >>> 0,
    groups: groups === undefined ? [] : [...new Uint32Array(groups.slice().buffer)],
    // A process that ended has no more threads to list; a pid that was given out anew has another start.
    alive: () => (pidfd >= 0 ? isRunning(pidfd) : exists(pid)),
    close() {
      if (pidfd >= 0) closeSync(pidfd);
      pidfd = -1;
    },
  };
}

/** @returns the bytes of a socket option, or undefined when the kernel has none or they do not fit */
function option(fd: number, name: number, size: number): Uint8Array | undefined {
  const value = new Uint8Array(size);
  const length = new Uint8Array(new Uint32Array([size]).buffer);
  if (libc().getsockopt(fd, SOL_SOCKET, name, value, length) !== 0) return undefined;
  return value.subarray(0, new Uint32Array(length.buffer)[0]);
}

/** The fdinfo of a pidfd says `Pid: -1` once the process has ended (proc_pid_fdinfo(5)). */
function isRunning(pidfd: number): boolean {
  try {
    return !/^Pid:\s+-1$/m.test(readFileSync(`/proc/self/fdinfo/${pidfd}`, "latin1"));
  } catch {
    return false;
  }
}

function exists(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

function unknown(why: string): ThornkeyError {
  return new ThornkeyError("NOT_PERMITTED", `it cannot be told who connects: ${why}`);
}

/** What is running there. */
export interface Program {
  /** Path of its executable. */
  readonly program: string | undefined;
  /** The systemd unit it belongs to. */
  readonly unit: string | undefined;
  /** @returns SHA-256 of its executable, 64 hexadecimal digits, or undefined when that cannot be told */
  sha256(): Promise<string | undefined>;
}

/**
 * @param proc the directory that is `/proc`
 * @returns what can be told of a peer that is still there; nothing of one that has ended
 */
export function describeProgram(peer: Pick<Peer, "pid" | "alive">, proc = "/proc"): Program {
  const program = attempt(() => readlinkSync(`${proc}/${peer.pid}/exe`));
  const unit = attempt(() => unitOf(readFileSync(`${proc}/${peer.pid}/cgroup`, "utf8")));
  // Its number may have gone to another process while we looked.
  const sha256 = () => programSha256(peer, proc);
  return peer.alive() ? { program, unit, sha256 } : { program: undefined, unit: undefined, sha256 };
}

/** @param cgroup contents of /proc/PID/cgroup (cgroups(7)). @returns the innermost unit that systemd started */
export function unitOf(cgroup: string): string | undefined {
  for (const line of cgroup.split("\n")) {
    const match = /^(?:0:|\d+:name=systemd):(?<path>\/.*)$/.exec(line);
    const unit = match?.groups?.path?.split("/").findLast((part) => /\.(?:service|scope)$/.test(part));
    if (unit !== undefined && unit.length <= 128) return unit;
  }
  return undefined;
}

const digests = new Map<string, string>();

/**
 * @returns SHA-256 of the executable of a peer, hexadecimal; undefined when it cannot be read or the peer has ended.
 *   The file is opened through /proc/PID/exe, so it is the one that runs, whatever lies at its path now.
 */
async function programSha256(peer: Pick<Peer, "pid" | "alive">, proc = "/proc"): Promise<string | undefined> {
  const path = `${proc}/${peer.pid}/exe`;
  try {
    const { dev, ino, size, mtimeMs, ctimeMs } = statSync(path);
    const identity = [dev, ino, size, mtimeMs, ctimeMs].join(" ");
    let digest = digests.get(identity);
    if (digest === undefined) {
      const hash = createHash("sha256");
      for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer);
      digest = hash.digest("hex");
      if (digests.size > 1000) digests.clear();
      digests.set(identity, digest);
    }
    return peer.alive() ? digest : undefined;
  } catch {
    return undefined;
  }
}

function attempt<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}
