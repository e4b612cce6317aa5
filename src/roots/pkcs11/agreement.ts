/** ECDH by a token whose word is not enough. */
import { createECDH, ECDH, timingSafeEqual } from "node:crypto";
import { concat } from "../../bytes/bytes.ts";
import { Secret } from "../../bytes/secret.ts";
import type { Curve } from "./kinds.ts";

const UNCOMPRESSED = Uint8Array.of(0x04);

/**
 * Points to ask a token's key d about, with answers of which each checks another, so that nonsense, and the answer of
 * another key, is seen although d is not known here. Only x coordinates are needed, and these do not tell Q from -Q:
 *
 * - P, whose x(dP) is wanted
 * - rP, for an r nobody else knows: x(d·rP) must be x(r·dP), which is computed here from the first answer
 * - eG, for an e of ours: x(d·eG) must be x(e·dG), computed here from the key's public part
 */
export interface Questions {
  readonly points: readonly Uint8Array[];
  /** @param answers x coordinates, zeroed here. @returns the wanted one, or undefined when they do not fit together */
  secretOf(answers: readonly Uint8Array[]): Secret | undefined;
}

/**
 * @param own the key's public part, X and Y
 * @param peer X and Y
 * @throws Error when the peer is not on the curve
 */
export function questionsAbout({ name, size }: Curve, own: Uint8Array, peer: Uint8Array): Questions {
  const asked = concat(UNCOMPRESSED, peer);
  const [blinding, known] = [createECDH(name), createECDH(name)];
  blinding.generateKeys();
  const knownPoint = new Uint8Array(known.generateKeys());
  // Which of the two points with this x coordinate it is does not matter.
  const blinded = ECDH.convertKey(
    compressed(blinding.computeSecret(asked)),
    name,
    undefined,
    undefined,
    "uncompressed",
  ) as Buffer;
  return {
    points: [asked, new Uint8Array(blinded), knownPoint],
    secretOf(answers) {
      const [wanted, fromBlinded, fromKnown] = answers;
      const secrets: Uint8Array[] = [...answers];
      try {
        if (wanted === undefined || fromBlinded === undefined || fromKnown === undefined) return undefined;
        if (answers.length !== 3 || answers.some((one) => one.length !== size)) return undefined;
        const point = compressed(wanted);
        const expectedKnown = known.computeSecret(concat(UNCOMPRESSED, own));
        secrets.push(point, expectedKnown);
        const expectedBlinded = blinding.computeSecret(point);
        secrets.push(expectedBlinded);
        const right = timingSafeEqual(expectedBlinded, fromBlinded) && timingSafeEqual(expectedKnown, fromKnown);
        return right ? new Secret(wanted.slice()) : undefined;
      } catch {
        return undefined; // no point has that x coordinate
      } finally {
        for (const one of secrets) one.fill(0);
      }
    },
  };
}

const compressed = (x: Uint8Array) => concat(Uint8Array.of(0x02), x);
