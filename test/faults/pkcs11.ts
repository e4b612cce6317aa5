/**
 * Faults of all kinds between the vault and a vendor's module, by seed, while several ask at once: it crashes, lies, forgets,
 * its token is pulled out, its process is killed. Every answer is right, or an error; and in the end all is well.
 *
 *     node test/faults/pkcs11.ts --runs 4000 --seed 1
 */
import { createECDH, createHash, createPublicKey, verify } from "node:crypto";
import { parseArgs } from "node:util";
import { ERROR_CODES } from "../../src/errors.ts";
import { openPkcs11Root } from "../../src/roots/pkcs11/index.ts";
import type { ResidentKey } from "../../src/roots/root.ts";
import { hexOf } from "../roots/hex-of.ts";
import { pin } from "../roots/pkcs11/softhsm.ts";
import { type BadToken, badTokens, ownerProcesses, TEST_PATIENCE } from "../roots/pkcs11/vendor.ts";
import { Prng } from "./prng.ts";

export const FUNCTIONS = [
  ...["C_Initialize", "C_GetSlotList", "C_OpenSession", "C_Login", "C_FindObjectsInit", "C_FindObjects", "C_SignInit"],
  ...["C_Sign", "C_GetAttributeValue", "C_GenerateKeyPair", "C_DeriveKey", "C_DestroyObject", "VALUE", "POINT"],
] as const;
export const BEHAVIOURS = [
  ...["segv", "exit", "kill", "garbage", "zeros", "short", "empty", "long", "huge", "absurd", "nothing", "diesafter"],
  ...["rv=5", "rv=30", "rv=32", "rv=b3", "rv=e0", "rv=60", "rv=82", "rv=101", "rv=190", "rv=7", "rv=abcdef"],
] as const;
const AT_ONCE = 4;

export interface Pkcs11Outcome {
  readonly runs: number;
  readonly right: number;
  readonly errors: number;
}

/** @throws Error with what was wrong, and under which faults */
export async function pkcs11Campaign(make: () => BadToken, runs: number, seed: number): Promise<Pkcs11Outcome> {
  const token = make();
  const root = await openPkcs11Root(token.location, { pin: pin(), mayProvision: true, patience: TEST_PATIENCE });
  const prng = new Prng(seed);
  const wrong: string[] = [];
  const count = { right: 0, errors: 0 };
  try {
    const signing = await root.generateKey({ algorithm: "p256", use: "sign", occupied: [] });
    const agreeing = await root.generateKey({ algorithm: "p256", use: "agree", occupied: [] });
    const derived = hexOf(await root.derive("label", Uint8Array.of(1)));
    const signer = Buffer.from((await root.certify(new Uint8Array(32))).signer).toString("hex");

    /** @returns whether the answer was right */
    const operations: { readonly [name: string]: (prng: Prng) => Promise<boolean> } = {
      sign: (prng) => isSigned(signing, prng.bytes(20)),
      async agree() {
        const peer = createECDH("prime256v1");
        const point = new Uint8Array(peer.generateKeys().subarray(1));
        const own = Buffer.from(agreeing.publicKey.spki.slice(-65));
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
      async random(prng) {
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

    const names = Object.keys(operations);
    for (let done = 0; done < runs; done += AT_ONCE) {
      const faults = Array.from({ length: prng.below(4) }, () => {
        return `${prng.pick(FUNCTIONS)} ${prng.pick(BEHAVIOURS)} ${1 + prng.below(3)}`;
      });
      token.vendor.misbehave(...faults);
      token.vendor.plug(!prng.chance(0.05));
      const asked = Array.from({ length: Math.min(AT_ONCE, runs - done) }, () => prng.pick(names));
      const running = asked.map(async (name) => {
        try {
          if (await operations[name]?.(new Prng(prng.u32()))) count.right += 1;
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
    token.vendor.misbehave();
    token.vendor.plug(true);
    for (const name of names) if (!(await operations[name]?.(prng))) wrong.push(`${name}: not well afterwards`);
  } finally {
    await root.close();
    token.close();
  }
  if (wrong.length > 0) throw new Error(`seed ${seed}: ${wrong.slice(0, 20).join("; ")}`);
  return { runs, ...count };
}

if (import.meta.main) {
  const { values } = parseArgs({ options: { runs: { type: "string" }, seed: { type: "string" } } });
  const bad = badTokens();
  if ("missing" in bad) throw new Error(bad.missing);
  const outcome = await pkcs11Campaign(
    bad.make,
    Number(values.runs ?? 1000),
    Number(values.seed ?? Date.now() % 1_000_000),
  );
  process.stdout.write(`${JSON.stringify(outcome)}\n`);
}
