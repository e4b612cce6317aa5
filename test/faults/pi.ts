/**
 * A seeded campaign against the driver of the Pi's firmware, with its thread: answers are lost, late, cut, garbled, of
 * somebody else; the firmware is restarted, the node goes away. Whatever happens: what is given out is right, and when it is
 * over the root works by itself.
 *
 *     node test/faults/pi.ts --runs 4000 --seed 1
 */
import { createHash } from "node:crypto";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { freshKeyPair, publicKeyOf } from "../../src/emulators/atecc508a/p256.ts";
import { otpInRam } from "../../src/emulators/pi-firmware/otp.ts";
import { ThornkeyError } from "../../src/errors.ts";
import { verifyP256Digest } from "../../src/machine/openssl.ts";
import { threadLink } from "../../src/roots/pi/link.ts";
import { type PiRoot, piRootOn } from "../../src/roots/pi/root.ts";
import { hexOf } from "../roots/hex-of.ts";
import { folder, lab } from "../roots/pi/lab.ts";
import { type Fault, UnrulyFirmware } from "../roots/pi/unruly-firmware.ts";
import { Prng } from "./prng.ts";

const PATIENCE = 150;
const SALTS = Array.from({ length: 4 }, (_, n) => Uint8Array.of(n));

export interface PiOutcome {
  readonly runs: number;
  readonly right: number;
  readonly refused: number;
  readonly faults: ReadonlyMap<Fault, number>;
}

/** @throws Error at the first run that is wrong, naming it */
export async function piCampaign(runs: number, seed: number): Promise<PiOutcome> {
  const prng = new Prng(seed);
  const { path, remove } = folder();
  const otp = otpInRam(freshKeyPair().scalar);
  const truth = await piRootOn(lab({ otp }).link);
  const keys = await Promise.all(SALTS.map(async (salt) => hexOf(await truth.derive("campaign", salt))));
  const { serial } = await truth.describe();
  const point = publicKeyOf(otp.key ?? new Uint8Array());

  /** @returns what is wrong; undefined when all is well */
  const OPERATIONS: ((root: PiRoot) => Promise<string | undefined>)[] = [
    async (root) => {
      const n = prng.below(SALTS.length);
      const key = hexOf(await root.derive("campaign", SALTS[n] ?? new Uint8Array()));
      return key === keys[n] ? undefined : "a wrong key";
    },
    async (root) => {
      const statement = prng.bytes(32);
      const { message, signature, signer } = await root.certify(statement);
      const digest = new Uint8Array(createHash("sha256").update(message).digest());
      const right = Buffer.from(signer).equals(point) && Buffer.from(message).includes(Buffer.from(statement));
      return right && verifyP256Digest(new Uint8Array(point), digest, signature) ? undefined : "wrong evidence";
    },
    async (root) => {
      const description = await root.describe();
      return description.serial === serial && description.state === "ready" ? undefined : "another silicon";
    },
  ];

  const firmware = new UnrulyFirmware(join(path, "pi.sock"), otp, prng, PATIENCE);
  await firmware.start();
  const node = `unix:${join(path, "pi.sock")}`;
  const root = await eventually(() => piRootOn(threadLink({ node, patience: PATIENCE })));
  let [right, refused] = [0, 0];
  /** @returns what is wrong, `right`, or the code of the error */
  const outcomeOf = (operation: (root: PiRoot) => Promise<string | undefined>) =>
    operation(root).then(
      (wrong) => wrong ?? "right",
      (error: unknown) => (error instanceof ThornkeyError ? error.code : String(error)),
    );
  const must = (outcome: string, wanted: string, when: string) => {
    if (outcome !== wanted) throw new Error(`${when} of seed ${seed}: ${outcome}`);
  };
  try {
    for (let run = 0; run < runs; run++) {
      firmware.rate = prng.pick([0, 0.02, 0.1, 0.5]);
      const outcome = await outcomeOf(prng.pick(OPERATIONS));
      if (prng.chance(0.5)) firmware.comeBack();
      if (outcome === "right") right += 1;
      else must(outcome, "ROOT_UNAVAILABLE", `run ${run}`);
      if (outcome === "ROOT_UNAVAILABLE") refused += 1;
    }
    firmware.rate = 0;
    await firmware.stop();
    for (const operation of OPERATIONS)
      must(await outcomeOf(operation), "ROOT_UNAVAILABLE", "without a firmware, the end");
    await firmware.start();
    for (const operation of OPERATIONS) must((await eventually(() => operation(root))) ?? "right", "right", "the end");
  } finally {
    await root.close();
    await firmware.stop();
    remove();
  }
  return { runs, right, refused, faults: firmware.counts };
}

/** Until nothing of what was late is on its way any more. */
async function eventually<T>(attempt: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await attempt();
    } catch (error) {
      if (tries >= 20) throw error;
    }
  }
}

if (import.meta.main) {
  const { values } = parseArgs({ options: { runs: { type: "string" }, seed: { type: "string" } } });
  const seed = Number(values.seed ?? Date.now() % 1_000_000);
  const { faults, ...outcome } = await piCampaign(Number(values.runs ?? 1000), seed);
  process.stdout.write(`${JSON.stringify({ ...outcome, seed, faults: Object.fromEntries(faults) })}\n`);
}
