/**
 * What runs at the other end of a socket. It narrows what uid and gid allow, and proves less than they do: a process
 * may become another program after it has connected (execve(2)), and a user's own programs can be made to do anything.
 *
 * Linux shows the executable of another user's process only to root and to CAP_SYS_PTRACE (proc_pid_exe(5)). The unit
 * is shown to everybody.
 */
import { createHash } from "node:crypto";
import { constants, readFileSync, readlinkSync, statSync } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { type ControlGroup, parseControlGroup } from "./control-group.ts";

/** Everything is undefined that could not be read, or not while the peer was certainly still there. */
export interface Program extends ControlGroup {
  /**
   * Path of the executable, where the very file that runs lies at this path for us too. Otherwise undefined: after it
   * was removed or replaced, and in a mount namespace in which somebody put his own file at a path of good name.
   */
  readonly program?: string | undefined;
  /**
   * SHA-256 of the contents of the executable, 64 hexadecimal digits. It is read when this is called, while the peer
   * is not closed, and remembered for as long as the file is the same. It never rejects.
   */
  sha256(): Promise<string | undefined>;
}

/** What is needed of a peer. */
export interface Process {
  readonly pid: number;
  alive(): boolean;
}

/** An executable is never longer; of a longer one there is no digest. */
const MOST_BYTES = 2 ** 29;
const CHUNK_BYTES = 1 << 18;
const MOST_REMEMBERED = 256;
/** Within this time after a change, a file may change again without another time of change (file systems keep ticks). */
const RECENT_NANOSECONDS = 2_000_000_000n;

/** Digests by what identifies a file and its contents. */
const remembered = new Map<string, string>();
const underway = new Map<string, Promise<string | undefined>>();

/** @param proc the directory that is `/proc` */
export function describeProgram(peer: Process, proc = "/proc"): Program {
  const folder = `${proc}/${peer.pid}`;
  const program = attempt(() => programPath(`${folder}/exe`));
  const group = attempt(() => parseControlGroup(readFileSync(`${folder}/cgroup`, "latin1"))) ?? {};
  const sha256 = () => programSha256(peer, folder);
  // Its number may have gone to another process while we looked.
  return peer.alive() ? { program, ...group, sha256 } : { sha256 };
}

function programPath(exe: string): string | undefined {
  const path = readlinkSync(exe);
  const [running, seen] = [statSync(exe, { bigint: true }), statSync(path, { bigint: true })];
  return running.dev === seen.dev && running.ino === seen.ino ? path : undefined;
}

/** The file is opened through /proc/PID/exe, so it is the one that runs, whatever lies at its path now. */
async function programSha256(peer: Process, folder: string): Promise<string | undefined> {
  let file: FileHandle | undefined;
  try {
    file = await open(`${folder}/exe`, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
    const digest = peer.alive() ? await digestOf(file) : undefined;
    return peer.alive() ? digest : undefined;
  } catch {
    return undefined;
  } finally {
    await file?.close().catch(() => {});
  }
}

async function digestOf(file: FileHandle): Promise<string | undefined> {
  const { identity, changed } = await identityOf(file);
  const known = remembered.get(identity);
  if (known !== undefined) return known;
  // Many connections of one program have it read once.
  const reading = underway.get(identity) ?? hashOf(file).finally(() => underway.delete(identity));
  underway.set(identity, reading);
  const digest = await reading;
  if (digest === undefined || (await identityOf(file)).identity !== identity) return undefined;
  if (BigInt(Date.now()) * 1_000_000n - changed > RECENT_NANOSECONDS) remember(identity, digest);
  return digest;
}

async function hashOf(file: FileHandle): Promise<string | undefined> {
  const hash = createHash("sha256");
  const chunk = new Uint8Array(CHUNK_BYTES);
  for (let length = 0; length <= MOST_BYTES; ) {
    const { bytesRead } = await file.read(chunk, 0, chunk.length, length);
    if (bytesRead === 0) return hash.digest("hex");
    hash.update(chunk.subarray(0, bytesRead));
    length += bytesRead;
  }
  return undefined;
}

/** Whoever writes to a file cannot keep its time of change (ctime), unless he may set the clock. */
async function identityOf(file: FileHandle) {
  const stats = await file.stat({ bigint: true });
  if (!stats.isFile()) throw new Error("not a file");
  const { dev, ino, size, mtimeNs, ctimeNs } = stats;
  return { identity: [dev, ino, size, mtimeNs, ctimeNs].join(" "), changed: ctimeNs };
}

function remember(identity: string, digest: string): void {
  const [oldest] = remembered.keys();
  if (remembered.size >= MOST_REMEMBERED && oldest !== undefined) remembered.delete(oldest);
  remembered.set(identity, digest);
}

function attempt<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}
