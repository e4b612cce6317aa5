/** The emulated firmware against what is published of the real one: tags, sizes, statuses, errors, locks. */
import { createHmac, createPrivateKey, createPublicKey } from "node:crypto";
import { describe, expect, it } from "vitest";
import { p256SignatureFromDer } from "../../../src/bytes/der.ts";
import { freshKeyPair, publicKeyOf, verify } from "../../../src/emulators/atecc508a/p256.ts";
import { createFirmware, type FirmwareOptions } from "../../../src/emulators/pi-firmware/firmware.ts";
import { otpInRam } from "../../../src/emulators/pi-firmware/otp.ts";

/** Tag, capacity, total size: what the stock library sends. */
const SENT = {
  lastError: [0x3008e, 4, 40],
  numberOfKeys: [0x3008f, 4, 40],
  keyStatus: [0x30090, 4, 40],
  setKeyStatus: [0x38090, 8, 40],
  sign: [0x30091, 128, 160],
  hmac: [0x30092, 2060, 2084],
  publicKey: [0x30093, 520, 544],
  privateKey: [0x30094, 1032, 1056],
  generateKey: [0x30095, 8, 32],
  usage: [0x3009c, 4, 40],
  setUsage: [0x3809c, 8, 40],
  boardSerial: [0x10004, 8, 32],
  boardRevision: [0x10002, 4, 28],
  firmwareRevision: [0x00001, 4, 28],
} as const satisfies Record<string, readonly [number, number, number]>;
type Name = keyof typeof SENT;

const FAILED = 0x8000_0000;

function bench(options: Partial<FirmwareOptions> & { key?: boolean } = {}) {
  const otp = options.otp ?? otpInRam(options.key === false ? undefined : freshKeyPair().scalar);
  const firmware = createFirmware({ ...options, otp });
  const send = (name: Name, ...value: number[]) => firmware.ioctl(message(name, value));
  /** @returns the words of the answer's value */
  const ask = (name: Name, ...value: number[]): number[] => {
    const answer = send(name, ...value);
    if (typeof answer === "number") throw new Error(`errno ${answer}`);
    const view = new DataView(answer.buffer);
    expect(view.getUint32(0, true)).toBe(answer.length);
    expect(view.getUint32(4, true)).toBe(0x8000_0000);
    const response = view.getUint32(16, true);
    expect(response & 0x8000_0000).not.toBe(0);
    const length = response & 0x7fff_ffff;
    return Array.from({ length: Math.ceil(length / 4) }, (_, index) => view.getUint32(20 + 4 * index, true));
  };
  /** @returns the data of an answer of the form status, length, data */
  const data = (name: Name, ...value: number[]): Buffer => {
    const [status, length = 0, ...words] = ask(name, ...value);
    expect(status).toBe(0);
    return bytesOf(words).subarray(0, length);
  };
  /** Asks for what must fail. @returns the error */
  const error = (name: Name, ...value: number[]): number | undefined => {
    expect(ask(name, ...value)[0]).toBe(FAILED);
    return ask("lastError")[0];
  };
  return { otp, firmware, send, ask, data, error };
}

/** As much of the value as there is room for. */
function message(name: Name, value: readonly number[], change: { capacity?: number } = {}): Uint8Array {
  const [tag, usual, size] = SENT[name];
  const { capacity = usual } = change;
  const words = value.slice(0, Math.min(capacity, usual) / 4);
  const bytes = new Uint8Array(size);
  const view = new DataView(bytes.buffer);
  [size, 0, tag, capacity, 0, ...words].forEach((word, index) => {
    view.setUint32(4 * index, word >>> 0, true);
  });
  return bytes;
}

function bytesOf(words: readonly number[]): Buffer {
  const bytes = Buffer.alloc(4 * words.length);
  for (const [index, word] of words.entries()) bytes.writeUInt32LE(word, 4 * index);
  return bytes;
}

function wordsOf(bytes: Uint8Array): number[] {
  const padded = Buffer.concat([bytes, Buffer.alloc(4)]);
  return Array.from({ length: Math.ceil(bytes.length / 4) }, (_, index) => padded.readUInt32LE(4 * index));
}

const DIGEST = wordsOf(Buffer.alloc(32, 7));

describe("the key", () => {
  it("is one, and its status is that of the device's key", () => {
    const { ask } = bench();
    expect(ask("numberOfKeys")).toEqual([1]);
    expect(ask("keyStatus", 1)).toEqual([1]);
    expect(ask("usage", 1)).toEqual([0]);
  });

  it("signs a digest as it is given", () => {
    const { data, otp } = bench();
    const signature = p256SignatureFromDer(data("sign", 0, 1, 32, ...DIGEST));
    expect(verify(bytesOf(DIGEST), signature, publicKeyOf(otp.key ?? new Uint8Array()))).toBe(true);
  });

  it("is the key of the HMAC, as it lies in OTP; the answer is 40 bytes", () => {
    const { data, ask, otp } = bench();
    const text = Buffer.from("a message of 24 bytes...");
    const mac = createHmac("sha256", otp.key ?? "")
      .update(text)
      .digest();
    expect(data("hmac", 0, 1, text.length, ...wordsOf(text))).toEqual(mac);
    expect(ask("hmac", 0, 1, text.length, ...wordsOf(text))).toHaveLength(10);
    expect(data("hmac", 0, 1, 3, ...wordsOf(text))).toEqual(
      createHmac("sha256", otp.key ?? "")
        .update("a m")
        .digest(),
    );
  });

  it("gives its public and private part in DER, which belong together", () => {
    const { data } = bench();
    const secret = createPrivateKey({ key: data("privateKey", 0, 1), format: "der", type: "sec1" });
    const spki = data("publicKey", 0, 1);
    expect(createPublicKey(secret).export({ format: "der", type: "spki" })).toEqual(spki);
  });

  it("is made once", () => {
    const { ask, data, error, otp } = bench({ key: false });
    expect(ask("generateKey", 0, 1)).toEqual([0]);
    const { key } = otp;
    expect(data("publicKey", 0, 1)).toHaveLength(91);
    expect(error("generateKey", 0, 1)).toBe(10);
    expect(otp.key).toEqual(key);
  });

  it("answers in one word or two, where that is not published", () => {
    const { ask } = bench({ key: false, replyWords: 2 });
    expect(ask("generateKey", 0, 1)).toEqual([0, 0]);
    expect(ask("setKeyStatus", 1, 0x100)).toEqual([0, 0]);
  });
});

describe("errors", () => {
  const WITH_FLAGS = ["sign", "hmac", "publicKey", "privateKey", "generateKey"] as const;

  it.each(WITH_FLAGS)("3 for another key: %s", (name) => {
    const { error } = bench();
    for (const id of [0, 2, 0xffff_ffff]) expect(error(name, 0, id, 32)).toBe(3);
  });

  it.each(["keyStatus", "setKeyStatus", "usage", "setUsage"] as const)("3 for another key: %s", (name) => {
    expect(bench().error(name, 2, 0)).toBe(3);
  });

  it.each(WITH_FLAGS.filter((name) => name !== "generateKey"))("6 without a key: %s", (name) => {
    expect(bench({ key: false }).error(name, 0, 1, 32)).toBe(6);
  });

  it("7 for a key that is none", () => {
    const otp = otpInRam(new Uint8Array(32).fill(0xff));
    for (const name of ["sign", "hmac", "publicKey"] as const) expect(bench({ otp }).error(name, 0, 1, 32)).toBe(7);
  });

  it.each([0, 2049, 0xffff_ffff])("2 for an HMAC of %i bytes", (length) => {
    expect(bench().error("hmac", 0, 1, length)).toBe(2);
  });

  it.each([0, 31, 33])("2 for a digest of %i bytes", (length) => {
    expect(bench().error("sign", 0, 1, length)).toBe(2);
  });

  it("takes the longest message", () => {
    expect(bench().data("hmac", 0, 1, 2048)).toHaveLength(32);
  });

  it("2 for a usage that does not fit", () => {
    expect(bench().error("setUsage", 1, 16)).toBe(2);
  });

  it("the last one stays until the next, or a reboot", () => {
    const { error, ask, firmware } = bench();
    expect(error("keyStatus", 5)).toBe(3);
    ask("keyStatus", 1);
    expect(ask("lastError")).toEqual([3]);
    firmware.reboot();
    expect(ask("lastError")).toEqual([0]);
  });
});

describe("locks", () => {
  it.each([
    ["READ", 0x100, "privateKey", [0, 1]],
    ["GEN", 0x200, "generateKey", [0, 1]],
    ["SIGN", 0x400, "sign", [0, 1, 32, ...DIGEST]],
    ["HMAC", 0x800, "hmac", [0, 1, 4, 0]],
    ["USAGE", 0x1000, "setUsage", [1, 9]],
  ] as const)("%s stops what it is for, nothing else, until a reboot", (_, bit, name, value) => {
    const { ask, error, firmware } = bench({ key: name !== "generateKey" });
    expect(ask("setKeyStatus", 1, bit)).toEqual([0]);
    expect(ask("keyStatus", 1)).toEqual([1 | bit]);
    expect(error(name, ...value)).toBe(4);
    if (name !== "generateKey") expect(ask("publicKey", 0, 1)[0]).toBe(0);
    if (bit !== 0x800 && name !== "generateKey") expect(ask("hmac", 0, 1, 4, 0)[0]).toBe(0);
    firmware.reboot();
    expect(ask("keyStatus", 1)).toEqual([1]);
    expect(ask(name, ...value)[0]).not.toBe(FAILED);
  });

  it("are never taken off, and other bits do nothing", () => {
    const { ask } = bench();
    ask("setKeyStatus", 1, 0x900);
    ask("setKeyStatus", 1, 0);
    ask("setKeyStatus", 1, 0xffff_e0ff);
    expect(ask("keyStatus", 1)).toEqual([0x901]);
  });

  it("of older firmware are READ alone", () => {
    const { ask } = bench({ mode: "single-lock" });
    ask("setKeyStatus", 1, 0x1f00);
    expect(ask("keyStatus", 1)).toEqual([0x101]);
    expect(ask("hmac", 0, 1, 4, 0)[0]).toBe(0);
  });
});

describe("messages", () => {
  it("of firmware without the service fail as a whole", () => {
    const { send } = bench({ mode: "old" });
    for (const name of Object.keys(SENT) as Name[]) expect(send(name, 0, 1)).toBe(22);
  });

  it("through a restricted node may ask for the service only, and not for usage", () => {
    const { send } = bench({ mode: "restricted" });
    const refused = (Object.keys(SENT) as Name[]).filter((name) => send(name, 1, 1) === 1);
    expect(refused.sort()).toEqual(["boardRevision", "boardSerial", "firmwareRevision", "setUsage", "usage"]);
  });

  it("of firmware without keys say so", () => {
    const { ask, error } = bench({ mode: "no-keys" });
    expect(ask("numberOfKeys")).toEqual([0]);
    expect(error("publicKey", 0, 1)).toBe(3);
  });

  it.each(Object.keys(SENT) as Name[])("with less room than '%s' needs are refused", (name) => {
    const { firmware } = bench();
    const capacity = SENT[name][1] - 4;
    const answer = firmware.ioctl(message(name, [0, 1, 32], { capacity }));
    if (capacity === 0) expect(answer).toBe(22);
    else expect(typeof answer === "number" ? answer : new DataView(answer.buffer).getUint32(20, true)).toBe(FAILED);
  });

  it("with more than they have are refused as a whole", () => {
    const { firmware } = bench();
    for (const capacity of [24, 4096, 0xffff_fffc, 5]) {
      expect(firmware.ioctl(message("keyStatus", [1], { capacity }))).toBe(22);
    }
  });

  it("of no size, of another size, of no known tag, without an end are refused", () => {
    const { firmware } = bench();
    const whole = message("keyStatus", [1]);
    const tag = message("keyStatus", [1]);
    new DataView(tag.buffer).setUint32(8, 0x0003_0081, true);
    const endless = whole.slice(0, 24);
    new DataView(endless.buffer).setUint32(0, 24, true);
    for (const bad of [new Uint8Array(8), whole.slice(0, 36), tag, endless]) expect(firmware.ioctl(bad)).toBe(22);
  });

  it("tell the board and the firmware apart from others", () => {
    const { ask, otp } = bench();
    expect(bytesOf(ask("boardSerial"))).toEqual(Buffer.from(otp.serial));
    expect(ask("boardRevision")).toEqual([0xc03114]);
    expect(ask("firmwareRevision")).toHaveLength(1);
  });
});
