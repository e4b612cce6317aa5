import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, statSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { exitOf, temporaryDirectory } from "../atecc508a/emulator-process.ts";

const MAIN = fileURLToPath(new URL("../../../src/emulators/pi-firmware/main.ts", import.meta.url));
const CLI = fileURLToPath(new URL("../../../src/cli/main.ts", import.meta.url));

let folder: ReturnType<typeof temporaryDirectory>;
let socket: string;
let otp: string;
const children: ChildProcess[] = [];

beforeEach(() => {
  folder = temporaryDirectory();
  [socket, otp] = [join(folder.path, "pi.sock"), join(folder.path, "pi.otp")];
});
afterEach(async () => {
  for (const child of children.splice(0)) {
    child.kill("SIGKILL");
    await exitOf(child);
  }
  folder.remove();
});

async function start(...args: string[]): Promise<ChildProcess> {
  const child = spawn(process.execPath, args, { stdio: ["pipe", "pipe", "pipe"] });
  children.push(child);
  const [chunk] = await once(child.stdout, "data");
  expect(String(chunk)).toBe("ready\n");
  return child;
}

async function connected(): Promise<Socket> {
  const client = connect(socket);
  await once(client, "connect");
  return client;
}

/** How many keys there are, as a message. */
const QUESTION = (() => {
  const message = Buffer.alloc(40);
  for (const [index, word] of [40, 0, 0x3008f, 4].entries()) message.writeUInt32LE(word, 4 * index);
  return message;
})();

async function received(client: Socket, length: number): Promise<Buffer> {
  let bytes = Buffer.alloc(0);
  for await (const chunk of client) {
    bytes = Buffer.concat([bytes, chunk]);
    if (bytes.length >= length) break;
  }
  return bytes;
}

describe("the emulated firmware as a program", () => {
  it("says ready, answers many at once and in pieces, and ends with its standard input", async () => {
    const child = await start(MAIN, "--socket", socket, "--otp", otp, "--until-stdin-closes");
    expect(statSync(socket).mode & 0o777).toBe(0o600);
    const client = await connected();
    client.write(Buffer.concat([QUESTION, QUESTION, QUESTION.subarray(0, 7)]));
    client.write(QUESTION.subarray(7));
    const answers = await received(client, 3 * 44);
    for (let start = 0; start < answers.length; start += 44) {
      expect(answers.readUInt32LE(start)).toBe(0);
      expect(answers.readUInt32LE(start + 8)).toBe(0x8000_0000);
      expect(answers.readUInt32LE(start + 24)).toBe(1);
    }
    child.stdin?.end();
    expect(await exitOf(child)).toBe(0);
    expect(existsSync(socket)).toBe(false);
  });

  it.each([0, 4, 11, 1 << 20])("hangs up on a message of %i bytes", async (size) => {
    await start(MAIN, "--socket", socket, "--otp", otp);
    const client = await connected();
    const length = Buffer.alloc(4);
    length.writeUInt32LE(size);
    client.write(length);
    await once(client.resume(), "close");
    // and serves the next
    const next = await connected();
    next.write(QUESTION);
    expect(await received(next, 44)).toHaveLength(44);
    next.destroy();
  });

  it("is a command of thornkey, with a key when that is wanted", async () => {
    const child = await start(
      CLI,
      "emulator",
      "pi-firmware",
      "--socket",
      socket,
      "--otp",
      otp,
      "--key",
      "--mode",
      "restricted",
    );
    child.kill("SIGTERM");
    expect(await exitOf(child)).toBe(0);
    expect(statSync(otp).size).toBe(64);
  });

  it.each([
    ["without a socket", ["--otp", "x"]],
    ["with an unknown mode", ["--otp", "x", "--socket", "y", "--mode", "z"]],
    ["with an unknown option", ["--otp", "x", "--socket", "y", "--memory", "z"]],
  ])("%s says how it is used", (_, args) => {
    const { status, stderr } = spawnSync(process.execPath, [MAIN, ...args], { encoding: "utf8" });
    expect(stderr).toMatch(/^usage: /);
    expect(status).toBe(2);
  });
});
