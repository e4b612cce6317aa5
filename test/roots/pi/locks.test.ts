import { describe, expect, it } from "vitest";
import { describeOver } from "../../../src/roots/pi/describe.ts";
import { piRootOn } from "../../../src/roots/pi/root.ts";
import { hexOf } from "../contract.ts";
import { type Lab, lab, type Meddle, tagOf, withWord, wordAt } from "./lab.ts";

const SALT = new Uint8Array(8);
const SET_STATUS = 0x0003_8090;
const STATUS = 0x0003_0090;

describe("lock after unlock", () => {
  it.each([
    ["", {}, ["READ", "GEN", "HMAC"]],
    [", and evidence too", { sign: true }, ["READ", "GEN", "SIGN", "HMAC"]],
  ])("locks reading, making and deriving%s", async (_, options, locks) => {
    const root = await piRootOn(lab().link);
    await root.derive("x", SALT);
    expect(await root.lock(options)).toEqual({ set: locks, missing: [], oneLockOnly: false });
    await expect(root.derive("x", SALT)).rejects.toMatchObject({
      code: "ROOT_REFUSED",
      message: expect.stringContaining("until the next reboot"),
    });
    const evidence = root.certify(new Uint8Array(32));
    if (locks.includes("SIGN")) await expect(evidence).rejects.toMatchObject({ code: "ROOT_REFUSED" });
    else expect((await evidence).format).toBe("tagged");
    const { capabilities } = await root.describe();
    expect(capabilities.limits).toContain(`locked until the next reboot: ${locks.join(", ")}`);
  });

  it("holds for every driver, and until a reboot", async () => {
    const pi = lab();
    const before = hexOf(await (await piRootOn(pi.link)).derive("x", SALT));
    await (await piRootOn(pi.link)).lock();
    const root = await piRootOn(pi.link);
    await expect(root.derive("x", SALT)).rejects.toMatchObject({ code: "ROOT_REFUSED" });
    pi.firmware.reboot();
    expect(hexOf(await root.derive("x", SALT))).toBe(before);
  });

  it("can be set again", async () => {
    const root = await piRootOn(lab().link);
    await root.lock();
    expect((await root.lock()).missing).toEqual([]);
  });

  it("says of firmware with one lock that it locks nothing but reading", async () => {
    const root = await piRootOn(lab({ mode: "single-lock" }).link);
    const before = hexOf(await root.derive("x", SALT));
    const report = await root.lock({ sign: true });
    expect(report).toEqual({ set: ["READ"], missing: ["GEN", "HMAC", "SIGN"], oneLockOnly: true });
    expect(hexOf(await root.derive("x", SALT))).toBe(before);
  });

  it("says the same of firmware that refuses the locks it does not know", async () => {
    const pi = lab({ mode: "single-lock" });
    pi.meddle = refusingMore(0x100);
    const root = await piRootOn(pi.link);
    expect(await root.lock()).toEqual({ set: ["READ"], missing: ["GEN", "HMAC"], oneLockOnly: true });
  });

  it.each([
    ["none of them", 0, "READ, GEN, HMAC"],
    ["only two of them", 0x300, "HMAC"],
    ["other ones", 0x1400, "READ, GEN, HMAC"],
    ["none that was asked for, but READ and USAGE", 0x1100, "GEN, HMAC"],
  ])("notices when the firmware says that it locked, and %s stuck", async (_, stuck, missing) => {
    const pi = lab();
    pi.meddle = (answer, question) =>
      typeof answer !== "number" && tagOf(question) === STATUS ? withWord(answer, 20, 1 | stuck) : answer;
    const root = await piRootOn(pi.link);
    await expect(root.lock()).rejects.toMatchObject({
      code: "ROOT_UNAVAILABLE",
      message: expect.stringMatching(new RegExp(`and ${missing} did not lock`)),
    });
  });

  it("notices when the firmware answers that it did not lock", async () => {
    const pi = lab();
    pi.meddle = refusingMore(0);
    const root = await piRootOn(pi.link);
    await expect(root.lock()).rejects.toMatchObject({ code: "ROOT_REFUSED" });
    expect((await describeOver(pi.link)).locks).toEqual([]);
  });

  it("takes one or two words as the answer, whatever the second says", async () => {
    for (const [length, second] of [
      [4, 0],
      [8, 0],
      [8, 0xb00],
      [8, 0xffff_ffff],
    ] as const) {
      const pi = lab();
      pi.meddle = answeringLocks(length, second);
      expect((await (await piRootOn(pi.link)).lock()).missing).toEqual([]);
    }
  });
});

describe("once the vault is open", () => {
  it("the key is neither read nor made any more, and all else goes on", async () => {
    const root = await piRootOn(lab().link);
    const before = hexOf(await root.derive("x", SALT));
    await root.settle?.();
    expect((await root.describe()).capabilities.limits).toContain("locked until the next reboot: READ, GEN");
    expect(hexOf(await root.derive("x", SALT))).toBe(before);
  });

  it("says of a key that did not lock that it can be read, and stays open", async () => {
    const pi = lab();
    pi.meddle = refusingMore(0);
    const root = await piRootOn(pi.link);
    await root.settle?.();
    expect((await root.describe()).capabilities.limits.join()).toContain("root can read the key, which did not lock");
    await root.derive("x", SALT);
  });

  it("locks deriving where that is asked for, or does not go on", async () => {
    const root = await piRootOn(lab().link, { lock: "hmac" });
    await root.derive("x", SALT);
    await root.settle?.();
    await expect(root.derive("x", SALT)).rejects.toMatchObject({ code: "ROOT_REFUSED" });
    const old = await piRootOn(lab({ mode: "single-lock" }).link, { lock: "hmac" });
    await expect(old.settle?.()).rejects.toMatchObject({
      code: "ROOT_REFUSED",
      message: expect.stringContaining("GEN, HMAC"),
    });
  });
});

describe("a root whose SIGN was locked before it was opened", () => {
  async function locked(): Promise<Lab> {
    const pi = lab();
    await (await piRootOn(pi.link)).lock({ sign: true });
    pi.firmware.reboot();
    // SIGN alone, as a boot script might.
    pi.firmware.ioctl(withWord(withWord(setStatus(), 20, 1), 24, 0x400));
    return pi;
  }

  it("uses no key that it cannot verify, and says why", async () => {
    const root = await piRootOn((await locked()).link);
    for (const attempt of [root.derive("x", SALT), root.certify(new Uint8Array(32)), root.publicKey("otp")]) {
      await expect(attempt).rejects.toMatchObject({ code: "ROOT_REFUSED", message: expect.stringContaining("SIGN") });
    }
    expect((await root.describe()).serial).toMatch(/^pi-[0-9a-f]{16}$/);
  });

  it("derives when the key was verified before", async () => {
    const pi = lab();
    const root = await piRootOn(pi.link);
    const before = hexOf(await root.derive("x", SALT));
    pi.firmware.ioctl(withWord(withWord(setStatus(), 20, 1), 24, 0x400));
    expect(hexOf(await root.derive("x", SALT))).toBe(before);
  });
});

describe("zeroize", () => {
  it("locks all there is, destroys nothing, and says so", async () => {
    const pi = lab();
    const root = await piRootOn(pi.link);
    const { destroyed, kept } = await root.zeroize();
    expect(destroyed).toEqual([]);
    expect(kept.join("\n")).toMatch(/key in OTP[\s\S]*locked for READ, GEN, SIGN, HMAC, USAGE, and not for nothing/);
    expect((await describeOver(pi.link)).locks).toEqual(["READ", "GEN", "SIGN", "HMAC", "USAGE"]);
  });

  it("says what it could not lock", async () => {
    const root = await piRootOn(lab({ mode: "single-lock" }).link);
    const { kept } = await root.zeroize();
    expect(kept.join("\n")).toContain("locked for READ, and not for GEN, SIGN, HMAC, USAGE");
  });
});

/** A firmware that refuses to lock anything but `bits`, in band. */
function refusingMore(bits: number): Meddle {
  return (answer, question) => {
    if (typeof answer === "number") return answer;
    if (tagOf(question) === 0x0003_008e) return withWord(answer, 20, 2);
    if (tagOf(question) === STATUS) return withWord(answer, 20, wordAt(answer, 20) & (1 | bits));
    if (tagOf(question) !== SET_STATUS || (wordAt(question, 24) & ~bits) === 0) return answer;
    return withWord(answer, 20, 0x8000_0000);
  };
}

function answeringLocks(length: number, second: number): Meddle {
  return (answer, question) =>
    typeof answer === "number" || tagOf(question) !== SET_STATUS
      ? answer
      : withWord(withWord(withWord(answer, 16, 0x8000_0000 + length), 20, 0), 24, second);
}

/** The message that sets locks, without any. */
function setStatus(): Uint8Array {
  return withWord(withWord(withWord(new Uint8Array(40), 0, 40), 8, SET_STATUS), 12, 8);
}
