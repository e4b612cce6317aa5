/** Small messages over Unix sockets, without the bookkeeping of Node's streams, which costs more than the system call. */
import type { Socket } from "node:net";
import { libc } from "./libc.ts";

const MSG_DONTWAIT = 0x40;
/** A peer that is gone is an error, and no signal. */
const MSG_NOSIGNAL = 0x4000;

/**
 * Hands bytes to the kernel at once where it takes them; what it does not take waits in the socket's own queue, in
 * order, and `drain` follows as ever. A connection that is broken says so by its `error` and `close`.
 *
 * @param bytes are not needed any more when this returns, and may be zeroed
 */
export function writeNow(socket: Socket, bytes: Uint8Array): void {
  if (socket.destroyed || bytes.length === 0) return;
  const fd = socket.writableLength === 0 ? descriptorOf(socket) : undefined;
  const taken = fd === undefined ? 0 : Math.max(0, libc().send(fd, bytes, bytes.length, MSG_DONTWAIT | MSG_NOSIGNAL));
  if (taken === bytes.length) return;
  const rest = new Uint8Array(bytes.subarray(taken));
  socket.write(rest, () => rest.fill(0));
}

/**
 * @returns the descriptor of a connected socket; undefined while there is none. Undocumented, and the same in every Node
 *   for ten years
 */
export function descriptorOf(socket: Socket): number | undefined {
  if (socket.connecting) return undefined;
  const fd = (socket as unknown as { _handle?: { fd?: unknown } })._handle?.fd;
  return typeof fd === "number" && fd >= 0 ? fd : undefined;
}
