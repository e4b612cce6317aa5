/**
 * What every root must keep (src/roots/root.ts), as tests that run against any of them. What a root says that it cannot
 * do, it must refuse; what it says that it can, it must do so that a stranger can check it.
 */
import {
  constants,
  createECDH,
  createHash,
  createPublicKey,
  type KeyObject,
  publicDecrypt,
  randomBytes,
  verify,
} from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { p256Point, p256Spki } from "../../src/bytes/der.ts";
import { EVIDENCE_TAG, type KeyMaking, type Root, type SigningDigest, type SigningWay } from "../../src/roots/root.ts";
import { hexOf } from "./hex-of.ts";

export { hexOf };

/** A piece of silicon that a test may use up. */
export interface Bench {
  /** Opens it; more than once, one after the other. */
  open(): Promise<Root>;
  /** Another piece of the same kind. */
  openAnother(): Promise<Root>;
  close(): Promise<void>;
}

/** What this root is known to be able to do, so that a root that stops saying it fails. */
export interface Expectations {
  readonly kind: string;
  readonly makes: readonly string[];
  readonly can: readonly ("derive" | "certify" | "counter" | "random" | "destroys")[];
  /** Milliseconds for one test; slow hardware needs more. */
  readonly patience?: number;
}

const ABILITIES = ["derive", "certify", "counter", "random", "destroys"] as const;

export function keepsTheContract(name: string, start: () => Promise<Bench>, expected: Expectations): void {
  describe(`${name} keeps the contract of a root`, { timeout: expected.patience ?? 60_000 }, () => {
    let bench: Bench;
    let root: Root;
    const can = (ability: (typeof ABILITIES)[number]) => expected.can.includes(ability);
    const makes = expected.makes.map((text) => {
      const [algorithm, use] = text.split(" ");
      return { algorithm, use } as KeyMaking;
    });
    const signing = makes.filter(({ use }) => use === "sign");
    const agreeing = makes.filter(({ use }) => use === "agree");

    beforeAll(async () => {
      bench = await start();
      root = await bench.open();
    }, 120_000);
    afterAll(async () => {
      await root?.close();
      await bench?.close();
    }, 120_000);

    it("says what it is and what it can do", async () => {
      const { kind, model, serial, state, capabilities } = await root.describe();
      expect({ kind, state }).toEqual({ kind: expected.kind, state: "ready" });
      expect(model).not.toBe("");
      expect(serial).toMatch(/^[\x21-\x7e]+$/);
      expect(ABILITIES.filter((ability) => capabilities[ability])).toEqual(ABILITIES.filter(can));
      expect(capabilities.makes.map(({ algorithm, use }) => `${algorithm} ${use}`).sort()).toEqual(
        [...expected.makes].sort(),
      );
    });

    it.runIf(can("random"))("gives random bytes of any length", async () => {
      for (const length of [0, 1, 32, 33, 500]) expect(await root.random(length)).toHaveLength(length);
      expect(await root.random(32)).not.toEqual(await root.random(32));
    });

    it.runIf(can("derive"))("derives the same secret every time, for each label and salt another", async () => {
      const hex = async (label: string, salt: string) => hexOf(await root.derive(label, Buffer.from(salt)));
      const one = await hex("disk", "1");
      expect(one).toMatch(/^[0-9a-f]{64}$/);
      expect(await hex("disk", "1")).toBe(one);
      expect(new Set([one, await hex("disk", "2"), await hex("dis", "k1"), await hex("disk", "")]).size).toBe(4);
    });

    it.runIf(can("derive"))(
      "derives the same after it was opened again, and another piece derives another",
      async () => {
        const salt = randomBytes(32);
        const before = await hexOf(await root.derive("again", salt));
        const { serial } = await root.describe();
        await root.close();
        root = await bench.open();
        expect(await hexOf(await root.derive("again", salt))).toBe(before);
        const other = await bench.openAnother();
        try {
          expect((await other.describe()).serial).not.toBe(serial);
          expect(await hexOf(await other.derive("again", salt))).not.toBe(before);
        } finally {
          await other.close();
        }
      },
    );

    it.each(signing)("makes a $algorithm key inside and signs with it; a stranger verifies", async (making) => {
      const { handle, publicKey } = await root.generateKey({ ...making, occupied: [] });
      expect(publicKey.algorithm).toBe(making.algorithm);
      expect(await root.publicKey(handle)).toEqual(publicKey);
      const key = createPublicKey({ key: Buffer.from(publicKey.spki), format: "der", type: "spki" });
      const message = randomBytes(100);
      for (const way of waysOf(making)) {
        const digestName = way.scheme === "ecdsa" ? (making.algorithm === "p384" ? "sha384" : "sha256") : way.digest;
        const digest = new Uint8Array(createHash(digestName).update(message).digest());
        const signature = await root.sign(handle, digest, way);
        expect(verifies(key, digestName, message, signature, way), JSON.stringify(way)).toBe(true);
        const another = randomBytes(100);
        expect(verifies(key, digestName, another, signature, way)).toBe(false);
      }
    });

    it.each(signing.slice(0, 1))("keeps a key over closing and opening", async (making) => {
      const { handle, publicKey } = await root.generateKey({ ...making, occupied: [] });
      await root.close();
      root = await bench.open();
      expect(await root.publicKey(handle)).toEqual(publicKey);
      const message = randomBytes(10);
      const [way] = waysOf(making);
      const name = way?.scheme === "ecdsa" || way === undefined ? "sha256" : way.digest;
      const digest = new Uint8Array(createHash(name).update(message).digest());
      const key = createPublicKey({ key: Buffer.from(publicKey.spki), format: "der", type: "spki" });
      expect(verifies(key, name, message, await root.sign(handle, digest, way), way)).toBe(true);
    });

    it.each(agreeing)("agrees with a $algorithm key on the same secret as the other side", async (making) => {
      const { handle, publicKey } = await root.generateKey({ ...making, occupied: [] });
      const curve = making.algorithm === "p384" ? "secp384r1" : "prime256v1";
      const own = rawPoint(publicKey.spki);
      for (let n = 0; n < 3; n++) {
        const peer = createECDH(curve);
        const point = new Uint8Array(peer.generateKeys().subarray(1));
        const secret = await root.agree(handle, point);
        expect(hexOf(secret)).toBe(peer.computeSecret(own).toString("hex"));
      }
      await expect(root.agree(handle, new Uint8Array(own.length - 1).fill(1))).rejects.toMatchObject({
        code: expect.stringMatching(/ROOT_REFUSED|MALFORMED/),
      });
      // and is still well
      await expect(root.publicKey(handle)).resolves.toEqual(publicKey);
    });

    it("keeps what is asked at the same time apart", async () => {
      const salts = Array.from({ length: 8 }, (_, n) => Uint8Array.of(n));
      if (!can("derive")) return;
      const alone: string[] = [];
      for (const salt of salts) alone.push(hexOf(await root.derive("crowd", salt)));
      expect(await Promise.all(salts.map(async (salt) => hexOf(await root.derive("crowd", salt))))).toEqual(alone);
    });

    it.runIf(can("counter"))("counts up by one, also when many count, and over opening again", async () => {
      const counter = await root.counter();
      const before = await counter.read();
      expect(counter.maximum).toBeGreaterThan(before + 1000);
      expect(await counter.increment()).toBe(before + 1);
      expect(await Promise.all([counter.increment(), counter.increment()])).toEqual([before + 2, before + 3]);
      await root.close();
      root = await bench.open();
      expect(await (await root.counter()).read()).toBe(before + 3);
    });

    it.runIf(can("certify"))("gives evidence that a stranger can check, always by the same key", async () => {
      const statement = new Uint8Array(createHash("sha256").update("the state of this device").digest());
      const { format, signature, message, signer, subject } = await root.certify(statement);
      const key = createPublicKey({ key: Buffer.from(p256Spki(signer)), format: "der", type: "spki" });
      expect(verify("sha256", message, { key, dsaEncoding: "ieee-p1363" }, signature)).toBe(true);
      if (format === "tagged")
        expect(Buffer.from(message)).toEqual(Buffer.concat([Buffer.from(EVIDENCE_TAG), statement]));
      if (format === "tpm2-quote") expect(Buffer.from(message).includes(Buffer.from(statement))).toBe(true);
      expect(subject).toHaveLength(64);
      expect((await root.certify(statement)).signer).toEqual(signer);
    });

    it.each(signing.slice(0, 1))("destroys a key, or says that it cannot", async (making) => {
      const { handle, publicKey } = await root.generateKey({ ...making, occupied: [] });
      if (!can("destroys")) {
        await expect(root.destroyKey(handle)).rejects.toMatchObject({ code: "NOT_SUPPORTED" });
        return;
      }
      await root.destroyKey(handle);
      const after = await root.publicKey(handle).catch((error) => error.code as string);
      if (typeof after === "string") expect(after).toBe("KEY_NOT_FOUND");
      else expect(after).not.toEqual(publicKey);
    });

    it("refuses a handle it never gave out, whatever it looks like", async () => {
      const handles = ["", "slot-99", "../../etc/passwd", "\0", "x".repeat(5000), "{}", "tpm:AAAA", "id:00"];
      for (const handle of handles) {
        const code = await root.sign(handle, new Uint8Array(32)).then(
          () => "signed",
          (error: { code?: string }) => error.code,
        );
        expect(code, JSON.stringify(handle.slice(0, 40))).toMatch(/KEY_NOT_FOUND|NOT_SUPPORTED/);
      }
    });

    it("refuses what it says it cannot do", async () => {
      const refuses = (attempt: Promise<unknown>) => expect(attempt).rejects.toMatchObject({ code: "NOT_SUPPORTED" });
      if (!can("random")) await refuses(root.random(8));
      if (!can("derive")) await refuses(root.derive("x", new Uint8Array()));
      if (!can("counter")) await refuses(root.counter());
      if (!can("certify")) await refuses(root.certify(new Uint8Array(32)));
      for (const algorithm of ["p256", "p384", "rsa2048", "rsa3072", "rsa4096"] as const) {
        for (const use of ["sign", "agree"] as const) {
          if (makes.some((one) => one.algorithm === algorithm && one.use === use)) continue;
          await refuses(root.generateKey({ algorithm, use, occupied: [] }));
        }
      }
    });

    it("says after closing that it is closed", async () => {
      const another = await bench.openAnother();
      await another.close();
      await expect(another.derive("x", new Uint8Array())).rejects.toMatchObject({
        code: expect.stringMatching(/ROOT_UNAVAILABLE|NOT_SUPPORTED/),
      });
      await another.close();
    });

    // Last: after it the silicon is another one, or has lost what it kept.
    it("zeroizes what it can, names what it cannot, and then derives nothing of before", async () => {
      const [first] = signing;
      const key = first && (await root.generateKey({ ...first, occupied: [] }));
      const before = can("derive") ? hexOf(await root.derive("end", Uint8Array.of(1))) : undefined;
      const report = await root.zeroize();
      expect(report.destroyed.length + report.kept.length).toBeGreaterThan(0);
      if (report.kept.length > 0) return;
      if (before !== undefined) {
        const after = await root.derive("end", Uint8Array.of(1)).then(hexOf, (error) => error.code as string);
        expect(after).not.toBe(before);
      }
      if (key !== undefined) {
        const after = await root.publicKey(key.handle).catch((error: { code: string }) => error.code);
        expect(after).not.toEqual(key.publicKey);
      }
    });
  });
}

function waysOf({ algorithm }: KeyMaking): SigningWay[] {
  if (!algorithm.startsWith("rsa")) return [{ scheme: "ecdsa" }];
  const digests: SigningDigest[] = ["sha256", "sha384", "sha512"];
  return digests.flatMap((digest): SigningWay[] => [
    { scheme: "rsa-pkcs1", digest },
    { scheme: "rsa-pss", digest },
    { scheme: "rsa-pss", digest, saltLength: 20 },
  ]);
}

function verifies(
  key: KeyObject,
  digest: string,
  message: Uint8Array,
  signature: Uint8Array,
  way: SigningWay | undefined,
): boolean {
  if (way === undefined || way.scheme === "ecdsa") {
    return verify(digest, message, { key, dsaEncoding: "ieee-p1363" }, signature);
  }
  if (way.scheme === "rsa-pkcs1") {
    try {
      publicDecrypt({ key, padding: constants.RSA_PKCS1_PADDING }, signature);
    } catch {
      return false;
    }
    return verify(digest, message, { key, padding: constants.RSA_PKCS1_PADDING }, signature);
  }
  const saltLength = way.saltLength ?? constants.RSA_PSS_SALTLEN_DIGEST;
  return verify(digest, message, { key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength }, signature);
}

/** Of P-256 and P-384: 04, X, Y. */
function rawPoint(spki: Uint8Array): Buffer {
  const length = spki.length > 100 ? 97 : 65;
  if (length === 65) p256Point(spki); // is one
  return Buffer.from(spki.slice(-length));
}
