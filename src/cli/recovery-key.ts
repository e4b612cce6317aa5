/** The owner's recovery key as people write it down: 24 words (BIP39). */
import { entropyToMnemonic, mnemonicToEntropy } from "@scure/bip39";
import { wordlist } from "@scure/bip39/wordlists/english.js";
import { Secret } from "../bytes/secret.ts";
import { ThornkeyError } from "../errors.ts";
import { readInput } from "./ask.ts";
import { typed } from "./ask-owner.ts";

/** Words have to be strings to be shown; what can be zeroed is. */
export function recoveryWords(key: Secret): readonly string[] {
  return key.use((bytes) => entropyToMnemonic(bytes, wordlist).split(" "));
}

/**
 * @param file what holds the words; `-` is standard input; without it the owner is asked
 * @returns the 32 bytes of the key
 * @throws ThornkeyError `MALFORMED` for anything else than 24 words that fit together
 */
export async function readRecoveryKey(file: string | undefined): Promise<Secret> {
  const text =
    file === undefined
      ? await typed("The 24 words of the recovery key", "--recovery FILE, or - for standard input, gives the words")
      : new TextDecoder().decode(readInput(file));
  // Numbers before the words are those of the list it was printed as.
  const words = text
    .toLowerCase()
    .split(/[\s.,:]+/)
    .filter((word) => /[a-z]/.test(word));
  try {
    if (words.length !== 24) throw new Error("the number of words");
    return new Secret(mnemonicToEntropy(words.join(" "), wordlist));
  } catch {
    throw new ThornkeyError("MALFORMED", "these are not the 24 words of a recovery key", {
      hint: `${words.length} words were read; a word is wrong, missing, or in another place`,
    });
  }
}
