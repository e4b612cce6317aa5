/**
 * Sentences of words that stand for numbers (BIP39, SLIP-39), read and written as bytes: a sentence is a secret, and a
 * JavaScript string of it could never be zeroed. The only strings are the words of the list itself.
 */
import { Secret } from "../../bytes/secret.ts";
import { ThornkeyError } from "../../errors.ts";

export interface WordList {
  /** @returns the number of each word. Upper case and any white space are taken. @throws ThornkeyError `MALFORMED` */
  read(text: Uint8Array): Uint16Array;
  /** @returns the words in lower case, one space between */
  write(numbers: Uint16Array): Secret;
}

/** No sentence is longer; more is not looked at. */
const LONGEST_TEXT = 4096;
const SPACE = 0x20;
/** Both lists are made so that four letters tell a word from every other. */
const PREFIX = 4;

/** @param words lower case ASCII, each unlike every other in its first four letters */
export function wordList(words: readonly string[]): WordList {
  const numberOf = new Map(words.map((word, number) => [prefixOf(Buffer.from(word), 0, word.length), number]));

  return {
    read(text) {
      if (text.length > LONGEST_TEXT) throw malformed();
      const numbers: number[] = [];
      for (let start = 0; start < text.length; ) {
        if (isSpace(text[start])) {
          start++;
          continue;
        }
        let end = start;
        while (end < text.length && !isSpace(text[end])) end++;
        const number = numberOf.get(prefixOf(text, start, end));
        if (number === undefined || !isWord(words[number] ?? "", text, start, end)) throw malformed(numbers.length + 1);
        numbers.push(number);
        start = end;
      }
      const result = Uint16Array.from(numbers);
      numbers.fill(0);
      return result;
    },

    write(numbers) {
      let length = Math.max(0, numbers.length - 1);
      for (const number of numbers) length += words[number]?.length ?? 0;
      const text = new Uint8Array(length).fill(SPACE);
      let position = 0;
      for (const number of numbers) {
        const word = words[number] ?? "";
        for (let i = 0; i < word.length; i++) text[position + i] = word.charCodeAt(i);
        position += word.length + 1;
      }
      return new Secret(text);
    },
  };
}

/** The first letters of a word in one number. */
function prefixOf(text: Uint8Array, start: number, end: number): number {
  let prefix = 0;
  for (let i = start; i < start + PREFIX; i++) prefix = prefix * 256 + (i < end ? lower(text[i]) : 0);
  return prefix;
}

function isWord(word: string, text: Uint8Array, start: number, end: number): boolean {
  if (word.length !== end - start) return false;
  for (let i = 0; i < word.length; i++) if (word.charCodeAt(i) !== lower(text[start + i])) return false;
  return true;
}

function lower(letter = 0): number {
  return letter >= 0x41 && letter <= 0x5a ? letter + 0x20 : letter;
}

function isSpace(letter = 0): boolean {
  return letter === SPACE || (letter >= 0x09 && letter <= 0x0d);
}

/** @param position says which word it is, and not what it says */
function malformed(position?: number): ThornkeyError {
  if (position === undefined) return new ThornkeyError("MALFORMED", "too long for a sentence of words");
  return new ThornkeyError("MALFORMED", `word ${position} is not in the list of words`);
}
