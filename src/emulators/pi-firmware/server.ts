import { chmodSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import { concat } from "../../bytes/bytes.ts";
import { Reader } from "../../bytes/reader.ts";
import { makeRoom } from "../atecc508a/server.ts";
import type { Firmware } from "./firmware.ts";
import { SHORTEST, words } from "./message.ts";

/** Bytes of the longest message; the longest that anybody sends has 2084. */
const LONGEST = 65_536;

/**
 * Offers the mailbox on a Unix stream socket, to any number of connections. A request is the buffer of the ioctl, whose
 * first word is its size; a reply is an error number of Linux (a word) and, when that is 0, the buffer again.
 *
 * @throws ThornkeyError `FAILED` when something else is at `path`
 */
export async function serve(firmware: Firmware, path: string): Promise<{ close(): Promise<void> }> {
  const connections = new Set<Socket>();
  await makeRoom(path);
  const server = createServer((socket) => {
    connections.add(socket);
    let waiting: Uint8Array = new Uint8Array();
    socket.on("close", () => connections.delete(socket));
    socket.on("error", () => socket.destroy());
    socket.on("drain", () => socket.resume());
    socket.on("data", (chunk) => {
      waiting = concat(waiting, chunk);
      while (waiting.length >= 4) {
        const size = new Reader(waiting).u32le();
        if (size < SHORTEST || size > LONGEST) return void socket.destroy();
        if (waiting.length < size) break;
        const answer = firmware.ioctl(waiting.slice(0, size));
        waiting = waiting.slice(size);
        socket.write(typeof answer === "number" ? words(answer) : concat(words(0), answer));
      }
      if (socket.writableNeedDrain) socket.pause();
    });
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(path, () => resolve());
  });
  chmodSync(path, 0o600); // what is behind the socket holds a private key
  return {
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of connections) socket.destroy();
      }),
  };
}
