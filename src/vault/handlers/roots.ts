/** The hardware the state is on. */
import { Secret } from "../../bytes/secret.ts";
import { ThornkeyError } from "../../errors.ts";
import type { OperationName, RootInfo, RootLockout } from "../../operations/table.ts";
import { parseRootParts, type RootParts } from "../../roots/root-parts.ts";
import { changeRoot, partNamed, type RootChangeReport } from "../change-root.ts";
import type { OpenRoot } from "../root-spec.ts";
import type { OpenVault, Request } from "../vault.ts";
import type { Handlers } from "./handler.ts";

type Names = Extract<
  OperationName,
  "root.list" | "root.add" | "root.remove" | "root.move" | "root.lockout" | "root.lockout.reset"
>;

interface Wishes {
  readonly leaveBehind?: boolean | undefined;
  readonly recovery?: Uint8Array | undefined;
}

export const rootHandlers: Handlers<Names> = {
  "root.list": async (vault) => ({ roots: await listRoots(vault), needed: neededOf(vault) }),

  async "root.add"(vault, request, { specification, needed, ...wishes }) {
    const added = parseRootParts(specification);
    const parts = [...currentParts(vault), ...added.parts];
    const text = `the root ${specification} was added`;
    return change(vault, request, wishes, text, { parts, needed: needed ?? parts.length });
  },

  async "root.remove"(vault, request, { root, needed, ...wishes }) {
    const leaving = partNamed(vault, root);
    const parts = currentParts(vault).filter((one) => one !== leaving.specification);
    if (parts.length === 0) {
      throw new ThornkeyError("USAGE", "this is the only root of the state", {
        hint: "'thornkey root move SPEC' goes to another one",
      });
    }
    const text = `the root ${leaving.model} ${leaving.serial} was taken away`;
    return change(vault, request, wishes, text, { parts, needed: Math.min(needed ?? neededOf(vault), parts.length) });
  },

  async "root.move"(vault, request, { specification, ...wishes }) {
    return change(vault, request, wishes, `the state moved to ${specification}`, parseRootParts(specification));
  },

  "root.lockout": async (vault, request) => ({ lockouts: await lockoutsOf(vault, request, defended(vault)) }),

  async "root.lockout.reset"(vault, request, { root }) {
    const all = defended(vault);
    const meant = all.filter((one) => root === undefined || one.specification === root || one.serial === root);
    if (meant.length === 0) {
      throw new ThornkeyError(
        all.length === 0 ? "NOT_SUPPORTED" : "USAGE",
        all.length === 0 ? "no hardware of this vault counts failures" : `'${root}' is none that counts failures`,
        { hint: "'thornkey root list' shows the vault's hardware" },
      );
    }
    for (const one of meant) {
      await inTurn(vault, request, () => one.root.resetLockout?.());
      const text = `${one.model} ${one.serial} forgot the failures it had counted`;
      await vault.state.change((change) =>
        change.journal({ kind: "root.lockout", text, caller: request.caller.facts, details: { root: one.serial } }),
      );
    }
    return { lockouts: await lockoutsOf(vault, request, meant) };
  },
};

/** Parts that defend themselves against guessing. */
function defended(vault: OpenVault): readonly OpenRoot[] {
  return (vault.root.parts ?? [vault.root]).filter(({ root }) => root.lockout !== undefined);
}

async function lockoutsOf(vault: OpenVault, request: Request, parts: readonly OpenRoot[]): Promise<RootLockout[]> {
  const lockouts: RootLockout[] = [];
  for (const { root, specification, model, serial } of parts) {
    const lockout = await inTurn(vault, request, () => root.lockout?.());
    if (lockout !== undefined) lockouts.push({ specification, model, serial, ...lockout });
  }
  return lockouts;
}

function inTurn<T>(vault: OpenVault, request: Request, body: () => Promise<T> | undefined): Promise<T | undefined> {
  return vault.rootQueue.run(request.caller.facts.uid, async () => body());
}

function change(
  vault: OpenVault,
  request: Request,
  { leaveBehind = false, recovery }: Wishes,
  text: string,
  parts: RootParts,
): Promise<RootChangeReport> {
  return vault.rootQueue.run(request.caller.facts.uid, async () => {
    using owner = recovery === undefined ? undefined : new Secret(recovery);
    return await changeRoot(vault, request, { parts, leaveBehind, recovery: owner, text, openPart: vault.openPart });
  });
}

function currentParts(vault: OpenVault): string[] {
  const { composition } = vault.header.root;
  const present = vault.root.parts ?? [vault.root];
  const absent = composition?.parts.find(({ serial }) => !present.some((one) => one.serial === serial));
  if (absent !== undefined) {
    throw new ThornkeyError(
      "ROOT_UNAVAILABLE",
      `${absent.model} (${absent.specification}) is missing: its share cannot be made anew`,
      {
        hint: "put it back, or take it away first: thornkey root remove",
      },
    );
  }
  return present.map(({ specification }) => specification);
}

function neededOf(vault: OpenVault): number {
  return vault.header.root.composition?.needed ?? 1;
}

async function listRoots(vault: OpenVault): Promise<RootInfo[]> {
  const present = vault.root.parts ?? [vault.root];
  const infos = await Promise.all(present.map(infoOf));
  const absent = (vault.header.root.composition?.parts ?? []).filter(
    ({ serial }) => !present.some((one) => one.serial === serial),
  );
  return [
    ...infos,
    ...absent.map(({ specification, kind, model, serial }) => ({
      ...{ specification, kind, model, serial, firmware: "", present: false, emulated: false },
      ...{ makes: [], limits: ["it is missing"] },
    })),
  ];
}

async function infoOf({ specification, kind, model, serial, emulated, root }: OpenRoot): Promise<RootInfo> {
  const { firmware, capabilities } = await root.describe();
  const makes = capabilities.makes.map(({ algorithm, use }) => `${algorithm} ${use}`);
  return {
    specification,
    kind,
    model,
    serial,
    firmware,
    present: true,
    emulated,
    makes,
    limits: [...capabilities.limits],
  };
}
