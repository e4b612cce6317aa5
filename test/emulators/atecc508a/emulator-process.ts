import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { ADDRESS, request } from "./lab.ts";

export const MAIN = fileURLToPath(new URL("../../../src/emulators/atecc508a/main.ts", import.meta.url));

export function temporaryDirectory(): { path: string; remove(): void } {
  const path = mkdtempSync(join(tmpdir(), "atecc-"));
  return { path, remove: () => rmSync(path, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 }) };
}

/** The emulator as its users start it. @returns when it said `ready` */
export async function startEmulator(...args: readonly string[]): Promise<ChildProcess> {
  const child = spawn(process.execPath, [MAIN, ...args], { stdio: ["pipe", "pipe", "pipe"] });
  let errors = "";
  child.stderr.on("data", (chunk) => {
    errors += chunk;
  });
  const outcome = await Promise.race([
    once(child.stdout, "data").then(([chunk]) => String(chunk)),
    once(child, "exit").then(([code]) => `exit ${code}: ${errors}`),
  ]);
  if (outcome !== "ready\n") throw new Error(outcome);
  return child;
}

export async function exitOf(child: ChildProcess): Promise<number | string | null> {
  if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
  return child.exitCode ?? child.signalCode;
}

/** One connection; requests are answered in order. */
export class Connection {
  readonly #socket: Socket;
  #bytes = Buffer.alloc(0);
  #waiting: { resolve(reply: Uint8Array): void; reject(error: Error): void } | undefined;
  #gone = false;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on("data", (chunk) => {
      this.#bytes = Buffer.concat([this.#bytes, chunk]);
      this.#take();
    });
    socket.on("error", () => {});
    socket.on("close", () => {
      this.#gone = true;
      this.#waiting?.reject(new Error("the emulator is gone"));
    });
  }

  static async open(path: string): Promise<Connection> {
    const socket = connect(path);
    await once(socket, "connect");
    return new Connection(socket);
  }

  close(): void {
    this.#socket.destroy();
  }

  raw(bytes: Uint8Array): Promise<Uint8Array> {
    return new Promise((resolve, reject) => {
      if (this.#gone) return reject(new Error("the emulator is gone"));
      this.#waiting = { resolve, reject };
      this.#socket.write(bytes);
      this.#take();
    });
  }

  /** @returns whether it was acknowledged */
  async write(address: number, bytes: Uint8Array): Promise<boolean> {
    const head = [0x57, address, bytes.length & 0xff, bytes.length >> 8];
    return (await this.raw(Uint8Array.from([...head, ...bytes])))[0] === 0;
  }

  async read(address: number, length: number): Promise<Uint8Array | undefined> {
    const reply = await this.raw(Uint8Array.of(0x52, address, length & 0xff, length >> 8));
    return reply[0] === 0 ? reply.subarray(3) : undefined;
  }

  /** @returns the payload of the answer */
  async command(opcode: number, param1: number, param2: number, ...data: Uint8Array[]): Promise<Uint8Array> {
    if (!(await this.write(ADDRESS, request(opcode, param1, param2, ...data)))) throw new Error("NACK");
    const answer = await this.read(ADDRESS, 80);
    if (!answer) throw new Error("NACK");
    return answer.slice(1, (answer[0] ?? 0) - 2);
  }

  #take(): void {
    if (!this.#waiting || this.#bytes.length < 3) return;
    const end = 3 + this.#bytes.readUInt16LE(1);
    if (this.#bytes.length < end) return;
    const reply = this.#bytes.subarray(0, end);
    this.#bytes = this.#bytes.subarray(end);
    const { resolve } = this.#waiting;
    this.#waiting = undefined;
    resolve(reply);
  }
}
