import { fork } from "node:child_process";
import { once } from "node:events";
import { createServer, type Socket } from "node:net";
import { fileURLToPath } from "node:url";

/**
 * A server of the emulator's framing that knows one thing: address 0x60 gives back what was last written to it, padded
 * with FF, and every other address is not acknowledged. It runs in a process of its own, because the bus under test
 * blocks. A manner other than `right` is what a broken peer does.
 */
export type Manner =
  | "right"
  | "one byte at a time"
  | "silent"
  | "close on request"
  | "close in the middle of the answer"
  | "half an answer"
  | "ack 2"
  | "more than asked"
  | "data after NACK"
  | "more than announced"
  | "short";

/** Starts the server. @returns a function that ends it */
export async function startToyBus(path: string, manner: Manner): Promise<() => Promise<void>> {
  const child = fork(fileURLToPath(import.meta.url), [path, manner], { execArgv: [] });
  await once(child, "message");
  return async () => {
    if (child.kill("SIGKILL")) await once(child, "exit");
  };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) serve(process.argv[2] ?? "", process.argv[3] as Manner);

function serve(path: string, manner: Manner): void {
  let stored: Buffer = Buffer.alloc(0);
  const server = createServer((socket) => {
    let input: Buffer = Buffer.alloc(0);
    socket.on("error", () => {});
    socket.on("data", (chunk) => {
      input = Buffer.concat([input, chunk]);
      while (input.length >= 4) {
        const isWrite = input[0] === 0x57;
        const length = input.readUInt16LE(2);
        const end = isWrite ? 4 + length : 4;
        if (input.length < end) return;
        const known = input[1] === 0x60;
        if (isWrite && known) stored = Buffer.from(input.subarray(4, end));
        input = input.subarray(end);
        const data = isWrite || !known ? Buffer.alloc(0) : Buffer.alloc(length, 0xff);
        stored.copy(data);
        void answer(socket, manner, frame(known ? 0 : 1, data.length, data));
      }
    });
  });
  server.listen(path, () => process.send?.("ready"));
  process.on("disconnect", () => process.exit());
}

function frame(ack: number, length: number, data: Uint8Array): Buffer {
  return Buffer.from([ack, length & 0xff, length >> 8, ...data]);
}

async function answer(socket: Socket, manner: Manner, reply: Buffer): Promise<void> {
  const data = reply.subarray(3);
  switch (manner) {
    case "right":
      socket.write(reply);
      break;
    case "one byte at a time":
      for (const byte of reply) {
        socket.write(Buffer.of(byte));
        await new Promise((resolve) => setTimeout(resolve, 1));
      }
      break;
    case "silent":
      break;
    case "close on request":
      socket.destroy();
      break;
    case "close in the middle of the answer":
      socket.end(reply.subarray(0, -1));
      break;
    case "half an answer":
      socket.write(reply.subarray(0, -1));
      break;
    case "ack 2":
      socket.write(frame(2, data.length, data));
      break;
    case "more than asked":
      socket.write(frame(0, data.length + 1, Buffer.concat([data, Buffer.of(0)])));
      break;
    case "data after NACK":
      socket.write(frame(1, data.length, data));
      break;
    case "more than announced":
      socket.write(frame(0, Math.max(0, data.length - 1), data));
      break;
    case "short":
      socket.write(frame(0, data.length >> 1, data.subarray(0, data.length >> 1)));
      break;
  }
}
