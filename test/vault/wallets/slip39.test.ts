import { createHash, randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { HDKey } from "@scure/bip32";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { fromHex, toHex } from "../../../src/bytes/bytes.ts";
import { inverse, multiply } from "../../../src/bytes/gf256.ts";
import type { Secret } from "../../../src/bytes/secret.ts";
import { type GroupSpec, openSharing, type SharingSpec } from "../../../src/vault/wallets/slip39/generate.ts";
import { combineShares, openRestoring } from "../../../src/vault/wallets/slip39/restore.ts";
import { readShare, writeShare } from "../../../src/vault/wallets/slip39/share.ts";
import { SLIP39_WORDS } from "../../../src/vault/wallets/slip39/words.ts";
import { bytesOf, code, codeLater, none, secretOf, textOf } from "./secrets.ts";

type Vector = readonly [name: string, mnemonics: readonly string[], secret: string, xprv: string];

/** trezor/python-shamir-mnemonic, vectors.json: passphrase "TREZOR"; no secret where the shares must be refused. */
const VECTORS: readonly Vector[] = JSON.parse(readFileSync(join(import.meta.dirname, "slip39-vectors.json"), "utf8"));
const VALID = VECTORS.filter(([, , secret]) => secret !== "");

const random = async (length: number) => new Uint8Array(randomBytes(length));
const combine = (mnemonics: readonly string[], passphrase = "") =>
  combineShares(mnemonics.map(secretOf), secretOf(passphrase));

interface Shape extends Omit<SharingSpec, "passphrase"> {
  readonly groups: readonly GroupSpec[];
}

/** @returns for each group the sentences of its members */
async function share(
  secret: Uint8Array,
  { groups, ...spec }: Shape,
  passphrase = "",
  password = "",
): Promise<string[][]> {
  const sharing = await openSharing(secretOf(secret), { ...spec, passphrase: secretOf(passphrase) }, random);
  const all: string[][] = [];
  for (const [index, group] of groups.entries()) {
    await sharing.startGroup(index, group);
    const sentences: string[] = [];
    for (let member = 0; member < group.memberCount; member++) {
      const { mnemonic, last } = await sharing.nextMember(secretOf(password && `${password} ${index} ${member}`));
      expect(last).toBe(index === groups.length - 1 && member === group.memberCount - 1);
      sentences.push(textOf(mnemonic));
    }
    all.push(sentences);
  }
  return all;
}

const group = fc.integer({ min: 1, max: 16 }).chain((memberCount) =>
  fc.record({
    memberCount: fc.constant(memberCount),
    memberThreshold: memberCount === 1 ? fc.constant(1) : fc.integer({ min: 2, max: memberCount }),
  }),
);
const shape: fc.Arbitrary<Shape> = fc.array(group, { minLength: 1, maxLength: 16 }).chain((groups) =>
  fc.record({
    groups: fc.constant(groups),
    groupCount: fc.constant(groups.length),
    groupThreshold: fc.integer({ min: 1, max: groups.length }),
    exponent: fc.constant(0),
    extendable: fc.boolean(),
  }),
);
const anySecret = fc.constantFrom(16, 18, 32, 64).chain((n) => fc.uint8Array({ minLength: n, maxLength: n }));
const two: Shape = {
  groups: [
    { memberCount: 3, memberThreshold: 2 },
    { memberCount: 1, memberThreshold: 1 },
  ],
  groupCount: 2,
  groupThreshold: 2,
  exponent: 0,
};
const oneGroup = (memberThreshold: number, memberCount: number): Shape => ({
  groups: [{ memberCount, memberThreshold }],
  groupCount: 1,
  groupThreshold: 1,
  exponent: 0,
});

/** So many at random, in a random order. */
function some<Value>(values: readonly Value[], count: number): Value[] {
  return values
    .map((value) => ({ value, key: Math.random() }))
    .sort((a, b) => a.key - b.key)
    .slice(0, count)
    .map(({ value }) => value);
}

describe("the official vectors of SLIP-39", () => {
  it("are all here", () => {
    expect(VECTORS).toHaveLength(45);
    expect(VALID).toHaveLength(15);
  });

  it.each(VECTORS)("%s", async (_, mnemonics, secret, xprv) => {
    const outcome = combine(mnemonics, "TREZOR");
    if (secret === "") {
      expect(await codeLater(() => outcome)).toBe("MALFORMED");
    } else {
      const bytes = bytesOf(await outcome);
      expect(toHex(bytes)).toBe(secret);
      expect(HDKey.fromMasterSeed(bytes).privateExtendedKey).toBe(xprv);
    }
  });

  it.each(VALID)("restored one after the other: %s", async (_, mnemonics, secret) => {
    const restoring = openRestoring(secretOf("TREZOR"));
    const order = some(mnemonics, mnemonics.length);
    for (const mnemonic of order.slice(0, -1)) {
      expect(await restoring.add(secretOf(mnemonic), none())).toBeUndefined();
    }
    const restored = await restoring.add(secretOf(order.at(-1)!), none());
    expect(toHex(bytesOf(restored))).toBe(secret);
  });
});

describe("the words of SLIP-39", () => {
  it("are those of the specification", () => {
    const digest = createHash("sha256")
      .update(`${SLIP39_WORDS.join("\n")}\n`)
      .digest("hex");
    expect(digest).toBe("bcc4555340332d169718aed8bf31dd9d5248cb7da6e5d355140ef4f1e601eec3");
    expect(SLIP39_WORDS).toHaveLength(1024);
    expect(SLIP39_WORDS.toSorted()).toEqual(SLIP39_WORDS);
    expect(new Set(SLIP39_WORDS.map((word) => word.slice(0, 4))).size).toBe(1024);
  });
});

describe("GF(256)", () => {
  it("is the field of Rijndael", () => {
    // FIPS 197, 4.2: {57} • {83} = {c1}, {57} • {13} = {fe}.
    expect([multiply(0x57, 0x83), multiply(0x57, 0x13)]).toEqual([0xc1, 0xfe]);
    for (let a = 0; a < 256; a++) {
      expect(multiply(a, inverse(a))).toBe(a === 0 ? 0 : 1);
      expect(multiply(a, 1)).toBe(a);
      expect(multiply(0, a)).toBe(0);
    }
    const byte = fc.nat(255);
    fc.assert(
      fc.property(byte, byte, byte, (a, b, c) => {
        expect(multiply(a, b)).toBe(multiply(b, a));
        expect(multiply(a, multiply(b, c))).toBe(multiply(multiply(a, b), c));
        expect(multiply(a, b ^ c)).toBe(multiply(a, b) ^ multiply(a, c));
      }),
    );
  });
});

describe("shares", () => {
  it("make the secret again, whatever the groups", async () => {
    await fc.assert(
      fc.asyncProperty(anySecret, shape, fc.string({ maxLength: 10 }), async (secret, spec, passphrase) => {
        const groups = await share(secret, spec, passphrase);
        const chosen = some([...groups.entries()], spec.groupThreshold).flatMap(([index, sentences]) =>
          some(sentences, spec.groups[index]!.memberThreshold),
        );
        expect(bytesOf(await combine(some(chosen, chosen.length), passphrase))).toEqual(secret);
        // One too few.
        expect(await codeLater(() => combine(chosen.slice(1), passphrase))).toBe("MALFORMED");
        // One after the other, all that there are, in any order.
        const restoring = openRestoring(secretOf(passphrase));
        let restored: Secret | undefined;
        for (const sentence of some(groups.flat(), groups.flat().length)) {
          restored ??= await restoring.add(secretOf(sentence), none());
          if (restored !== undefined) break;
        }
        expect(bytesOf(restored)).toEqual(secret);
      }),
      { numRuns: 15 },
    );
  });

  it("have 33 words for 32 bytes and 20 for 16", async () => {
    for (const [bytes, words] of [
      [32, 33],
      [16, 20],
    ] as const) {
      const [[sentence]] = (await share(new Uint8Array(bytes), oneGroup(1, 1))) as [[string]];
      expect(sentence.split(" ")).toHaveLength(words);
    }
  });

  it("say of themselves what they are", () => {
    const fields = fc.record({
      identifier: fc.nat(0x7fff),
      extendable: fc.boolean(),
      exponent: fc.nat(15),
      groupIndex: fc.nat(15),
      groupCount: fc.integer({ min: 1, max: 16 }),
      memberIndex: fc.nat(15),
      memberThreshold: fc.integer({ min: 1, max: 16 }),
    });
    fc.assert(
      fc.property(fields, anySecret, (share, bytes) => {
        const whole = { ...share, groupThreshold: share.groupCount };
        const { value, ...read } = readShare(writeShare({ ...whole, value: secretOf(bytes) }));
        expect(read).toEqual(whole);
        expect(bytesOf(value)).toEqual(bytes);
      }),
    );
  });

  it("give another secret under another passphrase, and nobody can tell", async () => {
    const secret = new Uint8Array(16).fill(1);
    const [sentences] = (await share(secret, oneGroup(2, 3), "right")) as [string[]];
    const other = bytesOf(await combine(sentences.slice(0, 2), "wrong"));
    expect(other).toHaveLength(16);
    expect(other).not.toEqual(secret);
  });

  it("of different secrets do not mix", async () => {
    const secret = new Uint8Array(16);
    const one = await share(secret, oneGroup(2, 2));
    const other = await share(secret, oneGroup(2, 2));
    expect(await codeLater(() => combine([one[0]![0]!, other[0]![1]!]))).toBe("MALFORMED");
  });

  it("that are the same twice do not count twice", async () => {
    const [sentences] = (await share(new Uint8Array(16), oneGroup(2, 3))) as [string[]];
    const [first, second] = sentences;
    expect(await codeLater(() => combine([first!, first!]))).toBe("MALFORMED");
    const restoring = openRestoring(none());
    for (let i = 0; i < 3; i++) expect(await restoring.add(secretOf(first!), none())).toBeUndefined();
    expect(bytesOf(await restoring.add(secretOf(second!), none()))).toEqual(new Uint8Array(16));
  });

  it("with up to three wrong words are always found out", async () => {
    const sentences = (await share(randomBytes(32), two)).flat();
    const change = fc.uniqueArray(fc.record({ place: fc.nat(32), by: fc.integer({ min: 1, max: 1023 }) }), {
      minLength: 1,
      maxLength: 3,
      selector: ({ place }) => place,
    });
    fc.assert(
      fc.property(fc.constantFrom(...sentences), change, (sentence, changes) => {
        const words = sentence.split(" ");
        for (const { place, by } of changes) {
          words[place] = SLIP39_WORDS[(SLIP39_WORDS.indexOf(words[place]!) + by) % 1024]!;
        }
        return code(() => readShare(secretOf(words.join(" ")))) === "MALFORMED";
      }),
      { numRuns: 300 },
    );
  });

  it("that are none give MALFORMED and nothing else", async () => {
    const sentences = (await share(randomBytes(32), two)).flat();
    const known = new Set(sentences);
    const texts = fc.oneof(
      fc.string(),
      fc.array(fc.constantFrom(...SLIP39_WORDS), { maxLength: 60 }).map((words) => words.join(" ")),
      fc.constantFrom(...sentences).map((sentence) => `${sentence} academic`),
      fc.constantFrom(...sentences).map((sentence) => sentence.slice(0, -1)),
      fc
        .constantFrom(...sentences)
        .chain((sentence) => fc.shuffledSubarray(sentence.split(" ")).map((w) => w.join(" "))),
    );
    await fc.assert(
      fc.asyncProperty(texts, async (text) => {
        fc.pre(!known.has(text));
        expect(code(() => readShare(secretOf(text)))).toBe("MALFORMED");
        expect(await codeLater(() => openRestoring(none()).add(secretOf(text), none()))).toBe("MALFORMED");
      }),
      { numRuns: 300 },
    );
    expect(await codeLater(() => combine([]))).toBe("MALFORMED");
  });
});

describe("a restoring", () => {
  it("goes on after wrong shares of every kind", async () => {
    const secret = randomBytes(32);
    const [first, second] = (await share(secret, two, "p")) as [string[], string[]];
    const strangers = (await share(randomBytes(32), two, "p")).flat();
    const restoring = openRestoring(secretOf("p"));
    const add = (sentence: string, password = "") => restoring.add(secretOf(sentence), secretOf(password));
    expect(await add(strangers[0]!)).toBeUndefined();
    expect(await add(first[0]!)).toBeUndefined();
    expect(await codeLater(() => add("not a share"))).toBe("MALFORMED");
    expect(await add(first[1]!, "a password it does not have")).toBeUndefined();
    expect(await add(second[0]!)).toBeUndefined();
    expect(await add(strangers[3]!)).toBeUndefined();
    expect(bytesOf(await add(first[2]!))).toEqual(new Uint8Array(secret));
    expect(await codeLater(() => add(first[0]!))).toBe("USAGE");
  });

  it("does not forget what it has when many strangers come between", async () => {
    const secret = randomBytes(16);
    const [mine] = (await share(secret, oneGroup(3, 3))) as [string[]];
    const restoring = openRestoring(none());
    for (const sentence of mine.slice(0, 2)) {
      await restoring.add(secretOf(sentence), none());
      for (let i = 0; i < 3; i++) {
        const [[stranger]] = (await share(randomBytes(16), oneGroup(2, 2))) as [[string]];
        expect(await restoring.add(secretOf(stranger), none())).toBeUndefined();
      }
    }
    expect(bytesOf(await restoring.add(secretOf(mine[2]!), none()))).toEqual(new Uint8Array(secret));
  });

  it("takes members' passphrases, and a right one after a wrong one", async () => {
    const secret = randomBytes(32);
    const [first, second] = (await share(secret, two, "", "pass")) as [string[], string[]];
    const restoring = openRestoring(none());
    const add = (sentence: string, password: string) => restoring.add(secretOf(sentence), secretOf(password));
    expect(await add(second[0]!, "pass 1 0")).toBeUndefined();
    expect(await add(first[0]!, "pass 0 0")).toBeUndefined();
    expect(await add(first[2]!, "pass 0 1")).toBeUndefined();
    expect(bytesOf(await add(first[2]!, "pass 0 2"))).toEqual(new Uint8Array(secret));
    // To others they are shares that do not fit together.
    expect(await codeLater(() => combine([first[0]!, first[2]!, second[0]!]))).toBe("MALFORMED");
  });

  it("lets others work while it looks for shares that fit", async () => {
    const restoring = openRestoring(none());
    const common = { identifier: 1, extendable: true, exponent: 0, groupIndex: 0, groupThreshold: 1, groupCount: 1 };
    let turns = 0;
    const counting = setInterval(() => turns++, 0);
    for (let memberIndex = 0; memberIndex < 16; memberIndex++) {
      // None fits another: all choices of 8 are tried.
      const value = secretOf(randomBytes(16));
      const sentence = writeShare({ ...common, memberIndex, memberThreshold: 8, value });
      expect(await restoring.add(sentence, none())).toBeUndefined();
    }
    clearInterval(counting);
    expect(turns).toBeGreaterThan(0);
  });

  it("refuses an iteration exponent nobody would wait for", async () => {
    const share = { identifier: 1, extendable: true, exponent: 15, groupIndex: 0, groupThreshold: 1, groupCount: 1 };
    const sentence = writeShare({ ...share, memberIndex: 0, memberThreshold: 1, value: secretOf(new Uint8Array(16)) });
    expect(await codeLater(() => combineShares([sentence], none()))).toBe("NOT_SUPPORTED");
    expect(await codeLater(() => openRestoring(none()).add(sentence, none()))).toBe("NOT_SUPPORTED");
    expect(await codeLater(() => openRestoring(none()).add(sentence, secretOf("p")))).toBe("NOT_SUPPORTED");
  });

  it("holds nothing after it was closed, even while a share is on its way", async () => {
    const [sentences] = (await share(randomBytes(16), oneGroup(2, 2))) as [string[]];
    const passphrase = secretOf("p");
    const restoring = openRestoring(passphrase);
    await restoring.add(secretOf(sentences[0]!), none());
    const pending = codeLater(() => restoring.add(secretOf(sentences[1]!), secretOf("member")));
    restoring.close();
    expect(await pending).toBe("USAGE");
    expect(passphrase.length).toBe(0);
  });
});

describe("a sharing", () => {
  const open = (shape: Shape) => openSharing(secretOf(new Uint8Array(16)), { ...shape, passphrase: none() }, random);

  it("takes its steps only in turn", async () => {
    const sharing = await open(two);
    expect(await codeLater(() => sharing.nextMember(none()))).toBe("USAGE");
    await sharing.startGroup(1, { memberCount: 2, memberThreshold: 2 });
    expect(await codeLater(() => sharing.startGroup(0, two.groups[0]!))).toBe("USAGE");
    await sharing.nextMember(none());
    expect(await codeLater(() => sharing.startGroup(0, two.groups[0]!))).toBe("USAGE");
    expect((await sharing.nextMember(none())).last).toBe(false);
    expect(await codeLater(() => sharing.nextMember(none()))).toBe("USAGE");
    expect(await codeLater(() => sharing.startGroup(1, two.groups[0]!))).toBe("USAGE");
    await sharing.startGroup(0, { memberCount: 1, memberThreshold: 1 });
    expect((await sharing.nextMember(none())).last).toBe(true);
    expect(await codeLater(() => sharing.nextMember(none()))).toBe("USAGE");
    expect(await codeLater(() => sharing.startGroup(0, two.groups[0]!))).toBe("USAGE");
  });

  it("gives members that ask at once different shares", async () => {
    const sharing = await open(oneGroup(2, 4));
    await sharing.startGroup(0, { memberCount: 4, memberThreshold: 2 });
    const shares = await Promise.all(Array.from({ length: 4 }, () => sharing.nextMember(secretOf("p"))));
    expect(new Set(shares.map(({ mnemonic }) => readShare(mnemonic).memberIndex)).size).toBe(4);
  });

  it("refuses numbers out of range", async () => {
    const bad = [{ groupCount: 0 }, { groupCount: 17 }, { groupThreshold: 0 }, { groupThreshold: 3 }, { exponent: 11 }];
    for (const change of [...bad, { exponent: -1 }, { exponent: 0.5 }]) {
      expect(await codeLater(() => open({ ...two, ...change }))).toBe("USAGE");
    }
    for (const length of [0, 14, 17]) {
      const spec = { ...two, passphrase: none() };
      expect(await codeLater(() => openSharing(secretOf(new Uint8Array(length)), spec, random))).toBe("USAGE");
    }
    const sharing = await open(two);
    for (const [memberCount, memberThreshold] of [
      [0, 0],
      [17, 2],
      [2, 3],
      [2, 1],
      [2, 0],
    ] as const) {
      expect(await codeLater(() => sharing.startGroup(0, { memberCount, memberThreshold }))).toBe("USAGE");
    }
    for (const index of [-1, 2, 0.5]) {
      expect(await codeLater(() => sharing.startGroup(index, { memberCount: 1, memberThreshold: 1 }))).toBe("USAGE");
    }
  });

  it("makes nothing any more once it is closed", async () => {
    const sharing = await open(two);
    await sharing.startGroup(0, two.groups[0]!);
    sharing.close();
    expect(await codeLater(() => sharing.nextMember(none()))).toBe("USAGE");
  });

  it("draws other shares each time", async () => {
    const secret = fromHex("00".repeat(16));
    const [first, second] = await Promise.all([share(secret, oneGroup(3, 5)), share(secret, oneGroup(3, 5))]);
    for (const sentence of first!.flat()) expect(second!.flat()).not.toContain(sentence);
  });
});
