import { readFileSync } from "node:fs";
import { decode, encode } from "cborg";
import { ThornkeyError } from "../../errors.ts";
import { takeFileLock } from "../file-lock.ts";
import { writeWholeFile } from "../whole-file.ts";
import { type Key, publicKeyOf } from "./keys.ts";
import { type Contents, type Memory, type NewCard, newCard, type Reference, TRIES } from "./memory.ts";
import { ALGORITHM_NAMES, type PinPolicy, SLOTS } from "./slots.ts";

/**
 * A card's memory as a file (CBOR), written anew as a whole and put in the old one's place, so that it is at every moment
 * one or the other; a command is answered when it is on the disk.
 *
 * @param path is made, as a new card, if there is nothing
 * @param options of a new card; an old one stays what it is
 * @throws ThornkeyError `MALFORMED` when the file is not such a file; `FAILED` when another emulator has it open
 */
export function openCardFile(path: string, options: NewCard = {}): Memory & { close(): void } {
  const lock = takeFileLock(path);
  try {
    const old = contentOf(path);
    const contents = old ? parse(path, old) : newCard(options);
    const save = () => writeWholeFile(path, encoded(contents));
    if (!old) save();
    return { contents, save, close: lock.release };
  } catch (error) {
    lock.release();
    throw error;
  }
}

const MAGIC = "thornkey piv card";
const VERSION = 1;
const STRICT = { allowIndefinite: false, allowUndefined: false, allowBigInt: false, strict: true } as const;

function encoded({ serial, pin, puk, management, keys, objects }: Contents): Uint8Array {
  const ofKey = ([reference, key]: [number, Key]) => [reference, key.algorithm, key.pkcs8, key.pin, key.touch];
  const references = [pin, puk].map(({ value, tries }) => [value, tries]);
  return encode([MAGIC, VERSION, serial, references, management, [...keys].map(ofKey), [...objects]]);
}

function parse(path: string, bytes: Uint8Array): Contents {
  try {
    const [magic, version, serial, references, management, keys, objects] = list(decode(bytes, STRICT), 7);
    if (magic !== MAGIC || version !== VERSION) throw new TypeError("another kind of file");
    const [pin, puk] = list(references, 2).map(referenceFrom);
    if (!pin || !puk) throw new TypeError("no PIN");
    return {
      serial: integer(serial, 0x7fffffff),
      pin,
      puk,
      management: sized(management, 24),
      keys: new Map(list(keys).map(keyFrom)),
      objects: new Map(list(objects).map(objectFrom)),
    };
  } catch (cause) {
    throw new ThornkeyError("MALFORMED", `${path} is not the memory of an emulated PIV card.`, {
      cause,
      hint: "Name another file, or move this one away to start with a new card.",
    });
  }
}

function referenceFrom(item: unknown): Reference {
  const [value, tries] = list(item, 2);
  return { value: sized(value, 8), tries: integer(tries, TRIES) };
}

const PIN_POLICIES: readonly PinPolicy[] = ["never", "once", "always"];

function keyFrom(item: unknown): [number, Key] {
  const [reference, algorithm, pkcs8, pin, touch] = list(item, 5);
  const number = integer(reference, 0xff);
  const name = ALGORITHM_NAMES.find((candidate) => candidate === algorithm);
  const policy = PIN_POLICIES.find((candidate) => candidate === pin);
  if (!SLOTS.has(number) || !name || !policy || typeof touch !== "boolean") throw new TypeError("no key");
  const bytes = octets(pkcs8);
  const { asymmetricKeyType, asymmetricKeyDetails = {} } = publicKeyOf(bytes);
  const { modulusLength, namedCurve } = asymmetricKeyDetails;
  const found = asymmetricKeyType === "rsa" ? `RSA-${modulusLength}` : CURVE_NAMES[namedCurve ?? ""];
  if (found !== name) throw new TypeError("a key of another algorithm");
  return [number, { algorithm: name, pkcs8: bytes, pin: policy, touch }];
}

const CURVE_NAMES: Record<string, string> = { prime256v1: "P-256", secp384r1: "P-384" };

function objectFrom(item: unknown): [number, Uint8Array] {
  const [tag, content] = list(item, 2);
  return [integer(tag, 0xffffff), octets(content)];
}

function list(value: unknown, length?: number): unknown[] {
  if (!Array.isArray(value) || (length !== undefined && value.length !== length)) throw new TypeError("not a list");
  return value;
}

function integer(value: unknown, most: number): number {
  if (typeof value !== "number" || !Number.isInteger(value) || value < 0 || value > most)
    throw new TypeError("no number");
  return value;
}

function octets(value: unknown): Uint8Array {
  if (!(value instanceof Uint8Array)) throw new TypeError("no bytes");
  return new Uint8Array(value);
}

function sized(value: unknown, length: number): Uint8Array {
  const bytes = octets(value);
  if (bytes.length !== length) throw new TypeError(`not ${length} bytes`);
  return bytes;
}

function contentOf(path: string): Uint8Array | undefined {
  try {
    return new Uint8Array(readFileSync(path));
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    throw error;
  }
}
