import { ThornkeyError } from "../../errors.ts";
import type { Clock } from "../../machine/clock.ts";
import { type CommandSpec, FlushContext, GetCapability, StartAuthSession, Startup } from "./commands.ts";
import { ALG, CAPABILITY, HANDLE, RANGE, SESSION } from "./constants.ts";
import { type Authorisation, type Entity, header, plainEntity, planOf, read, tampered, written } from "./frame.ts";
import { FAULT, RC, TpmRefusal } from "./response-code.ts";
import { newNonce, type Session, saltFor, sessionKey, trimmedAuth } from "./session.ts";
import type { PublicArea } from "./structures.ts";
import type { TpmTransport } from "./transport.ts";

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

const NOTHING = new Uint8Array(0);
/** A session is begun anew after so many uses: a TPM sees its age as a gap to newer ones (Part 1, 30.5). */
const MOST_USES = 1000;
/** Times in all that one command is sent when the TPM asks for another try. */
const MOST_TRIES = 40;
const FIRST_WAIT = 10;
const LONGEST_WAIT = 400;

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
