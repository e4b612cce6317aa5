/**
 * One TPM: sends commands with their authorisations, checks what comes back, and tries again what may be tried again. All
 * of it blocks; it belongs into the thread that owns the TPM.
 */
import { Reader } from "../../bytes/reader.ts";
import { Writer } from "../../bytes/writer.ts";
import { ThornkeyError } from "../../errors.ts";
import type { Clock } from "../../machine/clock.ts";
import { BadEncoding, encode } from "./codec.ts";
import { type CommandSpec, FlushContext, GetCapability, StartAuthSession, Startup } from "./commands.ts";
import { ALG, CAPABILITY, HANDLE, RANGE, SESSION, SESSION_ATTRIBUTE, ST } from "./constants.ts";
import { sha256 } from "./kdf.ts";
import { FAULT, RC, TpmRefusal } from "./response-code.ts";
import {
  crypt,
  newNonce,
  type Session,
  saltFor,
  sameHmac,
  sessionHead,
  sessionHmac,
  sessionKey,
  trimmedAuth,
} from "./session.ts";
import { nameOfHandle, type PublicArea } from "./structures.ts";
import type { TpmTransport } from "./transport.ts";

/** What a command works on. */
export interface Entity {
  readonly handle: number;
  readonly name: Uint8Array;
  /** Its authValue; empty for none. */
  readonly auth: Uint8Array;
}

const NOTHING = new Uint8Array(0);

/** A hierarchy, a PCR, a session: what is its own name. */
export function plainEntity(handle: number, auth: Uint8Array = NOTHING): Entity {
  return { handle, name: nameOfHandle(handle), auth };
}

/**
 * How a handle is authorised: in the salted session, by another session, or by an empty password. `open` is for reading
 * what is public before its name is known, without any session.
 */
export type Authorisation = "session" | "password" | "open" | Session;

export interface Tpm {
  /**
   * @param entities as many as the command has handles
   * @param by for each handle that needs an authorisation; default: the salted session
   * @returns the answer's parameters, and its handle where there is one
   * @throws TpmRefusal what the TPM says; ThornkeyError `ROOT_UNAVAILABLE` when it does not answer, `TAMPERED` when the
   *   answer is not what it sent; {@link TpmRestarted} when all that was loaded is gone
   */
  run<P, R>(
    spec: CommandSpec<P, R>,
    entities: readonly Entity[],
    parameters: P,
    by?: readonly Authorisation[],
  ): R & { readonly handle: number };
  /** From now on every command goes through a session salted to this key. */
  salt(key: Entity, area: PublicArea): void;
  /** From now on commands go without it, as before the storage key was known. */
  unsalt(): void;
  /** A policy session without a salt; what it gives is protected by the salted one beside it. To be flushed. */
  startPolicy(): Session;
  /** A second salted session, for a command that authorises two things. To be flushed. */
  startSecond(): Session;
  /** Forgets an object or a session, in the TPM too. A TPM that does not know it any more is content. */
  flush(handle: number): void;
  /** Gives back the salted session; the next command begins another. */
  rest(): void;
  /** Closes the connection; the next command opens another. */
  drop(): void;
  /** Goes up whenever all that was loaded is gone. */
  readonly epoch: number;
  close(): void;
}

/** The TPM was restarted, or the connection to it was: what was loaded must be loaded again. */
export class TpmRestarted extends ThornkeyError {
  override readonly name = "TpmRestarted";

  constructor() {
    super("ROOT_UNAVAILABLE", "the TPM was restarted");
  }
}

/** A session is begun anew after so many uses: a TPM sees its age as a gap to newer ones (Part 1, 30.5). */
const MOST_USES = 1000;
/** Times in all that one command is sent when the TPM asks for another try. */
const MOST_TRIES = 40;
const FIRST_WAIT = 10;
const LONGEST_WAIT = 400;
const HEADER = 10;

/**
 * @param open connects to the TPM; the first command does
 * @param options.meanwhile called while the TPM works on a command; must not throw, nor use the TPM
 * @param options.visits whether what others left in it stays, as it does for somebody who only looks
 */
export function tpmOver(
  open: () => TpmTransport,
  clock: Pick<Clock, "sleep">,
  { meanwhile, visits = false }: { readonly meanwhile?: () => void; readonly visits?: boolean } = {},
): Tpm {
  let transport: TpmTransport | undefined;
  let salted: { readonly key: Entity; readonly area: PublicArea } | undefined;
  let main: Session | undefined;
  let epoch = 0;

  function connected(): TpmTransport {
    if (transport !== undefined) return transport;
    transport = open();
    forget();
    start();
    // A bare TPM keeps what somebody left who died. What Linux's resource manager lists are sessions that others use.
    if (!visits && !transport.shared) flushLeftovers();
    return transport;
  }

  function forget(): void {
    epoch += 1;
    main?.key.fill(0);
    main = undefined;
  }

  function drop(): void {
    transport?.close();
    transport = undefined;
    forget();
  }

  function start(): void {
    try {
      once(Startup, [], { type: 0 }, []);
    } catch (error) {
      // It was started before, which is as good.
      if (!(error instanceof TpmRefusal) || error.responseCode !== RC.initialize) throw error;
    }
  }

  function flushLeftovers(): void {
    for (const first of [RANGE.transient, RANGE.loadedSession, RANGE.savedSession]) {
      const asked = { capability: CAPABILITY.handles, property: first, count: 254 };
      const { data } = once(GetCapability, [], asked, ["open"]);
      if (data.type !== CAPABILITY.handles) continue;
      for (const handle of data.handles) {
        // A resource manager may list what is not ours.
        try {
          once(FlushContext, [], { handle }, []);
        } catch (error) {
          if (!(error instanceof TpmRefusal)) throw error;
        }
      }
    }
  }

  function flush(handle: number): void {
    if (main?.handle === handle) {
      main.key.fill(0);
      main = undefined;
    }
    if (transport === undefined) return; // with the connection it went, or the next one flushes it
    try {
      once(FlushContext, [], { handle }, []);
    } catch (error) {
      if (error instanceof TpmRefusal) drop();
      else if (!(error instanceof ThornkeyError) || error.code !== "ROOT_UNAVAILABLE") throw error;
    }
  }

  function mainSession(): Session | undefined {
    if (salted === undefined) return undefined;
    if (main !== undefined && main.uses >= MOST_USES) flush(main.handle);
    main ??= startSession(SESSION.hmac, salted);
    return main;
  }

  function startSession(type: number, key: typeof salted): Session {
    const { salt, encryptedSalt } = key === undefined ? { salt: NOTHING, encryptedSalt: NOTHING } : saltFor(key.area);
    const nonceCaller = newNonce();
    const { handle, nonceTPM } = once(
      StartAuthSession,
      [plainEntity(key === undefined ? HANDLE.null : key.key.handle), plainEntity(HANDLE.null)],
      {
        nonceCaller,
        encryptedSalt,
        type,
        symmetric: key === undefined ? { type: ALG.null } : { type: ALG.aes, keyBits: 128, mode: ALG.cfb },
        hash: ALG.sha256,
      },
      [],
    );
    const secret = key === undefined ? NOTHING : sessionKey(salt, nonceTPM, nonceCaller);
    salt.fill(0);
    const kind = type === SESSION.policy ? "policy" : "hmac";
    return { handle, kind, key: secret, nonceTPM, nonceCaller, provesAuth: kind === "hmac", uses: 0 };
  }

  function run<P, R>(
    spec: CommandSpec<P, R>,
    entities: readonly Entity[],
    parameters: P,
    by: readonly Authorisation[] = [],
  ): R & { readonly handle: number } {
    let wait = FIRST_WAIT;
    let renewed = 0;
    for (let attempt = 1; ; attempt++) {
      const before = epoch;
      connected();
      // What was loaded before the connection was lost is not what these handles name now.
      if (epoch !== before && (entities.some(isLoaded) || by.some((one) => typeof one === "object"))) {
        throw new TpmRestarted();
      }
      try {
        return once(spec, entities, parameters, by);
      } catch (error) {
        if (!(error instanceof TpmRefusal)) throw error;
        const code = error.responseCode;
        if (WAIT.has(code) && attempt < MOST_TRIES) {
          clock.sleep(wait);
          wait = Math.min(2 * wait, LONGEST_WAIT);
        } else if (code === RC.initialize && spec !== (Startup as unknown)) {
          drop();
          throw new TpmRestarted();
        } else if (sessionIsGone(code) && renewed++ < 2) {
          if (by.some((one) => typeof one === "object")) throw new TpmRestarted();
          renewSession();
        } else if ((code & ~7) === RC.referenceHandle) {
          forget();
          throw new TpmRestarted();
        } else {
          // Nobody vouches for a refusal. If the TPM did do it, its nonces have gone on and ours have not.
          renewSession();
          throw error;
        }
      }
    }
  }

  /** A TPM that has no room, or does not know our session, gets a new one. */
  function renewSession(): void {
    if (main !== undefined) flush(main.handle);
  }

  /** Sends a command once. */
  function once<P, R>(
    spec: CommandSpec<P, R>,
    entities: readonly Entity[],
    parameters: P,
    by: readonly Authorisation[],
  ): R & { readonly handle: number } {
    if (entities.length !== spec.handles) throw new Error(`${spec.name} takes ${spec.handles} handles`);
    const plan = planOf(
      spec,
      entities,
      by,
      spec.bare || spec === (StartAuthSession as unknown) ? () => undefined : mainSession,
    );
    const line = transport;
    if (line === undefined) throw new TpmRestarted();
    const command = written(spec, entities, parameters, plan);
    let answer: Uint8Array;
    let responseCode: number;
    try {
      answer = line.transmit(command, spec.longest, meanwhile);
      responseCode = header(answer, plan.length > 0);
    } catch (error) {
      drop();
      throw error;
    }
    if (responseCode !== 0) throw new TpmRefusal(spec.name, responseCode);
    const [first] = plan;
    const after = spec.authAfter?.(parameters, entities[0]?.handle ?? HANDLE.null);
    if (first !== undefined && after !== undefined) first.auth = trimmedAuth(after);
    try {
      return read(spec, answer, plan);
    } catch (error) {
      // The nonces do not go on from here.
      drop();
      if (error instanceof ThornkeyError) throw error;
      throw tampered(spec.name, "it is not well-formed");
    }
  }

  function written<P, R>(
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

  function read<P, R>(
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

  return {
    run,
    salt(key, area) {
      salted = { key, area };
    },
    unsalt() {
      salted = undefined;
    },
    startPolicy() {
      connected();
      return startSession(SESSION.policy, undefined);
    },
    startSecond() {
      connected();
      return startSession(SESSION.hmac, salted);
    },
    flush,
    rest: renewSession,
    drop,
    get epoch() {
      return epoch;
    },
    close() {
      if (transport !== undefined && main !== undefined) {
        try {
          flush(main.handle);
        } catch {
          // It is gone with the connection, or with the TPM.
        }
      }
      drop();
    },
  };
}

const ZERO = new Uint8Array(4);

/** Answers that ask for another try. */
const WAIT = new Set<number>([RC.yielded, RC.testing, RC.retry, RC.nvRate]);

function sessionIsGone(code: number): boolean {
  const placed = (code & 0x80) !== 0 && (code & 0x800) !== 0 && (code & 0x40) === 0;
  return (
    (code & ~7) === RC.referenceSession ||
    code === RC.contextGap ||
    code === RC.sessionMemory ||
    code === RC.sessionHandles ||
    (placed && ((code & 0xbf) === FAULT.handle || (code & 0xbf) === FAULT.value))
  );
}

function isLoaded({ handle }: Entity): boolean {
  return handle >>> 24 === 0x80 || handle >>> 24 === 0x02 || handle >>> 24 === 0x03;
}

/** One session of a command. */
interface Plan {
  /** undefined: a password */
  readonly session: Session | undefined;
  /** Of what it authorises; empty for a session that only protects. */
  auth: Uint8Array;
  readonly attributes: number;
}

function planOf<P, R>(
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
function header(answer: Uint8Array, withSessions: boolean): number {
  const reader = new Reader(answer);
  const tag = reader.u16be();
  const size = reader.u32be();
  const responseCode = reader.u32be();
  const expected = responseCode === 0 && withSessions ? ST.sessions : ST.noSessions;
  const whole = size === answer.length && (responseCode === 0 || size === HEADER);
  if (tag !== expected || !whole) throw tampered("a command", "its head is wrong");
  return responseCode;
}

function tampered(command: string, why: string): ThornkeyError {
  return new ThornkeyError("TAMPERED", `the answer to ${command} is not the one this TPM gave: ${why}`, {
    hint: "somebody or something changes what goes between processor and TPM: look at the wires",
  });
}

function codeBytes(code: number): Uint8Array {
  return new Writer(4).u32be(code).done();
}
