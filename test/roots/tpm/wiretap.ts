/** Stands between the vault and its TPM, as somebody with a clip on the wires does: listens, and changes bits. */
import { rmSync } from "node:fs";
import { connect, createServer, type Socket } from "node:net";
import type { TpmLocation } from "../../../src/roots/tpm/location.ts";

export interface Exchange {
  readonly code: number;
  readonly request: Buffer;
  readonly response: Buffer;
}

export interface Wiretap {
  readonly location: TpmLocation;
  /** What went over the wire, as it was sent by both sides. */
  readonly exchanges: Exchange[];
  /** Changes a command on its way, or does something else with it. */
  onRequest: ((request: Buffer) => Buffer | Misdeed) | undefined;
  onResponse: ((response: Buffer, request: Buffer) => Buffer | Misdeed) | undefined;
  close(): Promise<void>;
}

/** `hang`: nothing comes any more. `cut`: the connection is closed. */
export type Misdeed = "hang" | "cut";

/** @param target socket of the TPM */
export async function openWiretap(path: string, target: () => string): Promise<Wiretap> {
  const exchanges: Exchange[] = [];
  const open = new Set<Socket>();
  const proxy: Wiretap = {
    location: { kind: "socket", path },
    exchanges,
    onRequest: undefined,
    onResponse: undefined,
    async close() {
      for (const socket of open) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  const server = createServer((near) => {
    const far = connect(target());
    open.add(near).add(far);
    let pending: Buffer | undefined;
    const end = () => {
      near.destroy();
      far.destroy();
      open.delete(near);
      open.delete(far);
    };
    for (const side of [near, far]) {
      side.on("error", end);
      side.on("close", end);
    }
    near.on("data", (chunk: Buffer) => {
      pending = chunk;
      const changed = proxy.onRequest?.(chunk) ?? chunk;
      if (changed === "cut") end();
      else if (changed !== "hang") far.write(changed);
    });
    let received = Buffer.alloc(0);
    far.on("data", (chunk: Buffer) => {
      received = Buffer.concat([received, chunk]);
      if (received.length < 10 || received.length < received.readUInt32BE(2)) return;
      const response = received;
      received = Buffer.alloc(0);
      const request = pending ?? Buffer.alloc(10);
      exchanges.push({ code: request.readUInt32BE(6), request: Buffer.from(request), response: Buffer.from(response) });
      const changed = proxy.onResponse?.(response, request) ?? response;
      if (changed === "cut") end();
      else if (changed !== "hang") near.write(changed);
    });
  });
  rmSync(path, { force: true });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  return proxy;
}

export function flipped(bytes: Buffer, bit: number): Buffer {
  const copy = Buffer.from(bytes);
  copy[bit >> 3] = (copy[bit >> 3] ?? 0) ^ (1 << (bit & 7));
  return copy;
}
