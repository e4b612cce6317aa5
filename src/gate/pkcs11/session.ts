/** Sessions: what is going on in each, and how operations begin and end. */
import { CKF, CKR } from "./constants.ts";
import { refuse } from "./refusals.ts";

type Now<Result> = Result | Promise<Result>;

/** What an Init call begins. */
export interface Operation {
  /** Lets go of what it holds, and zeroes it. */
  close(): void;
}

export interface Finding extends Operation {
  /** @returns up to so many handles that were not returned yet */
  next(most: number): readonly number[];
}

/** An operation over a message that may come in parts. */
export interface OverMessage extends Operation {
  /** A part has come; the whole cannot come any more. */
  started: boolean;
  update(part: Uint8Array): void;
}

export interface Digesting extends OverMessage {
  /** Bytes of the digest. */
  readonly size: number;
  finish(): Uint8Array;
}

export interface Signing extends OverMessage {
  /** Bytes of the signature. */
  readonly size: number;
  /** Begun with C_SignRecoverInit. */
  readonly recovers: boolean;
  finish(): Now<Uint8Array>;
}

export interface Verifying extends OverMessage {
  /** @throws Refusal CKR_SIGNATURE_INVALID, CKR_SIGNATURE_LEN_RANGE */
  finish(signature: Uint8Array): Now<void>;
}

export interface Recovering extends Operation {
  /** Bytes of the longest message. */
  readonly most: number;
  /** @throws Refusal CKR_SIGNATURE_INVALID, CKR_SIGNATURE_LEN_RANGE */
  recover(signature: Uint8Array): Uint8Array;
}

/** Encryption or decryption. */
export interface Ciphering extends Operation {
  started: boolean;
  /** What was made and did not fit into the caller's buffer; he comes again with a larger one. */
  held?: Uint8Array | undefined;
  /** @returns bytes that come of `length` further bytes at the most; exactly, where that can be known */
  room(length: number, last: boolean): number;
  /** @param last nothing follows */
  push(part: Uint8Array, last: boolean): Now<Uint8Array>;
}

export interface Operations {
  find: Finding;
  digest: Digesting;
  sign: Signing;
  verify: Verifying;
  recover: Recovering;
  encrypt: Ciphering;
  decrypt: Ciphering;
}

export interface Session {
  readonly handle: number;
  readonly readWrite: boolean;
  readonly operations: Partial<Operations>;
}

export function createSession(handle: number, flags: number): Session {
  return { handle, readWrite: (flags & CKF.RW_SESSION) !== 0, operations: {} };
}

/** @throws Refusal CKR_OPERATION_ACTIVE */
export function mustBeIdle({ operations }: Session, ...names: (keyof Operations)[]): void {
  if (names.some((name) => operations[name] !== undefined)) refuse(CKR.OPERATION_ACTIVE);
}

/** @throws Refusal CKR_OPERATION_NOT_INITIALIZED */
export function active<Name extends keyof Operations>({ operations }: Session, name: Name): Operations[Name] {
  return operations[name] ?? refuse(CKR.OPERATION_NOT_INITIALIZED);
}

export function end({ operations }: Session, name: keyof Operations): void {
  const { [name]: operation } = operations;
  delete operations[name];
  operation?.close();
}

export function endAll(session: Session): void {
  for (const name of Object.keys(session.operations) as (keyof Operations)[]) end(session, name);
}

/**
 * Does the last step of an operation, and ends it, however that goes.
 *
 * @returns what the step does
 */
export function ending<Result>(session: Session, name: keyof Operations, step: () => Now<Result>): Now<Result> {
  let result: Now<Result>;
  try {
    result = step();
  } catch (error) {
    end(session, name);
    throw error;
  }
  if (result instanceof Promise) return result.finally(() => end(session, name));
  end(session, name);
  return result;
}
