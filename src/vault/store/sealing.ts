import {
  createCipheriv,
  createDecipheriv,
  createHmac,
  createSecretKey,
  hash,
  hkdfSync,
  type KeyObject,
  randomFillSync,
} from "node:crypto";
import { concat } from "../../bytes/bytes.ts";
import { Secret } from "../../bytes/secret.ts";
import { ThornkeyError } from "../../errors.ts";

/**
 * Everything the vault writes is sealed with AES-256-GCM (SP 800-38D) under keys that come from the master key by HKDF
 * (RFC 5869): one to seal with, one that hides names in the index, one that ties rows to the head. A sealed form is
 *
 *     version (1) | nonce (12) | cipher text | tag (16)
 *
 * What a row is, and which generation of it, is associated data: a row in another place, or an older one in the place
 * of a newer one, does not open.
 */
export interface Sealing {
  /** @param place what it is and where it belongs; the same is needed to open it */
  seal(place: Uint8Array, plaintext: Uint8Array): Uint8Array;
  /** @throws ThornkeyError `STATE_DAMAGED` when it was changed, or belongs elsewhere */
  open(place: Uint8Array, sealed: Uint8Array): Uint8Array;
  /** A name as it stands in the index: the same name gives the same 32 bytes, and nobody can tell the name. */
  nameTag(name: string): Uint8Array;
  /**
   * 32 bytes that stand for one row in the sum over all rows.
   *
   * @param sealed its sealed form, or the last {@link SEAL_END_BYTES} of it
   */
  rowTag(id: Uint8Array, generation: number, sealed: Uint8Array): Uint8Array;
  /** HMAC-SHA-256 of what is stored in clear. */
  mac(bytes: Uint8Array): Uint8Array;
  /** Further keys for one purpose each, 32 bytes. */
  subkey(label: string): Secret;
}

const VERSION = 1;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
/** How much of the end of a sealed form stands for all of it: its tag. */
export const SEAL_END_BYTES = TAG_BYTES;
const OVERHEAD = 1 + NONCE_BYTES + TAG_BYTES;

/** @param master 32 bytes; stays the caller's */
export function sealingUnder(master: Secret): Sealing {
  const subkey = (label: string): Secret =>
    master.use((bytes) => new Secret(new Uint8Array(hkdfSync("sha256", bytes, "", `thornkey vault: ${label}`, 32))));
  const native = (label: string): KeyObject => {
    using key = subkey(label);
    return key.use((bytes) => createSecretKey(bytes));
  };
  const sealKey = native("seal");
  const nameKey = native("names");
  const macKey = native("mac");
  /** Long-lived, and used as bytes: one SHA-256 over a fixed length is half the cost of an HMAC. */
  const rowKey = subkey("rows");

  return {
    seal: (place, plaintext) => sealWith(sealKey, place, plaintext),
    open: (place, sealed) => openWith(sealKey, place, sealed),
    nameTag: (name) => createHmac("sha256", nameKey).update(name).digest(),
    mac: (bytes) => createHmac("sha256", macKey).update(bytes).digest(),
    rowTag: (id, generation, sealed) =>
      rowKey.use((key) => {
        // Always 80 bytes, so SHA-256 with the key in front is a PRF: nothing can be appended.
        const input = new Uint8Array(80);
        input.set(key);
        input.set(id.subarray(0, 16), 32);
        new DataView(input.buffer).setBigUint64(48, BigInt(generation));
        input.set(sealed.subarray(sealed.length - TAG_BYTES), 56);
        const tag = hash("sha256", input, "buffer");
        input.fill(0);
        return tag;
      }),
    subkey,
  };
}

/** @param key 32 bytes */
export function sealWith(key: KeyObject | Uint8Array, place: Uint8Array, plaintext: Uint8Array): Uint8Array {
  const sealed = new Uint8Array(OVERHEAD + plaintext.length);
  sealed[0] = VERSION;
  const nonce = randomFillSync(sealed.subarray(1, 1 + NONCE_BYTES));
  const cipher = createCipheriv("aes-256-gcm", key, nonce).setAAD(concat(Uint8Array.of(VERSION), place));
  sealed.set(cipher.update(plaintext), 1 + NONCE_BYTES);
  cipher.final();
  sealed.set(cipher.getAuthTag(), sealed.length - TAG_BYTES);
  return sealed;
}

/** @throws ThornkeyError `STATE_DAMAGED` */
export function openWith(key: KeyObject | Uint8Array, place: Uint8Array, sealed: Uint8Array): Uint8Array {
  if (sealed.length < OVERHEAD) throw damaged("it is too short");
  if (sealed[0] !== VERSION) {
    throw new ThornkeyError(
      "STATE_DAMAGED",
      `a sealed record of version ${sealed[0]}, which this release cannot read`,
      {
        hint: "was Thornkey downgraded? The release that wrote it can read it",
      },
    );
  }
  try {
    const decipher = createDecipheriv("aes-256-gcm", key, sealed.subarray(1, 1 + NONCE_BYTES), {
      authTagLength: TAG_BYTES,
    })
      .setAAD(concat(Uint8Array.of(VERSION), place))
      .setAuthTag(sealed.subarray(sealed.length - TAG_BYTES));
    const plaintext = decipher.update(sealed.subarray(1 + NONCE_BYTES, sealed.length - TAG_BYTES));
    decipher.final();
    // Not a Buffer, whose slice() is a view: what somebody takes of it and zeroes must be his own.
    return new Uint8Array(plaintext.buffer, plaintext.byteOffset, plaintext.byteLength);
  } catch {
    throw damaged("it was changed, or is not what belongs there");
  }
}

function damaged(why: string): ThornkeyError {
  return new ThornkeyError("STATE_DAMAGED", `a sealed record does not open: ${why}`, {
    hint: "run 'thornkey repair': it says what is lost and restores the rest",
  });
}
