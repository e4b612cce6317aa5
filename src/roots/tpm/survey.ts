/** Everything a TPM tells to anybody, asked without changing or flushing anything in it. */
import { toHex } from "../../bytes/bytes.ts";
import { Reader } from "../../bytes/reader.ts";
import { GetCapability, NV_ReadPublic, PCR_Read, ReadPublicBytes } from "./commands.ts";
import { ALG, CAPABILITY, CURVE_NAMES, EK_CERTIFICATES, HANDLE, NV, OBJECT, RANGE } from "./constants.ts";
import { factsOf, type TpmFacts } from "./facts.ts";
import { plainEntity } from "./frame.ts";
import { serialFrom } from "./parent.ts";
import { TpmRefusal } from "./response-code.ts";
import { publicArea } from "./structures.ts";
import type { Tpm } from "./tpm.ts";

/** An object that is kept in the TPM. */
export interface KeptObject {
  readonly handle: number;
  /** `ECC P-256`, `RSA-2048`, … */
  readonly type: string;
  /** Its name, hexadecimal: the algorithm of a digest, and the digest of its public area. */
  readonly name: string;
  /** Whether keys can be under it. */
  readonly storageKey: boolean;
  /** Whether a wrong authorisation does not count against the whole TPM. */
  readonly noDA: boolean;
  readonly for: readonly ("sign" | "decrypt")[];
}

/** A piece of the TPM's memory. */
export interface NvIndex {
  readonly index: number;
  readonly bytes: number;
  readonly counter: boolean;
  /** Whether something was ever written to it. */
  readonly written: boolean;
}

export interface TpmSurvey extends TpmFacts {
  /** What names the TPM in this house; undefined as long as it has no storage key. */
  readonly serial: string | undefined;
  /** What is at 0x81000001. */
  readonly storageKey: KeptObject | undefined;
  readonly persistent: readonly KeptObject[];
  readonly indices: readonly NvIndex[];
  /** Of which endorsement keys there are certificates. */
  readonly certificates: readonly string[];
  /** Handles of what is loaded. Linux's resource manager lists the objects of the asking program, and everybody's sessions. */
  readonly transient: readonly number[];
  readonly sessions: readonly number[];
}

export function surveyOf(tpm: Tpm): TpmSurvey {
  const persistent = handlesFrom(tpm, RANGE.persistent).flatMap((handle) => keptAt(tpm, handle) ?? []);
  const storageKey = persistent.find(({ handle }) => handle === HANDLE.srk);
  const indices = handlesFrom(tpm, RANGE.nv).flatMap((index) => indexAt(tpm, index) ?? []);
  return {
    ...factsOf(tpm),
    serial: storageKey?.storageKey ? serialFrom(Buffer.from(storageKey.name, "hex")) : undefined,
    storageKey,
    persistent,
    indices,
    certificates: indices.flatMap(({ index }) => EK_CERTIFICATES.get(index) ?? []),
    transient: handlesFrom(tpm, RANGE.transient),
    sessions: [...handlesFrom(tpm, RANGE.loadedSession), ...handlesFrom(tpm, RANGE.savedSession)],
  };
}

/** One register of what was measured. */
export interface Pcr {
  readonly pcr: number;
  readonly value: Uint8Array;
}

/** So many PCRs fit one answer (Part 3, 22.4). */
const PCRS_AT_ONCE = 8;
const PCRS = 24;

/** @returns the SHA-256 bank; empty where the TPM keeps none */
export function pcrsOf(tpm: Tpm): readonly Pcr[] {
  const found: Pcr[] = [];
  for (let first = 0; first < PCRS; first += PCRS_AT_ONCE) {
    const wanted = Array.from({ length: PCRS_AT_ONCE }, (_, n) => first + n);
    const { pcrs, values } = tpm.run(PCR_Read, [], { pcrs: wanted });
    for (const [at, pcr] of pcrs.entries()) {
      const value = values[at];
      if (value !== undefined) found.push({ pcr, value });
    }
  }
  return found;
}

/** PCRs that firmware and boot loader measure into. */
const OF_THE_BOOT = 8;

/** Whether nothing was measured at boot: then a policy on PCRs protects nothing. */
export function nothingMeasuredIn(pcrs: readonly Pcr[]): boolean {
  return pcrs.every(({ pcr, value }) => pcr >= OF_THE_BOOT || value.every((byte) => byte === 0));
}

/** All handles of a range: those whose first byte is the first one's. */
function handlesFrom(tpm: Tpm, first: number): readonly number[] {
  const all: number[] = [];
  for (let property = first; ; ) {
    const asked = { capability: CAPABILITY.handles, property, count: 254 };
    const { data, more } = tpm.run(GetCapability, [], asked);
    const handles = data.type === CAPABILITY.handles ? data.handles : [];
    all.push(...handles.filter((handle) => handle >>> 24 === first >>> 24));
    const last = handles.at(-1);
    if (more === 0 || last === undefined || last < property) return all;
    property = last + 1;
  }
}

/** @returns undefined when it is not there any more */
function keptAt(tpm: Tpm, handle: number): KeptObject | undefined {
  const read = unlessRefused(() => tpm.run(ReadPublicBytes, [plainEntity(handle)], {}, ["open"]));
  if (read === undefined) return undefined;
  const head = new Reader(read.outPublic);
  const [type] = [head.u16be(), head.u16be()];
  const attributes = head.u32be();
  const has = (bits: number) => (attributes & bits) === bits;
  return {
    handle,
    type: typeOf(read.outPublic, type),
    name: toHex(read.name),
    storageKey:
      has(OBJECT.restricted | OBJECT.decrypt | OBJECT.fixedTPM) && !has(OBJECT.sign) && type !== ALG.keyedhash,
    noDA: has(OBJECT.noDA),
    for: (["sign", "decrypt"] as const).filter((use) => has(OBJECT[use])),
  };
}

function typeOf(bytes: Uint8Array, type: number): string {
  try {
    const area = publicArea.read(new Reader(bytes));
    if (area.type === ALG.rsa) return `RSA-${area.keyBits}`;
    if (area.type === ALG.ecc) return `ECC ${CURVE_NAMES.get(area.curve) ?? `0x${area.curve.toString(16)}`}`;
  } catch {
    // Of a form that nothing here makes; its kind can be told all the same.
  }
  return KINDS.get(type) ?? `0x${type.toString(16)}`;
}

const KINDS = new Map<number, string>([
  [ALG.rsa, "RSA"],
  [ALG.ecc, "ECC"],
  [ALG.keyedhash, "sealed data or HMAC key"],
  [ALG.symcipher, "symmetric key"],
]);

function indexAt(tpm: Tpm, index: number): NvIndex | undefined {
  const read = unlessRefused(() => tpm.run(NV_ReadPublic, [plainEntity(index)], {}, ["open"]));
  if (read === undefined) return undefined;
  const { attributes, size } = read.nvPublic;
  const counter = ((attributes >>> 4) & 0xf) === NV.counter >>> 4;
  return { index, bytes: size, counter, written: (attributes & NV.written) !== 0 };
}

/** Another program may have removed it between two commands. */
function unlessRefused<T>(ask: () => T): T | undefined {
  try {
    return ask();
  } catch (error) {
    if (error instanceof TpmRefusal) return undefined;
    throw error;
  }
}
