/**
 * Who is at the other end of a Unix socket, as the kernel tells it: SO_PEERCRED, SO_PEERGROUPS and, where there is one,
 * a pidfd that keeps the process in view (unix(7), socket(7), pidfd_open(2)).
 *
 * The kernel tells who connected. Whoever inherits the connection, or gets it passed, speaks in that name; so rights
 * rest on uid and gid, and what is told of the program (peer-program.ts) narrows them.
 */

import { randomUUID } from "node:crypto";
import { closeSync } from "node:fs";
import { connect, createServer, type Socket } from "node:net";
import { ThornkeyError } from "../errors.ts";
import { libc } from "./libc.ts";
import { descriptorOf } from "./socket-write.ts";

export { describeProgram, type Program } from "./peer-program.ts";

export interface Peer {
  /** 0 when the process lies in a PID namespace that is not visible from here. */
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
  /** Supplementary groups. */
  readonly groups: readonly number[];
  /**
   * @returns false once the process has ended, when its number may be somebody else's, and when it cannot be told;
   *   after {@link close} always
   */
  alive(): boolean;
  /** Gives back the descriptor that keeps the process in view. May be repeated. */
  close(): void;
}

const SOL_SOCKET = 1;
const SO_PEERCRED = 17;
const SO_PEERGROUPS = 59;
/** Linux 6.5. */
const SO_PEERPIDFD = 77;
/** Linux 5.3; the same number on every processor. */
const SYS_PIDFD_OPEN = 434;
const POLLIN = 1;

/** Supplementary groups a process can have (limits.h, NGROUPS_MAX). */
const MOST_GROUPS = 65_536;
const USUAL_GROUPS = 64;

/**
 * To be called in the `connection` event, before anything is waited for: the descriptor goes when the connection does.
 *
 * @returns who connected; to be closed
 * @throws ThornkeyError `NOT_PERMITTED` when it cannot be told who is there
 */
export function peerOf(socket: Socket): Peer {
  const fd = descriptorOf(socket);
  if (fd === undefined) throw unknown("the connection has no descriptor");
  const credentials = socketOption(fd, SO_PEERCRED, 12);
  if (credentials?.length !== 12) throw unknown("the kernel does not tell of this kind of connection");
  const view = new DataView(credentials.buffer);
  const pid = view.getInt32(0, LITTLE_ENDIAN);
  const uid = view.getUint32(4, LITTLE_ENDIAN);
  const gid = view.getUint32(8, LITTLE_ENDIAN);
  // What the kernel says of a socket that nobody is connected to.
  if (uid === NOBODY_AT_ALL || gid === NOBODY_AT_ALL) throw unknown("nobody is connected");
  const groups = socketOption(fd, SO_PEERGROUPS, 4 * USUAL_GROUPS) ?? socketOption(fd, SO_PEERGROUPS, 4 * MOST_GROUPS);
  let pidfd = pidfdOf(fd, pid);
  return {
    pid,
    uid,
    gid,
    groups: groups === undefined ? [] : [...new Uint32Array(groups.buffer, 0, groups.length >> 2)],
    alive: () => pidfd !== undefined && isRunning(pidfd),
    close() {
      if (pidfd !== undefined) closeSync(pidfd);
      pidfd = undefined;
    },
  };
}

/**
 * Connects to itself, and sees itself: whether {@link peerOf} works with this Node and this kernel. To be called at
 * start, before anybody is served.
 *
 * @throws ThornkeyError `NOT_SUPPORTED` when it does not, or not within 5 seconds
 */
export async function assertPeerCredentials(): Promise<void> {
  // An abstract address leaves nothing behind, and needs no directory that can be written.
  const path = `\0thornkey-self-test-${randomUUID()}`;
  const server = createServer();
  const sockets: Socket[] = [];
  let deadline: NodeJS.Timeout | undefined;
  try {
    const peer = await new Promise<Peer>((resolve, reject) => {
      deadline = setTimeout(() => reject(unknown("nobody came")), 5_000);
      server.once("error", reject);
      server.once("connection", (socket) => {
        sockets.push(socket.on("error", reject));
        try {
          resolve(peerOf(socket));
        } catch (error) {
          reject(error);
        }
      });
      server.listen(path, () => sockets.push(connect(path).on("error", reject)));
    });
    const isMyself =
      peer.pid === process.pid && peer.uid === process.geteuid?.() && peer.gid === process.getegid?.() && peer.alive();
    peer.close();
    if (!isMyself) throw unknown("the kernel tells of somebody else");
  } catch (cause) {
    throw new ThornkeyError("NOT_SUPPORTED", "it cannot be told here who connects", {
      hint: "Linux 5.3 or later and the Node.js that the package brings are needed",
      cause,
    });
  } finally {
    clearTimeout(deadline);
    for (const socket of sockets) socket.destroy();
    server.close();
  }
}

const LITTLE_ENDIAN = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1;
/** The number -1, which no user and no group has. */
const NOBODY_AT_ALL = 0xffffffff;

/** @returns the bytes of a socket option, or undefined when the kernel has none or they do not fit */
function socketOption(fd: number, name: number, size: number): Uint8Array | undefined {
  const value = new Uint8Array(size);
  const length = Uint32Array.of(size);
  if (libc().getsockopt(fd, SOL_SOCKET, name, value, new Uint8Array(length.buffer)) !== 0) return undefined;
  return value.subarray(0, length[0]);
}

/**
 * The descriptor that stands for the process itself, not for its number. Before Linux 6.5 it can only be had by the
 * number, a moment after the connection: somebody may end in between and leave his number to another process of his.
 */
function pidfdOf(fd: number, pid: number): number | undefined {
  const told = socketOption(fd, SO_PEERPIDFD, 4);
  if (told?.length === 4) return new Int32Array(told.buffer)[0];
  if (pid <= 0) return undefined;
  const opened = libc().syscall(SYS_PIDFD_OPEN, pid, 0);
  return opened < 0 ? undefined : opened;
}

/** A pidfd becomes readable when its process ends, before its number is given out anew. */
function isRunning(pidfd: number): boolean {
  const descriptor = new Uint8Array(8);
  const view = new DataView(descriptor.buffer);
  view.setInt32(0, pidfd, LITTLE_ENDIAN);
  view.setInt16(4, POLLIN, LITTLE_ENDIAN);
  return libc().poll(descriptor, 1, 0) === 0;
}

function unknown(why: string): ThornkeyError {
  return new ThornkeyError("NOT_PERMITTED", `it cannot be told who connects: ${why}`);
}
