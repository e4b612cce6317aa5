/** A vendor's module may crash, hang, lie and forget: it costs a retry or an error, and never us or a wrong result. */
import { createECDH, createHash, createPublicKey, randomBytes, verify } from "node:crypto";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { openPkcs11Root } from "../../../src/roots/pkcs11/index.ts";
import type { ResidentKey, Root } from "../../../src/roots/root.ts";
import { hexOf } from "../contract.ts";
import { pin } from "./softhsm.ts";
import { type BadToken, badTokens, TEST_PATIENCE } from "./vendor.ts";

const bad = badTokens();
if ("missing" in bad) describe("a misbehaving module", () => it.skip(bad.missing));
else describe("a misbehaving module", { timeout: 120_000 }, () => misbehaving(bad.make));

function misbehaving(make: () => BadToken): void {
  let token: BadToken;
  let root: Root;
  let key: ResidentKey;
  let agreeing: ResidentKey;
  let derived: string;

  beforeAll(async () => {
    token = make();
    root = await openPkcs11Root(token.location, { pin: pin(), mayProvision: true, patience: TEST_PATIENCE });
    key = await root.generateKey({ algorithm: "p256", use: "sign", occupied: [] });
    agreeing = await root.generateKey({ algorithm: "p256", use: "agree", occupied: [] });
    derived = hexOf(await root.derive("label", Uint8Array.of(1)));
  });
  afterEach(async () => {
    misbehave();
    // Whatever it did: the next call works.
    await signs();
    await derives();
  });
  afterAll(async () => {
    await root?.close();
    token?.close();
  });

  const misbehave = (...lines: string[]) => token.vendor.misbehave(...lines);
  const newKey = () => root.generateKey({ algorithm: "p256", use: "sign", occupied: [] });

  async function signs(by = key): Promise<void> {
    const message = randomBytes(20);
    const digest = new Uint8Array(createHash("sha256").update(message).digest());
    const signature = await root.sign(by.handle, digest);
    const spki = createPublicKey({ key: Buffer.from(by.publicKey.spki), format: "der", type: "spki" });
    expect(verify("sha256", message, { key: spki, dsaEncoding: "ieee-p1363" }, signature)).toBe(true);
  }

  async function agrees(): Promise<void> {
    const peer = createECDH("prime256v1");
    const point = new Uint8Array(peer.generateKeys().subarray(1));
    const own = Buffer.from(agreeing.publicKey.spki.slice(-65));
    expect(hexOf(await root.agree(agreeing.handle, point))).toBe(peer.computeSecret(own).toString("hex"));
  }

  const derives = async () => expect(hexOf(await root.derive("label", Uint8Array.of(1)))).toBe(derived);

  const fails = (attempt: Promise<unknown>, code = "ROOT_UNAVAILABLE") =>
    expect(attempt).rejects.toMatchObject({ name: "ThornkeyError", code });

  it.each(["segv", "exit", "kill"])("that ends its process by %s costs a retry, and not our process", async (how) => {
    misbehave(`C_Sign ${how} 1`);
    await signs();
    misbehave(`C_DeriveKey ${how} 1`);
    await derives();
    misbehave(`C_Sign ${how} -1`);
    await fails(signs());
  });

  it("that hangs ends within its deadline, and others go on meanwhile", async () => {
    const beside = token.tokens.make("beside");
    const other = await openPkcs11Root(beside, { pin: pin(), mayProvision: true });
    try {
      const { handle } = await other.generateKey({ algorithm: "p256", use: "sign", occupied: [] });
      misbehave("C_Sign hang 1");
      let over = false;
      const hanging = signs().then(
        () => "signed",
        (error) => error.code,
      );
      void hanging.then(() => {
        over = true;
      });
      const behind = root.random(8);
      let answered = 0;
      while (!over) {
        await other.sign(handle, new Uint8Array(randomBytes(32)));
        answered += 1;
      }
      expect(answered).toBeGreaterThan(10);
      expect(await hanging).toBe("ROOT_UNAVAILABLE");
      expect(await behind).toHaveLength(8); // waited for its turn, and got it
    } finally {
      await other.close();
    }
  });

  const WAYS = ["garbage", "zeros", "short", "empty", "long", "huge", "absurd"] as const;

  it.each(WAYS)("that gives signatures of %s: none goes out", async (how) => {
    misbehave(`C_Sign ${how} 1`);
    await signs();
    misbehave(`C_Sign ${how} -1`);
    await fails(signs());
    await fails(root.certify(new Uint8Array(32)));
  });

  it.each(WAYS)("that gives agreed secrets of %s: none goes out", async (how) => {
    for (let answers = 1; answers <= 3; answers++) {
      // Each of the answers that check each other, and one that nothing but the others can tell from the right one.
      misbehave(`VALUE ${how} ${answers}`);
      await agrees().catch((error) => expect(error).toMatchObject({ code: "ROOT_UNAVAILABLE" }));
      misbehave(`VALUE ${how} ${answers}`);
      await derives().catch((error) => expect(error).toMatchObject({ code: "ROOT_UNAVAILABLE" }));
    }
    misbehave(`VALUE ${how} -1`);
    await fails(root.derive("label", Uint8Array.of(1)));
    await fails(agrees());
  });

  it.each(WAYS)("that gives public keys of %s: none goes out, and no key stays behind", async (how) => {
    const before = await token.keys();
    misbehave(`POINT ${how} -1`);
    const attempt = await newKey().catch((error) => error.code);
    // Without a length the point is asked of another object, which has none either.
    expect(attempt).toBe(how === "empty" ? "ROOT_REFUSED" : "ROOT_UNAVAILABLE");
    misbehave();
    await signs(); // what is cleared away goes before it
    expect(await token.keys()).toEqual(before);
  });

  it("that gives another key's public part, or uses another key, is found out", async () => {
    const before = await token.keys();
    for (const use of ["sign", "agree"] as const) {
      misbehave("POINT another -1");
      await fails(root.generateKey({ algorithm: "p256", use, occupied: [] }));
      misbehave();
      await signs();
      expect(await token.keys()).toEqual(before);
    }
    const other = await root.generateKey({ algorithm: "p256", use: "agree", occupied: [] });
    misbehave("C_DeriveKey otherkey -1");
    await fails(root.derive("label", Uint8Array.of(1)));
    await fails(agrees());
    misbehave();
    await root.destroyKey(other.handle);
  });

  it("whose generator is stuck gives no random bytes", async () => {
    misbehave("C_GenerateRandom zeros -1");
    await fails(root.random(32));
  });

  it.each(["5", "6", "30", "31337"])("that fails with %s once is asked again, and always is an error", async (rv) => {
    for (const name of ["C_SignInit", "C_Sign"]) {
      misbehave(`${name} rv=${rv} 1`);
      await signs();
      misbehave(`${name} rv=${rv} -1`);
      await fails(signs());
    }
  });

  it.each(["32", "e0", "b3", "b0", "190", "101", "90", "60", "82"])(
    "that lost something (%s) goes on from there",
    async (rv) => {
      for (const name of ["C_Sign", "C_SignInit", "C_GetAttributeValue", "C_FindObjectsInit", "C_FindObjects"]) {
        misbehave(`${name} rv=${rv} 1`);
        await signs();
        await agrees();
        const made = await newKey();
        await signs(made);
        await root.destroyKey(made.handle);
      }
    },
  );

  it("that makes keys which may leave the token: they are refused, and destroyed", async () => {
    const before = await token.keys();
    misbehave("EXTRACTABLE true -1");
    await fails(newKey(), "ROOT_REFUSED");
    misbehave();
    expect(await token.keys()).toEqual(before);
  });

  it.each(["diesafter", "half", "kill"])("that dies when it makes a key (%s) has made one in the end", async (how) => {
    const before = await token.keys();
    misbehave(`C_GenerateKeyPair ${how} 1`);
    const made = await newKey();
    await signs(made);
    expect(await token.keys()).toHaveLength(before.length + 1);
    misbehave("C_DestroyObject diesafter 1");
    await root.destroyKey(made.handle);
    expect(await token.keys()).toEqual(before);
  });

  it("that only says it destroyed a key is not believed", async () => {
    const made = await newKey();
    misbehave("C_DestroyObject lies -1");
    await fails(root.destroyKey(made.handle), "ROOT_REFUSED");
    misbehave();
    await root.destroyKey(made.handle);
    await fails(root.publicKey(made.handle), "KEY_NOT_FOUND");
  });

  it("that counts without end, or finds nothing, harms nobody", async () => {
    misbehave("C_FindObjects huge -1", "C_GetSlotList huge -1", "C_Sign kill 1");
    await signs().catch((error) => expect(error).toMatchObject({ name: "ThornkeyError" }));
    misbehave("C_FindObjects nothing -1", "C_Sign kill 1");
    await fails(signs(), "KEY_NOT_FOUND");
  });
}
