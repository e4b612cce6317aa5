/** Keys that other programs share with the vault's root by files. */
import { Secret } from "../../bytes/secret.ts";
import { ThornkeyError } from "../../errors.ts";
import type { KeyType, KeyUse } from "../../operations/key-types.ts";
import type { FixedPolicy } from "../../operations/policy.ts";
import type { KeyInfo, OperationName } from "../../operations/table.ts";
import { newId } from "../store/state.ts";
import { keyFor } from "../use.ts";
import type { OpenVault, Request } from "../vault.ts";
import type { Handlers } from "./handler.ts";
import { placeFor, recordFor, residentUse, store, type WantedKey } from "./keys.ts";

export const keyFileHandlers: Handlers<Extract<OperationName, "key.file">> = {
  async "key.file"(vault, request, { key: name, auth }) {
    using secret = auth === undefined ? undefined : new Secret(auth);
    const key = await keyFor(vault, request, name, "manage");
    const { handle, id, generation } = key;
    const { root } = vault.root;
    if (handle === undefined || root.keyFile === undefined) {
      throw new ThornkeyError("NOT_SUPPORTED", `key '${key.name}' is not one that a TPM keeps as a file`, {
        hint: "other programs use it through the vault: 'thornkey use'",
      });
    }
    mustNotBind(key.name, key.fixed);
    const file = await vault.rootQueue.run(request.caller.facts.uid, async () => root.keyFile?.(handle, secret));
    if (file === undefined) throw new ThornkeyError("NOT_SUPPORTED", "this root has no key files");
    const how = secret === undefined ? "without an authorisation" : "with an authorisation of its own";
    await vault.state.change((change) =>
      change.journal({
        kind: "key.file",
        text: `key ${key.name} was given out as a file for programs beside the vault, ${how}`,
        key: { id, name: key.name, generation },
        caller: request.caller.facts,
        details: { authorisation: secret !== undefined },
      }),
    );
    return { file };
  },
};

/** What the silicon itself sees to, or what is not about uses. */
const BESIDE: ReadonlySet<string> = new Set(["uses", "backup"] satisfies (keyof FixedPolicy)[]);

/** What was decided for ever about a key must hold: with a file it would be used where the vault sees nothing. */
function mustNotBind(name: string, fixed: FixedPolicy): void {
  const binding = Object.entries(fixed).filter(
    ([field, value]) => !BESIDE.has(field) && value !== undefined && value !== false,
  );
  if (binding.length === 0) return;
  throw new ThornkeyError(
    "NOT_PERMITTED",
    `the vault sees to what was decided for ever of key '${name}' (${binding.map(([field]) => field).join(", ")}), and a file goes around it`,
    { hint: "make a key without it for programs beside the vault" },
  );
}

export interface GivenKeyFile extends WantedKey {
  readonly type?: KeyType | undefined;
  readonly material: Uint8Array;
  readonly auth?: Uint8Array | undefined;
}

/** A key that another program made in the vault's TPM becomes one of the vault. */
export async function adoptKeyFile(
  vault: OpenVault,
  request: Request,
  { type, material, auth, ...wanted }: GivenKeyFile,
): Promise<KeyInfo> {
  using secret = auth === undefined ? undefined : new Secret(auth);
  const { root } = vault.root;
  if (root.adopt === undefined) {
    throw new ThornkeyError("NOT_SUPPORTED", "this is a key of a TPM, and the vault is not on one", {
      hint: "'thornkey root list' shows what it is on",
    });
  }
  return vault.rootQueue.run(request.caller.facts.uid, async () => {
    // The TPM keeps nothing of it, so nothing needs to be undone when it is refused afterwards.
    const adopted = await root.adopt?.(material, secret);
    if (adopted === undefined) throw new ThornkeyError("NOT_SUPPORTED", "this root has no key files");
    const { handle, publicKey } = adopted;
    if (type !== undefined && type !== publicKey.algorithm) {
      throw new ThornkeyError("USAGE", `it is a ${publicKey.algorithm} key, not ${type}`);
    }
    const uses: readonly KeyUse[] =
      wanted.fixed?.uses ?? (adopted.uses.includes("sign") ? ["sign", "verify"] : ["agree"]);
    const use = residentUse(wanted, uses);
    if (!adopted.uses.includes(use)) {
      throw new ThornkeyError("NOT_SUPPORTED", `the TPM does not ${use} with this key: it was made for other things`);
    }
    const place = await placeFor(vault, request, wanted, publicKey.algorithm, true);
    return store(vault, request, newId(), {
      ...recordFor(vault, request, wanted, publicKey.algorithm, place),
      origin: "imported",
      fixed: { ...wanted.fixed, uses },
      publicKey: publicKey.spki,
      handle,
    });
  });
}
