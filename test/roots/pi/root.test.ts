import { createHash, createHmac, hkdfSync } from "node:crypto";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { freshKeyPair, publicKeyOf } from "../../../src/emulators/atecc508a/p256.ts";
import { type Otp, otpInRam } from "../../../src/emulators/pi-firmware/otp.ts";
import { firmwareOver } from "../../../src/roots/pi/firmware.ts";
import { KEY_HANDLE, piRootOn } from "../../../src/roots/pi/root.ts";
import { hexOf } from "../contract.ts";
import { lab, tagOf, withWord, wordAt, words } from "./lab.ts";

const HMAC = 0x0003_0092;
const PUBLIC_KEY = 0x0003_0093;
const GENERATE = 0x0003_0095;
const NUMBER_OF_KEYS = 0x0003_008f;
const ETIMEDOUT = 110;

describe("what is derived", () => {
  it("is the HMAC of label and salt by the scalar, through HKDF", async () => {
    const pi = lab();
    const root = await piRootOn(pi.link);
    await fc.assert(
      fc.asyncProperty(
        fc.string({ unit: "binary", maxLength: 3000 }),
        fc.uint8Array({ maxLength: 300 }),
        async (label, salt) => {
          const about = Buffer.concat([Buffer.from("thornkey pi derive 1\0"), sha256(Buffer.from(label))]);
          const mac = createHmac("sha256", pi.otp.key ?? "")
            .update(about)
            .update(sha256(salt))
            .digest();
          const expected = Buffer.from(hkdfSync("sha256", mac, salt, about, 32)).toString("hex");
          expect(hexOf(await root.derive(label, salt))).toBe(expected);
        },
      ),
      { numRuns: 50 },
    );
  });

  it("is another for every other way to divide the same bytes", async () => {
    const root = await piRootOn(lab().link);
    const pairs: [string, string][] = [
      ["a\0b", "c"],
      ["a", "\0bc"],
      ["a\0", "bc"],
      ["a\0bc", ""],
      ["", "a\0bc"],
    ];
    const derived = await Promise.all(
      pairs.map(async ([label, salt]) => hexOf(await root.derive(label, Buffer.from(salt)))),
    );
    expect(new Set(derived).size).toBe(pairs.length);
  });

  it("comes from a key that showed a moment before that it is the one of the public key", async () => {
    const pi = lab();
    const root = await piRootOn(pi.link);
    for (let count = 0; count < 2; count++) {
      const before = pi.questions.length;
      await root.derive("x", new Uint8Array());
      const tags = pi.questions.slice(before).map(tagOf);
      expect(tags.indexOf(0x0003_0091)).toBeGreaterThanOrEqual(0);
      expect(tags.indexOf(0x0003_0091)).toBeLessThan(tags.indexOf(HMAC));
    }
    const challenges = pi.questions.filter((question) => tagOf(question) === 0x0003_0091).map(String);
    expect(new Set(challenges).size).toBe(challenges.length);
  });

  it("is nothing when the silicon behind the node became another", async () => {
    const [pi, other] = [lab(), lab()];
    const root = await piRootOn(pi.link);
    await root.derive("x", new Uint8Array());
    pi.meddle = (_, question) => other.firmware.ioctl(question);
    for (const attempt of [() => root.derive("x", new Uint8Array()), () => root.certify(new Uint8Array(32))]) {
      await expect(attempt()).rejects.toMatchObject({
        code: "ROOT_UNAVAILABLE",
        message: expect.stringContaining("refutes"),
      });
    }
    pi.meddle = undefined;
    await root.derive("x", new Uint8Array());
  });
});

describe("the root", () => {
  it("is named after its key", async () => {
    const pi = lab();
    const root = await piRootOn(pi.link);
    const { spki } = await root.publicKey(KEY_HANDLE);
    expect((await root.describe()).serial).toBe(`pi-${sha256(spki).toString("hex").slice(0, 16)}`);
    expect(Buffer.from(spki).subarray(27)).toEqual(pointOf(pi.otp));
  });

  it("says honestly what it does not protect from", async () => {
    const { capabilities } = await (await piRootOn(lab().link)).describe();
    const limits = capabilities.limits.join("\n");
    for (const word of ["root and the kernel", "tamper", "never be destroyed", "secure boot"])
      expect(limits).toContain(word);
    expect(capabilities.keys).toMatchObject([{ handle: KEY_HANDLE, uses: [], present: true, replaceable: false }]);
  });

  it("neither signs, agrees nor destroys with its one key, and has no other", async () => {
    const root = await piRootOn(lab().link);
    for (const [handle, code] of [
      [KEY_HANDLE, "NOT_SUPPORTED"],
      ["another", "KEY_NOT_FOUND"],
    ] as const) {
      await expect(root.sign(handle, new Uint8Array(32))).rejects.toMatchObject({ code });
      await expect(root.agree(handle, new Uint8Array(64))).rejects.toMatchObject({ code });
      await expect(root.destroyKey(handle)).rejects.toMatchObject({ code });
    }
    await expect(root.publicKey("another")).rejects.toMatchObject({ code: "KEY_NOT_FOUND" });
  });

  it("signs for evidence nothing but statements of 32 bytes", async () => {
    const root = await piRootOn(lab().link);
    for (const length of [0, 31, 33, 64])
      await expect(root.certify(new Uint8Array(length))).rejects.toThrow(RangeError);
  });

  it("is blank without a key in OTP, and says how one is made", async () => {
    const pi = lab({ key: false });
    const root = await piRootOn(pi.link);
    const { state, serial, capabilities } = await root.describe();
    expect({ state, serial }).toEqual({ state: "blank", serial: "none" });
    expect(capabilities).toMatchObject({ derive: false, certify: false });
    expect(capabilities.limits[0]).toContain("rpi-fw-crypto genkey");
    const hint = expect.stringContaining("rpi-fw-crypto genkey");
    for (const attempt of [root.derive("x", new Uint8Array()), root.certify(new Uint8Array(32))]) {
      await expect(attempt).rejects.toMatchObject({ code: "ROOT_REFUSED", hint });
    }
    await expect(root.publicKey(KEY_HANDLE)).rejects.toMatchObject({ code: "KEY_NOT_FOUND", hint });
    // and is not, once there is one
    pi.otp.burn(freshKeyPair().scalar);
    expect((await root.describe()).state).toBe("ready");
  });

  it("is not taken for blank because of another program's error", async () => {
    const pi = lab();
    let first = true;
    pi.meddle = (answer, question) => {
      if (typeof answer === "number") return answer;
      if (tagOf(question) === PUBLIC_KEY && first) return withWord(answer, 20, 0x8000_0000);
      if (tagOf(question) !== 0x0003_008e) return answer;
      first = false;
      return withWord(answer, 20, 6);
    };
    expect((await (await piRootOn(pi.link)).describe()).state).toBe("ready");
  });

  it("refuses what is in OTP and is no key", async () => {
    const pi = lab({ otp: otpInRam(new Uint8Array(32).fill(0xff)) });
    const root = await piRootOn(pi.link);
    await expect(root.derive("x", new Uint8Array())).rejects.toMatchObject({
      code: "ROOT_REFUSED",
      message: expect.stringContaining("not a P-256 key"),
    });
  });

  it("says that firmware without the service, or without a key, must be newer", async () => {
    for (const mode of ["old", "no-keys"] as const) {
      await expect(piRootOn(lab({ mode }).link)).rejects.toMatchObject({
        code: "NOT_SUPPORTED",
        hint: expect.stringMatching(/EEPROM.*start4\.elf/),
      });
    }
  });

  it("does not take one reading of no keys for the truth", async () => {
    const pi = lab();
    let count = 0;
    pi.meddle = (answer, question) =>
      typeof answer !== "number" && tagOf(question) === NUMBER_OF_KEYS && ++count === 2
        ? withWord(answer, 20, 0)
        : answer;
    expect((await (await piRootOn(pi.link)).describe()).state).toBe("ready");
  });

  it("gives up when the firmware never says the same twice", async () => {
    const pi = lab();
    const root = await piRootOn(pi.link);
    let count = 0;
    pi.meddle = (answer, question) =>
      typeof answer !== "number" && tagOf(question) === 0x0003_0090 ? withWord(answer, 20, 1 + 2 * ++count) : answer;
    await expect(root.describe()).rejects.toMatchObject({ code: "ROOT_UNAVAILABLE" });
  });
});

describe("burning a key", () => {
  const IRREVERSIBLE = { irreversible: true } as const;

  it("is done only when it is said that it cannot be undone", async () => {
    const pi = lab({ key: false });
    await expect(firmwareOver(pi.link).generateKeyInOtp({ irreversible: false as true })).rejects.toMatchObject({
      code: "USAGE",
    });
    expect(pi.otp.key).toBeUndefined();
  });

  it("is believed when the key is there, also when the answer was lost", async () => {
    const pi = lab({ key: false });
    const firmware = firmwareOver(pi.link);
    pi.meddle = (answer, question) => (tagOf(question) === GENERATE ? ETIMEDOUT : answer);
    await firmware.generateKeyInOtp(IRREVERSIBLE);
    expect(Buffer.from((await firmware.publicKey()) ?? [])).toEqual(pointOf(pi.otp));
    await expect(firmware.generateKeyInOtp(IRREVERSIBLE)).rejects.toMatchObject({ code: "KEY_EXISTS" });
  });

  it("is not believed when the firmware says so and there is no key", async () => {
    const unwritable = { ...otpInRam(), burn() {} };
    await expect(firmwareOver(lab({ otp: unwritable }).link).generateKeyInOtp(IRREVERSIBLE)).rejects.toMatchObject({
      code: "ROOT_UNAVAILABLE",
      message: expect.stringContaining("there is none"),
    });
  });

  it("a second time fails, whatever the status word of the answer is taken for", async () => {
    // The stock library takes 80000000 for success.
    const { firmware, link } = lab();
    await expect(link.ask("generate key", words(0, 1))).resolves.toEqual({ kind: "failed", error: 10 });
    firmware.reboot();
    await expect(firmwareOver(link).generateKeyInOtp(IRREVERSIBLE)).rejects.toMatchObject({ code: "KEY_EXISTS" });
  });

  it("fails as the firmware says when there is no key after it", async () => {
    const pi = lab({ key: false });
    const firmware = firmwareOver(pi.link);
    await firmware.setKeyStatus(0x200);
    await expect(firmware.generateKeyInOtp(IRREVERSIBLE)).rejects.toMatchObject({
      code: "ROOT_REFUSED",
      message: expect.stringContaining("until the next reboot"),
    });
    expect(pi.otp.key).toBeUndefined();
  });
});

describe("the key's usage", () => {
  const IRREVERSIBLE = { irreversible: true } as const;

  it("is set and read back", async () => {
    const firmware = firmwareOver(lab().link);
    expect(await firmware.usage()).toBe(0);
    await firmware.setUsage(9, IRREVERSIBLE);
    expect(await firmware.usage()).toBe(9);
    await expect(firmware.setUsage(16, IRREVERSIBLE)).rejects.toThrow(RangeError);
    await firmware.setKeyStatus(0x1000);
    await expect(firmware.setUsage(8, IRREVERSIBLE)).rejects.toMatchObject({ code: "ROOT_REFUSED" });
  });

  it("is unknown behind /dev/vcio_crypto", async () => {
    const firmware = firmwareOver(lab({ mode: "restricted" }).link);
    expect(await firmware.usage()).toBeUndefined();
    await expect(firmware.setUsage(9, IRREVERSIBLE)).rejects.toMatchObject({ code: "ROOT_REFUSED" });
  });

  it("that was not set is not said to be", async () => {
    const pi = lab();
    pi.meddle = (answer, question) =>
      typeof answer !== "number" && tagOf(question) === 0x0003_009c
        ? withWord(answer, 20, wordAt(answer, 20) & 1)
        : answer;
    await expect(firmwareOver(pi.link).setUsage(8, IRREVERSIBLE)).rejects.toMatchObject({ code: "ROOT_UNAVAILABLE" });
  });
});

describe("a code that the firmware gives", () => {
  it("is never of another length than 32 bytes", async () => {
    const pi = lab();
    pi.meddle = (answer, question) =>
      typeof answer !== "number" && tagOf(question) === HMAC ? withWord(answer, 24, 31) : answer;
    await expect(firmwareOver(pi.link).hmac(Uint8Array.of(1))).rejects.toMatchObject({ code: "ROOT_UNAVAILABLE" });
  });

  it("is asked for at most 2048 bytes", async () => {
    const firmware = firmwareOver(lab().link);
    (await firmware.hmac(new Uint8Array(2048))).destroy();
    for (const length of [0, 2049]) await expect(firmware.hmac(new Uint8Array(length))).rejects.toThrow(RangeError);
  });
});

/** X and Y of the key in OTP. */
function pointOf({ key }: Otp): Buffer {
  return Buffer.from(publicKeyOf(key ?? new Uint8Array()));
}

function sha256(bytes: Uint8Array): Buffer {
  return createHash("sha256").update(bytes).digest();
}
