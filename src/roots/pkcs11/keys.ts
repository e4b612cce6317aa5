import { randomBytes } from "node:crypto";
import { concat } from "../../bytes/bytes.ts";
import type { Secret } from "../../bytes/secret.ts";
import { ThornkeyError } from "../../errors.ts";
import { DIGEST_INFO } from "../digest-info.ts";
import type { KeyMaking, SigningWay } from "../root.ts";
import { questionsAbout } from "./agreement.ts";
import type { KeyFacts } from "./calls.ts";
import { CKM } from "./constants.ts";
import { KINDS, pssParameter } from "./kinds.ts";
import type { TokenLink } from "./link.ts";
import type { MechanismUse } from "./objects.ts";
import { type CheckedKey, checkedKey } from "./public-key.ts";

/** A key of the token of which it has shown that it has the private part. */
export interface Key extends CheckedKey {
  readonly signs: boolean;
  readonly agrees: boolean;
}

/** The keys of a token, by CKA_ID in hexadecimal. Nothing it says of them, and does with them, goes out unchecked. */
export interface TokenKeys {
  /** @throws ThornkeyError `KEY_NOT_FOUND` */
  get(id: string): Promise<Key>;
  make(making: KeyMaking, id: string, label: string): Promise<Key>;
  sign(id: string, digest: Uint8Array, way: SigningWay): Promise<Uint8Array>;
  agree(id: string, peer: Uint8Array): Promise<Secret>;
  /** What was known of a key, or of all, is asked again. */
  forget(id?: string): void;
}

/** Keys of which something is remembered. */
const MOST_KNOWN = 1000;
/** What does not check is asked for once more: a disturbance goes by. */
const ATTEMPTS = 2;

export function keysOf(link: TokenLink): TokenKeys {
  const known = new Map<string, Key>();
  const asked = new Map<string, Promise<Key>>();

  function get(id: string): Promise<Key> {
    const key = known.get(id);
    if (key !== undefined) return Promise.resolve(key);
    const underWay = asked.get(id);
    if (underWay !== undefined) return underWay;
    const asking = proven(id, () => link.ask("key", id)).finally(() => asked.delete(id));
    asked.set(id, asking);
    return asking;
  }

  /** @param ask gets what the token says of the key, each time anew */
  async function proven(id: string, ask: () => Promise<KeyFacts>): Promise<Key> {
    for (let attempt = 1; ; attempt++) {
      const { publicPart, signs, agrees, wantsPin } = await ask();
      if (wantsPin) {
        throw new ThornkeyError("ROOT_REFUSED", `the key id:${id} wants the PIN again for every use`, {
          hint: "use a key without CKA_ALWAYS_AUTHENTICATE (on a PIV card: not the one in slot 9c)",
        });
      }
      try {
        const key: Key = { ...checkedKey(publicPart), signs, agrees };
        await prove(id, key);
        if (known.size >= MOST_KNOWN) known.clear();
        known.set(id, key);
        return key;
      } catch (error) {
        if (!(error instanceof ThornkeyError) || error.code !== "MALFORMED") throw error;
        if (attempt === ATTEMPTS) throw doesNotCheck("a public key that its private key does not belong to", error);
      }
    }
  }

  async function prove(id: string, key: Key): Promise<void> {
    const kind = KINDS[key.publicKey.algorithm];
    if (key.signs) {
      const way: SigningWay = kind.family === "ec" ? { scheme: "ecdsa" } : { scheme: "rsa-pkcs1", digest: "sha256" };
      const digest = new Uint8Array(randomBytes(kind.family === "ec" ? kind.size : DIGEST_INFO.sha256.size));
      const signature = await link.ask("sign", id, ...signing(way, digest));
      if (!key.verifies(digest, way, signature)) throw notBelonging();
    } else if (key.agrees && kind.family === "ec" && key.point !== undefined) {
      const { points, secretOf } = questionsAbout(kind, key.point, key.point);
      const secret = secretOf(await link.ask("agree", id, points, kind.size));
      if (secret === undefined) throw notBelonging();
      secret.destroy();
    }
  }

  return {
    get,
    make: (making, id, label) => {
      const kind = KINDS[making.algorithm];
      const wanted = {
        ...{ id, label, use: making.use },
        ...(kind.family === "ec" ? { curve: kind.parameters } : { bits: kind.bits }),
      };
      return proven(id, () => link.ask("generate", wanted));
    },
    async sign(id, digest, way) {
      const own = digest.slice();
      for (let attempt = 1; ; attempt++) {
        const key = known.get(id) ?? (await get(id));
        mustSign(key, own, way);
        const signature = await link.ask("sign", id, ...signing(way, own));
        if (key.verifies(own, way, signature)) return signature;
        known.delete(id); // there may be another key now
        if (attempt === ATTEMPTS) throw doesNotCheck("a signature that its own public key refutes");
      }
    },
    async agree(id, peer) {
      const own = peer.slice();
      for (let attempt = 1; ; attempt++) {
        const key = await get(id);
        const kind = KINDS[key.publicKey.algorithm];
        if (kind.family !== "ec" || key.point === undefined || !key.agrees) throw notFor("agree on secrets");
        if (own.length !== 2 * kind.size) throw notAPeer();
        let questions: ReturnType<typeof questionsAbout>;
        try {
          questions = questionsAbout(kind, key.point, own);
        } catch (cause) {
          throw notAPeer(cause);
        }
        const secret = questions.secretOf(await link.ask("agree", id, questions.points, kind.size));
        if (secret !== undefined) return secret;
        known.delete(id);
        if (attempt === ATTEMPTS) throw doesNotCheck("secrets that do not fit its own public key");
      }
    },
    forget(id) {
      if (id === undefined) known.clear();
      else known.delete(id);
    },
  };
}

/** A mechanism, and what it is given. */
function signing(way: SigningWay, digest: Uint8Array): [mechanism: MechanismUse, data: Uint8Array] {
  if (way.scheme === "ecdsa") return [{ type: CKM.ECDSA }, digest];
  if (way.scheme === "rsa-pkcs1") return [{ type: CKM.RSA_PKCS }, concat(DIGEST_INFO[way.digest].head, digest)];
  return [{ type: CKM.RSA_PKCS_PSS, parameter: pssParameter(way) }, digest];
}

function mustSign({ publicKey, signs, signatureSize }: Key, digest: Uint8Array, way: SigningWay): void {
  const kind = KINDS[publicKey.algorithm];
  if ((kind.family === "ec") !== (way.scheme === "ecdsa")) {
    throw new ThornkeyError("NOT_SUPPORTED", `a ${publicKey.algorithm} key makes no ${way.scheme} signatures`);
  }
  if (!signs) throw notFor("sign");
  const size = kind.family === "ec" ? kind.size : way.scheme === "ecdsa" ? 0 : DIGEST_INFO[way.digest].size;
  if (digest.length !== size) {
    throw new ThornkeyError("MALFORMED", `a digest of ${digest.length} bytes, where ${size} are signed`);
  }
  if (way.scheme === "rsa-pss" && (way.saltLength ?? size) > signatureSize - size - 2) {
    throw new ThornkeyError("MALFORMED", `a salt of ${way.saltLength} bytes does not fit into the signature`);
  }
}

function notFor(what: string): ThornkeyError {
  return new ThornkeyError("ROOT_REFUSED", `the key in the token is not there to ${what}`);
}

function notAPeer(cause?: unknown): ThornkeyError {
  return new ThornkeyError("MALFORMED", "the other side's public key is not a point of the key's curve", { cause });
}

/** Caught where it is asked again. */
function notBelonging(): ThornkeyError {
  return new ThornkeyError("MALFORMED", "the token's public key does not belong to its private key");
}

function doesNotCheck(what: string, cause?: unknown): ThornkeyError {
  return new ThornkeyError("ROOT_UNAVAILABLE", `the token gave ${what}`, {
    hint: "is its module the newest one of the vendor? does somebody else make keys in it?",
    cause,
  });
}
