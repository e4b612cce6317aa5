import { connect, createServer } from "node:net";

/** Somebody with a probe on the wires: passes everything on and keeps what went by. */
export interface Relay {
  /** All bytes so far, both ways, in the order they came. */
  heard(): Uint8Array;
  close(): Promise<void>;
}

/**
 * @param listen path of the socket clients use instead
 * @param target path of the emulator's socket
 */
export async function startRelay(listen: string, target: string): Promise<Relay> {
  const chunks: Buffer[] = [];
  const server = createServer((client) => {
    const chip = connect(target);
    for (const [from, to] of [
      [client, chip],
      [chip, client],
    ] as const) {
      from.on("data", (chunk) => {
        chunks.push(chunk);
        to.write(chunk);
      });
      from.on("error", () => to.destroy());
      from.on("close", () => to.destroy());
    }
  });
  await new Promise<void>((resolve, reject) => server.once("error", reject).listen(listen, resolve));
  return {
    heard: () => new Uint8Array(Buffer.concat(chunks)),
    close: () => new Promise((resolve) => server.close(() => resolve())),
  };
}
