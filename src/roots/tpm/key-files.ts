/**
 * Keys that go between this house and other programs as files (TSS2 PEM). A key has one authorisation here, and another in
 * each file: the TPM writes its private part anew (TPM2_ObjectChangeAuth), and the key is the same.
 */
import type { Secret } from "../../bytes/secret.ts";
import { ThornkeyError } from "../../errors.ts";
import type { AdoptedKey, KeyHandle, KeyUse } from "../root.ts";
import { authFrom } from "./auth.ts";
import { ObjectChangeAuth } from "./commands.ts";
import { ALG, OBJECT } from "./constants.ts";
import { factsOf } from "./facts.ts";
import { handleOf, keyFileOf } from "./keys.ts";
import type { Objects } from "./objects.ts";
import { publicKeyOf } from "./public-key.ts";
import { FAULT, TpmRefusal } from "./response-code.ts";
import type { PublicArea } from "./structures.ts";
import type { Tpm } from "./tpm.ts";
import { decodeKeyFile, encodeKeyFile, type KeyFile, keyFileFromPem, keyFileToPem } from "./tss2.ts";

export interface KeyFiles {
  /**
   * @param pem text, as OpenSSL's provider, tpm2-tools or ssh-tpm-agent write it
   * @param auth of the key in the file; empty for none
   */
  adopt(pem: Uint8Array, auth: Uint8Array): AdoptedKey;
  /** @param auth that the key is to have in the file, at most 32 bytes; empty for none. @returns PEM text */
  keyFile(handle: KeyHandle, auth: Uint8Array): Uint8Array;
}

const NOTHING = new Uint8Array(0);
const BORN_HERE = OBJECT.fixedTPM | OBJECT.fixedParent | OBJECT.sensitiveDataOrigin;

export function keyFilesOf(tpm: Tpm, objects: Objects, seed: () => Secret): KeyFiles {
  function withAuth(file: KeyFile, auth: Uint8Array, newAuth: Uint8Array): KeyFile {
    const privatePart = objects.use(
      file,
      auth,
      (key) => tpm.run(ObjectChangeAuth, [key, objects.parentOf(file)], { newAuth }).outPrivate,
    );
    return { ...file, emptyAuth: newAuth.length === 0, privatePart };
  }

  return {
    adopt(pem, auth) {
      const file = fileIn(pem);
      mustBeLikeOurs(file.area);
      if (auth.length === 0 && !file.emptyAuth && !mayTry(tpm, file.area)) throw wantsAuth();
      const own = authFrom(seed(), "key");
      try {
        const adopted = withAuth(file, auth, own);
        return { handle: handleOf(adopted), publicKey: publicKeyOf(file.area), uses: usesOf(file.area) };
      } catch (error) {
        throw error instanceof TpmRefusal ? meaning(error, auth) : error;
      } finally {
        own.fill(0);
      }
    },

    keyFile(handle, auth) {
      const file = keyFileOf(handle);
      const own = file.emptyAuth ? NOTHING : authFrom(seed(), "key");
      try {
        // Where the storage key is kept, and not how the usual one is made: it may be another.
        const { handle: kept } = objects.parentOf(file);
        const given = { ...withAuth(file, own, auth), parent: kept };
        return new TextEncoder().encode(keyFileToPem(encodeKeyFile(given)));
      } finally {
        own.fill(0);
      }
    },
  };
}

/** @throws ThornkeyError `MALFORMED`, `NOT_SUPPORTED` */
function fileIn(pem: Uint8Array): KeyFile {
  const der = keyFileFromPem(new TextDecoder("latin1").decode(pem));
  if (der === undefined) throw new ThornkeyError("MALFORMED", "there is no key of a TPM in it");
  const file = decodeKeyFile(der);
  if (file.kind !== "loadable") throw new ThornkeyError("MALFORMED", "it is a sealed secret of a TPM, no key");
  return file;
}

/** Nothing is shown as made inside that was not, and nothing taken in that cannot be used. */
function mustBeLikeOurs({ type, attributes, authPolicy }: PublicArea): void {
  const has = (bits: number) => (attributes & bits) === bits;
  if (type === ALG.keyedhash) throw new ThornkeyError("NOT_SUPPORTED", "it is an HMAC key, which is not used here");
  if (has(OBJECT.restricted)) {
    throw new ThornkeyError("NOT_SUPPORTED", "it is a restricted key: for other keys, or for what the TPM composes");
  }
  if (!has(OBJECT.userWithAuth) || (has(OBJECT.adminWithPolicy) && authPolicy.length > 0)) {
    throw new ThornkeyError("NOT_SUPPORTED", "it is used only by a policy of its own, which nothing here can fulfil");
  }
  if (!has(BORN_HERE)) {
    throw new ThornkeyError("NOT_SUPPORTED", "this key was not made in the TPM, or can leave it", {
      hint: "take in its private part, where there is one: then it is wrapped, and is shown as that",
    });
  }
}

/**
 * Whether a file that speaks of an authorisation is believed only when the TPM says so, too: tpm2_encodeobject writes so of
 * keys without one. A try may cost a failure, but never the last one.
 */
function mayTry(tpm: Tpm, { attributes }: PublicArea): boolean {
  if (attributes & OBJECT.noDA) return true;
  const { failures, most } = factsOf(tpm).lockout;
  return failures + 1 < most;
}

function usesOf({ type, attributes }: PublicArea): readonly KeyUse[] {
  const uses: KeyUse[] = attributes & OBJECT.sign ? ["sign"] : [];
  return type === ALG.ecc && attributes & OBJECT.decrypt ? [...uses, "agree"] : uses;
}

function meaning(error: TpmRefusal, auth: Uint8Array): ThornkeyError {
  if (error.fault === FAULT.integrity) {
    return new ThornkeyError("ROOT_REFUSED", "this key is of another TPM, or under another storage key of this one", {
      hint: "a key file works only with the TPM that made it, under the storage key it was made with: 'thornkey tpm info'",
      cause: error,
    });
  }
  if (error.fault !== FAULT.authFail && error.fault !== FAULT.badAuth) return error;
  if (auth.length === 0) return wantsAuth(error);
  return new ThornkeyError("NOT_PERMITTED", "the TPM does not take this authorisation for the key", { cause: error });
}

function wantsAuth(cause?: TpmRefusal): ThornkeyError {
  return new ThornkeyError("NOT_PERMITTED", "this key has an authorisation of its own (a passphrase)", {
    hint: "put it into a file that only you read: --auth-file FILE",
    ...(cause && { cause }),
  });
}
