/** The emulator as its users start it, against a reader of our own that speaks vpcd's protocol. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { newCard } from "../../../src/emulators/piv-card/memory.ts";
import { openCardFile } from "../../../src/emulators/piv-card/store.ts";
import { bytes } from "./terminal.ts";

const MAIN = fileURLToPath(new URL("../../../src/emulators/piv-card/main.ts", import.meta.url));
const THORNKEY = fileURLToPath(new URL("../../../src/cli/main.ts", import.meta.url));
const SELECT = "00a4040009a0000003080000100000";
const PIN_STATUS = "00200080";

let folder: string;
let server: Server;
let vpcd: string;
const children = new Set<ChildProcess>();
const path = (name: string) => join(folder, name);

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "thornkey-piv-"));
  server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  vpcd = `127.0.0.1:${typeof address === "object" ? address?.port : 0}`;
});

afterEach(async () => {
  for (const child of children) await end(child, "SIGKILL");
  children.clear();
  server.close();
  rmSync(folder, { recursive: true, force: true });
});

async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exit = once(child, "exit");
  child.kill(signal);
  await exit;
}

interface Inserted {
  readonly child: ChildProcess;
  readonly socket: Socket;
  control(byte: number): void;
  /** @returns the frame that answers, as hexadecimal digits */
  ask(hex: string): Promise<string>;
  words(): string;
}

async function insert(...args: readonly string[]): Promise<Inserted> {
  const connection = once(server, "connection");
  const options = ["--vpcd", vpcd, "--card", path("a.card"), "--until-stdin-closes", ...args];
  const child = spawn(process.execPath, [MAIN, ...options], { stdio: "pipe" });
  children.add(child);
  let words = "";
  child.stderr.on("data", (chunk) => {
    words += chunk;
  });
  const ready = once(child.stdout, "data").then(([chunk]) => String(chunk));
  const failed = once(child, "exit").then(([code]) => `exit ${code}: ${words}`);
  expect(await Promise.race([ready, failed])).toBe("ready\n");
  const [socket] = (await connection) as [Socket];
  const frames = framesOf(socket);
  const write = (frame: Uint8Array) => socket.write(Buffer.from([frame.length >> 8, frame.length & 0xff, ...frame]));
  return {
    ...{ child, socket, words: () => words },
    control: (byte) => write(Uint8Array.of(byte)),
    async ask(hex) {
      write(bytes(hex));
      return (await frames.next()).value ?? "";
    },
  };
}

async function* framesOf(socket: Socket): AsyncGenerator<string, undefined> {
  let held = Buffer.alloc(0);
  for await (const chunk of socket) {
    held = Buffer.concat([held, chunk]);
    while (held.length >= 2 && held.length >= 2 + held.readUInt16BE()) {
      const end = 2 + held.readUInt16BE();
      yield held.subarray(2, end).toString("hex");
      held = held.subarray(end);
    }
  }
  return undefined;
}

describe("the emulator's process", () => {
  test("answers frames of the reader, whole, in pieces and many at once", async () => {
    const card = await insert();
    expect(await card.ask("04")).toBe("3b8680018031c152411276");
    card.control(1);
    expect(await card.ask(SELECT)).toMatch(/9000$/);
    for (const byte of [0x00, 0x04, 0x00, 0x20, 0x00]) card.socket.write(Uint8Array.of(byte));
    card.socket.write(Buffer.from("80000400200080", "hex"));
    // Answers come in the order of questions.
    expect(await card.ask("04")).toBe("63c3");
    expect(await card.ask("04")).toBe("63c3");
    expect(await card.ask(PIN_STATUS)).toBe("3b8680018031c152411276");
  });

  test("forgets the selection when the reader resets it or cuts its power", async () => {
    const card = await insert();
    for (const control of [0, 1, 2]) {
      expect(await card.ask(SELECT)).toMatch(/9000$/);
      card.control(control);
      expect(await card.ask(PIN_STATUS)).toBe("6d00");
    }
  });

  test("keeps keys, certificates and tries that are used up when it is killed", async () => {
    const first = await insert();
    await first.ask(SELECT);
    const certificate = await first.ask("00cb3fff0000055c035fc1050000");
    expect(await first.ask("0020008008303030303030ffff")).toBe("63c2");
    await end(first.child, "SIGKILL");
    const second = await insert();
    await second.ask(SELECT);
    expect(await second.ask(PIN_STATUS)).toBe("63c2");
    expect(await second.ask("00cb3fff0000055c035fc1050000")).toBe(certificate);
    expect(statSync(path("a.card")).mode & 0o777).toBe(0o600);
  });

  test("takes the PIN and the PUK of a new card from files, and keys as it is told", async () => {
    writeFileSync(path("pin"), "86420975\n");
    writeFileSync(path("puk"), "ABCDEFGH\n");
    const card = await insert("--pin-file", path("pin"), "--puk-file", path("puk"), "--key", "9E=P-384");
    await card.ask(SELECT);
    expect(await card.ask("0020008008313233343536ffff")).toBe("63c2");
    expect(await card.ask("00200080083836343230393735")).toBe("9000");
    expect(await card.ask("002c0080104142434445464748313233343536ffff")).toBe("9000");
    expect(await card.ask("0087149e077c0582008101aa00")).toMatch(/^7c.*9000$/);
  });

  test("waits for a finger as long as it is told, and says so", async () => {
    const card = await insert("--touch", "9E", "--finger", path("finger"), "--finger-within", "50");
    await card.ask(SELECT);
    const sign = "0087119e077c0582008101aa00";
    expect(await card.ask(sign)).toBe("6982");
    expect(card.words()).toContain("wants a finger");
    writeFileSync(path("finger"), "");
    expect(await card.ask(sign)).toMatch(/9000$/);
  });

  test("ends with its standard input, with status 0, and takes its lock along", async () => {
    const card = await insert();
    const exit = once(card.child, "exit");
    card.child.stdin?.end();
    expect((await exit)[0]).toBe(0);
    expect(readdirSync(folder)).toEqual(["a.card"]);
  });

  test("ends when the reader does, and says so", async () => {
    const card = await insert();
    const exit = once(card.child, "exit");
    card.socket.destroy();
    expect((await exit)[0]).toBe(1);
    expect(card.words()).toContain("went away");
  });

  test("is a command of thornkey", async () => {
    const connection = once(server, "connection");
    const args = ["emulator", "piv-card", "--vpcd", vpcd, "--card", path("a.card"), "--key", "9E=P-384", "9C=P-384"];
    const child = spawn(process.execPath, [THORNKEY, ...args], { stdio: ["ignore", "pipe", "inherit"] });
    children.add(child);
    const [word] = await Promise.race([once(child.stdout, "data"), once(child, "exit")]);
    expect(String(word)).toBe("ready\n");
    await connection;
    const exit = once(child, "exit");
    child.kill("SIGTERM");
    expect((await exit)[0]).toBe(0);
    const memory = openCardFile(path("a.card"));
    expect([...memory.contents.keys.values()].map(({ algorithm }) => algorithm)).toEqual([
      "P-256",
      "P-384",
      "P-256",
      "P-384",
    ]);
    memory.close();
  });

  test("says what is wrong with its options, and makes no card", () => {
    const status = (...args: readonly string[]) =>
      spawnSync(process.execPath, [MAIN, ...args], { encoding: "utf8", timeout: 60_000 }).status;
    const card = ["--card", path("a.card")];
    expect(status()).toBe(2);
    expect(status("--vpcd", vpcd)).toBe(2);
    expect(status("--vpcd", "nowhere", ...card)).toBe(2);
    expect(status("--vpcd", vpcd, ...card, "--key", "9A=P-521")).toBe(2);
    expect(status("--vpcd", vpcd, ...card, "--touch", "9F")).toBe(2);
    writeFileSync(path("pin"), "1234");
    expect(status("--vpcd", vpcd, ...card, "--pin-file", path("pin"))).toBe(2);
    expect(readdirSync(folder)).toEqual(["pin"]);
  });

  test("says when there is no reader", () => {
    const args = ["--vpcd", "127.0.0.1:1", "--card", path("a.card")];
    const { status, stderr } = spawnSync(process.execPath, [MAIN, ...args], { encoding: "utf8", timeout: 60_000 });
    expect(status).toBe(1);
    expect(stderr).toContain("There is no virtual reader at 127.0.0.1:1.");
  });
});

describe("the card's file", () => {
  test("holds what the card holds", () => {
    const made = openCardFile(path("a.card"));
    made.contents.pin.tries = 1;
    made.contents.objects.delete(0x5fc101);
    made.save();
    made.close();
    const again = openCardFile(path("a.card"));
    expect(again.contents).toEqual(made.contents);
    again.close();
  });

  test("is of one emulator at a time", () => {
    const first = openCardFile(path("a.card"));
    expect(() => openCardFile(path("a.card"))).toThrow(/in use/);
    first.close();
    openCardFile(path("a.card")).close();
  });

  test("cut short or changed is refused, and left as it is", () => {
    openCardFile(path("a.card"), { algorithms: new Map([[0x9c, "P-384"]]) }).close();
    const whole = readFileSync(path("a.card"));
    for (const length of [0, 1, 20, whole.length / 2, whole.length - 1]) {
      writeFileSync(path("a.card"), whole.subarray(0, length));
      expect(() => openCardFile(path("a.card"))).toThrow(/not the memory/);
      expect(readFileSync(path("a.card")).length).toBe(Math.trunc(length));
    }
    const changed = Buffer.from(whole);
    changed[whole.indexOf("P-384") + 2] = 0x32;
    writeFileSync(path("a.card"), changed);
    expect(() => openCardFile(path("a.card"))).toThrow(/not the memory/);
  });

  test("two cards are two cards", () => {
    const [one, other] = [newCard(), newCard()];
    expect(one.serial).not.toBe(other.serial);
    expect(one.objects.get(0x5fc102)).not.toEqual(other.objects.get(0x5fc102));
    expect(one.keys.get(0x9a)?.pkcs8).not.toEqual(other.keys.get(0x9a)?.pkcs8);
  });
});
