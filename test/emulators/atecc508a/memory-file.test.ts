import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync, statSync, symlinkSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { p256 } from "@noble/curves/nist.js";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { Model } from "../../../src/emulators/atecc508a/chip.ts";
import { decodeCounter } from "../../../src/emulators/atecc508a/counters.ts";
import type { Memory } from "../../../src/emulators/atecc508a/memory.ts";
import { openMemoryFile } from "../../../src/emulators/atecc508a/memory-file.ts";
import { Connection, exitOf, MAIN, startEmulator, temporaryDirectory } from "./emulator-process.ts";
import { hex, pattern } from "./lab.ts";

let directory: ReturnType<typeof temporaryDirectory>;
let path: string;
beforeEach(() => {
  directory = temporaryDirectory();
  path = join(directory.path, "chip.eeprom");
});
afterEach(() => directory.remove());

function created(model: Model = "508a"): Buffer {
  openMemoryFile(path, { model }).close();
  return readFileSync(path);
}

describe("a new file", () => {
  test.each(["508a", "608a"] as const)(
    "is a blank %s with a serial number of its own, readable by its owner",
    (model) => {
      const memory = openMemoryFile(path, { model });
      expect(memory.model).toBe(model);
      expect(hex(memory.config.slice(0, 2))).toBe("0123");
      expect(memory.config[12]).toBe(0xee);
      expect([...memory.config.slice(84, 88)]).toEqual([0, 0, 0x55, 0x55]);
      expect(memory.slots.map((slot) => slot.length)).toEqual([
        36, 36, 36, 36, 36, 36, 36, 36, 416, 72, 72, 72, 72, 72, 72, 72,
      ]);
      expect(memory.otp.length).toBe(64);
      memory.close();
      expect(statSync(path).mode & 0o777).toBe(0o600);
      const other = openMemoryFile(`${path}2`, { model });
      expect(hex(other.config.slice(0, 13))).not.toBe(hex(memory.config.slice(0, 13)));
      other.close();
      expect(readdirSync(directory.path).sort()).toEqual(["chip.eeprom", "chip.eeprom2"]);
    },
  );

  test("keeps what is written, zone by zone", () => {
    const memory = openMemoryFile(path);
    memory.write("config", 20, pattern(64, 1));
    memory.write("otp", 60, pattern(4, 2));
    memory.write(8, 412, pattern(4, 3));
    memory.write(15, 0, pattern(72, 4));
    const before = [memory.config, memory.otp, ...memory.slots].map((bytes) => hex(Uint8Array.from(bytes)));
    memory.close();
    const again = openMemoryFile(path);
    expect([again.config, again.otp, ...again.slots].map((bytes) => hex(Uint8Array.from(bytes)))).toEqual(before);
    again.close();
  });

  test("takes whole words only", () => {
    const memory = openMemoryFile(path);
    for (const [zone, offset, length] of [
      ["config", 1, 4],
      ["config", 0, 3],
      ["otp", 64, 4],
      [0, 36, 4],
      [8, -4, 4],
      [16, 0, 4],
    ] as const) {
      expect(() => memory.write(zone, offset, new Uint8Array(length))).toThrow(RangeError);
    }
    memory.close();
  });

  test("left half made by a process that died, it is made again", () => {
    writeFileSync(`${path}.thornkey-new`, "thornkey at");
    openMemoryFile(path).close();
    expect(statSync(path).size).toBe(1432);
  });
});

describe("a file that is not right is refused, and stays as it is", () => {
  const spoilt: [string, (bytes: Buffer) => Buffer, RegExp][] = [
    ["empty", () => Buffer.alloc(0), /not the memory of an emulated chip/],
    ["another file", () => Buffer.from("some letter\n".repeat(200)), /not the memory of an emulated chip/],
    ["cut short", (bytes) => bytes.subarray(0, -1), /1431 bytes long instead of 1432/],
    ["too long", (bytes) => Buffer.concat([bytes, Buffer.of(0)]), /1433 bytes long/],
    ["of a later version", (bytes) => spoil(bytes, 16, 2), /version 2/],
    ["of an unknown model", (bytes) => spoil(bytes, 17, 0x20), /header/],
    ["with a header that has more in it", (bytes) => spoil(bytes, 31, 1), /header/],
    ["with a torn lock byte", (bytes) => spoil(bytes, 32 + 87, 0x54), /neither 55 nor 00/],
    ["with a torn data lock byte", (bytes) => spoil(bytes, 32 + 86, 0x15), /neither 55 nor 00/],
    ["with only its data zone locked", (bytes) => spoil(bytes, 32 + 86, 0), /no chip can have/],
    ["with another serial number", (bytes) => spoil(bytes, 32, 2), /serial number/],
  ];
  function spoil(bytes: Buffer, offset: number, value: number): Buffer {
    const copy = Buffer.from(bytes);
    copy[offset] = value;
    return copy;
  }

  test.each(spoilt)("%s", (_, change, sentence) => {
    const bytes = change(created());
    writeFileSync(path, bytes);
    expect(() => openMemoryFile(path)).toThrow(expect.objectContaining({ code: "MALFORMED" }));
    expect(() => openMemoryFile(path)).toThrow(sentence);
    expect(() => openMemoryFile(path)).toThrow(path);
    expect(hex(readFileSync(path))).toBe(hex(bytes));
    expect(existsSync(`${path}.lock`)).toBe(false);
  });

  test("of the other model", () => {
    created("608a");
    expect(() => openMemoryFile(path, { model: "508a" })).toThrow(/is the memory of a 608a, not of a 508a/);
    expect(openMemoryFile(path).model).toBe("608a");
  });

  test("without a directory", () => {
    expect(() => openMemoryFile(join(path, "chip"))).toThrow(expect.objectContaining({ code: "FILE_NOT_FOUND" }));
  });
});

describe("two emulators on one file", () => {
  test("the second is refused, under any name of the file, until the first ends", async () => {
    const first = openMemoryFile(path);
    const other = join(directory.path, "other");
    symlinkSync(path, other);
    for (const name of [path, other]) {
      expect(() => openMemoryFile(name)).toThrow(expect.objectContaining({ code: "FAILED" }));
      expect(() => openMemoryFile(name)).toThrow(`in use by process ${process.pid}`);
      await expect(startEmulator("--socket", `${path}.sock`, "--memory", name)).rejects.toThrow(/^exit 1: .*in use/);
    }
    first.close();
    openMemoryFile(other).close();
  });

  test("one that a parent started waits for the end of the one before", async () => {
    const first = openMemoryFile(path);
    const child = spawn(process.execPath, [MAIN, "--socket", `${path}.sock`, "--memory", path, "--until-stdin-closes"]);
    expect(String((await once(child.stderr, "data"))[0])).toMatch(/in use by process \d+/);
    first.close();
    expect(String((await once(child.stdout, "data"))[0])).toBe("ready\n");
    child.stdin.end();
    expect(await exitOf(child)).toBe(0);
  });

  test("a lock of a process that is gone, or whose number is another's now, does not count", () => {
    created();
    for (const stale of ["999999999 1\n", `${process.pid} 1\n`, ""]) {
      writeFileSync(`${path}.lock`, stale);
      openMemoryFile(path).close();
    }
    expect(readdirSync(directory.path)).toEqual(["chip.eeprom"]);
  });

  test("a file of somebody else in the place of the lock stays", () => {
    created();
    writeFileSync(`${path}.lock`, "letter");
    expect(() => openMemoryFile(path)).toThrow(/is no lock of an emulator/);
    expect(readFileSync(`${path}.lock`, "utf8")).toBe("letter");
  });
});

/** What the host knows after each answer, to be found again after the kill. */
interface Known {
  counter: number;
  /** What every byte of the block is. */
  block: number;
  publicKey: string;
}

describe("kill -9 while everything is being written", () => {
  const ROUNDS = 12;
  const SLOT_WITH_BLOCK = 9;
  // Slot 0: a key that GenKey renews. Slot 9: free to write.
  const image = { 20: [0x01, 0x20], 38: [0x00, 0x00], 96: [0x33, 0x00], 114: [0x3c, 0x00] };

  const number = (bytes: Uint8Array) => new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);
  /** Empty when there is none: never made yet, or torn by the kill into what is no key. */
  const storedPublicKey = ({ slots }: Memory) => {
    const scalar = Uint8Array.from(slots[0]?.slice(4, 36) ?? []);
    return p256.utils.isValidSecretKey(scalar) ? hex(p256.getPublicKey(scalar, false).subarray(1)) : "";
  };
  const block = (n: number) => new Uint8Array(32).fill(n & 0xff);
  const word = (n: number) => new Uint8Array(4).fill(n & 0xff);

  /** Commands one after the other until the connection breaks; `known` is changed after each answer. */
  async function work(host: Connection, known: Known, pending: Partial<Known>): Promise<never> {
    await host.write(0, Uint8Array.of(1));
    for (;;) {
      pending.counter = known.counter + 1;
      known.counter = number(await host.command(0x24, 1, 0));
      pending.block = known.block + 1;
      expect((await host.command(0x12, 0x82, SLOT_WITH_BLOCK << 3, block(pending.block)))[0]).toBe(0);
      known.block = pending.block;
      pending.publicKey = "not known";
      const point = await host.command(0x40, 4, 0);
      expect(point.length).toBe(64);
      known.publicKey = hex(point);
      delete pending.publicKey;
    }
  }

  async function started(): Promise<{ child: Awaited<ReturnType<typeof startEmulator>>; host: Connection }> {
    const socket = join(directory.path, "chip.sock");
    const child = await startEmulator("--socket", socket, "--memory", path);
    return { child, host: await Connection.open(socket) };
  }

  test("an answered change is there; a counter never goes back; a lock is open or closed", async () => {
    const known: Known = { counter: 0, block: 0, publicKey: "" };

    const { child, host } = await started();
    await host.write(0, Uint8Array.of(1));
    for (const [offset, bytes] of Object.entries(image)) {
      const start = Number(offset) - (Number(offset) % 4);
      const current = await host.command(0x02, 0, start / 4);
      current.set(bytes, Number(offset) % 4);
      expect((await host.command(0x12, 0, start / 4, current))[0]).toBe(0);
    }
    expect((await host.command(0x17, 0x80, 0))[0]).toBe(0);
    expect((await host.command(0x12, 0x82, SLOT_WITH_BLOCK << 3, block(0)))[0]).toBe(0);
    expect((await host.command(0x17, 0x81, 0))[0]).toBe(0);
    child.kill("SIGKILL");
    await exitOf(child);
    host.close();

    for (let round = 0; round < ROUNDS; round++) {
      const { child, host } = await started();
      const least = known.counter;
      const pending: Partial<Known> = {};
      const working = work(host, known, pending).catch((error: Error) => error);
      // Killed when a random amount of work is done, at whatever place that is.
      const enough = least + 1 + Math.floor(Math.random() * 12);
      while (known.counter < enough) await new Promise(setImmediate);
      child.kill("SIGKILL");
      expect(await working).toMatchObject({ message: "the emulator is gone" });
      await exitOf(child);
      host.close();

      const memory = openMemoryFile(path);
      const counter = decodeCounter(Uint8Array.from(memory.config.slice(52, 60)));
      expect(counter).toBeGreaterThanOrEqual(known.counter);
      expect(counter).toBeLessThanOrEqual(pending.counter ?? 0);
      expect([...memory.config.slice(86, 88)]).toEqual([0, 0]);
      // The whole block of the last answer, or partly the next, word by word.
      for (let at = 0; at < 32; at += 4) {
        const stored = hex(memory.slots[SLOT_WITH_BLOCK]?.slice(at, at + 4));
        expect([hex(word(known.block)), hex(word(known.block + 1))]).toContain(stored);
      }
      if (!pending.publicKey && known.publicKey) expect(storedPublicKey(memory)).toBe(known.publicKey);
      known.publicKey = storedPublicKey(memory);
      memory.close();
      known.counter = counter;
      known.block = Number(memory.slots[SLOT_WITH_BLOCK]?.[31] === ((known.block + 1) & 0xff)) + known.block;
    }
    expect(known.counter).toBeGreaterThanOrEqual(ROUNDS);
  });

  test("config words and locks: each is the answered one, or the one asked for", async () => {
    for (let round = 0; round < 8; round++) {
      directory.remove();
      directory = temporaryDirectory();
      path = join(directory.path, "chip.eeprom");
      const { child, host } = await started();
      await host.write(0, Uint8Array.of(1));
      let answered = -1;
      let asked = -1;
      let locks = 0;
      const working = (async () => {
        for (let n = 0; ; n++) {
          asked = n;
          if (n === 10) {
            await host.command(0x17, 0x80, 0);
            locks = 1;
          } else if (n === 14) {
            await host.command(0x17, 0x81, 0);
            locks = 2;
          } else if (n < 10) expect((await host.command(0x12, 0, 5, word(n)))[0]).toBe(0);
          else await host.command(0x30, 0, 0);
          answered = n;
        }
      })().catch((error: Error) => error);
      const enough = Math.floor(Math.random() * 18);
      while (answered < enough) await new Promise(setImmediate);
      child.kill("SIGKILL");
      expect(await working).toMatchObject({ message: "the emulator is gone" });
      await exitOf(child);
      host.close();

      const memory = openMemoryFile(path);
      const [lockValue, lockConfig] = memory.config.slice(86, 88);
      expect([0x00, 0x55]).toContain(lockValue);
      expect([0x00, 0x55]).toContain(lockConfig);
      if (locks >= 1 || asked > 10) expect(lockConfig).toBe(0);
      if (locks >= 2) expect(lockValue).toBe(0);
      if (asked < 10) expect(lockConfig).toBe(0x55);
      if (asked < 14) expect(lockValue).toBe(0x55);
      const last = Math.min(answered, 9);
      const possible = asked < 10 ? [answered, asked] : [last, 9];
      expect(possible.map((n) => hex(word(n)))).toContain(hex(memory.config.slice(20, 24)));
      memory.close();
    }
  });

  test("a key pair that was answered is the one that is in the file", async () => {
    const { child, host } = await started();
    await host.write(0, Uint8Array.of(1));
    expect((await host.command(0x17, 0x80, 0))[0]).toBe(0);
    const point = hex(await host.command(0x40, 4, 0));
    child.kill("SIGKILL");
    await exitOf(child);
    host.close();
    const memory = openMemoryFile(path);
    expect(storedPublicKey(memory)).toBe(point);
    memory.close();
  });

  test("a file that is cut while nobody looks is refused, not mended", () => {
    created();
    truncateSync(path, 700);
    expect(() => openMemoryFile(path)).toThrow(expect.objectContaining({ code: "MALFORMED" }));
  });
});
