/** Faults of all kinds at random, while several ask at once: every answer is right, or an error; and in the end all is well. */
import { createECDH, createHash, createPublicKey, verify } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ERROR_CODES } from "../../../src/errors.ts";
import { openPkcs11Root } from "../../../src/roots/pkcs11/index.ts";
import type { ResidentKey, Root } from "../../../src/roots/root.ts";
import { Prng } from "../../faults/prng.ts";
import { hexOf } from "../contract.ts";
import { pin } from "./softhsm.ts";
import { type BadToken, badTokens, ownerProcesses, TEST_PATIENCE } from "./vendor.ts";

const FUNCTIONS = [
  ...["C_Initialize", "C_GetSlotList", "C_OpenSession", "C_Login", "C_FindObjectsInit", "C_FindObjects", "C_SignInit"],
  ...["C_Sign", "C_GetAttributeValue", "C_GenerateKeyPair", "C_DeriveKey", "C_DestroyObject", "VALUE", "POINT"],
] as const;
const BEHAVIOURS = [
  ...["segv", "exit", "kill", "garbage", "zeros", "short", "empty", "long", "huge", "absurd", "nothing", "diesafter"],
  ...["rv=5", "rv=30", "rv=32", "rv=b3", "rv=e0", "rv=60", "rv=82", "rv=101", "rv=190", "rv=7", "rv=abcdef"],
] as const;
const OPERATIONS = 400;
const AT_ONCE = 4;

const bad = badTokens();
if ("missing" in bad) describe("a module with faults of all kinds", () => it.skip(bad.missing));
else describe("a module with faults of all kinds", { timeout: 300_000 }, () => campaign(bad.make));

function campaign(make: () => BadToken): void {
  let token: BadToken;
  let root: Root;
  let signing: ResidentKey;
  let agreeing: ResidentKey;
  let derived: string;
  let signer: string;

  beforeAll(async () => {
    token = make();
    root = await openPkcs11Root(token.location, { pin: pin(), mayProvision: true, patience: TEST_PATIENCE });
    signing = await root.generateKey({ algorithm: "p256", use: "sign", occupied: [] });
    agreeing = await root.generateKey({ algorithm: "p256", use: "agree", occupied: [] });
    derived = hexOf(await root.derive("label", Uint8Array.of(1)));
    signer = Buffer.from((await root.certify(new Uint8Array(32))).signer).toString("hex");
  });
  afterAll(async () => {
    await root?.close();
    token?.close();
  });

  /** @returns whether the answer was right */
  type Operation = (prng: Prng) => Promise<boolean>;

  const OPERATION: { readonly [name: string]: Operation } = {
    sign: (prng) => isSigned(signing, prng.bytes(20)),
    async agree(prng) {
      const peer = createECDH("prime256v1");
      const point = new Uint8Array(peer.generateKeys().subarray(1));
      const own = Buffer.from(agreeing.publicKey.spki.slice(-65));
      void prng;
      return hexOf(await root.agree(agreeing.handle, point)) === peer.computeSecret(own).toString("hex");
    },
    derive: async () => hexOf(await root.derive("label", Uint8Array.of(1))) === derived,
    async certify(prng) {
      const given = await root.certify(prng.bytes(32));
      return Buffer.from(given.signer).toString("hex") === signer;
    },
    async publicKey() {
      const { spki } = await root.publicKey(signing.handle);
      return Buffer.from(spki).equals(Buffer.from(signing.publicKey.spki));
    },
    random: async (prng) => {
      const length = prng.below(3000);
      return (await root.random(length)).length === length;
    },
    describe: async () => (await root.describe()).kind === "pkcs11",
    async "a new key"(prng) {
      const key = await root.generateKey({ algorithm: "p256", use: "sign", occupied: [] });
      const signed = await isSigned(key, prng.bytes(20)).catch(() => true);
      await root.destroyKey(key.handle).catch(() => {});
      return signed;
    },
  };

  async function isSigned(key: ResidentKey, message: Uint8Array): Promise<boolean> {
    const signature = await root.sign(key.handle, new Uint8Array(createHash("sha256").update(message).digest()));
    const publicKey = createPublicKey({ key: Buffer.from(key.publicKey.spki), format: "der", type: "spki" });
    return verify("sha256", message, { key: publicKey, dsaEncoding: "ieee-p1363" }, signature);
  }

  it("gives right answers or errors, and is well when they end", async () => {
    const seed = Number(process.env.THORNKEY_SEED ?? Date.now() % 2 ** 32);
    console.log(`repeat with: THORNKEY_SEED=${seed} npx vitest run test/roots/pkcs11/campaign.test.ts`);
    const prng = new Prng(seed);
    const names = Object.keys(OPERATION);
    const wrong: string[] = [];
    const count = { right: 0, errors: 0 };
    for (let done = 0; done < OPERATIONS; done += AT_ONCE) {
      const faults = Array.from({ length: prng.below(4) }, () => {
        return `${prng.pick(FUNCTIONS)} ${prng.pick(BEHAVIOURS)} ${1 + prng.below(3)}`;
      });
      token.vendor.misbehave(...faults);
      token.vendor.plug(!prng.chance(0.05));
      const asked = Array.from({ length: AT_ONCE }, () => prng.pick(names));
      const running = asked.map(async (name) => {
        try {
          if (await OPERATION[name]?.(new Prng(prng.u32()))) count.right += 1;
          else wrong.push(`${name}: a wrong answer under ${faults.join(", ")}`);
        } catch (error) {
          const { code, name: kind, message } = error as { code?: string; name: string; message: string };
          // A module may say that there is no such key, and that nothing is allowed; it may not make us fail.
          if (kind !== "ThornkeyError" || code === undefined || !Object.hasOwn(ERROR_CODES, code)) {
            wrong.push(`${name}: ${kind} ${message} under ${faults.join(", ")}`);
          } else count.errors += 1;
        }
      });
      if (prng.chance(0.1)) for (const pid of ownerProcesses()) process.kill(pid, "SIGKILL");
      await Promise.all(running);
    }
    expect(wrong).toEqual([]);
    expect(count.right).toBeGreaterThan(OPERATIONS / 4);
    expect(count.errors).toBeGreaterThan(0);

    token.vendor.misbehave();
    token.vendor.plug(true);
    for (const name of names) expect(await OPERATION[name]?.(prng), name).toBe(true);
  });
}
