/** AES with keys of the vault, and with keys whose value is here. */
import { createCipheriv, createDecipheriv } from "node:crypto";
import { concat } from "../../bytes/bytes.ts";
import type { Secret } from "../../bytes/secret.ts";
import { BLOCK, blockCiphering, counterRoom, localTransform, type Mode, vaultTransform } from "./aes-modes.ts";
import type { Application } from "./application.ts";
import { CKR } from "./constants.ts";
import { gather } from "./gathered.ts";
import type { KeyFacts } from "./key-facts.ts";
import type { Mechanism } from "./mechanism-forms.ts";
import type { CipherRow } from "./mechanisms.ts";
import type { Backing } from "./object.ts";
import { bytesFrom, mustHaveNone, numberFrom } from "./parameters.ts";
import { permits } from "./permissions.ts";
import { DECRYPTING, refuse, translated } from "./refusals.ts";
import { atTheEnd } from "./rsa-ciphers.ts";
import type { Ciphering } from "./session.ts";

/** Bytes of a message that is needed whole: what fits into one request to the vault, or is kept here. */
const MOST = { vault: 49_152, here: 1 << 20 } as const;

/** @throws Refusal CKR_MECHANISM_PARAM_INVALID, CKR_KEY_HANDLE_INVALID */
export function aesCiphering(
  application: Application,
  backing: Backing,
  mechanism: Mechanism,
  { scheme, ...row }: CipherRow,
  encrypts: boolean,
): Ciphering {
  if (backing.kind !== "key" && backing.kind !== "value") return refuse(CKR.KEY_HANDLE_INVALID);
  if (scheme === "aes-gcm") return gcm(application, backing, mechanism, encrypts);
  const { iv, most } = startOf(mechanism, scheme);
  const pads = row.pads ?? false;
  const mode: Mode = { name: scheme.slice(4) as Mode["name"], encrypts, pads, iv };
  if (backing.kind === "value") return blockCiphering(mode, localTransform(backing.value, mode), most);
  const { key } = backing;
  return pads && !permits(key, "aes-cbc")
    ? paddedWhole(application, key, mode)
    : blockCiphering(mode, vaultTransform(application, key.id, mode), most);
}

function startOf(mechanism: Mechanism, scheme: CipherRow["scheme"]): { iv: Uint8Array; most: number } {
  const [first, second] = mechanism.fields ?? [];
  switch (scheme) {
    case "aes-ecb":
      mustHaveNone(mechanism);
      return { iv: new Uint8Array(0), most: Number.POSITIVE_INFINITY };
    case "aes-ctr": {
      const bits = numberFrom(first, 1, 8 * BLOCK);
      const iv = bytesFrom(second, BLOCK);
      return { iv, most: counterRoom(iv, bits) };
    }
    default:
      return { iv: bytesFrom(first, BLOCK), most: Number.POSITIVE_INFINITY };
  }
}

/** For a key that does CBC with padding and no other: the vault pads, and needs all at once. */
function paddedWhole({ ask, budget }: Application, key: KeyFacts, { encrypts, iv }: Mode): Ciphering {
  const spec = { key: key.id, cipher: "aes-cbc-pad", iv };
  const message = gather(budget, MOST.vault);
  return atTheEnd(
    message,
    (length) => (encrypts ? length + BLOCK - (length % BLOCK) : length),
    async (whole) => {
      if (encrypts) return (await ask("encrypt", { ...spec, plaintext: whole })).ciphertext;
      try {
        return (await ask("decrypt", { ...spec, ciphertext: whole })).plaintext;
      } catch (error) {
        throw translated(error, DECRYPTING);
      }
    },
  );
}

interface GcmParameters {
  readonly iv: Uint8Array;
  readonly aad: Uint8Array;
  readonly tagLength: number;
}

/** CK_GCM_PARAMS. The tag stands after the cipher text. */
function gcm(
  application: Application,
  backing: Extract<Backing, { kind: "key" | "value" }>,
  { fields }: Mechanism,
  encrypts: boolean,
): Ciphering {
  const [iv, , aad, tagBits] = fields ?? [];
  const tagLength = numberFrom(tagBits, 96, 128) / 8;
  if (!Number.isInteger(tagLength)) refuse(CKR.MECHANISM_PARAM_INVALID);
  const parameters = { iv: bytesFrom(iv), aad: aad == null ? new Uint8Array(0) : bytesFrom(aad), tagLength };
  if (parameters.iv.length === 0 || parameters.iv.length > 64) refuse(CKR.MECHANISM_PARAM_INVALID);
  const local = backing.kind === "value";
  const message = gather(application.budget, local ? MOST.here : MOST.vault);
  const size = (length: number) => (encrypts ? length + tagLength : Math.max(0, length - tagLength));
  return atTheEnd(message, size, (whole) => {
    if (local)
      return encrypts ? sealHere(backing.value, parameters, whole) : openHere(backing.value, parameters, whole);
    return encrypts
      ? sealInVault(application, backing.key, parameters, whole)
      : openInVault(application, backing.key, parameters, whole);
  });
}

function sealHere(key: Secret, { iv, aad, tagLength }: GcmParameters, message: Uint8Array): Uint8Array {
  return key.use((bytes) => {
    const name = `aes-${8 * bytes.length}-gcm` as "aes-256-gcm";
    const cipher = createCipheriv(name, bytes, iv, { authTagLength: tagLength }).setAAD(aad);
    return concat(cipher.update(message), cipher.final(), cipher.getAuthTag());
  });
}

function openHere(key: Secret, { iv, aad, tagLength }: GcmParameters, message: Uint8Array): Uint8Array {
  if (message.length < tagLength) refuse(CKR.ENCRYPTED_DATA_LEN_RANGE);
  return key.use((bytes) => {
    const name = `aes-${8 * bytes.length}-gcm` as "aes-256-gcm";
    const decipher = createDecipheriv(name, bytes, iv, { authTagLength: tagLength }).setAAD(aad);
    decipher.setAuthTag(message.subarray(-tagLength));
    const plaintext = decipher.update(message.subarray(0, -tagLength));
    try {
      decipher.final();
    } catch {
      plaintext.fill(0);
      return refuse(CKR.ENCRYPTED_DATA_INVALID);
    }
    return new Uint8Array(plaintext);
  });
}

function vaultSpec(key: KeyFacts, { iv, aad, tagLength }: GcmParameters) {
  return { key: key.id, cipher: "aes-gcm-iv", iv, tagLength, ...(aad.length > 0 && { aad }) } as const;
}

async function sealInVault({ ask }: Application, key: KeyFacts, parameters: GcmParameters, plaintext: Uint8Array) {
  return (await ask("encrypt", { ...vaultSpec(key, parameters), plaintext })).ciphertext;
}

/** A key that makes its own nonces opens what it closed all the same. */
async function openInVault({ ask }: Application, key: KeyFacts, parameters: GcmParameters, ciphertext: Uint8Array) {
  const { tagLength, ...usual } = vaultSpec(key, parameters);
  const own = !permits(key, "aes-gcm-iv") && tagLength === 16 && parameters.iv.length === 12;
  const spec = own ? { ...usual, cipher: "aes-gcm" } : { ...usual, tagLength };
  try {
    return (await ask("decrypt", { ...spec, ciphertext })).plaintext;
  } catch (error) {
    throw translated(error, DECRYPTING);
  }
}
