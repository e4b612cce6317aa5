/** What the fault campaign does, and how each result is judged: against the chip's own memory, or by independent means. */

import { createHash, createPublicKey, verify } from "node:crypto";
import { concat, equal, toHex } from "../../src/bytes/bytes.ts";
import { p256Point } from "../../src/bytes/der.ts";
import { verifyP256Digest } from "../../src/machine/openssl.ts";
import {
  GenKeyPublic,
  InfoState,
  MAC,
  NonceFixed,
  SHAEnd,
  SHAStart,
  SHAUpdate,
  VerifyExternal,
} from "../../src/roots/atecc/commands.ts";
import {
  incrementCounter,
  readConfig,
  readEncrypted,
  readSlot,
  signDigest,
  writeEncrypted,
} from "../../src/roots/atecc/conversations.ts";
import { SLOTS } from "../../src/roots/atecc/profile.ts";
import { derivedOf, pointOf, type Stage, secretOf } from "./campaign.ts";

export interface Operation {
  readonly name: string;
  /** @returns what is wrong with the result, or undefined */
  readonly run: (stage: Stage) => Promise<string | undefined>;
  /** After an error: what was not acknowledged may have happened or not; the model follows the memory. */
  readonly settle?: (stage: Stage) => void;
}

export const OPERATIONS: readonly Operation[] = [
  {
    name: "random",
    run: async ({ root, model }) => {
      const random = await root.random(32);
      if (random.length !== 32) return "it is not 32 bytes";
      if (equal(random, model.random)) return "it is the number before";
      model.random = random;
      return undefined;
    },
  },
  {
    name: "sign",
    run: async ({ root, memory, prng }) => {
      const slot = prng.pick(SLOTS.userKeys);
      const digest = prng.bytes(32);
      const signature = await root.sign(`slot-${slot}`, digest);
      return verifyP256Digest(pointOf(memory, slot), digest, signature) ? undefined : "it does not verify";
    },
  },
  {
    // Without the root's own check: the driver alone must not give a wrong signature.
    name: "sign, unchecked",
    run: async ({ chip, memory, prng }) => {
      const slot = prng.pick(SLOTS.userKeys);
      const digest = prng.bytes(32);
      const signature = await signDigest(chip, slot, digest);
      return verifyP256Digest(pointOf(memory, slot), digest, signature) ? undefined : "it does not verify";
    },
  },
  {
    name: "derive",
    run: async ({ root, memory, prng }) => {
      const salt = prng.bytes(1 + prng.below(3));
      using secret = await root.derive("campaign", salt);
      const expected = derivedOf(memory, "campaign", salt);
      return secret.use((bytes) => equal(bytes, expected)) ? undefined : "it is another secret";
    },
  },
  ...([0, 1] as const).map(
    (counter): Operation => ({
      name: `increment counter ${counter}`,
      run: async ({ chip, model }) => {
        const value = await incrementCounter(chip, counter);
        const expected = model.counters[counter] + 1;
        model.counters[counter] = value;
        return value === expected ? undefined : `it is ${value}, not ${expected}`;
      },
      settle: ({ memory, model }) => {
        const value = counterOf(memory, counter);
        // At most one more than acknowledged; anything else stays visible as a difference.
        if (value === model.counters[counter] + 1) model.counters[counter] = value;
      },
    }),
  ),
  {
    name: "read counter",
    run: async ({ root, model }) => {
      const value = await (await root.counter()).read();
      return value === model.counters[0] ? undefined : `it is ${value}, not ${model.counters[0]}`;
    },
  },
  {
    name: "write secret",
    run: async ({ chip, memory, transport, prng, model }) => {
      const secret = prng.bytes(32);
      await writeEncrypted(chip, SLOTS.secret, 0, secret, { slot: SLOTS.transport, secret: transport });
      model.secret = secret;
      return equal(secretOf(memory, SLOTS.secret), secret) ? undefined : "it is not in the chip";
    },
    settle: ({ memory, model }) => {
      model.secret = secretOf(memory, SLOTS.secret);
    },
  },
  {
    name: "read secret",
    run: async ({ chip, transport, model }) => {
      const secret = await readEncrypted(chip, SLOTS.secret, 0, { slot: SLOTS.transport, secret: transport });
      return equal(secret, model.secret) ? undefined : "it is another one";
    },
  },
  {
    name: "write certificate",
    run: async ({ chip, memory, transport, prng, model }) => {
      const certificate = prng.bytes(32);
      await writeEncrypted(chip, SLOTS.certificates, 0, certificate, { slot: SLOTS.transport, secret: transport });
      model.certificate = certificate;
      return equal(secretOf(memory, SLOTS.certificates), certificate) ? undefined : "it is not in the chip";
    },
    settle: ({ memory, model }) => {
      model.certificate = secretOf(memory, SLOTS.certificates);
    },
  },
  {
    name: "read certificates",
    run: async ({ chip, memory }) => {
      const slot = hexOf(await readSlot(chip, SLOTS.certificates));
      return slot === hexOf(memory.slots[SLOTS.certificates]) ? undefined : "it is something else";
    },
  },
  {
    name: "read configuration",
    run: async ({ chip, memory }) =>
      equal((await readConfig(chip)).bytes, memory.config) ? undefined : "it is something else",
  },
  {
    name: "make a key",
    run: async ({ root, memory, prng }) => {
      const slot = prng.pick(SLOTS.userKeys);
      const others = SLOTS.userKeys.filter((other) => other !== slot).map((other) => `slot-${other}`);
      const { handle, publicKey } = await root.generateKey({ algorithm: "p256", use: "sign", occupied: others });
      if (handle !== `slot-${slot}`) return `it is in ${handle}, not in slot ${slot}`;
      return equal(p256Point(publicKey.spki), pointOf(memory, slot)) ? undefined : "the public key is of another key";
    },
    // A key that was made without being acknowledged is not the caller's; forget what the root thought it knew.
    settle: () => {},
  },
  {
    name: "public key",
    run: async ({ chip, memory, prng }) => {
      const slot = prng.pick(SLOTS.userKeys);
      const [point] = await chip.run(GenKeyPublic(slot));
      return equal(point, pointOf(memory, slot)) ? undefined : "it is of another key";
    },
  },
  {
    name: "evidence",
    run: async ({ root, memory, prng }) => {
      const { message, signature } = await root.certify(prng.bytes(32));
      const [x, y] = [pointOf(memory, SLOTS.evidence).subarray(0, 32), pointOf(memory, SLOTS.evidence).subarray(32)];
      const jwk = { kty: "EC", crv: "P-256", x: base64url(x), y: base64url(y) };
      const key = createPublicKey({ key: jwk, format: "jwk" });
      return verify("sha256", message, { key, dsaEncoding: "ieee-p1363" }, signature)
        ? undefined
        : "it does not verify";
    },
  },
  {
    name: "MAC",
    run: async ({ chip, memory, prng }) => {
      const challenge = prng.bytes(32);
      const [mac] = await chip.run(MAC({ serial: true }, SLOTS.secret, challenge));
      return equal(mac, macFrom(memory, challenge)) ? undefined : "it is another one";
    },
  },
  {
    name: "SHA",
    run: async ({ chip, prng }) => {
      const message = prng.bytes(64 + 64 + prng.below(64));
      const [, , , digest] = await chip.run(
        SHAStart(),
        SHAUpdate(message.slice(0, 64)),
        SHAUpdate(message.slice(64, 128)),
        SHAEnd(message.slice(128)),
      );
      return equal(digest, createHash("sha256").update(message).digest()) ? undefined : "it is another digest";
    },
  },
  {
    name: "verify",
    run: async ({ chip, root, memory, prng }) => {
      const slot = prng.pick(SLOTS.userKeys);
      const digest = prng.bytes(32);
      const signature = await root.sign(`slot-${slot}`, digest);
      const right = prng.chance(0.5);
      if (!right) signature[prng.below(64)]! ^= 1 << prng.below(8);
      const [, answer] = await chip.run(NonceFixed(digest.slice()), VerifyExternal(signature, pointOf(memory, slot)));
      return answer === right ? undefined : `a ${right ? "right" : "wrong"} signature was called ${answer}`;
    },
  },
  {
    name: "state",
    run: async ({ chip, prng }) => {
      const [, state] = await chip.run(NonceFixed(prng.bytes(32)), InfoState());
      return state.valid && state.sourceFlag === 1 ? undefined : "it does not show the nonce";
    },
  },
];

export function counterOf({ config }: Stage["memory"], counter: 0 | 1): number {
  const at = 52 + 8 * counter;
  const word = (offset: number) => ((config[at + offset] ?? 0) << 8) | (config[at + offset + 1] ?? 0);
  const zeroBits = (value: number) => 16 - value.toString(2).replaceAll("0", "").length;
  const [linA, linB, binA] = [word(0), word(2), word(4)];
  return 32 * binA + (linA !== 0 ? zeroBits(linA) : 16 + zeroBits(linB));
}

/** MAC with mode 40, from the formula of the data sheet. */
function macFrom(memory: Stage["memory"], challenge: Uint8Array): Uint8Array {
  const c = memory.config;
  const zeros = (length: number) => new Uint8Array(length);
  return new Uint8Array(
    createHash("sha256")
      .update(concat(secretOf(memory, SLOTS.secret), challenge, Uint8Array.of(0x08, 0x40, SLOTS.secret, 0), zeros(11)))
      .update(concat(c.slice(12, 13), c.slice(8, 12), c.slice(0, 2), c.slice(2, 4)))
      .digest(),
  );
}

function hexOf(bytes: Readonly<Uint8Array> | undefined): string {
  return toHex(Uint8Array.from(bytes ?? []));
}

function base64url(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("base64url");
}
