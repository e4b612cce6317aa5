/**
 * A seeded campaign against the driver with its thread: answers are lost, late, cut, garbled, of somebody else; the
 * firmware is restarted, the node goes away. Whatever happens: what is given out is right, and when it is over the root
 * works by itself.
 */
import { createHash } from "node:crypto";
import { join } from "node:path";
import { expect, it } from "vitest";
import { freshKeyPair, publicKeyOf } from "../../../src/emulators/atecc508a/p256.ts";
import { otpInRam } from "../../../src/emulators/pi-firmware/otp.ts";
import { ThornkeyError } from "../../../src/errors.ts";
import { verifyP256Digest } from "../../../src/machine/openssl.ts";
import { threadLink } from "../../../src/roots/pi/link.ts";
import { type PiRoot, piRootOn } from "../../../src/roots/pi/root.ts";
import { Prng } from "../../faults/prng.ts";
import { hexOf } from "../contract.ts";
import { folder, lab } from "./lab.ts";
import { FAULTS, UnrulyFirmware } from "./unruly-firmware.ts";

const PATIENCE = 150;
const SALTS = Array.from({ length: 4 }, (_, n) => Uint8Array.of(n));

it("never gives a wrong key or signature, and recovers, whatever happens to the firmware", {
  timeout: 300_000,
}, async () => {
  const seed = Number(process.env.PI_FAULTS_SEED ?? Date.now() % 2 ** 32);
  console.log(`repeat with PI_FAULTS_SEED=${seed}`);
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
  const outcomes = new Map<string, number>();
  try {
    for (let count = 0; count < 500; count++) {
      firmware.rate = prng.pick([0, 0.02, 0.1, 0.5]);
      const outcome = await prng
        .pick(OPERATIONS)(root)
        .then(
          (wrong) => wrong ?? "right",
          (error: unknown) => (error instanceof ThornkeyError ? error.code : String(error)),
        );
      if (prng.chance(0.5)) firmware.comeBack();
      outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
      expect(outcome, `operation ${count}`).toMatch(/^(right|ROOT_UNAVAILABLE)$/);
    }
    expect(outcomes.get("right")).toBeGreaterThan(100);
    expect([...firmware.counts.keys()].sort()).toEqual([...FAULTS].sort());

    firmware.rate = 0;
    await firmware.stop();
    for (const operation of OPERATIONS)
      await expect(operation(root)).rejects.toMatchObject({ code: "ROOT_UNAVAILABLE" });
    await firmware.start();
    for (const operation of OPERATIONS) expect(await eventually(() => operation(root))).toBeUndefined();
  } finally {
    await root.close();
    await firmware.stop();
    remove();
  }
});

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
