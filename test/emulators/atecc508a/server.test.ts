import { existsSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { createChip } from "../../../src/emulators/atecc508a/chip.ts";
import { memoryInRam } from "../../../src/emulators/atecc508a/memory.ts";
import { serve } from "../../../src/emulators/atecc508a/server.ts";
import { Connection, exitOf, startEmulator, temporaryDirectory } from "./emulator-process.ts";
import { ADDRESS, hex, imageOf, KEY, request } from "./lab.ts";

let directory: ReturnType<typeof temporaryDirectory>;
let path: string;
beforeEach(() => {
  directory = temporaryDirectory();
  path = join(directory.path, "chip.sock");
});
afterEach(() => directory.remove());

function chip() {
  const slots = { 0: { slotConfig: 0x2001, keyConfig: KEY.ECC_PRIVATE } };
  return createChip({ model: "508a", memory: memoryInRam("508a", imageOf({ slots })) });
}

describe("the socket", () => {
  test("frames as published: wake is a NACK, Info revision", async () => {
    const server = await serve(chip(), path);
    const host = await Connection.open(path);
    expect(hex(await host.raw(Buffer.from("5700010001", "hex")))).toBe("010000");
    expect(hex(await host.raw(Buffer.from("5760080003073000000003" + "5d", "hex")))).toBe("000000");
    expect(hex(await host.raw(Buffer.from("52600700", "hex")))).toBe("00070007000050000391");
    expect(hex(await host.raw(Buffer.from("52610700", "hex")))).toBe("010000");
    host.close();
    await server.close();
    expect(existsSync(path)).toBe(false);
  });

  test("a request may come in pieces, and many in one", async () => {
    const server = await serve(chip(), path);
    const host = await Connection.open(path);
    await host.write(0, Uint8Array.of(1));
    const info = Buffer.from("5760080003073000000003" + "5d", "hex");
    const replies: string[] = [];
    const whole = Buffer.concat([info, Buffer.from("52600700", "hex")]);
    // Three times the same in one piece, then byte by byte.
    let reply = host.raw(Buffer.concat([whole, whole, whole]));
    for (let i = 0; i < 6; i++) {
      replies.push(hex(await reply));
      if (i < 5) reply = host.raw(new Uint8Array());
    }
    for (const [i, byte] of whole.entries()) {
      if (i === info.length - 1 || i === whole.length - 1) replies.push(hex(await host.raw(Uint8Array.of(byte))));
      else host.raw(Uint8Array.of(byte)).catch(() => {});
    }
    expect(replies).toEqual(Array.from({ length: 4 }, () => ["000000", "00070007000050000391"]).flat());
    host.close();
    await server.close();
  });

  test("all connections share the one chip; it outlives them", async () => {
    const server = await serve(chip(), path);
    const first = await Connection.open(path);
    await first.write(0, Uint8Array.of(1));
    await first.command(0x16, 3, 0, new Uint8Array(32));
    first.close();
    const second = await Connection.open(path);
    expect(hex(await second.command(0x30, 2, 0))).toBe("10800000");
    const others = await Promise.all(Array.from({ length: 20 }, () => Connection.open(path)));
    const answers = await Promise.all(others.map((host) => host.read(ADDRESS, 0)));
    expect(answers.every((answer) => answer?.length === 0)).toBe(true);
    for (const host of others) host.close();
    second.close();
    await server.close();
  });

  test("what is not of the protocol ends that connection, and no other", async () => {
    const server = await serve(chip(), path);
    const good = await Connection.open(path);
    const bad = await Connection.open(path);
    await expect(bad.raw(Uint8Array.of(0x41, 0, 0, 0))).rejects.toThrow();
    expect(hex(await good.raw(Buffer.from("5700010001", "hex")))).toBe("010000");
    good.close();
    await server.close();
  });

  test("reads of the largest length, asked for faster than they are fetched", async () => {
    const server = await serve(chip(), path);
    const host = await Connection.open(path);
    await host.write(0, Uint8Array.of(1));
    const asked = Buffer.concat(Array.from({ length: 200 }, () => Buffer.from("5260ffff", "hex")));
    let reply = host.raw(asked);
    for (let i = 0; i < 200; i++) {
      expect((await reply).length).toBe(3 + 0xffff);
      if (i < 199) reply = host.raw(new Uint8Array());
    }
    host.close();
    await server.close();
  });

  test("nobody else may connect", async () => {
    const server = await serve(chip(), path);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    await server.close();
  });

  test("a socket somebody listens on, and what is no socket, stay", async () => {
    const server = await serve(chip(), path);
    await expect(serve(chip(), path)).rejects.toMatchObject({ code: "FAILED" });
    const host = await Connection.open(path);
    host.close();
    await server.close();
    writeFileSync(path, "letter");
    await expect(serve(chip(), path)).rejects.toMatchObject({ code: "FAILED" });
    expect(statSync(path).size).toBe(6);
  });
});

describe("with timing", () => {
  test("no transaction is faster than the bus, and no command than the chip", async () => {
    const model = "508a";
    const slots = { 0: { slotConfig: 0x2001, keyConfig: KEY.ECC_PRIVATE } };
    const timed = createChip({ model, memory: memoryInRam(model, imageOf({ slots })), timing: "typical" });
    const server = await serve(timed, path, { timing: "typical" });
    const host = await Connection.open(path);
    const started = performance.now();
    await host.write(0, Uint8Array.of(1));
    let answer: Uint8Array | undefined;
    while (!answer) answer = await host.read(ADDRESS, 4);
    expect(hex(answer)).toBe("04113343");
    // Wake pulse of 11 bits, 1.5 ms, 5 bytes.
    expect(performance.now() - started).toBeGreaterThanOrEqual(0.11 + 1.5 + 0.47);

    const before = performance.now();
    expect(await host.write(ADDRESS, request(0x40, 4, 0))).toBe(true);
    answer = undefined;
    while (!answer) answer = await host.read(ADDRESS, 67);
    expect(answer[0]).toBe(67);
    // 9 bytes, the typical time, 68 bytes.
    expect(performance.now() - before).toBeGreaterThanOrEqual(0.83 + 11 + 6.14);
    host.close();
    await server.close();
  });
});

describe("the process", () => {
  const files = () => ["--socket", path, "--memory", join(directory.path, "chip.eeprom")];

  test.each(["SIGTERM", "SIGINT"] as const)("%s ends it cleanly: no socket and no lock stay", async (signal) => {
    const child = await startEmulator(...files());
    expect(existsSync(path)).toBe(true);
    child.kill(signal);
    expect(await exitOf(child)).toBe(0);
    expect(existsSync(path)).toBe(false);
    expect(existsSync(join(directory.path, "chip.eeprom.lock"))).toBe(false);
  });

  test("it ends with its standard input, if wanted", async () => {
    const child = await startEmulator(...files(), "--until-stdin-closes", "--model", "608a");
    const host = await Connection.open(path);
    await host.write(0, Uint8Array.of(1));
    expect(hex(await host.command(0x30, 0, 0))).toBe("00006002");
    child.stdin?.end();
    expect(await exitOf(child)).toBe(0);
    host.close();
  });

  test("it takes over the socket of one that was killed", async () => {
    const first = await startEmulator(...files());
    first.kill("SIGKILL");
    await exitOf(first);
    expect(existsSync(path)).toBe(true);
    const second = await startEmulator(...files());
    second.kill();
    expect(await exitOf(second)).toBe(0);
  });

  test("wrong arguments: how to use it, status 2", async () => {
    await expect(startEmulator("--socket", path)).rejects.toThrow(/^exit 2: usage/);
    await expect(startEmulator(...files(), "--model", "204a")).rejects.toThrow(/^exit 2: usage/);
    await expect(startEmulator(...files(), "--timing", "fast")).rejects.toThrow(/^exit 2: usage/);
  });
});
