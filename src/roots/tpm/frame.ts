/**
 * A command as it goes over the bus, with the sessions that prove and encrypt it, and an answer as it comes back, which is
 * believed after its sessions have proved it (Part 1, 18 and 19).
 */
import { Reader } from "../../bytes/reader.ts";
import { Writer } from "../../bytes/writer.ts";
import { ThornkeyError } from "../../errors.ts";
import { BadEncoding, encode } from "./codec.ts";
import type { CommandSpec } from "./commands.ts";
import { HANDLE, SESSION_ATTRIBUTE, ST } from "./constants.ts";
import { sha256 } from "./kdf.ts";
import { crypt, newNonce, type Session, sameHmac, sessionHead, sessionHmac, trimmedAuth } from "./session.ts";
import { nameOfHandle } from "./structures.ts";

const NOTHING = new Uint8Array(0);
const ZERO = new Uint8Array(4);
/** Tag, size, code. */
const HEADER = 10;

/** What a command works on. */
export interface Entity {
  readonly handle: number;
  readonly name: Uint8Array;
  /** Its authValue; empty for none. */
  readonly auth: Uint8Array;
}

/** A hierarchy, a PCR, a session: what is its own name. */
export function plainEntity(handle: number, auth: Uint8Array = NOTHING): Entity {
  return { handle, name: nameOfHandle(handle), auth };
}

/**
 * How a handle is authorised: in the salted session, by another session, or by an empty password. `open` is for reading
 * what is public before its name is known, without any session.
 */
export type Authorisation = "session" | "password" | "open" | Session;

/** One session of a command. */
export interface Plan {
  /** undefined: a password */
  readonly session: Session | undefined;
  /** Of what it authorises; empty for a session that only protects. */
  auth: Uint8Array;
  readonly attributes: number;
}

/**
 * Which sessions go with a command, and what each is for: the salted one proves and encrypts whatever is asked.
 *
 * @param mainSession begins it when it is needed
 */
export function planOf<P, R>(
  spec: CommandSpec<P, R>,
  entities: readonly Entity[],
  by: readonly Authorisation[],
  mainSession: () => Session | undefined,
): Plan[] {
  const plans: { session: Session | undefined; auth: Uint8Array; attributes: number }[] = [];
  for (let index = 0; index < spec.authorised; index++) {
    const how = by[index] ?? "session";
    const session = how === "password" || how === "open" ? undefined : how === "session" ? mainSession() : how;
    const auth = trimmedAuth(entities[index]?.auth ?? NOTHING);
    if (session === undefined && auth.length > 0) {
      throw new ThornkeyError("FAILED", `${spec.name} would send an authorisation in the clear`);
    }
    plans.push({ session, auth, attributes: session === undefined ? 0 : SESSION_ATTRIBUTE.continueSession });
  }
  if (by.includes("password") || by.includes("open")) return plans;
  const main = mainSession();
  if (main === undefined) return plans;
  let carrier = plans.find(({ session }) => session === main);
  if (carrier === undefined) {
    carrier = { session: main, auth: NOTHING, attributes: SESSION_ATTRIBUTE.continueSession };
    plans.push(carrier);
  }
  if (spec.parameters.sized) carrier.attributes |= SESSION_ATTRIBUTE.decrypt;
  if (spec.answer.sized) carrier.attributes |= SESSION_ATTRIBUTE.encrypt;
  // A session that neither authorises nor encrypts must do something all the same (Part 3, 5.5).
  const idle = carrier.attributes === SESSION_ATTRIBUTE.continueSession;
  if (idle && plans.indexOf(carrier) >= spec.authorised) carrier.attributes |= SESSION_ATTRIBUTE.audit;
  return plans;
}

/** @returns a command as it goes to the TPM. The nonces of its sessions are new ones. */
export function written<P, R>(
  spec: CommandSpec<P, R>,
  entities: readonly Entity[],
  parameters: P,
  plan: Plan[],
): Uint8Array {
  const body = encode(spec.parameters, parameters);
  const encrypting = plan.find(({ attributes }) => attributes & SESSION_ATTRIBUTE.decrypt);
  for (const { session } of plan) if (session !== undefined) session.nonceCaller = newNonce();
  if (encrypting?.session !== undefined) {
    const { session, auth } = encrypting;
    const length = new Reader(body).u16be();
    const contents = body.subarray(2, 2 + length);
    contents.set(crypt("encrypt", session, auth, session.nonceCaller, session.nonceTPM, contents));
  }
  const cpHash = plan.some(({ session }) => session)
    ? sha256(codeBytes(spec.code), ...entities.map(({ name }) => name), body)
    : NOTHING;
  const sessions = plan.map((one, index) => sessionArea(one, index === 0, cpHash, plan));
  const area = sessions.reduce((sum, { length }) => sum + length, 0);
  const size = HEADER + 4 * entities.length + (plan.length > 0 ? 4 + area : 0) + body.length;
  const writer = new Writer(size)
    .u16be(plan.length > 0 ? ST.sessions : ST.noSessions)
    .u32be(size)
    .u32be(spec.code);
  for (const { handle } of entities) writer.u32be(handle);
  if (plan.length > 0) writer.u32be(area);
  for (const session of sessions) writer.put(session);
  writer.put(body);
  body.fill(0);
  return writer.done();
}

/**
 * Takes an answer apart, after each session has proved it; what it held is zeroed.
 *
 * @throws ThornkeyError `TAMPERED`; OutOfBytes, {@link BadEncoding}
 */
export function read<P, R>(
  spec: CommandSpec<P, R>,
  answer: Uint8Array,
  plan: readonly Plan[],
): R & { readonly handle: number } {
  const reader = new Reader(answer.subarray(HEADER));
  const handle = spec.givesHandle ? reader.u32be() : 0;
  const parameters = plan.length > 0 ? reader.take(reader.u32be()) : reader.rest();
  if (plan.some(({ session }) => session)) {
    const rpHash = sha256(ZERO, codeBytes(spec.code), parameters);
    for (const one of plan) checkSession(spec.name, reader, one, rpHash);
  } else {
    for (const _ of plan) {
      reader.take(reader.u16be() + 1);
      reader.take(reader.u16be());
    }
  }
  if (reader.remaining > 0) throw tampered(spec.name, "it is longer than it should be");
  const decrypting = plan.find(({ attributes }) => attributes & SESSION_ATTRIBUTE.encrypt);
  if (decrypting?.session !== undefined) {
    const { session, auth } = decrypting;
    const length = new Reader(parameters).u16be();
    const contents = parameters.subarray(2, 2 + length);
    contents.set(crypt("decrypt", session, auth, session.nonceTPM, session.nonceCaller, contents));
  }
  const inside = new Reader(parameters);
  const value = spec.answer.read(inside);
  if (inside.remaining > 0) throw new BadEncoding("more than the command gives");
  answer.fill(0); // what it held is copied
  return { ...value, handle };
}

function sessionArea(
  { session, auth, attributes }: Plan,
  first: boolean,
  cpHash: Uint8Array,
  all: readonly Plan[],
): Uint8Array {
  if (session === undefined) {
    return new Writer(9 + auth.length).u32be(HANDLE.password).u16be(0).u8(0).u16be(auth.length).put(auth).done();
  }
  session.uses += 1;
  const head = sessionHead(session.handle, session.nonceCaller, attributes);
  const silent = session.kind === "policy" && session.key.length === 0 && !session.provesAuth;
  // The first session vouches for the nonces of those that encrypt (Part 1, 19.6.5).
  const others = first ? encryptingOthers(session, all) : [];
  const hmac = silent
    ? NOTHING
    : sessionHmac(session, auth, cpHash, [session.nonceCaller, session.nonceTPM, ...others], attributes);
  return new Writer(head.length + 2 + hmac.length).put(head).u16be(hmac.length).put(hmac).done();
}

/** nonceTPM of the session that decrypts and of the one that encrypts, where they are another one. */
function encryptingOthers(first: Session, all: readonly Plan[]): Uint8Array[] {
  const { decrypt, encrypt } = SESSION_ATTRIBUTE;
  const decrypting = all.find(({ attributes }) => attributes & decrypt)?.session;
  const encrypting = all.find(({ attributes }) => attributes & encrypt)?.session;
  const nonces: Uint8Array[] = [];
  if (decrypting !== undefined && decrypting !== first) nonces.push(decrypting.nonceTPM);
  if (encrypting !== undefined && encrypting !== first && encrypting !== decrypting) nonces.push(encrypting.nonceTPM);
  return nonces;
}

/** Takes one session of an answer. @throws ThornkeyError `TAMPERED` */
function checkSession(command: string, reader: Reader, { session, auth }: Plan, rpHash: Uint8Array): void {
  const nonceTPM = reader.take(reader.u16be()).slice();
  const attributes = reader.u8();
  const hmac = reader.take(reader.u16be());
  if (session === undefined) return;
  session.nonceTPM = nonceTPM;
  if (session.kind === "policy" && session.key.length === 0 && !session.provesAuth) return;
  const expected = sessionHmac(session, auth, rpHash, [nonceTPM, session.nonceCaller], attributes);
  if (!sameHmac(expected, hmac)) throw tampered(command, "it does not prove that it comes from it");
}

/** @returns the response code. @throws ThornkeyError `TAMPERED` */
export function header(answer: Uint8Array, withSessions: boolean): number {
  const reader = new Reader(answer);
  const tag = reader.u16be();
  const size = reader.u32be();
  const responseCode = reader.u32be();
  const expected = responseCode === 0 && withSessions ? ST.sessions : ST.noSessions;
  const whole = size === answer.length && (responseCode === 0 || size === HEADER);
  if (tag !== expected || !whole) throw tampered("a command", "its head is wrong");
  return responseCode;
}

export function tampered(command: string, why: string): ThornkeyError {
  return new ThornkeyError("TAMPERED", `the answer to ${command} is not the one this TPM gave: ${why}`, {
    hint: "somebody or something changes what goes between processor and TPM: look at the wires",
  });
}

function codeBytes(code: number): Uint8Array {
  return new Writer(4).u32be(code).done();
}
