import { spawnSync } from "node:child_process";
import { createHash, createPublicKey, randomBytes, verify } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, beforeEach, describe, expect, inject, it } from "vitest";
import { fromHex, toHex } from "../../src/bytes/bytes.ts";
import { p256Spki } from "../../src/bytes/der.ts";
import { openI2cSocket } from "../../src/machine/i2c-socket.ts";
import { verifyP256Digest } from "../../src/machine/openssl.ts";
import { startToyBus } from "../machine/toy-bus.ts";
import { type EmulatedChip, provisionedChip } from "./chip.ts";
import { machinePath } from "./peers.ts";
import { CHIP, eventually, packet, payloadOf, SLEEP } from "./raw-chip.ts";
import { type BusyReport, disturbChip, type Report, useChip } from "./session.ts";

const { shim, i2cTools, i2cBus } = inject("peers");
const here = (name: string) => fileURLToPath(new URL(name, import.meta.url));

let quick: EmulatedChip;
let slow: EmulatedChip;

beforeAll(async () => {
  [quick, slow] = await Promise.all([provisionedChip("none"), provisionedChip("maximum")]);
});

beforeEach(() => {
  const bus = openI2cSocket(quick.socket);
  bus.write(CHIP, SLEEP);
  bus.close();
});

afterAll(async () => {
  await Promise.all([quick?.stop(), slow?.stop()]);
});

const message = randomBytes(20);
const digest = new Uint8Array(createHash("sha256").update(message).digest());

/** The signature was made over `message` by the key in slot 0 of the chip. */
function expectSigned(chip: EmulatedChip, report: { publicKey: string; signature: string }): void {
  expect(report.publicKey).toBe(toHex(chip.publicKey));
  const key = createPublicKey({ key: Buffer.from(p256Spki(chip.publicKey)), type: "spki", format: "der" });
  const signature = fromHex(report.signature);
  expect(verify("sha256", message, { key, dsaEncoding: "ieee-p1363" }, signature)).toBe(true);
  expect(verifyP256Digest(chip.publicKey, digest, signature)).toBe(true);
}

const INFO = "00005000";
const USED = {
  acknowledgedAsleep: false,
  info: INFO,
  random: expect.stringMatching(/^[0-9a-f]{64}$/),
  nonce: "00",
  acknowledgedAfterSleep: false,
};

/** Runs a program whose /dev/i2c-1 is the chip. */
function withChip(chip: EmulatedChip, command: string, options: string[], environment: Record<string, string> = {}) {
  if (!shim.there) throw new Error(shim.reason);
  const result = spawnSync(command, options, {
    encoding: "utf8",
    env: {
      PATH: machinePath().join(delimiter),
      LD_PRELOAD: shim.library,
      ATECC_SOCK: chip.socket,
      ...environment,
    },
    timeout: 100_000,
  });
  if (result.error !== undefined) throw result.error;
  return result;
}

/** The same, for a program that prints one line of JSON. */
function reportOf<T>(...run: Parameters<typeof withChip>): T {
  const { status, stdout, stderr } = withChip(...run);
  expect(stderr).toBe("");
  expect(status).toBe(0);
  return JSON.parse(stdout) as T;
}

describe("our bus over the emulator's socket", () => {
  it("wakes the chip, learns its revision, draws, signs, and puts it to sleep", () => {
    const bus = openI2cSocket(quick.socket);
    try {
      const report = useChip(bus, digest);
      expect(report).toMatchObject(USED);
      expectSigned(quick, report);
    } finally {
      bus.close();
    }
  });

  it("is not acknowledged while the chip works", () => {
    const bus = openI2cSocket(slow.socket);
    try {
      expect(disturbChip(bus)).toEqual({ acknowledgedBusy: false, publicKey: toHex(slow.publicKey) });
    } finally {
      bus.close();
    }
  });
});

describe.skipIf(!shim.there)("our bus over /dev/i2c-1", () => {
  const program = here("device-session.ts");

  it("wakes the chip, learns its revision, draws, signs, and puts it to sleep", () => {
    const report = reportOf<Report>(quick, process.execPath, [program, "use", toHex(digest)]);
    expect(report).toMatchObject(USED);
    expectSigned(quick, report);
  });

  it("is not acknowledged while the chip works", () => {
    const report = reportOf<BusyReport>(slow, process.execPath, [program, "disturb"]);
    expect(report).toEqual({ acknowledgedBusy: false, publicKey: toHex(slow.publicKey) });
  });

  it.each([
    ["ENXIO", 6],
    ["EIO", 5],
    ["EREMOTEIO", 121],
    ["ETIMEDOUT", 110],
    ["EAGAIN", 11],
    ["EPROTO", 71],
  ])("takes %s of a bus driver for a missing acknowledgement", (_, errno) => {
    const environment = { ATECC_NACK: String(errno) };
    expect(reportOf(quick, process.execPath, [program, "probe"], environment)).toEqual({ read: false, write: false });
  });

  it.each([
    ["EREMOTEIO", 121, { write: false }],
    ["ENXIO", 6, { write: false }],
    ["EIO", 5, { code: "ROOT_UNAVAILABLE" }],
    ["ETIMEDOUT", 110, { code: "ROOT_UNAVAILABLE" }],
  ])("after %s for a command says whether it may be sent again", (_, errno, expected) => {
    const environment = { ATECC_NACK: String(errno) };
    expect(reportOf(quick, process.execPath, [program, "command"], environment)).toMatchObject(expected);
  });

  it("carries the whole driver: thread, queue, commands", () => {
    const main = here("../../src/cli/main.ts");
    const { status, stdout, stderr } = withChip(quick, process.execPath, [
      main,
      "chip",
      "test",
      "--root",
      "atecc:/dev/i2c-1",
    ]);
    expect(stderr).toBe("");
    expect(stdout).toMatch(/^ok +slot \d+: sign digest +verified here and by the chip$/m);
    expect(status).toBe(0);
  });

  it("says that the bus is gone when the driver says so", () => {
    const report = reportOf(quick, process.execPath, [program, "probe"], { ATECC_NACK: "19" });
    expect(report).toMatchObject({ code: "ROOT_UNAVAILABLE", message: expect.stringContaining("ENODEV") });
  });

  it("says that a kernel driver has claimed the chip", () => {
    const report = reportOf(quick, process.execPath, [program, "probe"], { ATECC_CLAIMED: "0x60" });
    expect(report).toMatchObject({
      code: "ROOT_UNAVAILABLE",
      message: expect.stringContaining("0x60"),
      hint: expect.stringContaining("kernel driver"),
    });
  });

  it("says that there is no bus when there is no emulator", () => {
    const report = reportOf({ ...quick, socket: "/nowhere" }, process.execPath, [program, "probe"]);
    expect(report).toMatchObject({ code: "ROOT_UNAVAILABLE", message: expect.stringContaining("ENOENT") });
  });
});

describe.skipIf(!i2cBus.there)("npm i2c-bus", () => {
  const node = i2cBus.there ? i2cBus.node : "";
  const program = here("i2c-bus-session.cjs");

  it("wakes the chip, finds it, learns its revision, draws, signs, and puts it to sleep", () => {
    const report = reportOf<Report>(quick, node, [program, "use", toHex(digest)]);
    expect(report).toMatchObject({
      asleep: "EREMOTEIO",
      generalCall: "EREMOTEIO",
      awake: "04113343",
      scan: [0x60],
      info: INFO,
      atOnce: Array.from({ length: 2000 }, (_, i) => 1 + (i % 40)),
      random: USED.random,
      nonce: "00",
      afterSleep: "EREMOTEIO",
    });
    expectSigned(quick, report);
  });

  it("is not acknowledged while the chip works", () => {
    const report = reportOf(slow, node, [program, "disturb"]);
    expect(report).toEqual({ busy: "EREMOTEIO", publicKey: toHex(slow.publicKey) });
  });
});

describe.skipIf(!i2cTools.there)("i2c-tools", () => {
  const hex = (bytes: Uint8Array) => [...bytes].map((byte) => `0x${byte.toString(16).padStart(2, "0")}`);
  const write = (bytes: Uint8Array) => [`w${bytes.length}@0x60`, ...hex(bytes)];
  const read = (length: number) => [`r${length}@0x60`];

  /** @returns the bytes that were read, or the message when the transfer failed */
  function transfer(chip: EmulatedChip, ...messages: string[]): Uint8Array | string {
    const { status, stdout, stderr } = withChip(chip, "i2ctransfer", ["-a", "-y", "1", ...messages]);
    return status === 0 ? fromHex(stdout.replaceAll(/0x|\s/g, "")) : stderr;
  }

  function payload(...transferred: Parameters<typeof transfer>): Uint8Array {
    const answer = transfer(...transferred);
    if (typeof answer === "string") throw new Error(answer);
    return payloadOf(answer);
  }

  const notAcknowledged = expect.stringContaining("Remote I/O error");
  const generalCall = ["w1@0x00", "0x00"];
  const sleep = write(SLEEP);

  it("i2cdetect finds the chip only when it is awake", () => {
    const found = () => /^60: (..)/m.exec(withChip(quick, "i2cdetect", ["-y", "1"]).stdout)?.[1];
    expect(found()).toBe("--");
    expect(transfer(quick, ...generalCall)).toEqual(notAcknowledged);
    expect(found()).toBe("60");
    transfer(quick, ...sleep);
    expect(found()).toBe("--");
  });

  it("i2cdetect shows a claimed address, and what the bus can do", () => {
    const claimed = withChip(quick, "i2cdetect", ["-y", "1"], { ATECC_CLAIMED: "0x60" });
    expect(claimed.stdout).toMatch(/^60: UU/m);
    expect(withChip(quick, "i2cdetect", ["-F", "1"]).stdout).toMatch(/^I2C +yes/m);
  });

  it("i2ctransfer wakes the chip, learns its revision, draws, signs, and puts it to sleep", () => {
    expect(transfer(quick, ...read(4))).toEqual(notAcknowledged);
    expect(transfer(quick, ...generalCall)).toEqual(notAcknowledged);
    expect(transfer(quick, ...read(4))).toEqual(fromHex("04 11 33 43"));
    expect(transfer(quick, ...write(fromHex("03 07 30 00 00 00 03 5d")))).toEqual(new Uint8Array());
    expect(transfer(quick, ...read(7))).toEqual(fromHex("07 00 00 50 00 03 91"));
    expect(payload(quick, ...write(packet(0x1b, 0, 0)), ...read(35)).length).toBe(32);
    expect(payload(quick, ...write(packet(0x16, 3, 0, digest)), ...read(4))).toEqual(Uint8Array.of(0));
    const signature = toHex(payload(quick, ...write(packet(0x41, 0x80, 0)), ...read(67)));
    const publicKey = toHex(payload(quick, ...write(packet(0x40, 0, 0)), ...read(67)));
    expectSigned(quick, { publicKey, signature });
    expect(transfer(quick, ...sleep)).toEqual(new Uint8Array());
    expect(transfer(quick, ...read(4))).toEqual(notAcknowledged);
  });

  it("i2cget reads the answer byte by byte", () => {
    transfer(quick, ...generalCall);
    const bytes = [1, 2, 3, 4].map(() => withChip(quick, "i2cget", ["-y", "1", "0x60"]).stdout.trim());
    expect(bytes).toEqual(["0x04", "0x11", "0x33", "0x43"]);
    transfer(quick, ...sleep);
    expect(withChip(quick, "i2cget", ["-y", "1", "0x60"]).status).not.toBe(0);
  });

  it("make SMBus transfers of plain ones", async () => {
    const directory = mkdtempSync(join(tmpdir(), "thornkey-smbus-"));
    const socket = join(directory, "toy.sock");
    const stop = await startToyBus(socket, "right");
    try {
      // The toy gives back what was written last, from its first byte.
      const run = (command: string, ...options: string[]) =>
        withChip({ ...quick, socket }, command, ["-y", "1", "0x60", ...options]).stdout.trim();
      run("i2cset", "7", "9");
      expect(run("i2cget")).toBe("0x07");
      run("i2cset", "0x11", "0x3322", "w");
      const whole = withChip({ ...quick, socket }, "i2ctransfer", ["-y", "1", "r4@0x60"]).stdout.trim();
      expect(whole).toBe("0x11 0x22 0x33 0xff");
      expect(run("i2cget", "5")).toBe("0x05");
      expect(run("i2cget", "5", "w")).toBe("0xff05");
      expect(run("i2cget", "5", "i", "3")).toBe("0x05 0xff 0xff");
      run("i2cset", "1", "2", "3", "i");
      expect(run("i2cget")).toBe("0x01");
    } finally {
      await stop();
      rmSync(directory, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
    }
  });

  it("is not acknowledged while the chip works", async () => {
    // The watchdog may be faster than this machine, or the machine slower than the chip; then all of it again.
    const seen = await eventually(() => {
      transfer(slow, ...sleep);
      transfer(slow, ...generalCall);
      const busy = transfer(slow, ...write(packet(0x40, 0, 0)), ...read(67));
      if (typeof busy !== "string") return undefined;
      for (let tries = 0; tries < 100; tries++) {
        const answer = transfer(slow, ...read(67));
        if (typeof answer !== "string") return answer[0] === answer.length ? { busy, answer } : undefined;
      }
      return undefined;
    });
    expect(seen.busy).toEqual(notAcknowledged);
    expect(payloadOf(seen.answer)).toEqual(slow.publicKey);
  });
});
