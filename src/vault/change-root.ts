/**
 * Another root for the same state: a part is added or taken away, or all moves to other hardware. The keys that are sealed
 * follow in one transaction, sealed anew under a new master key; nothing of it lies on the disk unsealed, and until the
 * transaction is done the state belongs to the root before, afterwards to the new one. Keys inside hardware stay there.
 */
import { randomBytes } from "node:crypto";
import { toHex } from "../bytes/bytes.ts";
import { Secret } from "../bytes/secret.ts";
import { ThornkeyError } from "../errors.ts";
import { encodeStrictly } from "../operations/protocol.ts";
import type { Counter, RootDescription } from "../roots/root.ts";
import { formatRootParts, type RootParts } from "../roots/root-parts.ts";
import { signJournal } from "./destruction.ts";
import { encodeHeader, type Header, openSlot, rootSecret, sealSlot, signed } from "./header.ts";
import { recordOf, type StoredKey, storedKey, summaryOf } from "./records.ts";
import { composed, compositeOpened, identityOf, type OpenRoot } from "./root-spec.ts";
import { sealingUnder } from "./store/sealing.ts";
import { KIND, namesIn } from "./store/state.ts";
import type { OpenVault, Request } from "./vault.ts";

export interface RootChange {
  readonly parts: RootParts;
  /** Keys inside hardware that is left are forgotten. */
  readonly leaveBehind: boolean;
  /** The owner's consent, for a sealed vault. */
  readonly recovery: Secret | undefined;
  /** What is done, for the journal. */
  readonly text: string;
  readonly openPart: (specification: string) => Promise<OpenRoot>;
}

export interface RootChangeReport {
  readonly root: {
    readonly specification: string;
    readonly kind: string;
    readonly model: string;
    readonly serial: string;
  };
  /** Names of keys that stayed in hardware the state does not belong to any more. */
  readonly leftBehind: readonly string[];
}

/** What the vault needs to know of the root it will be on. */
interface Next {
  readonly open: OpenRoot;
  readonly description: RootDescription;
  readonly evidenceKey: Uint8Array | undefined;
  readonly counter: Counter | undefined;
  /** Where the keys of each part before are now, or that they are not any more. */
  readonly handleOf: (handle: string) => string | undefined;
}

/**
 * To be called in the root's queue: nobody uses the root meanwhile.
 *
 * @throws ThornkeyError `NOT_PERMITTED` without the owner's consent; `ROOT_REFUSED` when keys would stay behind unasked;
 *   what the parts say. Then nothing has changed.
 */
export async function changeRoot(vault: OpenVault, request: Request, change: RootChange): Promise<RootChangeReport> {
  const before = vault.root;
  await mustConsent(vault, change.recovery);
  const current = before.parts ?? [before];
  const { parts, fresh } = await openParts(change, current);
  try {
    const next = await nextRoot(vault, change.parts, parts);
    const staying = keysLeft(vault, next);
    if (staying.length > 0 && !change.leaveBehind) {
      const names = staying.map(({ name }) => name).join(", ");
      throw new ThornkeyError(
        "ROOT_REFUSED",
        `these keys live inside hardware that would be left, and cannot come along: ${names}`,
        {
          hint: "delete them first, or say --leave-behind: then the vault forgets them",
        },
      );
    }
    await announce(vault, next);
    await commit(vault, request, change, next, staying);
    const kept = new Set(parts);
    for (const part of current) if (!kept.has(part)) await retire(part);
    const { specification, kind, model, serial } = next.open;
    return { root: { specification, kind, model, serial }, leftBehind: staying.map(({ name }) => name) };
  } catch (error) {
    if (vault.root === before) for (const part of fresh) await part.close().catch(() => {});
    throw error;
  }
}

async function mustConsent(vault: OpenVault, recovery: Secret | undefined): Promise<void> {
  const { stage } = vault.header;
  if (stage === "development") return;
  if (stage === "sealing") {
    throw new ThornkeyError("NOT_PERMITTED", "the vault is being sealed", {
      hint: "'thornkey bind confirm' or 'undo' first",
    });
  }
  if (recovery === undefined) {
    throw new ThornkeyError(
      "NOT_PERMITTED",
      "this vault is sealed: its root changes only with the owner's recovery key",
      {
        hint: "--recovery FILE gives its 24 words, - for standard input",
      },
    );
  }
  using secret = await rootSecret(vault.root.root, vault.header.salt);
  using opened = openSlot("recovery", vault.header, secret, recovery);
  if (opened === undefined) throw new ThornkeyError("NOT_PERMITTED", "this is not the recovery key of this vault");
}

/** Those that are open stay so; the others are opened, and closed again when one does not open. */
async function openParts(
  { parts, openPart }: RootChange,
  current: readonly OpenRoot[],
): Promise<{ parts: OpenRoot[]; fresh: OpenRoot[] }> {
  const fresh: OpenRoot[] = [];
  try {
    const opened: OpenRoot[] = [];
    for (const specification of parts.parts) {
      let part = current.find((one) => one.specification === specification);
      if (part === undefined) {
        part = await openPart(specification);
        fresh.push(part);
      }
      if (
        opened.some(({ serial }) => serial === part.serial) ||
        (fresh.includes(part) && current.some(({ serial }) => serial === part.serial))
      ) {
        throw new ThornkeyError("USAGE", `${specification} is a root this state is on already`);
      }
      opened.push(part);
    }
    return { parts: opened, fresh };
  } catch (error) {
    for (const part of fresh) await part.close().catch(() => {});
    throw error;
  }
}

async function nextRoot(
  vault: OpenVault,
  { needed, parts: specifications }: RootParts,
  parts: readonly OpenRoot[],
): Promise<Next> {
  const specification = formatRootParts({ parts: specifications, needed });
  const [only] = parts;
  const open =
    parts.length === 1 && only !== undefined
      ? { ...only, specification }
      : await compositeOpened(specification, await composed(parts, needed), parts);
  const description = await open.root.describe();
  if (!description.capabilities.derive) {
    throw new ThornkeyError(
      "ROOT_REFUSED",
      `this root cannot open a store: ${description.capabilities.limits.join("; ")}`,
    );
  }
  const { certify, counter } = description.capabilities;
  const was = vault.root.parts ?? [vault.root];
  /** From how the root before named a key to how this one does. */
  const handleOf = (handle: string): string | undefined => {
    const from =
      vault.root.parts === undefined ? vault.root : was.find(({ serial }) => handle.startsWith(`${serial}/`));
    if (from === undefined || !parts.some(({ serial }) => serial === from.serial)) return undefined;
    const inner = vault.root.parts === undefined ? handle : handle.slice(from.serial.length + 1);
    return parts.length === 1 ? inner : `${from.serial}/${inner}`;
  };
  return {
    open,
    description,
    evidenceKey: certify ? (await open.root.certify(vault.state.head.journal.hash)).signer : undefined,
    counter: counter ? await open.root.counter() : undefined,
    handleOf,
  };
}

function keysLeft(vault: OpenVault, next: Next): StoredKey[] {
  return vault.state
    .ofKind(KIND.resident)
    .map((record) => storedKey(record))
    .filter(({ handle }) => handle !== undefined && next.handleOf(handle) === undefined);
}

/**
 * The evidence key before says which one will sign from now on, so that a journal stays checkable by who knows the first.
 * It is counted: a copy of the state from before is an old one already.
 */
async function announce(vault: OpenVault, { open, evidenceKey }: Next): Promise<void> {
  await vault.state.change(
    (change) =>
      change.journal({
        kind: "root.announced",
        text: `the state is to be on ${open.model} ${open.serial}`,
        details: { evidenceKey: evidenceKey === undefined ? "" : toHex(evidenceKey) },
      }),
    { counted: true },
  );
  await signJournal(vault);
}

async function commit(
  vault: OpenVault,
  request: Request,
  { text, recovery }: RootChange,
  next: Next,
  staying: readonly StoredKey[],
): Promise<void> {
  const { stage, salt } = vault.header;
  const master = new Secret(new Uint8Array(randomBytes(32)));
  const sealing = sealingUnder(master);
  using secret = await rootSecret(next.open.root, salt);
  const replaced = new Set([...(vault.header.root.replaced ?? []), vault.root.specification]);
  replaced.delete(next.open.specification);
  const unsigned: Header = {
    ...vault.header,
    root: {
      ...identityOf(next.open),
      specification: next.open.specification,
      replaced: [...replaced].slice(-MOST_REPLACED),
    },
  };
  const slots =
    stage === "development" || recovery === undefined
      ? { development: sealSlot("development", unsigned, secret, master) }
      : {
          bound: sealSlot("bound", unsigned, secret, master),
          recovery: sealSlot("recovery", unsigned, secret, master, recovery),
        };
  const header = signed({ ...unsigned, slots }, sealing);
  const value = await next.counter?.read();
  const gone = new Set(staying.map(({ id }) => id));
  await vault.state.change((change) => {
    change.reseal(sealing);
    for (const record of change.ofKind(KIND.resident)) {
      const key = storedKey(record);
      const handle = key.handle === undefined ? undefined : next.handleOf(key.handle);
      if (handle === undefined) {
        change.remove(record.id);
        change.journal({
          kind: "key.left",
          text: `key ${key.name} stayed in ${vault.root.model} ${vault.root.serial}, which the state left`,
          key: { id: key.id, name: key.name, generation: key.generation },
          caller: request.caller.facts,
        });
      } else if (handle !== key.handle) {
        const body = { ...recordOf(key), handle };
        change.put(
          KIND.resident,
          record.id,
          namesIn(KIND.resident, record.id, body) ?? undefined,
          body,
          summaryOf(body),
        );
      }
    }
    for (const { handle, id } of change.head.doomed) {
      const moved = next.handleOf(handle);
      change.overwritten(id);
      if (moved !== undefined) change.doom({ handle: moved, id });
    }
    change.writeHeader(encodeHeader(header));
    change.countWith(next.counter, value);
    change.journal({
      kind: "root.changed",
      text,
      caller: request.caller.facts,
      details: {
        from: vault.root.specification,
        to: next.open.specification,
        root: { kind: next.open.kind, model: next.open.model, serial: next.open.serial },
        leftBehind: staying.map(({ name }) => name),
      },
    });
    const { specification, kind, model, serial } = next.open;
    const report: RootChangeReport = {
      root: { specification, kind, model, serial },
      leftBehind: staying.map(({ name }) => name),
    };
    if (request.requestKey !== undefined) change.rememberReply(request.requestKey, encodeStrictly(report));
    change.afterwards(() => {
      vault.master.destroy();
      Object.assign(vault, {
        master,
        header,
        root: next.open,
        rootDescription: next.description,
        evidenceKey: next.evidenceKey,
      } satisfies Partial<OpenVault>);
      vault.backUpHeader();
      for (const id of gone) vault.keyring.forget(id);
    });
  });
}

/** Specifications that still mean the root that came in their place. */
const MOST_REPLACED = 16;

/** A copy of the state from before the change must be an old one to the part that was left. */
async function retire(part: OpenRoot): Promise<void> {
  try {
    const { capabilities } = await part.root.describe();
    if (capabilities.counter) await (await part.root.counter()).increment();
  } catch {
    // It was counted once already when the change was announced.
  } finally {
    await part.close().catch(() => {});
  }
}

/** The root of one part of an open one, by how it is named or by its serial number. */
export function partNamed(vault: OpenVault, name: string): OpenRoot {
  const parts = vault.root.parts ?? [vault.root];
  const found = parts.find(({ specification, serial }) => specification === name || serial === name);
  if (found !== undefined) return found;
  throw new ThornkeyError("KEY_NOT_FOUND", `the state is on no root '${name.slice(0, 100)}'`, {
    hint: `it is on ${parts.map(({ specification }) => specification).join(", ")}`,
  });
}
