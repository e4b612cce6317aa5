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
  /** Whether exchanges are kept; default: they are. */
  recording: boolean;
  /** Asks the TPM something between two commands of the vault, on its own connection. @throws Error without one */
  ask(command: Uint8Array): Promise<Buffer>;
  close(): Promise<void>;
}

/** `hang`: nothing comes any more. `cut`: the connection is closed. */
export type Misdeed = "hang" | "cut";

interface Question {
  readonly command: Uint8Array;
  readonly resolve: (answer: Buffer) => void;
  readonly reject: (error: Error) => void;
}

/** @param target socket of the TPM */
export async function openWiretap(path: string, target: () => string): Promise<Wiretap> {
  const exchanges: Exchange[] = [];
  const open = new Set<Socket>();
  let ask: Wiretap["ask"] | undefined;
  const proxy: Wiretap = {
    location: { kind: "socket", path },
    exchanges,
    onRequest: undefined,
    onResponse: undefined,
    recording: true,
    ask: async (command) => {
      if (ask === undefined) throw new Error("nobody is connected");
      return ask(command);
    },
    async close() {
      for (const socket of open) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  const server = createServer((near) => {
    const far = connect(target());
    open.add(near).add(far);
    /** The vault's command that waits for its answer, or ours. */
    let pending: Buffer | undefined;
    let asked: Question | undefined;
    const questions: Question[] = [];
    const held: Buffer[] = [];
    const end = () => {
      near.destroy();
      far.destroy();
      open.delete(near);
      open.delete(far);
      if (ask === mine) ask = undefined;
      for (const question of [asked, ...questions.splice(0)]) question?.reject(new Error("the connection was closed"));
      asked = undefined;
    };
    const mine: Wiretap["ask"] = (command) =>
      new Promise((resolve, reject) => {
        questions.push({ command, resolve, reject });
        next();
      });
    ask = mine;
    for (const side of [near, far]) {
      side.on("error", end);
      side.on("close", end);
    }
    function next(): void {
      if (pending !== undefined || asked !== undefined) return;
      asked = questions.shift();
      if (asked !== undefined) far.write(asked.command);
      else pending = held.shift();
      if (pending === undefined) return;
      const changed = proxy.onRequest?.(pending) ?? pending;
      if (changed === "cut") end();
      else if (changed !== "hang") far.write(changed);
    }
    near.on("data", (chunk: Buffer) => {
      held.push(chunk);
      next();
    });
    let received = Buffer.alloc(0);
    far.on("data", (chunk: Buffer) => {
      received = Buffer.concat([received, chunk]);
      if (received.length < 10 || received.length < received.readUInt32BE(2)) return;
      const response = received;
      received = Buffer.alloc(0);
      const question = asked;
      const request = pending ?? Buffer.alloc(10);
      [asked, pending] = [undefined, undefined];
      if (question !== undefined) question.resolve(response);
      else answer(request, response);
      next();
    });
    function answer(request: Buffer, response: Buffer): void {
      if (proxy.recording) {
        const code = request.readUInt32BE(6);
        exchanges.push({ code, request: Buffer.from(request), response: Buffer.from(response) });
      }
      const changed = proxy.onResponse?.(response, request) ?? response;
      if (changed === "cut") end();
      else if (changed !== "hang") near.write(changed);
    }
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
