/** A journal as a vault writes it, signed by a key of ours in place of the chip's. */
import { createHash, generateKeyPairSync, sign } from "node:crypto";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { concat, fromHex, toHex } from "../../src/bytes/bytes.ts";
import { checkJournal } from "../../src/operations/journal-check.ts";
import { genKeyDigest, internalMessage } from "../../src/roots/atecc/digests.ts";

const SERIAL = fromHex("0123 d76a513abf36 ee");
const pair = () => {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "prime256v1" });
  const spki = publicKey.export({ type: "spki", format: "der" });
  return { privateKey, point: new Uint8Array(spki.subarray(-64)) };
};
const [evidence, identity, stranger] = [pair(), pair(), pair()];

const sha256 = (text: string) => createHash("sha256").update(text).digest("hex");

/** Signs as the chip does: GenKey with digest over the identity key in slot 0, then Sign(internal). */
function evidenceOf(statement: string, by = evidence) {
  const message = internalMessage({
    tempKey: genKeyDigest(identity.point, 0x08, 0, SERIAL, fromHex(statement)),
    mode: 0x40,
    signer: 1,
    slotConfig: fromHex("8120"),
    keyConfig: fromHex("3300"),
    tempKeyFlags: 0x50,
    slotLocked: false,
    publicKeyValid: false,
    serial: SERIAL,
  });
  const signature = sign("sha256", message, { key: by.privateKey, dsaEncoding: "ieee-p1363" });
  const parts = { message, signature, signer: by.point, subject: identity.point };
  const hex = Object.fromEntries(Object.entries(parts).map(([name, bytes]) => [name, toHex(concat(bytes))]));
  return { format: "atecc-internal", ...hex };
}

/** Every fourth entry is a checkpoint. */
function journal(length: number, by = evidence): string[] {
  const lines: string[] = [];
  for (let sequence = 1; sequence <= length; sequence++) {
    const previous = lines.length === 0 ? "00".repeat(32) : sha256(lines.at(-1) ?? "");
    const covers = { sequence: sequence - 1, hash: previous };
    const rest =
      sequence % 4 === 0
        ? { kind: "checkpoint", text: "signed", covers, evidence: evidenceOf(previous, by) }
        : { kind: "key.used", text: `entry ${sequence}` };
    lines.push(JSON.stringify({ sequence, time: "2026-11-25T12:00:00.000Z", previous, ...rest }));
  }
  return lines;
}

const whole = journal(10);
const replaced = (place: number, change: (line: string) => string) =>
  whole.map((line, index) => (index === place - 1 ? change(line) : line));

describe("a journal", () => {
  it("that is whole passes, and says how far it is signed", () => {
    expect(checkJournal(whole, evidence.point)).toMatchObject({ entries: 10, signed: 7, problem: undefined });
    expect(checkJournal(whole)).toMatchObject({ signed: 7, signer: evidence.point });
    expect(checkJournal([])).toMatchObject({ entries: 0, signed: 0, signer: undefined, problem: undefined });
  });

  it("in which any byte of a signed entry is flipped is refused, at that entry or right beside it", () => {
    const flips = fc.tuple(fc.integer({ min: 1, max: 7 }), fc.nat(), fc.integer({ min: 1, max: 127 }));
    fc.assert(
      fc.property(flips, ([place, where, mask]) => {
        const lines = replaced(place, (line) => {
          const bytes = Buffer.from(line, "latin1");
          const at = where % bytes.length;
          bytes[at] = (bytes[at] ?? 0) ^ mask;
          return bytes.toString("latin1");
        });
        const { problem, signed } = checkJournal(lines, evidence.point);
        expect(problem?.entry).toBe(place);
        expect(signed).toBeLessThan(place);
      }),
      { numRuns: 500 },
    );
  });

  it("from which entries are missing is refused", () => {
    for (let place = 1; place < 10; place++) {
      const { problem } = checkJournal(whole.toSpliced(place - 1, 1), evidence.point);
      expect(problem?.entry).toBe(place);
    }
  });

  it("that was written anew by somebody else is refused at its first signature", () => {
    const forged = journal(10, stranger);
    expect(checkJournal(forged, evidence.point).problem).toEqual({ entry: 4, what: "another key signed it" });
    expect(checkJournal(forged)).toMatchObject({ problem: undefined, signer: stranger.point });
  });

  it("whose checkpoint signs something else is refused there", () => {
    const last = whole.slice(0, 3);
    const previous = sha256(last.at(-1) ?? "");
    const line = (given: object) =>
      JSON.stringify({ sequence: 4, previous, kind: "checkpoint", covers: { sequence: 3, hash: previous }, ...given });
    const cases: [string, string][] = [
      [line({ evidence: evidenceOf("11".repeat(32)) }), "its evidence is about something else"],
      [line({ evidence: { ...evidenceOf(previous), signature: "11".repeat(64) } }), "its signature is wrong"],
      [
        line({ evidence: evidenceOf(previous), covers: { sequence: 2, hash: previous } }),
        "what it signs is not entry 2",
      ],
      [line({ evidence: { ...evidenceOf(previous), message: "" } }), "it is no checkpoint"],
      [line({}), "it is no checkpoint"],
    ];
    for (const [checkpoint, what] of cases) {
      const { problem } = checkJournal([...last, checkpoint], evidence.point);
      expect(problem?.what).toContain(what);
      expect(problem?.entry).toBe(4);
    }
  });
});
