/**
 * Checks an exported journal, by anybody, anywhere: the chain of hashes, and what the evidence key signed of it.
 *
 * A line is JSON; its `previous` is the SHA-256 of the line before it, in hexadecimal. A `checkpoint` says which entry
 * it `covers`, and its `evidence` is the signature of the root's evidence key over a message that speaks of it: one that
 * a secure element or a TPM composed by itself, or one that begins with a tag of its own.
 */
import { createHash, createPublicKey, verify } from "node:crypto";
import { concat, equal, fromHex, toHex } from "../bytes/bytes.ts";
import { p256Spki } from "../bytes/der.ts";
import { Reader } from "../bytes/reader.ts";

export interface JournalReport {
  readonly entries: number;
  /** The last entry that is signed; 0 when none is. */
  readonly signed: number;
  /** The evidence key, X then Y; nothing when no entry is signed and none was given. */
  readonly signer: Uint8Array | undefined;
  /** The first entry that is wrong, counted from 1; what was found before it holds. */
  readonly problem: { readonly entry: number; readonly what: string } | undefined;
}

/**
 * @param lines of the whole journal, without their line ends
 * @param evidenceKey X then Y, 64 bytes; without it the key of the first signature is believed, which shows only that
 *   one key signed all
 */
export function checkJournal(lines: readonly string[], evidenceKey?: Uint8Array): JournalReport {
  let signed = 0;
  let signer = evidenceKey;
  let announced: { readonly place: number; readonly key: Uint8Array } | undefined;
  const hashes: string[] = ["00".repeat(32)];
  const report = (entry: number, what: string): JournalReport => {
    // What is signed beyond the problem is not signed as it is here.
    return { entries: lines.length, signed: Math.min(signed, entry - 1), signer, problem: { entry, what } };
  };
  for (const [index, line] of lines.entries()) {
    const place = index + 1;
    const entry = parse(line);
    if (entry === undefined) return report(place, "it is no entry of a journal");
    if (entry.sequence !== place) return report(place, `entry ${entry.sequence} stands in its place`);
    const before = hashes[index];
    if (entry.previous !== before) {
      const changed = wrongOfTwo(lines, index);
      return report(changed, index === 0 ? "it is not the beginning of a journal" : "it was changed");
    }
    hashes.push(sha256(Buffer.from(line)).toString("hex"));
    announced = announcedIn(entry, place) ?? announced;
    if (entry.kind !== "checkpoint") continue;
    const checkpoint = checkpointOf(entry);
    if (checkpoint === undefined) return report(place, "it is no checkpoint, and says it were one");
    const { covers, evidence } = checkpoint;
    if (covers.sequence >= place || covers.hash !== hashes[covers.sequence]) {
      return report(place, `what it signs is not entry ${covers.sequence} as it is here`);
    }
    signer ??= evidence.signer;
    // The key before has signed which one would come after it.
    if (announced !== undefined && announced.place <= signed && equal(announced.key, evidence.signer)) {
      signer = announced.key;
      announced = undefined;
    }
    if (!equal(signer, evidence.signer)) return report(place, "another key signed it");
    const wrong = evidenceProblem(evidence, fromHex(covers.hash));
    if (wrong !== undefined) return report(place, wrong);
    signed = covers.sequence;
  }
  return { entries: lines.length, signed, signer, problem: undefined };
}

/** The evidence key of the root the state was about to move to. */
function announcedIn({ kind, evidenceKey }: Entry, place: number): { place: number; key: Uint8Array } | undefined {
  if (kind !== "root.announced" || typeof evidenceKey !== "string" || !/^[0-9a-f]{128}$/.test(evidenceKey))
    return undefined;
  return { place, key: fromHex(evidenceKey) };
}

interface Entry {
  readonly sequence: number;
  readonly previous: string;
  readonly kind: string;
  readonly [field: string]: unknown;
}

function parse(line: string): Entry | undefined {
  try {
    const entry = JSON.parse(line) as Partial<Entry> | null;
    const { sequence, previous, kind } = entry ?? {};
    const fits = Number.isSafeInteger(sequence) && typeof previous === "string" && typeof kind === "string";
    return fits ? (entry as Entry) : undefined;
  } catch {
    return undefined;
  }
}

/**
 * A line and the one before do not fit. When the line fits to the one after it, it is as it was, and the one before was
 * changed.
 *
 * @returns the entry that was changed, counted from 1
 */
function wrongOfTwo(lines: readonly string[], index: number): number {
  if (index === 0) return 1;
  const after = lines[index + 1];
  const fits =
    after === undefined || parse(after)?.previous === sha256(Buffer.from(lines[index] ?? "")).toString("hex");
  return fits ? index : index + 1;
}

interface Evidence {
  readonly format: Format;
  readonly message: Uint8Array;
  readonly signature: Uint8Array;
  readonly signer: Uint8Array;
  readonly subject: Uint8Array;
}

interface Checkpoint {
  readonly covers: { readonly sequence: number; readonly hash: string };
  readonly evidence: Evidence;
}

/** Bytes of the parts of evidence that are the same in every form. */
const LENGTHS = { signature: 64, signer: 64, subject: 64 } as const;

/** What is wrong with a message of each form, as something that speaks of the statement. */
const FORMS = { "atecc-internal": atecc, "tpm2-quote": quote, tagged } as const;
type Format = keyof typeof FORMS;
const LONGEST_MESSAGE = 1024;

function checkpointOf(entry: Entry): Checkpoint | undefined {
  const covers = (entry.covers ?? {}) as { sequence?: unknown; hash?: unknown };
  const evidence = (entry.evidence ?? {}) as { readonly [part: string]: unknown };
  const { sequence, hash } = covers;
  if (typeof sequence !== "number" || typeof hash !== "string" || !/^[0-9a-f]{64}$/.test(hash)) return undefined;
  const format = Object.keys(FORMS).find((one) => one === evidence.format);
  const { message } = evidence;
  if (format === undefined || typeof message !== "string" || !/^([0-9a-f]{2})+$/.test(message)) return undefined;
  if (message.length > 2 * LONGEST_MESSAGE) return undefined;
  const parts: { [part: string]: unknown } = { format, message: fromHex(message) };
  for (const [part, length] of Object.entries(LENGTHS)) {
    const digits = evidence[part];
    if (typeof digits !== "string" || digits.length !== 2 * length || !/^[0-9a-f]*$/.test(digits)) return undefined;
    parts[part] = fromHex(digits);
  }
  return { covers: { sequence, hash }, evidence: parts as unknown as Evidence };
}

const OPCODE = { genKey: 0x40, sign: 0x41 } as const;
/** GenKey: the public key goes into TempKey. Sign: the whole serial number is in the message. */
const MODE = { genKey: 0x08, sign: 0x40 } as const;
const SLOTS = 16;

/** @returns what is wrong with it */
function evidenceProblem(evidence: Evidence, statement: Uint8Array): string | undefined {
  const { format, signer, message, signature } = evidence;
  return (
    FORMS[format](evidence, statement) ?? (signedBy(signer, message, signature) ? undefined : "its signature is wrong")
  );
}

/** What a secure element signs is composed by itself (ATECC508A, Sign in internal mode). */
function atecc({ message, subject }: Evidence, statement: Uint8Array): string | undefined {
  if (message.length !== 55 || message[32] !== OPCODE.sign || message[33] !== MODE.sign)
    return "its message is not one a chip composes";
  // SN[8], SN[4:7], SN[0:1], SN[2:3] stand from 43 on (ATECC508A, Sign, message of internal data).
  const shortSerial = concat(message.slice(43, 44), message.slice(48, 50));
  const digestIn = (slot: number) =>
    sha256(
      concat(statement, Uint8Array.of(OPCODE.genKey, MODE.genKey, slot, 0), shortSerial, new Uint8Array(25), subject),
    );
  const tempKey = message.slice(0, 32);
  if (!Array.from({ length: SLOTS }, (_, slot) => digestIn(slot)).some((digest) => equal(digest, tempKey))) {
    return ABOUT_SOMETHING_ELSE;
  }
  return undefined;
}

const ABOUT_SOMETHING_ELSE = "its evidence is about something else";

/** TPMS_ATTEST of a quote (TPM 2.0 Part 2, 10.12.12): magic, type, TPM2B qualifiedSigner, TPM2B extraData. */
function quote({ message }: Evidence, statement: Uint8Array): string | undefined {
  const reader = new Reader(message);
  try {
    if (reader.u32be() !== 0xff544347 || reader.u16be() !== 0x8018) return "its message is not one a TPM composes";
    reader.take(reader.u16be());
    return equal(reader.take(reader.u16be()), statement) ? undefined : ABOUT_SOMETHING_ELSE;
  } catch {
    return "its message is not one a TPM composes";
  }
}

/** A tag that nothing else begins with, and the statement. */
function tagged({ message }: Evidence, statement: Uint8Array): string | undefined {
  return equal(message, concat(new TextEncoder().encode(EVIDENCE_TAG), statement)) ? undefined : ABOUT_SOMETHING_ELSE;
}

const EVIDENCE_TAG = "thornkey evidence 1\0";

function signedBy(signer: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean {
  try {
    const key = createPublicKey({ key: Buffer.from(p256Spki(signer)), format: "der", type: "spki" });
    return verify("sha256", message, { key, dsaEncoding: "ieee-p1363" }, signature);
  } catch {
    return false; // a point that is not on the curve
  }
}

function sha256(bytes: Uint8Array): Buffer {
  return createHash("sha256").update(bytes).digest();
}

/** @returns SHA-256 of the key, by which people compare it */
export function evidenceKeyFingerprint(point: Uint8Array): string {
  return toHex(new Uint8Array(sha256(p256Spki(point))));
}
