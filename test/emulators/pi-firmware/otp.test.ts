import { readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { openOtpFile } from "../../../src/emulators/pi-firmware/otp.ts";
import { temporaryDirectory } from "../atecc508a/emulator-process.ts";

let folder: ReturnType<typeof temporaryDirectory>;
let path: string;

beforeEach(() => {
  folder = temporaryDirectory();
  path = join(folder.path, "pi.otp");
});
afterEach(() => folder.remove());

it("a new OTP is blank, has a serial number, and is nobody else's to read", () => {
  const otp = openOtpFile(path);
  expect(otp.key).toBeUndefined();
  expect(otp.usage).toBe(0);
  expect(Buffer.from(otp.serial).toString("hex")).toMatch(/^[0-9a-f]{8}00000010$/);
  expect(statSync(path).mode & 0o777).toBe(0o600);
  otp.close();
});

it("what was burnt is there in the next process", () => {
  const otp = openOtpFile(path);
  const key = new Uint8Array(32).fill(3);
  otp.burn(key);
  otp.setUsage(9);
  const { serial } = otp;
  otp.close();
  const again = openOtpFile(path);
  expect([...(again.key ?? [])]).toEqual([...key]);
  expect(again.usage).toBe(9);
  expect(again.serial).toEqual(serial);
  again.close();
});

it("a key is made when it is asked for, once", () => {
  const otp = openOtpFile(path, { key: true });
  const { key } = otp;
  expect(key).toHaveLength(32);
  otp.close();
  const again = openOtpFile(path, { key: true });
  expect([...(again.key ?? [])]).toEqual([...(key ?? [])]);
  again.close();
});

it("one file is one processor: a second emulator does not get it", () => {
  const otp = openOtpFile(path);
  expect(() => openOtpFile(path)).toThrow(expect.objectContaining({ code: "FAILED" }));
  otp.close();
  openOtpFile(path).close();
});

it.each([
  ["empty", () => new Uint8Array()],
  ["too short", (bytes: Uint8Array) => bytes.slice(0, 63)],
  ["too long", (bytes: Uint8Array) => Uint8Array.of(...bytes, 0)],
  ["of another version", (bytes: Uint8Array) => bytes.map((byte, index) => (index === 16 ? 2 : byte))],
  ["of another kind", (bytes: Uint8Array) => bytes.map((byte, index) => (index === 0 ? 0 : byte))],
  ["with bytes where there are none", (bytes: Uint8Array) => bytes.map((byte, index) => (index === 20 ? 1 : byte))],
  ["with more usage than a nibble", (bytes: Uint8Array) => bytes.map((byte, index) => (index === 17 ? 16 : byte))],
])("a file that is %s is refused, and left as it is", (_, spoil) => {
  openOtpFile(path).close();
  const spoilt = spoil(new Uint8Array(readFileSync(path)));
  writeFileSync(path, spoilt);
  expect(() => openOtpFile(path)).toThrow(expect.objectContaining({ code: "MALFORMED" }));
  expect(new Uint8Array(readFileSync(path))).toEqual(spoilt);
});
