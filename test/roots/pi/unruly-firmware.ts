import { mkdirSync, renameSync, rmSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { createFirmware, type Firmware } from "../../../src/emulators/pi-firmware/firmware.ts";
import type { Otp } from "../../../src/emulators/pi-firmware/otp.ts";
import type { Prng } from "../../faults/prng.ts";
import { flipped, withWord, words } from "./lab.ts";

/** What can happen to one message. */
export const FAULTS = [
  "lost before",
  "lost after",
  "cut short",
  "too late",
  "never answered",
  "garbage",
  "bits flipped",
  "another's answer",
  "refused",
  "reboot",
  "node gone",
  "something else in its place",
] as const;
export type Fault = (typeof FAULTS)[number];

/** Error numbers of a driver in trouble: EIO, ENODEV, EINVAL, ETIMEDOUT. */
const ERRNOS = [5, 19, 22, 110] as const;

/** An emulated firmware on a socket, that a share of the messages comes to grief with. */
export class UnrulyFirmware {
  /** Share of messages that go wrong, 0 to 1. */
  rate = 0;
  gone = false;
  readonly counts = new Map<Fault, number>();
  /** Milliseconds after which nobody waits any more. */
  readonly #patience: number;
  readonly #path: string;
  readonly #firmware: Firmware;
  readonly #prng: Prng;
  readonly #sockets = new Set<Socket>();
  #server: Server | undefined;
  #last: Uint8Array | undefined;

  constructor(path: string, otp: Otp, prng: Prng, patience: number) {
    this.#path = path;
    this.#firmware = createFirmware({ otp });
    this.#prng = prng;
    this.#patience = patience;
  }

  /** Comes up, with all locks off. */
  async start(): Promise<void> {
    this.#firmware.reboot();
    rmSync(this.#path, { force: true, recursive: true });
    const server = createServer((socket) => this.#serve(socket));
    await new Promise<void>((resolve) => server.listen(this.#path, resolve));
    this.#server = server;
  }

  async stop(): Promise<void> {
    this.comeBack();
    const server = this.#server;
    this.#server = undefined;
    for (const socket of this.#sockets) socket.destroy();
    if (server !== undefined) await new Promise((resolve) => server.close(resolve));
  }

  #serve(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on("error", () => {});
    socket.on("close", () => this.#sockets.delete(socket));
    let waiting = Buffer.alloc(0);
    socket.on("data", (chunk) => {
      waiting = Buffer.concat([waiting, chunk]);
      while (waiting.length >= 4 && waiting.length >= waiting.readUInt32LE()) {
        const size = waiting.readUInt32LE();
        this.#answer(socket, new Uint8Array(waiting.subarray(0, size)));
        waiting = waiting.subarray(size);
      }
    });
  }

  #answer(socket: Socket, question: Uint8Array): void {
    const fault = this.#fault();
    const prng = this.#prng;
    if (fault === "lost before") return void socket.destroy();
    if (fault === "reboot") {
      this.#firmware.reboot();
      return void socket.destroy();
    }
    if (fault === "node gone" || fault === "something else in its place") {
      this.#vanish(fault !== "node gone");
      return;
    }
    if (fault === "refused") return void socket.write(words(prng.pick(ERRNOS)));
    const result = this.#firmware.ioctl(question);
    if (typeof result === "number") return void socket.write(words(result));
    let answer = result;
    const before = this.#last;
    this.#last = answer;
    if (fault === "lost after") return void socket.destroy();
    if (fault === "never answered") return;
    if (fault === "garbage") answer = prng.bytes(answer.length);
    if (fault === "another's answer" && before !== undefined) {
      answer = withWord(new Uint8Array(answer.length), 0, answer.length);
      answer.set(before.subarray(0, answer.length));
    }
    if (fault === "bits flipped") {
      for (let count = 1 + prng.below(3); count > 0; count--) answer = flipped(answer, prng.below(8 * 64));
    }
    const reply = Buffer.concat([words(0), answer]);
    if (fault === "cut short") return void socket.end(reply.subarray(0, prng.below(reply.length)));
    if (fault === "too late") return void setTimeout(() => socket.write(reply), this.#patience * 1.5);
    socket.write(reply);
  }

  /** @param something else is there, that is no node */
  #vanish(something: boolean): void {
    renameSync(this.#path, `${this.#path}.gone`);
    this.gone = true;
    for (const socket of this.#sockets) socket.destroy();
    if (something) mkdirSync(this.#path);
  }

  /** The node is there again. */
  comeBack(): void {
    if (!this.gone) return;
    rmSync(this.#path, { force: true, recursive: true });
    renameSync(`${this.#path}.gone`, this.#path);
    this.gone = false;
  }

  #fault(): Fault | undefined {
    if (!this.#prng.chance(this.rate)) return undefined;
    const fault = this.#prng.pick(FAULTS);
    this.counts.set(fault, (this.counts.get(fault) ?? 0) + 1);
    return fault;
  }
}
