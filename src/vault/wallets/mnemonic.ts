/**
 * BIP39 with the English list. Sentences are bytes throughout, so none ever becomes a JavaScript string in the vault; who
 * shows one to a person makes text of it, as late as he can.
 */
import { createHash, pbkdf2Sync } from "node:crypto";
import { wordlist } from "@scure/bip39/wordlists/english.js";
import { concat } from "../../bytes/bytes.ts";
import { Secret } from "../../bytes/secret.ts";
import { ThornkeyError } from "../../errors.ts";
import { wordList } from "./word-list.ts";

const WORDS = wordList(wordlist);
const BITS_A_WORD = 11;
/** Bytes of entropy that BIP39 has; 32 give 24 words. */
const ENTROPY_BYTES: readonly number[] = [16, 20, 24, 28, 32];
const SALT_HEAD = Buffer.from("mnemonic");
const ROUNDS = 2048;
const SEED_BYTES = 64;

/**
 * @param entropy 16, 20, 24, 28 or 32 bytes; neither kept nor destroyed
 * @returns 12 to 24 words in ASCII, one space between
 * @throws ThornkeyError `MALFORMED` for another length
 */
export function mnemonicOf(entropy: Secret): Secret {
  return entropy.use((bytes) => {
    if (!ENTROPY_BYTES.includes(bytes.length)) {
      throw new ThornkeyError("MALFORMED", "a mnemonic is made of 16, 20, 24, 28 or 32 bytes");
    }
    const all = concat(bytes, Uint8Array.of(checksumOf(bytes)));
    const numbers = new Uint16Array(Math.floor((bytes.length * 33) / 4 / BITS_A_WORD));
    for (let bit = 0; bit < numbers.length * BITS_A_WORD; bit++) {
      const word = Math.floor(bit / BITS_A_WORD);
      numbers[word] = ((numbers[word] ?? 0) << 1) | (((all[bit >> 3] ?? 0) >> (7 - (bit & 7))) & 1);
    }
    const text = WORDS.write(numbers);
    all.fill(0);
    numbers.fill(0);
    return text;
  });
}

/**
 * The reverse of {@link mnemonicOf}.
 *
 * @param mnemonic ASCII, in any case, any white space between the words
 * @throws ThornkeyError `MALFORMED` when it is none, or its checksum is wrong
 */
export function entropyOf(mnemonic: Secret): Secret {
  return readMnemonic(mnemonic).entropy;
}

/**
 * The seed of BIP39 for BIP32 and SLIP-10; the sentence is checked first.
 *
 * @param passphrase UTF-8, may be empty
 * @returns 64 bytes
 * @throws ThornkeyError `MALFORMED` when the sentence is none, or the passphrase is not UTF-8
 */
export function bip39Seed(mnemonic: Secret, passphrase: Secret): Secret {
  const { entropy, sentence } = readMnemonic(mnemonic);
  entropy.destroy();
  const salt = passphrase.use((bytes) => normalized(bytes, SALT_HEAD));
  try {
    return sentence.use((words) => new Secret(pbkdf2(words, salt, ROUNDS, SEED_BYTES)));
  } finally {
    sentence.destroy();
    salt.fill(0);
  }
}

/** PBKDF2 with HMAC-SHA-512, of which wallets take few rounds: a matter of milliseconds. */
export function pbkdf2(password: Uint8Array, salt: Uint8Array, rounds: number, length: number): Uint8Array {
  const result = pbkdf2Sync(password, salt, rounds, length, "sha512");
  return new Uint8Array(result.buffer, result.byteOffset, result.length);
}

/** @returns what the words say, and the sentence in its one form */
function readMnemonic(mnemonic: Secret): { entropy: Secret; sentence: Secret } {
  const numbers = mnemonic.use(WORDS.read);
  const entropy = new Uint8Array(Math.floor((numbers.length * BITS_A_WORD * 32) / 33 / 8));
  try {
    if (numbers.length % 3 !== 0 || !ENTROPY_BYTES.includes(entropy.length)) {
      throw new ThornkeyError("MALFORMED", "a mnemonic has 12, 15, 18, 21 or 24 words");
    }
    let checksum = 0;
    const bits = numbers.length * BITS_A_WORD;
    for (let bit = 0; bit < bits; bit++) {
      const value = ((numbers[Math.floor(bit / BITS_A_WORD)] ?? 0) >> (BITS_A_WORD - 1 - (bit % BITS_A_WORD))) & 1;
      const shift = 7 - (bit & 7);
      const index = bit >> 3;
      if (index < entropy.length) entropy[index] = (entropy[index] ?? 0) | (value << shift);
      else checksum |= value << shift;
    }
    if (checksum !== checksumOf(entropy)) {
      throw new ThornkeyError("MALFORMED", "the words do not fit together", {
        hint: "look for a word that was read or written wrongly, or at the wrong place",
      });
    }
    return { entropy: new Secret(entropy), sentence: WORDS.write(numbers) };
  } catch (error) {
    entropy.fill(0);
    throw error;
  } finally {
    numbers.fill(0);
  }
}

/** The first bits of SHA-256, one for every 4 bytes, at the top of a byte. */
function checksumOf(entropy: Uint8Array): number {
  const bits = entropy.length / 4;
  return (createHash("sha256").update(entropy).digest()[0] ?? 0) & (0xff00 >> bits) & 0xff;
}

/**
 * `head` and the passphrase in Unicode's NFKD. ASCII is in that form already; anything else has to become a string for a
 * moment, for only strings can be normalized.
 */
function normalized(passphrase: Uint8Array, head: Uint8Array): Uint8Array {
  if (passphrase.every((byte) => byte < 0x80)) return concat(head, passphrase);
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(passphrase);
  } catch {
    throw new ThornkeyError("MALFORMED", "the passphrase is not UTF-8");
  }
  const bytes = new TextEncoder().encode(text.normalize("NFKD"));
  const salt = concat(head, bytes);
  bytes.fill(0);
  return salt;
}
