/**
 * Opens a vault: state, root, host – or says why it does not open.
 */

import { randomBytes } from "node:crypto";
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { equal } from "../bytes/bytes.ts";
import { Secret } from "../bytes/secret.ts";
import { ThornkeyError } from "../errors.ts";
import { writeAtomically } from "../machine/atomic-file.ts";
import { type HostComponent, readBootId, readHost, readUptime } from "../machine/host.ts";
import { takeLock } from "../machine/lock-file.ts";
import type { DevicePolicy, Namespace } from "../operations/table.ts";
import { createConfirmations } from "./confirmations.ts";
import { finishDestruction, readLatch, shredCopies, signJournal, writeLatch } from "./destruction.ts";
import { overwriteDoomed } from "./doomed.ts";
import { createFairRunner } from "./fair-queue.ts";
import { bindingStatus, notTheRecoveryKey } from "./handlers/binding.ts";
import { DEVICE_ID } from "./handlers/device.ts";
import { createStorageKey } from "./handlers/storage.ts";
import {
  decodeHeader,
  encodeHeader,
  type Header,
  mustBeSigned,
  newHeader,
  openSlot,
  rootSecret,
  signed,
  withHostOf,
} from "./header.ts";
import { createKeyring, idText } from "./keyring.ts";
import { createPersons } from "./persons.ts";
import { FILES } from "./places.ts";
import { createRandom } from "./random.ts";
import { createRefusals } from "./refusals.ts";
import { finishRepair } from "./repair/finish.ts";
import { createRateLimiter } from "./restrictions.ts";
import type { Authority } from "./rights.ts";
import { identityOf, type OpenRoot, openRoot } from "./root-spec.ts";
import { type Database, openDatabase, REPAIR_HINT } from "./store/database.ts";
import { sealingUnder } from "./store/sealing.ts";
import { initialise, KIND, openState } from "./store/state.ts";
import { createUseLedger } from "./use-ledger.ts";
import type { OpenVault } from "./vault.ts";
import { createWalletSessions } from "./wallets/sessions.ts";
import { createWalletIndex } from "./wallets/wallet-index.ts";

export interface VaultOptions {
  /** Directory of the state. */
  readonly state: string;
  /** Root specification; empty: the one the state was last told of. */
  readonly root: string;
  /** The directory that is `/` for what tells this host from others. */
  readonly host?: string | undefined;
  /** Of an emulated chip. */
  readonly timing?: "none" | "typical" | "maximum" | undefined;
  readonly now?: (() => number) | undefined;
  /** The owner's recovery key, for a host that is not the one the vault belongs to. */
  readonly recovery?: Secret | undefined;
  /** Opens the root; another one for tests. */
  readonly openRoot?: typeof openRoot | undefined;
}

/** How much one user may have waiting for the root. */
const WAITING_FOR_ROOT = 256;
const WAITING_FOR_THREAD = 1024;
/** Threads that sign: one processor is left to the vault's own, so that short work never waits for long work. */
const THREADS = Math.max(1, availableParallelism() - 1);

/** How much of the journal may stay unsigned, in entries and in milliseconds. */
const UNSIGNED_ENTRIES = 500;
const SIGN_AFTER = 30_000;

/**
 * @throws ThornkeyError `DESTROYED`, `NOT_BOUND`, `ROLLED_BACK`, `TAMPERED`, `STATE_DAMAGED`, `STATE_UNWRITABLE`,
 *   `ROOT_UNAVAILABLE`
 */
export async function openVault(options: VaultOptions): Promise<OpenVault> {
  const { state: folder } = options;
  makeFolder(folder);
  const release = takeLock(join(folder, FILES.lock), `the state in ${folder}`);
  let database: Database | undefined;
  let root: OpenRoot | undefined;
  try {
    await mustNotBeDestroyed(options);
    finishRepair(folder);
    database = openDatabase(join(folder, FILES.database));
    const stored = database.meta.get("header");
    const header = stored && decodeHeader(stored);
    if (stored === undefined && existsSync(join(folder, FILES.header))) {
      throw new ThornkeyError("STATE_DAMAGED", "the state's database is empty, and a vault was here", {
        hint: REPAIR_HINT,
      });
    }
    root = await (options.openRoot ?? openRoot)(options.root, {
      state: folder,
      expected: header?.root,
      timing: options.timing,
    });
    const host = await readHost(options.host);
    return await assemble(options, database, root, host, header, release);
  } catch (error) {
    await root?.close().catch(() => {});
    database?.close();
    release();
    throw error;
  }
}

function makeFolder(folder: string): void {
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
  } catch (cause) {
    throw new ThornkeyError("STATE_UNWRITABLE", `the state directory ${folder} cannot be made`, {
      hint: "is its file system writable, and may you write there? --state names another place",
      cause,
    });
  }
}

/**
 * A destruction that was interrupted goes on first.
 *
 * @throws ThornkeyError `DESTROYED`; its cause is what keeps the destruction from being finished
 */
export async function mustNotBeDestroyed(
  options: Pick<VaultOptions, "state" | "root" | "timing" | "openRoot">,
): Promise<void> {
  const latch = readLatch(options.state);
  if (latch === undefined) return;
  let cause: unknown;
  if (!latch.done) cause = await finishDestruction(options, latch).catch((error) => error);
  const unfinished = cause instanceof Error ? `; its end is not reached yet: ${cause.message}` : "";
  throw new ThornkeyError("DESTROYED", `this vault was destroyed at ${latch.time}: ${latch.reason}${unfinished}`, {
    hint:
      cause === undefined
        ? "its keys are gone for ever; for a new vault on this hardware take a new state directory, with roots/ of this one in it"
        : "start it again with its root, which still has to overwrite its keys",
    cause,
  });
}

async function assemble(
  options: VaultOptions,
  database: Database,
  root: OpenRoot,
  host: readonly HostComponent[],
  existing: Header | undefined,
  release: () => void,
): Promise<OpenVault> {
  const now = options.now ?? Date.now;
  const boot = readBootId(options.host);
  const [uptimeAtStart, startedAt] = [readUptime(options.host), performance.now()];
  const rootDescription = await root.root.describe();
  if (!rootDescription.capabilities.derive) {
    throw new ThornkeyError(
      "ROOT_REFUSED",
      `this root cannot open a store: ${rootDescription.capabilities.limits.join("; ")}`,
      {
        hint: "if its transport key was kept, put it into the state's directory as roots/SERIAL.transport",
      },
    );
  }
  const counter = rootDescription.capabilities.counter ? await root.root.counter() : undefined;
  const salt = existing?.salt ?? new Uint8Array(randomBytes(32));
  using secret = await rootSecret(root.root, salt);
  let header: Header;
  let master: Secret;
  if (existing === undefined) {
    const made = newHeader(identityOf(root), salt, secret, host, now());
    const sealing = sealingUnder(made.master);
    const reading = await counter?.read();
    database.transaction(() => {
      database.meta.set("header", encodeHeader(made.header));
      initialise(database, sealing, reading);
    });
    ({ header, master } = made);
    writeAtomically(join(options.state, FILES.header), encodeHeader(header));
  } else {
    header = existing;
    master = openMaster(existing, host, secret, options.recovery);
    mustBeSigned(existing, sealingUnder(master));
  }

  const state = await openState({ database, sealing: sealingUnder(master), counter, boot, now });
  const namespaces = new Map<string, Namespace>();
  const evidenceKey = await evidenceKeyOf(root, rootDescription.capabilities.certify, state.head.journal.hash);
  // The root it is on at the time; it is asked at once, before the vault is put together.
  let current = (): OpenRoot => root;
  const randomOfRoot = { random: (length: number) => current().root.random(length) };
  const vault: OpenVault = {
    state,
    keyring: undefined as never,
    authority: {
      get device() {
        return vault.device;
      },
      namespace: (name) => namespaces.get(name),
    } satisfies Authority,
    root,
    rootDescription,
    evidenceKey,
    rootQueue: createFairRunner(WAITING_FOR_ROOT),
    background: createFairRunner(WAITING_FOR_THREAD, THREADS),
    random: createRandom(rootDescription.capabilities.random ? randomOfRoot : undefined, {
      onFailure(reason, final) {
        const text = `the root contributes no random bytes${final ? " any more" : ""}: ${reason}`;
        state.change((change) => change.journal({ kind: "random.failed", text })).catch(() => {});
      },
    }),
    ledger: createUseLedger(database),
    rates: createRateLimiter(),
    refusals: createRefusals(state),
    confirmations: createConfirmations((use) => {
      const text = `a use of key ${use.keyName} waits for confirmation (${use.operation}, number ${use.id})`;
      state
        .change((change) =>
          change.journal({ kind: "use.waiting", text, key: { id: use.keyId, name: use.keyName, generation: 0 } }),
        )
        .catch(() => {
          // The one who asked hears of the disk's trouble when his use is to be counted.
        });
    }, now),
    persons: createPersons(() => vault.header.device, now),
    wallets: createWalletIndex(state),
    walletSessions: createWalletSessions(),
    host,
    boot,
    started: now(),
    namespaces,
    master,
    header,
    device: usualDevicePolicy(),
    destroyed: false,
    uptime: () => uptimeAtStart + (performance.now() - startedAt) / 1000,
    now,
    backUpHeader: () => writeAtomically(join(options.state, FILES.header), encodeHeader(vault.header)),
    async rotate(makeHeader, entry) {
      using derived = await rootSecret(vault.root.root, vault.header.salt);
      const nextMaster = new Secret(new Uint8Array(randomBytes(32)));
      const sealing = sealingUnder(nextMaster);
      const next = signed(await makeHeader(nextMaster, derived), sealing);
      await state.change(
        (change) => {
          change.reseal(sealing);
          change.writeHeader(encodeHeader(next));
          change.journal(entry);
          change.afterwards(() => {
            (vault as { master: Secret }).master.destroy();
            (vault as { master: Secret }).master = nextMaster;
            vault.header = next;
            vault.backUpHeader();
          });
        },
        { counted: true },
      );
    },
    openPart: (specification) =>
      (options.openRoot ?? openRoot)(specification, {
        state: options.state,
        expected: undefined,
        timing: options.timing,
      }),
    latch: (reason, done) =>
      writeLatch(options.state, {
        time: new Date(now()).toISOString(),
        reason,
        device: vault.header.device,
        root: vault.root.serial,
        parts: vault.root.parts?.map(({ specification, serial }) => ({ specification, serial })),
        done,
      }),
    shredStore() {
      database.shred();
      shredCopies(options.state);
      master.destroy();
    },
    async close() {
      clearInterval(signer);
      vault.random.close();
      vault.walletSessions.end();
      vault.keyring.close();
      if (!vault.destroyed) {
        await vault.refusals.close();
        await signJournal(vault).catch(() => {});
        vault.ledger.close();
      }
      await state.close();
      vault.master.destroy();
      await vault.root.close().catch(() => {});
      database.close();
      release();
    },
  };
  current = () => vault.root;
  (vault as { keyring: OpenVault["keyring"] }).keyring = createKeyring(state, vault.authority);
  loadSettings(vault);
  keepCopyOfHeader(options.state, vault);
  if (existing === undefined) await furnish(vault);
  else await beginSession(vault);

  let unsignedSince = now();
  const signer = setInterval(() => {
    const { sequence, signed: done } = state.head.journal;
    if (vault.destroyed || sequence - done <= 1) unsignedSince = now();
    else if (sequence - done > UNSIGNED_ENTRIES || now() - unsignedSince > SIGN_AFTER) {
      unsignedSince = now();
      signJournal(vault).catch(() => {}); // tried again in a while
    }
  }, 5000);
  signer.unref();
  return vault;
}

/** @throws ThornkeyError `NOT_BOUND` with the reason; `NOT_PERMITTED` when the recovery key is not this vault's */
export function openMaster(
  header: Header,
  host: readonly HostComponent[],
  secret: Secret,
  recovery: Secret | undefined,
): Secret {
  if (recovery !== undefined) {
    const recovered = openSlot("recovery", header, secret, recovery);
    if (recovered === undefined) throw notTheRecoveryKey();
    return recovered;
  }
  const here = withHostOf(header, host);
  const master = header.stage === "sealed" ? openSlot("bound", here, secret) : openSlot("development", header, secret);
  const status = bindingStatus(header, host);
  const different = status.components.filter(({ enrolled, matches }) => enrolled && !matches);
  const names = different.map(({ title, present }) => (present ? title : `${title} (missing)`)).join(", ");
  if (master === undefined) {
    throw new ThornkeyError(
      "NOT_BOUND",
      names
        ? `this state belongs to another host; what differs: ${names}`
        : "the root does not open this state: its keys were made anew, or it is another root with the same serial number",
      {
        hint: names
          ? "put it back into its own host, or have its owner run 'thornkey bind rebind' with the recovery key"
          : "put back the root it belongs to",
      },
    );
  }
  if (!status.opens) {
    master.destroy();
    throw new ThornkeyError(
      "NOT_BOUND",
      `only ${status.matching} of the host's soft components match, and ${status.needed} must: ${names} differ`,
      { hint: "have its owner run 'thornkey bind rebind' with the recovery key" },
    );
  }
  return master;
}

/** Who administers a vault that nobody has configured: root, and who runs it. */
export function usualDevicePolicy(): DevicePolicy {
  const own = process.getuid?.() ?? 0;
  return {
    administrators: own === 0 ? ["uid:0"] : ["uid:0", `uid:${own}`],
    auditors: [],
    // An observer sees the keys of all users: nobody is one until an administrator says so.
    observers: [],
    creators: ["any"],
    keysPerOwner: 1000,
    earlyBootSeconds: 600,
    demands: [],
  };
}

function loadSettings(vault: OpenVault): void {
  const device = vault.state.get(DEVICE_ID);
  // One that an older release wrote has no demands.
  if (device !== undefined) vault.device = { demands: [], ...(device.body as Omit<DevicePolicy, "demands">) };
  for (const { body } of vault.state.ofKind(KIND.namespace)) {
    const namespace = body as Namespace;
    vault.namespaces.set(namespace.name, namespace);
  }
}

/** What a new vault has: its policy, its storage key, the first entry of its journal. */
async function furnish(vault: OpenVault): Promise<void> {
  const { device, root } = vault;
  await vault.state.change(
    (change) => {
      change.put(KIND.device, DEVICE_ID, undefined, device);
      change.journal({
        kind: "vault.created",
        text: `a vault was made on ${root.model} ${root.serial}`,
        details: {
          device: vault.header.device,
          root: { kind: root.kind, model: root.model, serial: root.serial },
          record: { id: idText(DEVICE_ID), generation: 1 },
        },
      });
    },
    { counted: true },
  );
  const own = process.getuid?.() ?? 0;
  await createStorageKey(vault.state, root.serial, own, device.administrators);
}

/** Every start is counted: a copy of the state from before it is an old one from now on. */
async function beginSession(vault: OpenVault): Promise<void> {
  await vault.state.change(
    (change) =>
      change.journal({ kind: "vault.started", text: "the vault was opened", details: { stage: vault.header.stage } }),
    { counted: true },
  );
  // The storage key is made after the first change; a crash between them left a vault without it.
  if (vault.state.byName("~0/storage") === undefined) {
    await createStorageKey(vault.state, vault.root.serial, process.getuid?.() ?? 0, vault.device.administrators);
  }
  await overwriteDoomed(vault).catch((error) => {
    if (!(error instanceof ThornkeyError)) throw error;
    process.stderr.write(`thornkey: a deleted key is not overwritten yet: ${error.message}\n`);
  });
}

/** A crash between a change of the header and its copy leaves an old one. */
function keepCopyOfHeader(folder: string, vault: OpenVault): void {
  let copy: Uint8Array | undefined;
  try {
    copy = readFileSync(join(folder, FILES.header));
  } catch {
    // Missing is as good as wrong.
  }
  if (copy === undefined || !equal(copy, encodeHeader(vault.header))) vault.backUpHeader();
}

async function evidenceKeyOf(
  root: OpenRoot,
  certifies: boolean,
  statement: Uint8Array,
): Promise<Uint8Array | undefined> {
  return certifies ? (await root.root.certify(statement)).signer : undefined;
}
