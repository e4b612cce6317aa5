import { createECDH, createHash, createPublicKey, type KeyObject, randomBytes, verify } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { p256Point, p256Spki } from "../../../src/bytes/der.ts";
import { Secret } from "../../../src/bytes/secret.ts";
import { openChip } from "../../../src/roots/atecc/chip.ts";
import { type EmulatedChip, startEmulatedChip } from "../../../src/roots/atecc/emulated.ts";
import { provision } from "../../../src/roots/atecc/provision.ts";
import { openAteccRoot } from "../../../src/roots/atecc/root.ts";
import type { Root } from "../../../src/roots/root.ts";
import { startRelay } from "./relay.ts";

const TRANSPORT = new Uint8Array(32).map((_, index) => index * 7 + 1);
const transport = () => new Secret(TRANSPORT.slice());

// The whole way: worker thread, koffi, socket, emulator in its own process.
describe.each(["508a", "608a"] as const)("a %s with the profile thornkey-1, as a root", (model) => {
  const folder = mkdtempSync(join(tmpdir(), "thornkey-test-"));
  const memory = join(folder, "chip.eeprom");
  let emulator: EmulatedChip;
  let root: Root;

  beforeAll(async () => {
    emulator = await startEmulatedChip(memory, { model });
    const chip = await openChip(emulator.location);
    await provision(chip, transport());
    await chip.close();
    root = await openAteccRoot(emulator.location, transport());
  });

  afterAll(async () => {
    await root.close();
    await emulator.close();
    rmSync(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
  });

  it("says what it is and what it can do", async () => {
    const description = await root.describe();
    expect(description).toMatchObject({
      kind: "atecc",
      model: model === "508a" ? "ATECC508A" : "ATECC608",
      state: "ready",
      profile: "thornkey-1",
      capabilities: { derive: true, certify: true, counter: true, wireProtected: true, limits: [] },
    });
    expect(description.serial).toMatch(/^0123[0-9a-f]{12}ee$/);
  });

  it("makes a key inside and signs with it; a stranger verifies", async () => {
    const { handle, publicKey } = await root.generateKey({ algorithm: "p256", use: "sign", occupied: [] });
    const message = randomBytes(100);
    const signature = await root.sign(handle, sha256(message));
    expect(verify("sha256", message, ecdsa(p256Point(publicKey.spki)), signature)).toBe(true);
    expect(p256Point((await root.publicKey(handle)).spki)).toEqual(p256Point(publicKey.spki));
  });

  it("makes as many keys as it has slots, and then says so", async () => {
    const occupied: string[] = [];
    for (let n = 0; n < 5; n++) {
      occupied.push((await root.generateKey({ algorithm: "p256", use: "sign", occupied })).handle);
    }
    expect(new Set(occupied).size).toBe(5);
    await expect(root.generateKey({ algorithm: "p256", use: "sign", occupied })).rejects.toMatchObject({
      code: "NOT_SUPPORTED",
    });
  });

  it("agrees on the same secret as the other side", async () => {
    const { handle, publicKey } = await root.generateKey({ algorithm: "p256", use: "agree", occupied: [] });
    const peer = createECDH("prime256v1");
    const point = new Uint8Array(peer.generateKeys().subarray(1));
    using secret = await root.agree(handle, point);
    const expected = peer.computeSecret(Buffer.concat([Uint8Array.of(4), p256Point(publicKey.spki)]));
    expect(secret.use((bytes) => Buffer.from(bytes).equals(expected))).toBe(true);
  });

  it("keeps concurrent agreements and derivations apart", async () => {
    const handle = "slot-4";
    const own = p256Point((await root.publicKey(handle)).spki);
    const peers = Array.from({ length: 8 }, () => createECDH("prime256v1"));
    const agreed = await Promise.all(
      peers.map(async (peer) => {
        const point = new Uint8Array(peer.generateKeys().subarray(1));
        const [secret] = await Promise.all([root.agree(handle, point), root.derive("other", point.slice(0, 8))]);
        return secret.use((bytes) => Buffer.from(bytes).toString("hex"));
      }),
    );
    const expected = peers.map((peer) => peer.computeSecret(Buffer.concat([Uint8Array.of(4), own])).toString("hex"));
    expect(agreed).toEqual(expected);
  });

  it("derives the same secret every time, for each label and salt another", async () => {
    const hex = async (label: string, salt: string) => {
      using secret = await root.derive(label, Buffer.from(salt));
      return secret.use((bytes) => Buffer.from(bytes).toString("hex"));
    };
    expect(await hex("disk", "1")).toBe(await hex("disk", "1"));
    expect(new Set([await hex("disk", "1"), await hex("disk", "2"), await hex("dis", "k1")]).size).toBe(3);
  });

  it("counts up, and never down", async () => {
    const counter = await root.counter();
    const before = await counter.read();
    expect(await counter.increment()).toBe(before + 1);
    expect(await Promise.all([counter.increment(), counter.increment()])).toEqual([before + 2, before + 3]);
    expect(await counter.read()).toBe(before + 3);
  });

  it("gives evidence that a stranger can check with nothing but the public key", async () => {
    const statement = sha256(Buffer.from("the state of this device"));
    const { signature, message, signer, subject } = await root.certify(statement);
    expect(verify("sha256", message, ecdsa(signer), signature)).toBe(true);
    expect(message).toHaveLength(55);
    // The statement is in it: TempKey is a digest of it, the identity's public key and the chip's serial number.
    const { serial } = await root.describe();
    const sn = Buffer.from(serial, "hex");
    const tempKey = createHash("sha256")
      .update(statement)
      .update(Uint8Array.of(0x40, 0x08, 0, 0, sn[8]!, sn[0]!, sn[1]!))
      .update(new Uint8Array(25))
      .update(subject)
      .digest();
    expect(Buffer.from(message.subarray(0, 32)).equals(tempKey)).toBe(true);
    expect(subject).toEqual(p256Point((await root.publicKey("slot-0")).spki));
  });

  it("does not sign with the evidence key what it is given, nor agree with an identity", async () => {
    await expect(root.sign("slot-1", new Uint8Array(32))).rejects.toMatchObject({ code: "ROOT_REFUSED" });
    await expect(root.agree("slot-0", new Uint8Array(64))).rejects.toMatchObject({ code: "ROOT_REFUSED" });
    await expect(root.sign("slot-99", new Uint8Array(32))).rejects.toMatchObject({ code: "KEY_NOT_FOUND" });
    await expect(root.agree("slot-2", new Uint8Array(64))).rejects.toMatchObject({ code: "ROOT_REFUSED" });
  });

  it("refuses a peer that is not on the curve", async () => {
    await expect(root.agree("slot-4", new Uint8Array(64).fill(1))).rejects.toMatchObject({ code: "ROOT_REFUSED" });
  });

  it("gives random bytes of any length", async () => {
    expect(await root.random(0)).toHaveLength(0);
    expect(await root.random(33)).toHaveLength(33);
    expect(await root.random(32)).not.toEqual(await root.random(32));
  });

  it("without its transport key keeps its secrets inside, and says so", async () => {
    const bare = await openAteccRoot(emulator.location);
    try {
      expect((await bare.describe()).capabilities.limits.join()).toContain("transport key");
      await expect(bare.derive("disk", new Uint8Array())).rejects.toMatchObject({ code: "NOT_SUPPORTED" });
      await expect(bare.agree("slot-4", new Uint8Array(64))).rejects.toMatchObject({ code: "ROOT_REFUSED" });
    } finally {
      await bare.close();
    }
  });

  it("gives a listener on the bus nothing of what it derives and agrees", async () => {
    const socket = join(folder, "wire.sock");
    const relay = await startRelay(socket, emulator.location.bus.path);
    const watched = await openAteccRoot({ ...emulator.location, bus: { kind: "socket", path: socket } }, transport());
    using derived = await watched.derive("disk", Buffer.from("salt"));
    const peer = createECDH("prime256v1");
    using agreed = await watched.agree("slot-4", new Uint8Array(peer.generateKeys().subarray(1)));
    const raw = readFileSync(memory); // the X coordinates as the chip keeps them, slots 3 and 5 of the file
    const [slot3, slot5] = [3, 5].map((slot) => raw.subarray(32 + 128 + 64 + slot * 36).subarray(0, 32));
    await watched.close();
    const heard = Buffer.from(relay.heard());
    await relay.close();
    expect(agreed.use((bytes) => Buffer.from(bytes).equals(slot5!))).toBe(true); // so this is where they are
    const secrets = [
      ...[derived, agreed].map((secret) => secret.use((bytes) => Buffer.from(bytes))),
      ...[slot3!, slot5!, Buffer.from(TRANSPORT)],
    ];
    expect(heard.length).toBeGreaterThan(400);
    for (const secret of secrets) {
      for (let at = 0; at + 6 <= secret.length; at++) expect(heard.includes(secret.subarray(at, at + 6))).toBe(false);
    }
  });

  it("refuses a transport key that is another chip's: what it derives would be noise", async () => {
    await expect(openAteccRoot(emulator.location, new Secret(new Uint8Array(32)))).rejects.toMatchObject({
      code: "ROOT_REFUSED",
      message: expect.stringContaining("transport key"),
    });
  });

  it("makes two keys at the same time in two slots", async () => {
    const make = () => root.generateKey({ algorithm: "p256", use: "sign", occupied: [] });
    const [a, b] = await Promise.all([make(), make()]);
    expect(a.handle).not.toBe(b.handle);
    expect(p256Point((await root.publicKey(a.handle)).spki)).toEqual(p256Point(a.publicKey.spki));
  });

  it("destroys a key for ever", async () => {
    const { handle, publicKey } = await root.generateKey({ algorithm: "p256", use: "sign", occupied: [] });
    await root.destroyKey(handle);
    expect(p256Point((await root.publicKey(handle)).spki)).not.toEqual(p256Point(publicKey.spki));
  });

  it("destroys everything when it is told to, and can be used anew", async () => {
    const hex = async () => {
      using secret = await root.derive("disk", new Uint8Array());
      return secret.use((bytes) => Buffer.from(bytes).toString("hex"));
    };
    const [identity, before] = [await root.publicKey("slot-0"), await hex()];
    const agreed = createECDH("prime256v1");
    using _last = await root.agree("slot-4", new Uint8Array(agreed.generateKeys().subarray(1)));
    const results = () =>
      [3, 5].map((slot) =>
        readFileSync(memory)
          .subarray(224 + slot * 36)
          .subarray(0, 32),
      );
    const lain = results();
    const { destroyed, kept } = await root.zeroize();
    // Nothing of what was derived and agreed lies in the chip any more.
    for (const [index, now] of results().entries()) expect(now.equals(lain[index]!)).toBe(false);
    expect(destroyed.length).toBeGreaterThanOrEqual(11);
    expect(kept.join()).toContain("transport key");
    expect(await hex()).not.toBe(before);
    expect(p256Point((await root.publicKey("slot-0")).spki)).not.toEqual(p256Point(identity.spki));
    const { handle } = await root.generateKey({ algorithm: "p256", use: "sign", occupied: [] });
    expect(await root.sign(handle, new Uint8Array(32))).toHaveLength(64);
  });
});

describe("a root whose chip goes away", () => {
  it("says so within its deadline when the chip hangs, and works again when it goes on", async () => {
    const folder = mkdtempSync(join(tmpdir(), "thornkey-test-"));
    const emulator = await startEmulatedChip(join(folder, "chip.eeprom"));
    const chip = await openChip(emulator.location);
    await provision(chip, transport());
    await chip.close();
    const root = await openAteccRoot(emulator.location, transport());
    process.kill(emulator.pid, "SIGSTOP");
    await expect(root.random(32)).rejects.toMatchObject({ code: "ROOT_UNAVAILABLE" });
    process.kill(emulator.pid, "SIGCONT");
    expect(await root.random(32)).toHaveLength(32);
    await root.close();
    await emulator.close();
    rmSync(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
  });

  it("says so, and works again by itself when the chip is back", async () => {
    const folder = mkdtempSync(join(tmpdir(), "thornkey-test-"));
    const memory = join(folder, "chip.eeprom");
    const socket = join(folder, "chip.sock");
    let emulator = await startEmulatedChip(memory);
    const chip = await openChip(emulator.location);
    await provision(chip, transport());
    await chip.close();
    // A relay has the constant address; the chip behind it is killed and started anew, elsewhere.
    let relay = await startRelay(socket, emulator.location.bus.path);
    const root = await openAteccRoot({ ...emulator.location, bus: { kind: "socket", path: socket } }, transport());
    const point = p256Point((await root.publicKey("slot-0")).spki);
    process.kill(emulator.pid, "SIGKILL");
    await expect(root.random(32)).rejects.toMatchObject({ code: "ROOT_UNAVAILABLE" });
    await Promise.all([emulator.close(), relay.close()]);
    await expect(root.sign("slot-0", new Uint8Array(32))).rejects.toMatchObject({ code: "ROOT_UNAVAILABLE" });
    emulator = await startEmulatedChip(memory);
    rmSync(socket, { force: true });
    relay = await startRelay(socket, emulator.location.bus.path);
    const message = randomBytes(10);
    const signature = await root.sign("slot-0", sha256(message));
    expect(verify("sha256", message, ecdsa(point), signature)).toBe(true);
    await root.close();
    await Promise.all([emulator.close(), relay.close()]);
    rmSync(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
  });
});

function sha256(message: Uint8Array): Uint8Array {
  return new Uint8Array(createHash("sha256").update(message).digest());
}

function ecdsa(point: Uint8Array): { key: KeyObject; dsaEncoding: "ieee-p1363" } {
  const key = createPublicKey({ key: Buffer.from(p256Spki(point)), format: "der", type: "spki" });
  return { key, dsaEncoding: "ieee-p1363" };
}
