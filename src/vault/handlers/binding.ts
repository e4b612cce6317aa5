/** The tie between this vault and this host. */
import { randomBytes } from "node:crypto";
import { Secret } from "../../bytes/secret.ts";
import { ThornkeyError } from "../../errors.ts";
import type { BindingStatus, OperationName } from "../../operations/table.ts";
import {
  compareHost,
  componentsOf,
  defaultNeeded,
  encodeHeader,
  type Header,
  openSlot,
  rootSecret,
  sealSlot,
  signed,
  withHostOf,
} from "../header.ts";
import type { OpenVault, Request } from "../vault.ts";
import type { Handlers } from "./handler.ts";

type Names = Extract<
  OperationName,
  "bind.status" | "bind.now" | "bind.seal" | "bind.confirm" | "bind.undo" | "bind.rebind"
>;

export const bindingHandlers: Handlers<Names> = {
  "bind.status": (vault) => bindingStatus(vault.header, vault.host),

  async "bind.now"(vault, request, { hard, soft, needed }) {
    mustBeIn(vault, "development");
    const known = vault.host.map(({ name }) => name);
    const missing = [...(hard ?? []), ...(soft ?? [])].find((name) => !known.includes(name));
    if (missing !== undefined) {
      throw new ThornkeyError("USAGE", `this host has no '${missing}'`, { hint: `it has ${known.join(", ")}` });
    }
    const components = componentsOf(vault.host, vault.header.salt, { hard, soft });
    const count = needed ?? defaultNeeded(components);
    if (count > components.filter((component) => !component.hard).length) {
      throw new ThornkeyError("USAGE", `${count} soft components cannot match: there are fewer`);
    }
    await rewrite(
      vault,
      request,
      { ...vault.header, components, needed: count },
      "vault.bound",
      "the host was enrolled",
    );
    return bindingStatus(vault.header, vault.host);
  },

  async "bind.seal"(vault, request, { rehearse = false }) {
    if (vault.header.stage === "sealed") throw new ThornkeyError("USAGE", "the vault is sealed already");
    const status = bindingStatus(vault.header, vault.host);
    const hard = vault.header.components.filter((component) => component.hard);
    if (hard.length === 0) {
      throw new ThornkeyError("USAGE", "this host has no hard component, so sealing would tie the vault to nothing", {
        hint: "choose what tells it from others: thornkey bind now --hard NAME",
      });
    }
    if (status.components.some(({ hard: isHard, matches }) => isHard && !matches)) {
      throw new ThornkeyError("NOT_BOUND", "this host is not the one that was enrolled, and would lock itself out", {
        hint: "'thornkey bind status' shows what differs; 'thornkey bind now' enrols this host",
      });
    }
    using secret = await rootSecret(vault.root.root, vault.header.salt);
    const bound = sealSlot("bound", vault.header, secret, vault.master);
    // The rehearsal is the real thing: read the host anew, and open what a sealed vault would have to open.
    using opened = openSlot("bound", withHostOf({ ...vault.header, slots: { bound } }, vault.host), secret);
    if (opened === undefined) {
      throw new ThornkeyError("FAILED", "the rehearsal failed: the sealed vault would not open; nothing was changed");
    }
    if (rehearse) return status;
    const key = new Secret(new Uint8Array(randomBytes(32)));
    using recoveryKey = key;
    const recovery = sealSlot("recovery", vault.header, secret, vault.master, recoveryKey);
    const next: Header = {
      ...vault.header,
      stage: "sealing",
      slots: { ...vault.header.slots, bound, recovery },
    };
    await rewrite(vault, request, next, "vault.sealing", "sealing began: the owner's recovery key was made");
    return {
      ...bindingStatus(vault.header, vault.host),
      recovery: recoveryKey.use((bytes) => bytes.slice()),
    };
  },

  async "bind.confirm"(vault, request, { recovery }) {
    if (vault.header.stage !== "sealing") {
      throw new ThornkeyError("USAGE", "no sealing waits for a confirmation", {
        hint: "it begins with 'thornkey bind seal'",
      });
    }
    using owner = new Secret(recovery);
    await mustOpen(vault, owner);
    // A copy of the card from the development stage must not open what is written from now on: a new master key.
    await vault.rotate(
      async (master, secret) => {
        const header = { ...vault.header, stage: "sealed" as const };
        return {
          ...header,
          slots: {
            bound: sealSlot("bound", header, secret, master),
            recovery: sealSlot("recovery", header, secret, master, owner),
          },
        };
      },
      { kind: "vault.sealed", text: "the vault was sealed: only this host opens it", caller: request.caller.facts },
    );
    return bindingStatus(vault.header, vault.host);
  },

  async "bind.undo"(vault, request, { recovery }) {
    using owner = new Secret(recovery);
    if (vault.header.stage === "development") throw new ThornkeyError("USAGE", "the vault is in development already");
    using secret = await mustOpen(vault, owner);
    const header: Header = { ...vault.header, stage: "development" };
    const slots = { development: sealSlot("development", header, secret, vault.master) };
    await rewrite(vault, request, { ...header, slots }, "vault.unsealed", "the owner undid the sealing");
    return bindingStatus(vault.header, vault.host);
  },

  async "bind.rebind"(vault, request, { recovery }) {
    using owner = new Secret(recovery);
    using secret = await mustOpen(vault, owner);
    const names = (hard: boolean) => vault.header.components.filter((one) => one.hard === hard).map(({ name }) => name);
    const present = new Set(vault.host.map(({ name }) => name));
    const components = componentsOf(vault.host, vault.header.salt, {
      hard: names(true).filter((name) => present.has(name)),
      soft: names(false).filter((name) => present.has(name)),
    });
    const header: Header = {
      ...vault.header,
      components,
      needed: Math.min(vault.header.needed, defaultNeeded(components)),
    };
    const slots = {
      bound: sealSlot("bound", header, secret, vault.master),
      recovery: sealSlot("recovery", header, secret, vault.master, owner),
    };
    await rewrite(vault, request, { ...header, slots }, "vault.rebound", "the owner bound the vault to this host");
    return bindingStatus(vault.header, vault.host);
  },
};

/** @throws ThornkeyError `NOT_PERMITTED` when it is not the owner's recovery key */
async function mustOpen(vault: OpenVault, owner: Secret): Promise<Secret> {
  const secret = await rootSecret(vault.root.root, vault.header.salt);
  using opened = openSlot("recovery", vault.header, secret, owner);
  if (opened !== undefined) return secret;
  secret.destroy();
  throw notTheRecoveryKey();
}

export function notTheRecoveryKey(): ThornkeyError {
  return new ThornkeyError("NOT_PERMITTED", "this is not the recovery key of this vault", {
    hint: "it was shown when the vault was sealed, and is kept off the device",
  });
}

async function rewrite(vault: OpenVault, request: Request, header: Header, kind: string, text: string): Promise<void> {
  const next = signed(header, vault.state.sealing);
  await vault.state.change(
    (change) => {
      change.writeHeader(encodeHeader(next));
      change.journal({ kind, text, caller: request.caller.facts });
      change.afterwards(() => {
        vault.header = next;
        vault.backUpHeader();
      });
    },
    { counted: true },
  );
}

function mustBeIn(vault: OpenVault, stage: Header["stage"]): void {
  if (vault.header.stage === stage) return;
  throw new ThornkeyError("NOT_PERMITTED", `the vault is in the stage '${vault.header.stage}'`, {
    hint: "the owner's recovery key changes what it is bound to: 'thornkey bind rebind', 'thornkey bind undo'",
  });
}

export function bindingStatus(header: Header, host: OpenVault["host"]): BindingStatus {
  const components = compareHost(header, host).map(({ name, title, hard, present, matches }) => ({
    name,
    title,
    hard,
    enrolled: true,
    present,
    matches,
  }));
  const others = host
    .filter(({ name }) => !components.some((component) => component.name === name))
    .map(({ name, title }) => ({ name, title, hard: false, enrolled: false, present: true, matches: false }));
  const soft = components.filter(({ hard }) => !hard);
  const matching = soft.filter(({ matches }) => matches).length;
  const hardMatch = components.every(({ hard, matches }) => !hard || matches);
  return {
    stage: header.stage,
    components: [...components, ...others],
    needed: header.needed,
    matching,
    opens: header.stage !== "sealed" || (hardMatch && matching >= header.needed),
    recoveryEnrolled: header.slots.recovery !== undefined,
  };
}
