/** The key that locked objects are encrypted to. */
import { ThornkeyError } from "../../errors.ts";
import { decodeStrictly, encodeStrictly } from "../../operations/protocol.ts";
import type { OperationName } from "../../operations/table.ts";
import { sealMaterial } from "../keyring.ts";
import { fullName, type KeyRecord, type StoredKey, storedKey, summaryOf } from "../records.ts";
import { noSuchKey } from "../rights.ts";
import { generateStorageKey, type StoragePublicKey } from "../storage-key/storage-key.ts";
import { KIND, newId, type State } from "../store/state.ts";
import { keyForUse } from "../use.ts";
import type { OpenVault } from "../vault.ts";
import type { Handlers } from "./handler.ts";

type Names = Extract<OperationName, "storage.public" | "storage.open">;

/** The vault's own storage key; anybody may encrypt to it, its policy says who opens. */
export const STORAGE = { scope: "~0", label: "storage" } as const;
const STORAGE_NAME = fullName(STORAGE.scope, STORAGE.label);

export const storageHandlers: Handlers<Names> = {
  async "storage.public"(vault, request, { key: name }) {
    const key = name === undefined ? storageKey(vault) : await vault.keyring.find(name, request.caller);
    if (key.type !== "storage" || key.publicKey === undefined) {
      throw new ThornkeyError("USAGE", `'${key.name}' is no storage key`);
    }
    return decodeStrictly(key.publicKey) as StoragePublicKey;
  },

  async "storage.open"(vault, request, { key: name, stanzas }) {
    const use = { purpose: "decrypt", algorithm: "hkdf", digest: undefined } as const;
    const known = name === undefined || name === STORAGE.label ? storageKey(vault) : undefined;
    const key = await keyForUse(vault, request, name ?? STORAGE_NAME, use, known);
    using fileKey = vault.keyring.loadStorage(key).open(stanzas);
    if (fileKey === undefined) {
      throw new ThornkeyError("NOT_PERMITTED", "this object was not locked to this vault", {
        hint: "'thornkey key public storage --format age' prints what to encrypt to",
      });
    }
    return { fileKey: fileKey.use((bytes) => bytes.slice()) };
  },
};

function storageKey(vault: OpenVault): StoredKey {
  const record = vault.state.byName(STORAGE_NAME);
  if (record === undefined) throw noSuchKey(STORAGE.label);
  return storedKey(record);
}

/**
 * Makes the vault's storage key.
 *
 * @param openers who may open what is locked to it
 */
export async function createStorageKey(
  state: State,
  root: string,
  owner: number,
  openers: readonly string[],
): Promise<void> {
  const { secret, publicKey } = await generateStorageKey();
  const id = newId();
  using material = secret;
  const record: KeyRecord = {
    version: 1,
    ...STORAGE,
    type: "storage",
    origin: "generated",
    owner,
    created: Date.now(),
    fixed: { uses: ["decrypt"], backup: "allowed" },
    policy: { allow: openers.map((who) => ({ who, rights: ["use" as const] })) },
    publicKey: encodeStrictly(publicKey),
    root,
    material: sealMaterial(id, material, false, undefined),
  };
  await state.change((change) => {
    const generation = change.put(
      KIND.key,
      id,
      { full: STORAGE_NAME, bare: STORAGE.label, scope: STORAGE.scope },
      record,
      summaryOf(record),
    );
    change.journal({
      kind: "key.generated",
      text: "the storage key was generated",
      key: { id: Buffer.from(id).toString("hex"), name: STORAGE_NAME, generation },
    });
  });
  record.material?.fill(0);
}
