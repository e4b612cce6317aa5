/** Nothing protects an answer on its way but the driver: no checksum, no sequence number. */

import { createHash } from "node:crypto";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ThornkeyError } from "../../../src/errors.ts";
import { verifyP256Digest } from "../../../src/machine/openssl.ts";
import { type PiRoot, piRootOn } from "../../../src/roots/pi/root.ts";
import { hexOf } from "../contract.ts";
import { flipped, type Lab, lab } from "./lab.ts";

const SALT = Uint8Array.of(1, 2, 3);
const STATEMENT = new Uint8Array(32).fill(9);

/** What a root gives for an operation, as something that is equal when it is right. */
const OPERATIONS = {
  derive: async (root: PiRoot) => hexOf(await root.derive("flips", SALT)),
  certify: async (root: PiRoot) => {
    const { signature, signer, message } = await root.certify(STATEMENT);
    const digest = new Uint8Array(createHash("sha256").update(message).digest());
    return `${Buffer.from(signer).toString("hex")} ${verifyP256Digest(signer, digest, signature)}`;
  },
  serial: async (root: PiRoot) => (await root.describe()).serial,
} as const;
type Name = keyof typeof OPERATIONS;
const NAMES = Object.keys(OPERATIONS) as Name[];

/** A new driver on the same silicon, for each operation. @returns what came of it */
async function run(pi: Lab, name: Name): Promise<string> {
  try {
    const root = await piRootOn(pi.link);
    return await OPERATIONS[name](root);
  } catch (error) {
    if (error instanceof ThornkeyError) return error.code;
    throw error;
  }
}

async function truth(pi: Lab, name: Name): Promise<{ right: string; messages: number }> {
  const before = pi.questions.length;
  const right = await run(pi, name);
  return { right, messages: pi.questions.length - before };
}

/** Flips bits of the answer to one of the messages that follow. */
function flipIn(pi: Lab, nth: number, bits: readonly number[]): void {
  const at = pi.questions.length + nth;
  pi.meddle = (answer, _, count) => {
    if (count !== at || typeof answer === "number") return answer;
    return bits.reduce((bytes, bit) => flipped(bytes, bit % (8 * bytes.length)), answer);
  };
}

/** What an operation may end in when bits of one answer fell over. */
const FORGIVABLE = /^(ROOT_UNAVAILABLE|ROOT_REFUSED|NOT_SUPPORTED)$/;

describe("a bit that falls over in an answer of the firmware", () => {
  it.each(NAMES)("never makes a wrong result of '%s', whichever word it is in", { timeout: 240_000 }, async (name) => {
    const pi = lab();
    const { right, messages } = await truth(pi, name);
    const outcomes = new Map<string, number>();
    for (let nth = 1; nth <= messages; nth++) {
      for (let bit = 0; bit < 8 * 32; bit++) {
        flipIn(pi, nth, [bit]);
        const outcome = await run(pi, name);
        pi.meddle = undefined;
        outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
        if (outcome !== right) expect(outcome, `message ${nth}, bit ${bit}`).toMatch(FORGIVABLE);
      }
    }
    expect(outcomes.get("ROOT_UNAVAILABLE")).toBeGreaterThan(5 * 32 * messages * 0.9); // the five words of the head
  });

  it("nor do many in one answer", { timeout: 240_000 }, async () => {
    const pi = lab();
    const truths = Object.fromEntries(await Promise.all(NAMES.map(async (name) => [name, await truth(pi, name)])));
    const bits = fc.array(fc.nat({ max: 8 * 120 }), { minLength: 1, maxLength: 40 });
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...NAMES), fc.nat({ max: 30 }), bits, async (name, nth, positions) => {
        const { right, messages } = truths[name] as { right: string; messages: number };
        flipIn(pi, 1 + (nth % messages), positions);
        const outcome = await run(pi, name);
        pi.meddle = undefined;
        if (outcome !== right) expect(outcome).toMatch(FORGIVABLE);
      }),
      { numRuns: 1500 },
    );
  });

  it("in the code of an HMAC, where nothing else would tell, is noticed", async () => {
    const pi = lab();
    const { messages } = await truth(pi, "derive");
    for (const nth of [messages - 1, messages]) {
      for (let bit = 8 * 28; bit < 8 * 60; bit += 7) {
        flipIn(pi, nth, [bit]);
        expect(await run(pi, "derive")).toBe("ROOT_UNAVAILABLE");
        pi.meddle = undefined;
      }
    }
  });

  it("in a public key, is noticed before the key is used", async () => {
    const pi = lab();
    const { right } = await truth(pi, "serial");
    // The same bit in every answer to that question: no second reading tells.
    for (let bit = 8 * 54; bit < 8 * 118; bit += 5) {
      pi.meddle = (answer, question) =>
        typeof answer !== "number" && question.length === 544 ? flipped(answer, bit) : answer;
      for (const name of NAMES) expect(await run(pi, name)).toBe("ROOT_UNAVAILABLE");
    }
    pi.meddle = undefined;
    expect(await run(pi, "serial")).toBe(right);
  });
});
