/**
 * A property message, as it lies in the buffer of the ioctl: size, code, then tags (each: number, capacity of its value
 * in bytes, request word, value), then 0. All words are 32 bits, little-endian.
 */
import { concat } from "../../bytes/bytes.ts";
import { Reader } from "../../bytes/reader.ts";
import { Writer } from "../../bytes/writer.ts";

const SUCCESS = 0x8000_0000;
/** In the request word: the firmware answered; the other bits are how many bytes. */
const ANSWERED = 0x8000_0000;
const MESSAGE_HEAD = 8;
const TAG_HEAD = 12;

/** Bytes of the smallest message the driver of the kernel takes. */
export const SHORTEST = 12;

/** One tag of a message. */
export interface Question {
  readonly tag: number;
  /** As much room as there is for the answer. */
  readonly value: Uint8Array;
  /** Offset of the value in the message. */
  readonly offset: number;
}

/** @returns the tags; undefined when one of them reaches past the end of the message */
export function questionsIn(message: Uint8Array): readonly Question[] | undefined {
  const reader = new Reader(message);
  reader.take(MESSAGE_HEAD);
  const questions: Question[] = [];
  while (reader.remaining >= 4) {
    const tag = reader.u32le();
    if (tag === 0) return questions;
    if (reader.remaining < TAG_HEAD - 4) return undefined;
    const capacity = reader.u32le();
    reader.u32le();
    if (capacity % 4 !== 0 || capacity > reader.remaining) return undefined;
    const offset = reader.position;
    questions.push({ tag, value: reader.take(capacity), offset });
  }
  return undefined; // no end
}

/**
 * @param answers one for each question, no longer than its room
 * @returns the message with the answers over the beginning of the values, as long as before
 */
export function answered(
  message: Uint8Array,
  questions: readonly Question[],
  answers: readonly Uint8Array[],
): Uint8Array {
  const result = message.slice();
  result.set(words(SUCCESS), 4);
  for (const [index, { offset }] of questions.entries()) {
    const answer = answers[index] ?? new Uint8Array();
    result.set(words((ANSWERED | answer.length) >>> 0), offset - 4);
    result.set(answer, offset);
  }
  return result;
}

export function words(...numbers: readonly number[]): Uint8Array {
  const writer = new Writer(4 * numbers.length);
  for (const number of numbers) writer.u32le(number);
  return writer.done();
}

/** An answer of the form status, length, data. */
export function dataAnswer(data: Uint8Array): Uint8Array {
  return concat(words(0, data.length), data);
}
