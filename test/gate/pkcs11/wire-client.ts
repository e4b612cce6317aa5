/** A client of p11-kit's protocol for tests: it can send what no right client would. */
import type { Socket } from "node:net";
import { CALLS, type CallName, callOf } from "../../../src/gate/pkcs11/calls.ts";
import { type Dialect, readReply, writeRequest } from "../../../src/gate/pkcs11/codec.ts";
import { createFrameReader, frameOf } from "../../../src/gate/pkcs11/frames.ts";
import { connectPatiently } from "../patiently.ts";

export interface WireClient {
  readonly socket: Socket;
  readonly dialect: Dialect;
  /** @returns the results, or the CK_RV of a refusal */
  call(name: CallName, ...args: unknown[]): Promise<readonly unknown[] | number>;
  /** @returns the results. @throws Error with the CK_RV of a refusal */
  must(name: CallName, ...args: unknown[]): Promise<readonly unknown[]>;
  /** Sends a body as it is. @returns the body of the answer, or undefined when the connection ends first */
  raw(body: Uint8Array): Promise<Uint8Array | undefined>;
  close(): void;
}

const GREETING = new Uint8Array(Buffer.from("PRIVATE-GNOME-KEYRING-PKCS11-PROTOCOL-V-1"));

export async function openWireClient(path: string, version = 2): Promise<WireClient> {
  const socket = await connectPatiently(path);
  const dialect: Dialect = { version, width: 8 };
  const waiting = new Map<number, (body: Uint8Array | undefined) => void>();
  const frames = createFrameReader();
  let greeted = false;
  let code = 0x10;
  socket.on("error", () => {});
  socket.on("close", () => {
    for (const settle of waiting.values()) settle(undefined);
    waiting.clear();
  });
  socket.on("data", (chunk) => {
    const rest = greeted ? chunk : chunk.subarray(1);
    greeted = true;
    frames.push(rest, (number, body) => {
      waiting.get(number)?.(body);
      waiting.delete(number);
    });
  });
  socket.write(Uint8Array.of(version));
  const client: WireClient = {
    socket,
    dialect,
    raw(body) {
      return new Promise((resolve) => {
        if (socket.destroyed) return resolve(undefined);
        const number = code++;
        waiting.set(number, resolve);
        socket.write(frameOf(number, body));
      });
    },
    async call(name, ...args) {
      const call = callOf(CALLS[name][0]);
      if (call === undefined) throw new Error(name);
      const reply = await client.raw(writeRequest(call, args, dialect));
      if (reply === undefined) throw new Error(`${name}: the connection ended`);
      return readReply(call, reply, dialect);
    },
    async must(name, ...args) {
      const answer = await client.call(name, ...args);
      if (typeof answer === "number") throw new Error(`${name}: CK_RV 0x${answer.toString(16)}`);
      return answer;
    },
    close: () => socket.destroy(),
  };
  await client.call("Initialize", GREETING, 0, Uint8Array.of(0));
  return client;
}
