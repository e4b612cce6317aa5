/** The vault as a whole: how it is, who runs it, and its end. */

import { createHash } from "node:crypto";
import { toHex } from "../../bytes/bytes.ts";
import { p256Spki } from "../../bytes/der.ts";
import { ThornkeyError } from "../../errors.ts";
import { encodeStrictly } from "../../operations/protocol.ts";
import type { DevicePolicy, Figure, Namespace, OperationName, VaultStatus } from "../../operations/table.ts";
import { parseWho } from "../../operations/who.ts";
import { destroyVault } from "../destruction.ts";
import { hasRole, rightsOn } from "../rights.ts";
import { type Change, KIND, namespaceNames, newId } from "../store/state.ts";
import type { OpenVault, Request } from "../vault.ts";
import { VERSION } from "../version.ts";
import type { Handlers } from "./handler.ts";
import { occupiedHandles } from "./keys.ts";
import { persons } from "./users.ts";

type Names = Extract<
  OperationName,
  | "status"
  | "figures"
  | "version"
  | "freeze"
  | "thaw"
  | "destroy"
  | "boot.complete"
  | "device.policy"
  | "device.change"
  | "namespace.create"
  | "namespace.list"
  | "namespace.delete"
  | "confirm.list"
  | "confirm.answer"
>;

/** The device's policy is one record, with an id of its own. */
export const DEVICE_ID = new Uint8Array(16);

export const deviceHandlers: Handlers<Names> = {
  status: (vault, request) => statusOf(vault, request),

  version(vault) {
    // The sum over all records is the state's own check, and not for others; its hash tells as much as they need.
    const { sum } = vault.state.head;
    return {
      version: new Uint8Array(createHash("sha256").update("thornkey version").update(sum).digest().subarray(0, 16)),
    };
  },

  figures(vault) {
    const figures: Figure[] = [];
    const add = (name: string, value: number, labels: Figure["labels"] = {}) => figures.push({ name, labels, value });
    for (const [operation, count] of vault.ledger.operations) add("operations_total", count, { operation });
    for (const [operation, count] of vault.ledger.failures) add("operation_failures_total", count, { operation });
    add("keys", vault.state.count(KIND.key) + vault.state.count(KIND.resident));
    add("keys_resident", vault.state.count(KIND.resident));
    add("journal_entries", vault.state.head.journal.sequence);
    add("journal_signed", vault.state.head.journal.signed);
    add("frozen", vault.state.head.frozen ? 1 : 0);
    add("root_available", vault.destroyed ? 0 : 1, { root: vault.root.specification });
    add("root_waiting", vault.rootQueue.waiting, { root: vault.root.specification });
    add("confirmations_waiting", vault.confirmations.waiting.length);
    for (const record of vault.state.page(new Uint8Array(0), FIGURES_OF_KEYS)) {
      const key = vault.keyring.byId(Buffer.from(record.id).toString("hex"));
      if (key) add("key_uses_total", vault.ledger.of(key.id).total, { key: key.name });
    }
    return { figures };
  },

  async freeze(vault, request, { reason = "an administrator wants it" }) {
    if (vault.state.head.frozen) return {};
    await vault.state.change(
      (change) => {
        change.setHead({ frozen: { since: vault.now(), reason } });
        note(change, request, "vault.frozen", `the vault was frozen: ${reason}`);
      },
      { counted: true },
    );
    return {};
  },

  async thaw(vault, request) {
    if (!vault.state.head.frozen) return {};
    await vault.state.change(
      (change) => {
        change.setHead({ frozen: undefined });
        note(change, request, "vault.thawed", "the vault was thawed");
      },
      { counted: true },
    );
    return {};
  },

  async destroy(vault, request, { device, reason = "an administrator wants it" }) {
    if (device !== vault.header.device) {
      throw new ThornkeyError("USAGE", "this is the id of another vault; nothing was destroyed", {
        hint: "'thornkey status' shows the id of this one",
      });
    }
    return destroyVault(vault, request.caller.facts, reason);
  },

  async "boot.complete"(vault, request) {
    await vault.state.change((change) => {
      change.setHead({ earlyBootEnded: vault.boot });
      note(change, request, "boot.complete", "the start of the device is complete");
    });
    return {};
  },

  "device.policy": (vault) => vault.device,

  async "device.change"(vault, request, wanted) {
    for (const names of [wanted.administrators, wanted.auditors, wanted.observers, wanted.creators]) {
      for (const who of names ?? []) parseWho(who);
    }
    if (wanted.administrators?.length === 0) {
      throw new ThornkeyError("USAGE", "a vault without an administrator could not be managed any more");
    }
    mustBeDemandable(vault, request, wanted.demands);
    const given = Object.fromEntries(Object.entries(wanted).filter(([, value]) => value !== undefined));
    const next: DevicePolicy = { ...vault.device, ...given };
    await vault.state.change(
      (change) => {
        const generation = change.put(KIND.device, DEVICE_ID, undefined, next);
        const record = { id: toHex(DEVICE_ID), generation };
        note(change, request, "device.changed", "the device's policy was changed", { policy: next, record });
        change.afterwards(() => {
          vault.device = next;
        });
        remember(change, request, next);
      },
      { counted: true },
    );
    return next;
  },

  async "namespace.create"(vault, request, { name, administrators, keysAtMost = 10_000 }) {
    for (const who of administrators) parseWho(who);
    const namespace: Namespace = { name, administrators, keysAtMost };
    await vault.state.change(
      (change) => {
        const id = newId();
        const generation = change.put(KIND.namespace, id, namespaceNames(name), namespace);
        const details = { namespace, record: { id: toHex(id), generation } };
        note(change, request, "namespace.created", `the namespace ${name} was made`, details);
        change.afterwards(() => void vault.namespaces.set(name, namespace));
        remember(change, request, { namespace });
      },
      { counted: true },
    );
    return { namespace };
  },

  async "namespace.list"(vault, request) {
    const all = [...vault.namespaces.values()];
    if (await hasRole("administrator", request.caller, vault.authority)) return { namespaces: all };
    const own: Namespace[] = [];
    for (const namespace of all) {
      const as = { ...vault.device, administrators: namespace.administrators };
      if (await hasRole("administrator", request.caller, { ...vault.authority, device: as })) own.push(namespace);
    }
    return { namespaces: own };
  },

  async "namespace.delete"(vault, request, { name }) {
    await vault.state.change(
      (change) => {
        const record = change.byName(`namespace ${name}`);
        if (record === undefined) throw new ThornkeyError("KEY_NOT_FOUND", `there is no namespace '${name}'`);
        const keys = change.countScope(name);
        if (keys > 0) {
          throw new ThornkeyError("FAILED", `the namespace '${name}' has ${keys} keys`, {
            hint: "its administrators delete them first",
          });
        }
        change.remove(record.id);
        const gone = { id: toHex(record.id), generation: record.generation };
        note(change, request, "namespace.deleted", `the namespace ${name} was removed`, { record: gone });
        change.afterwards(() => void vault.namespaces.delete(name));
        remember(change, request, {});
      },
      { counted: true },
    );
    return {};
  },

  async "confirm.list"(vault, request) {
    const waiting = [];
    for (const use of vault.confirmations.waiting) {
      if (!(await mayConfirm(vault, request, use.keyId))) continue;
      const { uid, pid, program = "a program" } = use.caller.facts;
      const caller = `${program.slice(0, 120)} (uid ${uid}, pid ${pid})`;
      waiting.push({ id: use.id, key: use.keyName, operation: use.operation, caller, until: use.until });
    }
    return { waiting };
  },

  async "confirm.answer"(vault, request, { id, approve }) {
    const use = vault.confirmations.waiting.find((one) => one.id === id);
    if (use === undefined || !(await mayConfirm(vault, request, use.keyId))) {
      throw new ThornkeyError("KEY_NOT_FOUND", `nothing with the number ${id} waits for you`);
    }
    await vault.state.change((change) =>
      note(
        change,
        request,
        approve ? "use.confirmed" : "use.refused",
        `a use of key ${use.keyName} was ${approve ? "confirmed" : "refused"}`,
      ),
    );
    vault.confirmations.answer(id, approve);
    return {};
  },
};

/** Keys whose uses are among the figures; more would be no help to a monitor. */
const FIGURES_OF_KEYS = 500;

/** Who manages a key confirms its uses. */
async function mayConfirm(vault: OpenVault, request: Request, keyId: string): Promise<boolean> {
  const key = vault.keyring.byId(keyId);
  if (key === undefined) return false;
  return (await rightsOn(key, request.caller, vault.authority)).has("manage");
}

function note(
  change: Change,
  request: Request,
  kind: string,
  text: string,
  details?: { readonly [name: string]: unknown },
): void {
  change.journal({ kind, text, caller: request.caller.facts, ...(details && { details }) });
}

function remember(change: Change, request: Request, reply: unknown): void {
  if (request.requestKey !== undefined) change.rememberReply(request.requestKey, encodeStrictly(reply));
}

/**
 * What is demanded must be possible, and what was demanded does not go away without those who were to be there.
 *
 * @throws ThornkeyError `USAGE`, `NOT_PERMITTED`
 */
function mustBeDemandable(vault: OpenVault, request: Request, wanted: DevicePolicy["demands"] | undefined): void {
  if (wanted === undefined) return;
  const enrolled = new Set(persons(vault.state.ofKind(KIND.object)).map(({ label }) => label));
  for (const { what, persons: names } of wanted) {
    if (!names.some((name) => enrolled.has(name))) {
      throw new ThornkeyError("USAGE", `nobody of those who are to be there for '${what}' is enrolled`, {
        hint: "'thornkey user enroll' first; two people are better than one who loses his token",
      });
    }
  }
  for (const { what, persons: names } of vault.device.demands) {
    const stays = wanted.some((one) => one.what === what && one.persons.join() === names.join());
    if (!stays) vault.persons.mustBeThere(request.caller.facts.uid, names, `the demand for '${what}' is changed`);
  }
}

async function statusOf(vault: OpenVault, request: Request): Promise<VaultStatus> {
  const { frozen, journal, counter } = vault.state.head;
  const roles: VaultStatus["you"]["roles"][number][] = [];
  for (const role of ["administrator", "auditor", "observer"] as const) {
    if (await hasRole(role, request.caller, vault.authority)) roles.push(role);
  }
  const description = vault.rootDescription;
  const occupied = occupiedHandles(vault);
  const places = description.capabilities.keys.filter(({ replaceable, uses }) => replaceable && uses.length > 0);
  return {
    version: VERSION,
    state: vault.destroyed ? "destroyed" : frozen ? "frozen" : "operational",
    ready: !vault.destroyed && !frozen,
    ...(frozen && { reason: frozen.reason }),
    ...(frozen && !vault.destroyed && { hint: "an administrator ends it with 'thornkey thaw'" }),
    device: vault.header.device,
    started: vault.started,
    stage: vault.header.stage,
    roots: [
      {
        name: vault.root.specification,
        kind: vault.root.kind,
        model: vault.root.model,
        serial: vault.root.serial,
        firmware: description.firmware,
        available: !vault.destroyed,
        emulated: vault.root.emulated,
        wireProtected: description.capabilities.wireProtected,
        ...(counter !== undefined && { counter }),
        limits: [...description.capabilities.limits],
        makes: description.capabilities.makes.map(({ algorithm, use }) => `${algorithm} ${use}`),
        keys: {
          places: places.length,
          free: places.filter(({ handle, purpose }) => purpose.startsWith("user") && !occupied.includes(handle)).length,
        },
      },
    ],
    random: vault.random.describe().source,
    keys: vault.state.count(KIND.key) + vault.state.count(KIND.resident),
    journal: { entries: journal.sequence, signed: journal.signed },
    ...(vault.evidenceKey && { evidenceKey: p256Spki(vault.evidenceKey) }),
    you: { uid: request.caller.facts.uid, roles },
  };
}
