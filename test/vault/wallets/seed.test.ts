import { createHmac } from "node:crypto";
import { entropyToMnemonic, mnemonicToSeedSync, validateMnemonic } from "@scure/bip39";
import { wordlist } from "@scure/bip39/wordlists/english.js";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { fromHex, toHex } from "../../../src/bytes/bytes.ts";
import { descend, masterNode, publicNode } from "../../../src/vault/wallets/derive.ts";
import { bip39Seed, entropyOf, mnemonicOf } from "../../../src/vault/wallets/mnemonic.ts";
import { seedFromEntropy, seedFromMnemonic } from "../../../src/vault/wallets/seed.ts";
import { BIP39_VECTORS } from "./bip39-vectors.ts";
import { bytesOf, code, none, secretOf, textOf } from "./secrets.ts";

const anyEntropy = fc
  .constantFrom(16, 20, 24, 28, 32)
  .chain((length) => fc.uint8Array({ minLength: length, maxLength: length }));
const sentences = anyEntropy.map((entropy) => entropyToMnemonic(entropy, wordlist));
const read = (text: string | Uint8Array) => code(() => entropyOf(secretOf(text)));

describe("BIP39", () => {
  it.each(BIP39_VECTORS)("%s", (entropy, mnemonic, seed) => {
    expect(textOf(mnemonicOf(secretOf(fromHex(entropy))))).toBe(mnemonic);
    expect(toHex(bytesOf(entropyOf(secretOf(mnemonic))))).toBe(entropy);
    expect(toHex(bytesOf(bip39Seed(secretOf(mnemonic), secretOf("TREZOR"))))).toBe(seed);
  });

  it("agrees with another implementation, whatever the passphrase", () => {
    const passphrases = fc.oneof(
      fc.string({ unit: "grapheme" }),
      fc.constantFrom("", "é", "e\u0301", "㍍ガバヴァ", "\u{1f511}"),
    );
    fc.assert(
      fc.property(anyEntropy, passphrases, (entropy, passphrase) => {
        const mnemonic = mnemonicOf(secretOf(entropy));
        expect(textOf(mnemonic)).toBe(entropyToMnemonic(entropy, wordlist));
        expect(bytesOf(entropyOf(mnemonic))).toEqual(entropy);
        const seed = bip39Seed(mnemonic, secretOf(passphrase));
        expect(bytesOf(seed)).toEqual(new Uint8Array(mnemonicToSeedSync(textOf(mnemonic), passphrase)));
      }),
      { numRuns: 40 },
    );
  });

  it("reads a sentence in any case and with any white space, to the same seed", () => {
    const [, mnemonic, seed] = BIP39_VECTORS[2]!;
    const untidy = `\r\n ${mnemonic.toUpperCase().replaceAll(" ", " \t ")}\n`;
    expect(toHex(bytesOf(bip39Seed(secretOf(untidy), secretOf("TREZOR"))))).toBe(seed);
  });

  it("gives MALFORMED for everything that is no sentence", () => {
    const words = fc.constantFrom(...wordlist);
    const texts = fc.oneof(
      fc.string(),
      fc.array(words, { maxLength: 30 }).map((list) => list.join(" ")),
      sentences.map((text) => `${text} zoo`),
      sentences.map((text) => text.slice(0, -1)),
      sentences.map((text) => text.split(" ").slice(1).join(" ")),
      sentences.map((text) => text.replace(/^\w/, "\u0131")),
    );
    fc.assert(
      fc.property(texts, (text) => read(text) === (validateMnemonic(text, wordlist) ? undefined : "MALFORMED")),
      { numRuns: 500 },
    );
    fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => read(bytes) === "MALFORMED"));
    expect(read("abandon ".repeat(5000))).toBe("MALFORMED");
    expect(read("")).toBe("MALFORMED");
  });

  it("finds that a word was changed or two were exchanged as often as its checksum can", () => {
    fc.assert(
      fc.property(sentences, fc.nat(), fc.constantFrom(...wordlist), (text, place, word) => {
        const list = text.split(" ");
        list[place % list.length] = word;
        const changed = list.join(" ");
        return read(changed) === (validateMnemonic(changed, wordlist) ? undefined : "MALFORMED");
      }),
      { numRuns: 300 },
    );
  });

  it("has no sentence for entropy of another length", () => {
    for (const length of [0, 15, 17, 31, 33, 64]) {
      expect(code(() => mnemonicOf(secretOf(new Uint8Array(length))))).toBe("MALFORMED");
    }
  });

  it("refuses a passphrase that is not UTF-8", () => {
    const mnemonic = secretOf(BIP39_VECTORS[0]![1]);
    expect(code(() => bip39Seed(mnemonic, secretOf(Uint8Array.of(0xff))))).toBe("MALFORMED");
  });

  it("never says in an error what the words were", () => {
    try {
      entropyOf(secretOf("abandon correcthorse"));
      expect.unreachable();
    } catch (error) {
      expect(String(error)).toContain("word 2");
      expect(JSON.stringify(error) + String(error)).not.toContain("horse");
    }
  });
});

describe("a master seed", () => {
  const plain = () => ({ variant: "", generatorKey: none() }) as const;
  const cardano = () => ({ variant: "cardano", generatorKey: none() }) as const;
  const eight = "eight country switch draw meat scout mystery blade tip drift useless good keep usage title";

  it("of plain entropy is the entropy, and of a sentence BIP39's seed", () => {
    const entropy = new Uint8Array(32).fill(7);
    expect(bytesOf(seedFromEntropy(secretOf(entropy), plain()))).toEqual(entropy);
    const [, mnemonic, seed] = BIP39_VECTORS[0]!;
    expect(toHex(bytesOf(seedFromMnemonic(secretOf(mnemonic), secretOf("TREZOR"), plain())))).toBe(seed);
  });

  it("goes through HMAC-SHA-512 under a generator key", () => {
    const entropy = new Uint8Array(32).fill(7);
    const expected = createHmac("sha512", "key").update(entropy).digest();
    const keyed = { variant: "", generatorKey: secretOf("key") } as const;
    expect(bytesOf(seedFromEntropy(secretOf(entropy), keyed))).toEqual(new Uint8Array(expected));
    const other = bytesOf(seedFromMnemonic(secretOf(eight), none(), keyed));
    expect(other).not.toEqual(bytesOf(seedFromMnemonic(secretOf(eight), none(), plain())));
    expect(other).toHaveLength(64);
  });

  // CIP-0003, Icarus, "Test vectors" (cardano-foundation/CIPs).
  it.each([
    [
      "",
      "c065afd2832cd8b087c4d9ab7011f481ee1e0721e78ea5dd609f3ab3f156d245d176bd8fd4ec60b4731c3918a2a72a0226c0cd119ec35b47e4d55884667f552a23f7fdcd4a10c6cd2c7393ac61d877873e248f417634aa3d812af327ffe9d620",
    ],
    [
      "foo",
      "70531039904019351e1afb361cd1b312a4d0565d4ff9f8062d38acf4b15cce41d7b5738d9c893feea55512a3004acb0d222c35d3e3d5cde943a15a9824cbac59443cf67e589614076ba01e354b1a432e0e6db3b59e37fc56b5fb0222970a010e",
    ],
  ])("of the variant cardano is Icarus', passphrase %j", (passphrase, expected) => {
    const node = masterNode("ed25519", seedFromMnemonic(secretOf(eight), secretOf(passphrase), cardano()), "cardano");
    expect(toHex(bytesOf(node.secret)) + toHex(node.chainCode)).toBe(expected);
  });

  it("of the variant cardano leads to the account key that other wallets show", () => {
    // Entropy of zeros, as several Cardano wallets test with it.
    const seed = seedFromEntropy(secretOf(new Uint8Array(16)), cardano());
    const master = masterNode("ed25519", seed, "cardano");
    const first = descend(master, "m/0'");
    expect(toHex(bytesOf(first.secret)) + toHex(first.chainCode)).toBe(
      "8872ff61b06281da05205ffb765c256175cc2aaab52cd7176b5d80286c0e6f539e936c7b5f018c935544e3dff339dfe739c47ae8b364330a3162f028c658257b35a473378343fcc479fd326bc2c2a23f183ce682d514bd5a5b1d9a14ff8297cf",
    );
    const account = publicNode(descend(master, "m/1852'/1815'/0'"));
    expect(toHex(account.publicKey) + toHex(account.chainCode)).toBe(
      "beb7e770b3d0f1932b0a2f3a63285bf9ef7d3e461d55446d6a3911d8f0ee55c0b0e2df16538508046649d0e6d5b32969555a23f2f1ebf2db2819359b0d88bd16",
    );
  });

  it("leaves what it is made of to its owner", () => {
    const mnemonic = secretOf(eight);
    const passphrase = secretOf("p");
    const generatorKey = secretOf("k");
    for (const variant of ["", "cardano"] as const) {
      seedFromMnemonic(mnemonic, passphrase, { variant, generatorKey }).destroy();
      seedFromEntropy(mnemonic, { variant, generatorKey }).destroy();
    }
    expect([textOf(mnemonic), textOf(passphrase), textOf(generatorKey)]).toEqual([eight, "p", "k"]);
  });
});
