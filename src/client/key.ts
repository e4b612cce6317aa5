/** One key of the vault, by its name. */
import { createPublicKey } from "node:crypto";
import { ecdsaSignatureFromDer, ecdsaSignatureToDer } from "../bytes/der.ts";
import type { Secret } from "../bytes/secret.ts";
import { ThornkeyError } from "../errors.ts";
import { factsOf, type KeyType } from "../operations/key-types.ts";
import type { ArgsOf, KeyInfo, ReplyOf } from "../operations/table.ts";
import type { Call, CallOptions, Given } from "./caller.ts";

type Bytes = Uint8Array | Secret;
/** The arguments of an operation besides those that a method takes by itself. */
type Rest<Name extends Parameters<Call>[0], Own extends string> = Omit<Given<ArgsOf<Name>>, "key" | Own> & CallOptions;

/** `raw`: r then s, each as long as the curve's order (IEEE P1363); `der`: ECDSA-Sig-Value (RFC 3279). */
export interface SignatureForm {
  readonly format?: "raw" | "der" | undefined;
}

/** Every method asks the vault; see the operation of the same name for its arguments. */
export interface Key {
  readonly name: string;
  show(options?: CallOptions): Promise<KeyInfo>;
  public(options?: CallOptions): Promise<ReplyOf<"key.public">>;
  delete(options?: CallOptions): Promise<void>;
  policy(change: Rest<"key.policy", never>): Promise<KeyInfo>;
  /** @param to another name in the same scope */
  rename(to: string, options?: CallOptions): Promise<KeyInfo>;
  note(notes: Uint8Array, options?: CallOptions): Promise<KeyInfo>;
  /** @returns the signature; ECDSA as `format` says, `raw` without it */
  sign(data: Bytes, options?: Rest<"sign", "data"> & SignatureForm): Promise<Uint8Array>;
  verify(
    data: Bytes,
    signature: Uint8Array,
    options?: Rest<"verify", "data" | "signature"> & SignatureForm,
  ): Promise<boolean>;
  /** @param peer SubjectPublicKeyInfo, DER or PEM */
  agree(peer: Uint8Array | string, options?: Rest<"agree", "peer">): Promise<Secret>;
  derive(options: Rest<"derive", never>): Promise<KeyInfo>;
  encrypt(plaintext: Bytes, options?: Rest<"encrypt", "plaintext">): Promise<Uint8Array>;
  decrypt(ciphertext: Uint8Array, options?: Rest<"decrypt", "ciphertext">): Promise<Secret>;
  mac(data: Bytes, options?: Rest<"mac", "data">): Promise<Uint8Array>;
  /** @param target name of the key that leaves, encrypted under this one */
  wrap(target: string, options?: Rest<"wrap", "target">): Promise<Uint8Array>;
  unwrap(wrapped: Uint8Array, options: Rest<"unwrap", "wrapped">): Promise<KeyInfo>;
}

export function keyHandle(call: Call, name: string): Key {
  const key = name;
  /** Asked for once: a name may be given to another key, but not while this one is there. */
  let type: Promise<KeyType | "storage"> | undefined;

  async function orderBytes(signal: AbortSignal | undefined): Promise<number> {
    type ??= call("key.public", { key }, { signal }).then((reply) => reply.type);
    type.catch(() => {
      type = undefined;
    });
    const known = await type;
    const facts = known === "storage" ? undefined : factsOf(known);
    if (facts?.family !== "ec") throw new ThornkeyError("USAGE", `${name} makes no ECDSA signatures`);
    return Math.ceil(facts.bits / 8);
  }

  return {
    name,
    show: async (options) => (await call("key.show", { key }, options)).key,
    public: (options) => call("key.public", { key }, options),
    delete: async (options) => void (await call("key.delete", { key }, options)),
    policy: async ({ signal, ...change }) => (await call("key.policy", { key, ...change }, { signal })).key,
    rename: async (to, options) => (await call("key.rename", { key, name: to }, options)).key,
    note: async (notes, options) => (await call("key.note", { key, notes }, options)).key,
    async sign(data, { signal, format, ...rest } = {}) {
      if (format === "der") await orderBytes(signal);
      const { signature } = await call("sign", { key, data, ...rest }, { signal });
      return format === "der" ? ecdsaSignatureToDer(signature) : signature;
    },
    async verify(data, given, { signal, format, ...rest } = {}) {
      const signature = format === "der" ? fromDer(given, await orderBytes(signal)) : given;
      // What is no signature at all is a wrong one.
      if (signature === undefined) return false;
      return (await call("verify", { key, data, signature, ...rest }, { signal })).valid;
    },
    async agree(peer, { signal, ...rest } = {}) {
      return (await call("agree", { key, peer: spkiOf(peer), ...rest }, { signal })).secret;
    },
    derive: async ({ signal, ...rest }) => (await call("derive", { key, ...rest }, { signal })).key,
    async encrypt(plaintext, { signal, ...rest } = {}) {
      return (await call("encrypt", { key, plaintext, ...rest }, { signal })).ciphertext;
    },
    async decrypt(ciphertext, { signal, ...rest } = {}) {
      return (await call("decrypt", { key, ciphertext, ...rest }, { signal })).plaintext;
    },
    mac: async (data, { signal, ...rest } = {}) => (await call("mac", { key, data, ...rest }, { signal })).mac,
    async wrap(target, { signal, ...rest } = {}) {
      return (await call("wrap", { key, target, ...rest }, { signal })).wrapped;
    },
    async unwrap(wrapped, { signal, ...rest }) {
      return (await call("unwrap", { key, wrapped, ...rest }, { signal })).key;
    },
  };
}

function fromDer(signature: Uint8Array, size: number): Uint8Array | undefined {
  try {
    return ecdsaSignatureFromDer(signature, size);
  } catch {
    return undefined;
  }
}

function spkiOf(key: Uint8Array | string): Uint8Array {
  if (typeof key !== "string") return key;
  try {
    return new Uint8Array(createPublicKey(key).export({ type: "spki", format: "der" }));
  } catch (cause) {
    throw new ThornkeyError("MALFORMED", "the peer's key is no public key in PEM", { cause });
  }
}
