/** One share of SLIP-39 in words: what is in it, read and written (SLIP-0039, "Format of the share mnemonic"). */
import { Secret } from "../../../bytes/secret.ts";
import { ThornkeyError } from "../../../errors.ts";
import { wordList } from "../word-list.ts";
import { CHECKSUM_WORDS, hasChecksum, setChecksum } from "./rs1024.ts";
import { SLIP39_WORDS } from "./words.ts";

/** What all shares of one secret have in common. */
export interface ShareSet {
  /** 0 to 32767, random. */
  readonly identifier: number;
  /** The identifier is not part of the cipher's salt, so that more sets can be made of one encrypted secret. */
  readonly extendable: boolean;
  /** 0 to 15. */
  readonly exponent: number;
  /** 1 to `groupCount`. */
  readonly groupThreshold: number;
  /** 1 to 16. */
  readonly groupCount: number;
}

export interface Share extends ShareSet {
  /** 0 to 15. */
  readonly groupIndex: number;
  /** 0 to 15. */
  readonly memberIndex: number;
  /** 1 to 16. */
  readonly memberThreshold: number;
  /** 16 bytes or more, an even number. */
  readonly value: Secret;
}

const WORDS = wordList(SLIP39_WORDS);
const BITS_A_WORD = 10;
/** Identifier to member threshold: 40 bits. */
const HEADER_WORDS = 4;
const LEAST_BYTES = 16;
const LEAST_WORDS = 20;
/** Bits in front of the value, all 0. */
const MOST_PADDING = 8;

/**
 * @param mnemonic ASCII, in any case, any white space between the words; neither kept nor destroyed
 * @throws ThornkeyError `MALFORMED` when it is no share, or its checksum is wrong
 */
export function readShare(mnemonic: Secret): Share {
  const words = mnemonic.use(WORDS.read);
  try {
    if (words.length < LEAST_WORDS) throw malformed(`a share has ${LEAST_WORDS} words or more`);
    const [first = 0, second = 0, third = 0, fourth = 0] = words;
    const extendable = ((second >> 4) & 1) === 1;
    if (!hasChecksum(customizationOf(extendable), words)) {
      throw malformed("the words do not fit together", {
        hint: "look for a word that was read or written wrongly, or at the wrong place",
      });
    }
    const groupThreshold = ((third >> 2) & 15) + 1;
    const groupCount = (((third & 3) << 2) | (fourth >> 8)) + 1;
    if (groupThreshold > groupCount) throw malformed("the share asks for more groups than there are");
    return {
      identifier: (first << 5) | (second >> 5),
      extendable,
      exponent: second & 15,
      groupIndex: third >> 6,
      groupThreshold,
      groupCount,
      memberIndex: (fourth >> 4) & 15,
      memberThreshold: (fourth & 15) + 1,
      value: valueIn(words.subarray(HEADER_WORDS, -CHECKSUM_WORDS)),
    };
  } finally {
    words.fill(0);
  }
}

/** @returns the words in ASCII, one space between: 20 for 16 bytes, 33 for 32 */
export function writeShare(share: Share): Secret {
  const { identifier, extendable, exponent, groupIndex, memberIndex, memberThreshold, value } = share;
  const groupThreshold = share.groupThreshold - 1;
  const groupCount = share.groupCount - 1;
  const valueWords = Math.ceil((value.length * 8) / BITS_A_WORD);
  const words = new Uint16Array(HEADER_WORDS + valueWords + CHECKSUM_WORDS);
  words[0] = identifier >> 5;
  words[1] = ((identifier & 31) << 5) | (Number(extendable) << 4) | exponent;
  words[2] = (groupIndex << 6) | (groupThreshold << 2) | (groupCount >> 2);
  words[3] = ((groupCount & 3) << 8) | (memberIndex << 4) | (memberThreshold - 1);
  value.use((bytes) => {
    const padding = valueWords * BITS_A_WORD - bytes.length * 8;
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const word = HEADER_WORDS + Math.floor((padding + bit) / BITS_A_WORD);
      const place = BITS_A_WORD - 1 - ((padding + bit) % BITS_A_WORD);
      words[word] = (words[word] ?? 0) | ((((bytes[bit >> 3] ?? 0) >> (7 - (bit & 7))) & 1) << place);
    }
  });
  setChecksum(customizationOf(extendable), words);
  const text = WORDS.write(words);
  words.fill(0);
  return text;
}

function valueIn(words: Uint16Array): Secret {
  const bits = words.length * BITS_A_WORD;
  const padding = bits % 16;
  const value = new Uint8Array((bits - padding) / 8);
  if (padding > MOST_PADDING || value.length < LEAST_BYTES) throw malformed("a share of this length does not exist");
  let excess = 0;
  for (let bit = 0; bit < bits; bit++) {
    const word = words[Math.floor(bit / BITS_A_WORD)] ?? 0;
    const digit = (word >> (BITS_A_WORD - 1 - (bit % BITS_A_WORD))) & 1;
    const index = (bit - padding) >> 3;
    if (bit < padding) excess |= digit;
    else value[index] = (value[index] ?? 0) | (digit << (7 - ((bit - padding) & 7)));
  }
  if (excess === 0) return new Secret(value);
  value.fill(0);
  throw malformed("the bits before the share's value are not 0");
}

/** Goes into the checksum: a share of one kind is never taken for one of the other. */
function customizationOf(extendable: boolean): string {
  return extendable ? "shamir_extendable" : "shamir";
}

function malformed(sentence: string, options?: { hint: string }): ThornkeyError {
  return new ThornkeyError("MALFORMED", sentence, options);
}
