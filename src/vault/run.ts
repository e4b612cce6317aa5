/**
 * The life of the vault's process: it opens the vault, or serves the reason why it cannot; it ends with SIGTERM.
 */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { Secret } from "../bytes/secret.ts";
import { ERROR_CODES, type ErrorCode, ThornkeyError } from "../errors.ts";
import { check } from "../operations/shape.ts";
import { isOperation, operationOf, type VaultEvent, type VaultState } from "../operations/table.ts";
import { dispatch } from "./dispatch.ts";
import { keyIdOf, mayRead } from "./handlers/journal.ts";
import { openVault, type VaultOptions } from "./open.ts";
import { hasRole } from "./rights.ts";
import { type Incoming, serveVault } from "./serve.ts";
import type { OpenVault } from "./vault.ts";
import { VERSION } from "./version.ts";

export interface RunOptions extends VaultOptions {
  /** Directory of the sockets. */
  readonly run: string;
  readonly gateUids: readonly number[];
}

/** Milliseconds between two tries to reach a root that is gone. */
const AGAIN = 1000;

/** What passes by itself, and is tried again. */
const PASSING: ReadonlySet<ErrorCode> = new Set(["ROOT_UNAVAILABLE"]);

/** A destruction that the root has yet to finish is gone on with, too. */
function passes({ code, cause }: ThornkeyError): boolean {
  return PASSING.has(code) || (code === "DESTROYED" && cause instanceof ThornkeyError && PASSING.has(cause.code));
}

/** What keeps us from doing anything at all: the process ends with it. */
const FATAL: ReadonlySet<ErrorCode> = new Set(["USAGE", "FAILED", "STATE_UNWRITABLE"]);

export async function runVault(options: RunOptions): Promise<void> {
  const ended = new Promise<void>((resolve) => {
    for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"] as const) process.once(signal, () => resolve());
  });
  // Threads and processes of roots do not keep us; while a vault opens nothing else does.
  const alive = setInterval(() => {}, 60_000);
  mkdirSync(options.run, { recursive: true, mode: 0o755 });
  let vault: OpenVault | undefined;
  let refusal: ThornkeyError | undefined;
  let stopping = false;

  const attempt = async (): Promise<void> => {
    try {
      vault = await settled(await openVault(options));
      refusal = undefined;
    } catch (error) {
      if (!(error instanceof ThornkeyError) || FATAL.has(error.code)) throw error;
      refusal = error;
      process.stderr.write(`thornkey: ${error.code}: ${error.message}\n`);
      if (error.hint !== undefined) process.stderr.write(`hint: ${error.hint}\n`);
    }
  };
  let opened = false;
  // Nothing was acknowledged yet, and whatever is half done the next start finishes.
  void ended.then(() => opened || process.exit(0));
  await attempt();
  opened = true;
  let recovering = false;
  /**
   * On a host that is not the one it belongs to, the owner's recovery key opens the vault, and the request that brought
   * it binds it to this one. Unless that is done, nothing stays open.
   */
  const recover = async (incoming: Incoming, recovery: Uint8Array): Promise<unknown> => {
    const own = process.getuid?.() ?? 0;
    const { uid } = incoming.caller.facts;
    if (uid !== 0 && uid !== own) throw new ThornkeyError("NOT_PERMITTED", "this is for the device's administrators");
    if (recovering) throw new ThornkeyError("USAGE", "the recovery key is being tried already");
    recovering = true;
    try {
      // The handler takes the key over and zeroes it; this one is for opening.
      using owner = new Secret(recovery.slice());
      const opened = await openVault({ ...options, recovery: owner });
      let answer: unknown;
      try {
        answer = await handle(opened, incoming);
      } catch (error) {
        await opened.close();
        throw error;
      }
      vault = await settled(opened);
      refusal = undefined;
      process.stdout.write("ready\n");
      return answer;
    } finally {
      recovering = false;
    }
  };
  const serving = await serveVault({
    path: join(options.run, "vault.sock"),
    device: () => vault?.header.device ?? "",
    gateUids: options.gateUids,
    handle(incoming) {
      if (vault !== undefined) return handle(vault, incoming);
      const reason = refusal ?? notYet();
      const recovery = reason.code === "NOT_BOUND" ? recoveryIn(incoming) : undefined;
      return recovery === undefined ? refused(incoming, reason) : recover(incoming, recovery);
    },
  });
  process.stdout.write(vault ? "ready\n" : `refused ${refusal?.code}\n`);

  const retry = async () => {
    while (!stopping && vault === undefined && refusal && passes(refusal)) {
      await new Promise((resolve) => setTimeout(resolve, AGAIN));
      if (!stopping) await attempt().catch(() => {});
      if (vault !== undefined) process.stdout.write("ready\n");
    }
  };
  void retry();
  await ended;
  clearInterval(alive);
  stopping = true;
  setTimeout(() => process.exit(ERROR_CODES.FAILED.exit), 10_000).unref();
  await serving.close();
  await vault?.close();
  process.exit(0);
}

/** What was to be locked once the vault is open is, or the vault is not open. */
async function settled(vault: OpenVault): Promise<OpenVault> {
  try {
    const { root } = vault.root;
    if (root.settle === undefined) return vault;
    await root.settle();
    return Object.assign(vault, { rootDescription: await root.describe() });
  } catch (error) {
    await vault.close();
    throw error;
  }
}

function handle(vault: OpenVault, incoming: Incoming): unknown {
  const { caller, operation, args, requestKey } = incoming;
  const name = isOperation(operation) ? operation : "unknown";
  const done = () => vault.ledger.noteOperation(name, false);
  const failed = (error: unknown) => {
    vault.ledger.noteOperation(name, true);
    if (error instanceof ThornkeyError && name !== "unknown" && !vault.destroyed) {
      vault.refusals.note(caller.facts, name, args, error);
    }
  };
  try {
    const result = dispatch(
      vault,
      {
        caller,
        requestKey,
        get signal() {
          return incoming.signal;
        },
        othersWait: incoming.othersWait,
        subscribe: (after) => subscribe(vault, incoming, after),
        onGone: incoming.onGone,
      },
      operation,
      args,
    );
    if (!(result instanceof Promise)) {
      done();
      return result;
    }
    return result.then(
      (value) => {
        done();
        return value;
      },
      (error) => {
        failed(error);
        throw error;
      },
    );
  } catch (error) {
    failed(error);
    throw error;
  }
}

/** @returns the recovery key, when the request is one that brings it to a vault on another host */
function recoveryIn({ operation, args }: Incoming): Uint8Array | undefined {
  if (operation !== "bind.rebind" && operation !== "bind.undo") return undefined;
  return check(operationOf(operation).args, args).recovery as Uint8Array | undefined;
}

/** A vault that does not open still says how it is. */
function refused(incoming: Incoming, error: ThornkeyError): unknown {
  const { operation, args, caller } = incoming;
  if (!isOperation(operation)) throw new ThornkeyError("USAGE", "there is no such operation");
  check(operationOf(operation).args, args);
  if (operation !== "status") throw error;
  const state: VaultState = error.code === "DESTROYED" ? "destroyed" : "refused";
  return {
    version: VERSION,
    state,
    ready: false,
    reason: `${error.code}: ${error.message}`,
    ...(error.hint !== undefined && { hint: error.hint }),
    device: "",
    started: 0,
    stage: "development",
    roots: [],
    random: "kernel",
    journal: { entries: 0, signed: 0 },
    you: { uid: caller.facts.uid, roles: [] },
  };
}

function notYet(): ThornkeyError {
  return new ThornkeyError("VAULT_UNAVAILABLE", "the vault is not open yet");
}

/** Entries of the journal looked through for somebody who comes back, in one page. */
const PAGE = 500;

/** First what was missed, in order, then what happens. */
async function subscribe(vault: OpenVault, incoming: Incoming, after: number | undefined): Promise<number> {
  const request = { caller: incoming.caller };
  const from = vault.state.head.journal.sequence;
  let last = after ?? from;
  let active = true;
  const waiting: { event: VaultEvent; keyId: string | undefined }[] = [];
  let sending = false;
  const maySee = async (keyId: string | undefined) =>
    (await hasRole("auditor", request.caller, vault.authority)) || mayRead(vault, request, keyId);

  async function drain(): Promise<void> {
    if (sending) return;
    sending = true;
    for (let next = waiting.shift(); next !== undefined && active; next = waiting.shift()) {
      if (next.event.sequence <= last) continue;
      if (await maySee(next.keyId)) incoming.send(next.event);
      last = next.event.sequence;
    }
    sending = false;
  }

  sending = true; // until the missed ones are out
  const stop = vault.state.onEvent((event, keyId) => {
    if (waiting.length < 10_000) waiting.push({ event, keyId });
    void drain();
  });
  incoming.onGone(() => {
    active = false;
    stop();
  });
  void (async () => {
    for (;;) {
      const page = vault.state.journal(last, PAGE);
      for (const { sequence, line } of page) {
        if (!active) return;
        const keyId = keyIdOf(line);
        if (await maySee(keyId)) incoming.send(eventFrom(sequence, line));
        last = sequence;
      }
      if (page.length < PAGE) break;
    }
    sending = false;
    await drain();
  })().catch(() => {
    // The state was closed under us: so is the connection.
  });
  return from;
}

function eventFrom(sequence: number, line: string): VaultEvent {
  const { time, kind, text, key } = JSON.parse(line) as {
    time: string;
    kind: string;
    text: string;
    key?: { name: string };
  };
  return { sequence, time: Date.parse(time), kind, text, ...(key && { key: key.name }) };
}
