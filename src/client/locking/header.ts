/** The textual header of an age file (C2SP, age specification, "Header"): parsed strictly, for it comes from strangers. */
import { ThornkeyError } from "../../errors.ts";

/** One wrapping of the file key; the type is the first of its arguments. */
export interface Stanza {
  readonly args: readonly string[];
  readonly body: Uint8Array;
}

export interface Header {
  readonly stanzas: readonly Stanza[];
  /** HMAC-SHA-256, 32 bytes */
  readonly mac: Uint8Array;
  /** What the MAC is over: everything up to and with `---`. */
  readonly authenticated: Uint8Array;
}

/** More than any real file has, and little enough to hold. */
export const MAXIMUM_HEADER = 65_536;
const MAXIMUM_STANZAS = 100;
const MAXIMUM_LINE = 8192;

const MAGIC = "age-encryption.org/";
const VERSION = `${MAGIC}v1`;
const ARGUMENTS = /^-> [\x21-\x7e]+(?: [\x21-\x7e]+)*$/;
const FULL_LINE = /^[A-Za-z0-9+/]{64}$/;
const FINAL_LINE = /^[A-Za-z0-9+/]{0,63}$/;
const MAC_LINE = /^--- ([A-Za-z0-9+/]{43})$/;
const MAC_MARK = "---";
const COLUMNS = 64;

/**
 * @param bytes the beginning of a file, of any length
 * @returns length of the header in bytes, or undefined when its end is not among them
 * @throws ThornkeyError `MALFORMED` as soon as it can be no header
 */
export function headerLength(bytes: Uint8Array): number | undefined {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.length, MAXIMUM_HEADER));
  const start = text.toString("latin1", 0, VERSION.length + 1);
  if (!`${VERSION}\n`.startsWith(start)) {
    throw malformed(start.startsWith(MAGIC) ? "an age file of a version not known here" : "this is no age file");
  }
  // Base64 has no `-`, and other lines of a stanza begin with `->`: the first mark is the last line.
  const mark = text.indexOf(`\n${MAC_MARK}`);
  const end = mark < 0 ? -1 : text.indexOf("\n", mark + 1);
  if (end >= 0) return end + 1;
  if (bytes.length >= MAXIMUM_HEADER) throw malformed("an age header that does not end");
  return undefined;
}

/**
 * @param bytes exactly the header
 * @throws ThornkeyError `MALFORMED`
 */
export function parseHeader(bytes: Uint8Array): Header {
  const lines = Buffer.from(bytes).toString("latin1").split("\n");
  if (lines.some((line) => line.length > MAXIMUM_LINE)) throw malformed("a line too long in an age header");
  if (lines.shift() !== VERSION || lines.pop() !== "") throw malformed("a broken age header");
  const macLine = lines.pop() ?? "";
  const mac = unpadded(MAC_LINE.exec(macLine)?.[1]);
  if (mac === undefined) throw malformed("an age header without its MAC");
  const stanzas: Stanza[] = [];
  for (let at = 0; at < lines.length; ) {
    const line = lines[at++] ?? "";
    if (!ARGUMENTS.test(line)) throw malformed("a broken stanza");
    let body = "";
    while (FULL_LINE.test(lines[at] ?? "")) body += lines[at++];
    const final = lines[at++];
    if (final === undefined || !FINAL_LINE.test(final)) throw malformed("a broken stanza");
    const decoded = unpadded(body + final);
    if (decoded === undefined) throw malformed("a broken stanza");
    stanzas.push({ args: line.split(" ").slice(1), body: decoded });
  }
  if (stanzas.length === 0 || stanzas.length > MAXIMUM_STANZAS)
    throw malformed("an age header of too many stanzas, or none");
  const authenticated = bytes.subarray(0, bytes.length - 1 - macLine.length + MAC_MARK.length);
  return { stanzas, mac, authenticated };
}

/** @param macOf gives the MAC, 32 bytes, of what comes before it. @returns a header of these stanzas */
export function encodeHeader(stanzas: readonly Stanza[], macOf: (authenticated: Uint8Array) => Uint8Array): Uint8Array {
  const lines = stanzas.flatMap(({ args, body }) => [`-> ${args.join(" ")}`, ...wrapped(encodeUnpadded(body))]);
  const authenticated = Buffer.from([VERSION, ...lines, MAC_MARK].join("\n"));
  return Buffer.concat([authenticated, Buffer.from(` ${encodeUnpadded(macOf(authenticated))}\n`)]);
}

/** Full lines, and one that is not. */
function wrapped(text: string): string[] {
  const lines: string[] = [];
  for (let at = 0; at <= text.length; at += COLUMNS) lines.push(text.slice(at, at + COLUMNS));
  return lines;
}

export function encodeUnpadded(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("base64").replaceAll("=", "");
}

/** Base64 without padding, in its one form (RFC 4648, 3.5). */
function unpadded(text: string | undefined): Uint8Array | undefined {
  if (text === undefined) return undefined;
  const bytes = Buffer.from(text, "base64");
  return bytes.toString("base64").replaceAll("=", "") === text ? new Uint8Array(bytes) : undefined;
}

function malformed(sentence: string): ThornkeyError {
  return new ThornkeyError("MALFORMED", sentence);
}
