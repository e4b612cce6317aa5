/**
 * Faults between the vault and its TPM, by seed: the connection is cut before or after a command, an answer is garbage or
 * late, the TPM is killed in the middle. Whatever happens, a call answers rightly or says that it does not, the counter
 * goes up by what was acknowledged, and when the fault is over all is well again.
 *
 *     node test/faults/tpm.ts --runs 2000 --seed 1
 */
import { createECDH, createHash, randomBytes } from "node:crypto";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { p256Point } from "../../src/bytes/der.ts";
import { ThornkeyError } from "../../src/errors.ts";
import { verifyEcdsaDigest } from "../../src/machine/openssl.ts";
import { openTpmRoot } from "../../src/roots/tpm/root.ts";
import { openTpmLab } from "../roots/tpm/lab.ts";
import { openWiretap, type Wiretap } from "../roots/tpm/wiretap.ts";
import { Prng } from "./prng.ts";

export const KINDS = ["cut-request", "cut-response", "garbage", "short", "late", "kill"] as const;
export type Kind = (typeof KINDS)[number];

export interface Outcome {
  readonly runs: number;
  readonly right: number;
  readonly refused: { readonly [code: string]: number };
  readonly byKind: { readonly [kind: string]: number };
}

/** @throws Error at the first run that is wrong, naming it */
export async function tpmCampaign(runs: number, seed: number): Promise<Outcome> {
  const random = new Prng(seed);
  const lab = openTpmLab();
  const tpm = await lab.tpm();
  const wire = await openWiretap(join(lab.folder, "wire.sock"), () => tpm.socket);
  const root = await openTpmRoot(wire.location, { folder: join(lab.folder, "roots") });
  const refused: { [code: string]: number } = {};
  const byKind: { [kind: string]: number } = {};
  let right = 0;
  try {
    const signing = await root.generateKey({ algorithm: "p256", use: "sign", occupied: [] });
    const agreeing = await root.generateKey({ algorithm: "p256", use: "agree", occupied: [] });
    const own = Buffer.concat([Uint8Array.of(4), p256Point(agreeing.publicKey.spki)]);
    const hex = async (salt: string) => {
      using secret = await root.derive("fault", Buffer.from(salt));
      return secret.use((bytes) => Buffer.from(bytes).toString("hex"));
    };
    const derived = await hex("1");
    const { signer } = await root.certify(new Uint8Array(32));
    const counter = await root.counter();
    let count = await counter.read();

    const operations: { readonly [name: string]: () => Promise<boolean> } = {
      async sign() {
        const digest = new Uint8Array(randomBytes(32));
        return verifyEcdsaDigest(signing.publicKey.spki, digest, await root.sign(signing.handle, digest));
      },
      async agree() {
        const peer = createECDH("prime256v1");
        using secret = await root.agree(agreeing.handle, new Uint8Array(peer.generateKeys().subarray(1)));
        return secret.use((bytes) => Buffer.from(bytes).equals(peer.computeSecret(own)));
      },
      derive: async () => (await hex("1")) === derived,
      random: async () => (await root.random(40)).length === 40,
      async increment() {
        const before = count;
        try {
          count = await counter.increment();
          return count === before + 1;
        } catch (error) {
          wire.onRequest = undefined;
          wire.onResponse = undefined;
          await running();
          count = await counter.read();
          if (count !== before && count !== before + 1) throw new Error(`the counter went from ${before} to ${count}`);
          throw error;
        }
      },
      async certify() {
        const statement = new Uint8Array(createHash("sha256").update(randomBytes(8)).digest());
        const made = await root.certify(statement);
        return Buffer.from(made.signer).equals(signer) && Buffer.from(made.message).includes(Buffer.from(statement));
      },
      async generate() {
        const { handle, publicKey } = await root.generateKey({ algorithm: "p256", use: "sign", occupied: [] });
        return Buffer.from((await root.publicKey(handle)).spki).equals(publicKey.spki);
      },
    };

    let restarting: Promise<void> | undefined;
    const running = async () => {
      await restarting;
      restarting = undefined;
    };
    const names = Object.keys(operations);
    for (let run = 0; run < runs; run++) {
      const name = random.pick(names);
      const kind = random.pick(KINDS);
      disturb(wire, kind, random.below(8), random, () => (restarting = tpm.restart("SIGKILL")));
      byKind[kind] = (byKind[kind] ?? 0) + 1;
      const what = `run ${run} of seed ${seed}: ${name} with ${kind}`;
      try {
        if (!(await operations[name]?.())) throw new Error(`${what}: a wrong answer`);
        right += 1;
      } catch (error) {
        if (!(error instanceof ThornkeyError)) throw error;
        if (!/^(ROOT_UNAVAILABLE|TAMPERED|OUTCOME_UNKNOWN|ROOT_REFUSED)$/.test(error.code))
          throw new Error(`${what}: ${error.code}`);
        refused[error.code] = (refused[error.code] ?? 0) + 1;
      }
      wire.onRequest = undefined;
      wire.onResponse = undefined;
      await running();
      if (!(await operations[run % 5 === 0 ? name : "sign"]?.())) throw new Error(`${what}: not well afterwards`);
    }
  } finally {
    await root.close();
    await wire.close();
    await lab.close();
  }
  return { runs, right, refused, byKind };
}

/** Spoils one exchange, the `after`th from now. */
export function disturb(wire: Wiretap, kind: Kind, after: number, random: Prng, restart: () => void): void {
  let left = after;
  const due = () => left-- === 0;
  if (kind === "cut-request" || kind === "kill") {
    wire.onRequest = (bytes) => {
      if (!due()) return bytes;
      if (kind === "kill") restart();
      return "cut";
    };
    return;
  }
  wire.onResponse = (bytes) => {
    if (!due()) return bytes;
    if (kind === "cut-response") return "cut";
    if (kind === "short") {
      const cut = Buffer.from(bytes.subarray(0, Math.max(10, bytes.length - 1 - random.below(9))));
      cut.writeUInt32BE(cut.length, 2); // one that is not all there ends by the deadline, which is tested elsewhere
      return cut;
    }
    if (kind === "late") {
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 30);
      return bytes;
    }
    const noise = Buffer.from(bytes);
    for (let n = 0; n < 4; n++) noise[random.below(noise.length)] = random.below(256);
    noise.writeUInt32BE(noise.length, 2);
    return noise;
  };
}

if (import.meta.main) {
  const { values } = parseArgs({ options: { runs: { type: "string" }, seed: { type: "string" } } });
  const outcome = await tpmCampaign(Number(values.runs ?? 1000), Number(values.seed ?? Date.now() % 1_000_000));
  process.stdout.write(`${JSON.stringify(outcome)}\n`);
}
