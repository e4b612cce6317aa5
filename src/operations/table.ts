/**
 * Every operation of the vault: what it takes, what it answers, whom it asks for which right. The vault's dispatch, the
 * HTTP interface, its OpenAPI document and the client's types follow from this table.
 */
import { CIPHERS, KEY_TYPE_NAMES, SIGNATURE_ALGORITHMS } from "./key-types.ts";
import { MAXIMUM_OBJECT, OBJECT_CLASSES, OBJECT_FIELDS, OBJECT_INFO, OBJECT_SUMMARY } from "./objects.ts";
import { DEMANDED_FOR, MOST_PERSONS, PERSON_KEY_TYPES, PERSON_NAME, PRESENCE_SECONDS } from "./persons.ts";
import { PIN_BYTES, PIN_TRIES } from "./pins.ts";
import { DIGEST_NAMES, ENFORCED_LINE, FIXED_POLICY, POLICY, RIGHTS } from "./policy.ts";
import {
  bytes,
  type Fields,
  flag,
  type Infer,
  integer,
  list,
  MAXIMUM_MESSAGE,
  oneOf,
  optional,
  type RecordShape,
  record,
  secretBytes,
  text,
} from "./shape.ts";
import { WHO_PATTERN } from "./who.ts";

/**
 * Whom an operation is for. A right is looked up on the key the argument `key` names; `administrator`, `auditor` and
 * `observer` are rights on the device; `anyone` may be anybody the gate let in, who then sees what is his.
 */
export type Requirement = (typeof RIGHTS)[number] | "anyone" | "administrator" | "auditor" | "observer";

export interface Operation<A extends Fields = Fields, R extends Fields = Fields> {
  readonly about: string;
  readonly requires: Requirement;
  readonly args: RecordShape<A>;
  readonly reply: RecordShape<R>;
  /** Changes the state: repeated with the same request key it answers again what it answered before. */
  readonly changes: boolean;
  /** Allowed while the vault is frozen: looking, and what ends the freeze. */
  readonly whenFrozen: boolean;
  /** Milliseconds until the caller hears TIMED_OUT. */
  readonly deadline: number;
  readonly http: { readonly method: "GET" | "POST" | "PUT" | "DELETE"; readonly path: string };
}

/** A name: `tls`, `acme/tls` in a namespace, `~1000/tls` of one user; or the 32 digits of a key's id. */
export const KEY_NAME_PATTERN = /^(?:(?:~[0-9]{1,10}|[a-z0-9][a-z0-9-]{0,31})\/)?[A-Za-z0-9_.@-]{1,64}$/;
export const NAMESPACE_PATTERN = /^[a-z0-9][a-z0-9-]{0,31}$/;

const keyName = text(110, KEY_NAME_PATTERN, "a key's name, NAMESPACE/NAME, ~UID/NAME, or its id");
const objectName = text(110, KEY_NAME_PATTERN, "an object's id, or its name if only one has it");
const newName = text(110, KEY_NAME_PATTERN, "NAME, or NAMESPACE/NAME");
const namespaceName = text(32, NAMESPACE_PATTERN);
const who = text(600, WHO_PATTERN);
const time = integer(0, Number.MAX_SAFE_INTEGER, "milliseconds since 1970");
const count = integer(0, Number.MAX_SAFE_INTEGER);
const message = bytes(0, MAXIMUM_MESSAGE - 4096);
const ingredient = optional(secretBytes(16, 1024, "what was chosen when the key was made"));
const pin = secretBytes(PIN_BYTES.least, PIN_BYTES.most);
const digest = optional(oneOf(DIGEST_NAMES));
const spki = bytes(1, 1024, { about: "SubjectPublicKeyInfo, DER" });

/** Types of wallet keys: BIP32 and SLIP-10; the variant `cardano` is BIP32-Ed25519, of ed25519 only. */
export const WALLET_TYPES = ["secp256k1", "p256", "ed25519"] as const;
export const WALLET_VARIANTS = ["cardano"] as const;
/** 255 steps of the longest index. */
const LONGEST_PATH = 3072;
const walletName = text(64, /^[\x21-\x7e](?:[\x20-\x7e]{0,62}[\x21-\x7e])?$/, "ASCII; one of its owner's wallets");
const walletPath = text(LONGEST_PATH, undefined, "m, m/44'/0'/0'; hardened steps end with ' or h");
const passphrase = optional(secretBytes(0, 1024, "UTF-8"));

/** What a stored key is: a type, or `storage`, the hybrid pair that locked objects are encrypted to. */
export const RECORD_TYPES = [...KEY_TYPE_NAMES, "storage"] as const;
export type RecordType = (typeof RECORD_TYPES)[number];

/** Bytes of what a front keeps with a key. */
const MAXIMUM_NOTES = 8192;

export const KEY_SUMMARY = record({
  id: text(32),
  name: text(110),
  type: oneOf(RECORD_TYPES),
  protection: oneOf(["resident", "wrapped"], "resident: made in the root, and cannot leave it"),
  root: text(200, undefined, "the root that holds or seals it"),
  owner: integer(0, 0xffffffff, "uid"),
  created: time,
  revision: integer(1, Number.MAX_SAFE_INTEGER, "goes up with every change of the key, its policy or its counts"),
  rights: list(oneOf(RIGHTS), RIGHTS.length, "what the caller may do with it"),
});
export type KeySummary = Infer<typeof KEY_SUMMARY>;

export const KEY_INFO = record({
  ...KEY_SUMMARY.fields,
  publicKey: optional(spki),
  origin: oneOf(["generated", "imported", "derived", "unwrapped", "wallet"]),
  fixed: FIXED_POLICY,
  policy: POLICY,
  enforced: list(ENFORCED_LINE, 64, "every line of the policy, and who sees to it"),
  uses: record({ total: count, thisBoot: count, last: optional(time) }),
  notes: optional(bytes(0, MAXIMUM_NOTES, { about: "what a front keeps with it; the vault does not look into it" })),
  wallet: optional(
    record(
      {
        name: text(64),
        path: text(LONGEST_PATH),
        masterId: text(32),
        variant: optional(oneOf(WALLET_VARIANTS)),
        watchOnly: flag("there is no private part"),
      },
      "where it is in which wallet",
    ),
  ),
});
export type KeyInfo = Infer<typeof KEY_INFO>;

/** What somebody says of a key he wants. */
const NEW_KEY = {
  name: newName,
  fixed: optional(FIXED_POLICY),
  policy: optional(POLICY),
  notes: optional(bytes(0, MAXIMUM_NOTES, { about: "what a front keeps with it" })),
  ingredient,
} as const;

/** What somebody says of a wallet he wants. Its master derives keys, and is for nothing else. */
const NEW_WALLET = {
  name: newName,
  fixed: optional(FIXED_POLICY),
  policy: optional(POLICY),
  type: oneOf(WALLET_TYPES),
  variant: optional(oneOf(WALLET_VARIANTS)),
  wallet: optional(walletName),
  generatorKey: optional(secretBytes(0, 1024, "without it the mnemonic or the shares alone open another wallet")),
} as const;

const WALLET_SUMMARY = record({
  name: text(64),
  key: text(110, undefined, "name of the master, or of the node that is watched"),
  id: text(32),
  type: oneOf(WALLET_TYPES),
  variant: optional(oneOf(WALLET_VARIANTS)),
  watchOnly: flag(),
  keys: integer(1, Number.MAX_SAFE_INTEGER, "all of its keys, this one included"),
});
export type WalletSummary = Infer<typeof WALLET_SUMMARY>;

const SIGN_SPEC = {
  algorithm: optional(oneOf(SIGNATURE_ALGORITHMS, "default: what the type has, rsa-pss for RSA")),
  digest,
  digested: optional(flag("data is the digest already; it is not hashed again")),
  saltLength: optional(integer(0, 512, "rsa-pss: bytes of salt; default: as long as the digest")),
} as const;

const DERIVE_SPEC = {
  key: keyName,
  peer: optional(spki),
  digest,
  salt: optional(bytes(0, 1024)),
  info: optional(bytes(0, 1024)),
  ingredient,
} as const;

const iv = optional(
  bytes(8, 64, { about: "nonce, initialization vector or first counter block, for those that take one" }),
);

const CIPHER_SPEC = {
  key: keyName,
  cipher: optional(oneOf(CIPHERS, "default: aes-gcm, rsa-oaep")),
  iv,
  tagLength: optional(integer(12, 16, "aes-gcm-iv: bytes of tag; default: 16")),
  digest,
  label: optional(bytes(0, 1024, { about: "OAEP label" })),
  aad: optional(bytes(0, 4096, { about: "authenticated, not encrypted" })),
  ingredient,
} as const;

export const VAULT_STATES = ["operational", "frozen", "refused", "destroyed"] as const;
export type VaultState = (typeof VAULT_STATES)[number];

const ROOT_STATUS = record({
  name: text(2000),
  kind: text(32),
  model: text(400),
  serial: text(128),
  firmware: text(400),
  available: flag(),
  emulated: flag("for development: nothing protects its memory"),
  wireProtected: flag(),
  counter: optional(count),
  limits: list(text(600), 32),
  makes: list(text(32), 16, "keys that can be made inside: type and use"),
  keys: record({ places: count, free: count }, "where the root has a fixed number of places"),
});

const ROOT_INFO = record({
  specification: text(1000, undefined, "how it is reached"),
  kind: text(32),
  model: text(400),
  serial: text(128),
  firmware: text(400),
  present: flag(),
  emulated: flag("for development: nothing protects its memory"),
  makes: list(text(32), 16, "keys that can be made inside: type and use"),
  limits: list(text(600), 32),
});
export type RootInfo = Infer<typeof ROOT_INFO>;

const LOCKOUT = record({
  specification: text(1000),
  model: text(400),
  serial: text(128),
  failures: count,
  most: integer(0, Number.MAX_SAFE_INTEGER, "at so many it locks"),
  interval: integer(0, Number.MAX_SAFE_INTEGER, "seconds until it forgets one"),
  recovery: integer(0, Number.MAX_SAFE_INTEGER, "seconds until a wrong lockout authorisation is forgiven"),
  locked: flag(),
  owner: oneOf(["vault", "nobody", "other"], "whose the lockout authorisation is"),
});
export type RootLockout = Infer<typeof LOCKOUT>;

const rootSpecification = text(2000, undefined, "atecc:/dev/i2c-1, tpm:/dev/tpmrm0, A+B, 2of(A,B,C)");
const ROOT_WISHES = {
  leaveBehind: optional(flag("keys inside hardware that is left are forgotten")),
  recovery: optional(secretBytes(32, 32, "the owner's recovery key; needed when the vault is sealed")),
} as const;
const ROOT_CHANGE = record({
  root: record({ specification: text(2000), kind: text(32), model: text(400), serial: text(128) }),
  leftBehind: list(text(110), 1000, "keys that stayed inside hardware the state is not on any more"),
});

const COMPONENT = record({
  name: text(64),
  title: text(120),
  hard: flag("mixed into the key-encryption key; a soft one only counts"),
  enrolled: flag(),
  present: flag("the host has it now"),
  matches: flag(),
});
export type BindingComponent = Infer<typeof COMPONENT>;

/** `sealing`: the recovery key is made, and its owner has not confirmed yet that he has it. */
export const BINDING_STAGES = ["development", "sealing", "sealed"] as const;
export type BindingStage = (typeof BINDING_STAGES)[number];

const BINDING = record({
  stage: oneOf(BINDING_STAGES),
  components: list(COMPONENT, 64),
  needed: integer(0, 64, "so many of the soft ones must match"),
  matching: integer(0, 64),
  opens: flag("whether this host opens the vault"),
  recoveryEnrolled: flag("whether the owner's recovery key opens it"),
  undoUntil: optional(time),
});
export type BindingStatus = Infer<typeof BINDING>;

const STATUS = record({
  version: text(32),
  state: oneOf(VAULT_STATES),
  /** Ready to serve what is not frozen. */
  ready: flag(),
  reason: optional(text(600)),
  hint: optional(text(600)),
  device: text(32, undefined, "id of this vault"),
  started: time,
  stage: oneOf(BINDING_STAGES),
  roots: list(ROOT_STATUS, 8),
  random: oneOf(["root+kernel", "kernel"]),
  keys: optional(count),
  journal: record({ entries: count, signed: count }),
  evidenceKey: optional(spki),
  you: record({ uid: count, roles: list(oneOf(["administrator", "auditor", "observer"]), 3) }),
});
export type VaultStatus = Infer<typeof STATUS>;

const FIGURE = record({
  name: text(64),
  labels: record({ key: optional(text(110)), root: optional(text(200)), operation: optional(text(64)) }),
  value: integer(-Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER),
});
export type Figure = Infer<typeof FIGURE>;

const personName = text(32, PERSON_NAME, "a-z, 0-9 and ._-");
const DEMAND = record({ what: oneOf(DEMANDED_FOR), persons: list(personName, 8, "one of them") });

const PERSON_INFO = record({
  name: personName,
  type: oneOf(PERSON_KEY_TYPES),
  fingerprint: text(64, undefined, "SHA-256 of the public key, SubjectPublicKeyInfo"),
  created: time,
  until: optional(time),
});
export type PersonInfo = Infer<typeof PERSON_INFO>;

const DEVICE_POLICY = record({
  administrators: list(who, 64, "manage keys outside namespaces, and the vault; they do not use keys"),
  auditors: list(who, 64),
  observers: list(who, 64),
  creators: list(who, 64, "may make keys of their own"),
  keysPerOwner: integer(0, 1_000_000),
  earlyBootSeconds: integer(0, 86_400, "the early boot ends by itself after so many seconds"),
  demands: list(DEMAND, DEMANDED_FOR.length, "what happens only while certain people are there"),
});
export type DevicePolicy = Infer<typeof DEVICE_POLICY>;

const NAMESPACE = record({
  name: namespaceName,
  administrators: list(who, 64, "make and manage its keys; the device's administrators do not"),
  keysAtMost: integer(0, 1_000_000),
});
export type Namespace = Infer<typeof NAMESPACE>;

export const EVENT = record({
  sequence: count,
  time,
  kind: text(64),
  key: optional(text(110)),
  text: text(600),
});
export type VaultEvent = Infer<typeof EVENT>;

const SECOND = 1000;
/** A slow chip with a queue before it, or RSA-4096 on a Pi. */
const SLOW = 60 * SECOND;
/** Hardware that is made ready takes its time, and all records are sealed anew. */
const ROOT_CHANGES = 300 * SECOND;
/** Somebody has to be asked. */
const HUMAN = 120 * SECOND;

type Options = { changes?: true; whenFrozen?: true; deadline?: number };

function operation<A extends Fields, R extends Fields>(
  about: string,
  requires: Requirement,
  http: `${Operation["http"]["method"]} ${string}`,
  args: A,
  reply: R,
  { changes = undefined, whenFrozen = undefined, deadline = SLOW }: Options = {},
): Operation<A, R> {
  const space = http.indexOf(" ");
  return {
    about,
    requires,
    args: record(args),
    reply: record(reply),
    changes: changes ?? false,
    whenFrozen: whenFrozen ?? false,
    deadline,
    http: { method: http.slice(0, space) as Operation["http"]["method"], path: http.slice(space + 1) },
  };
}

const changes = { changes: true } as const;
const looks = { whenFrozen: true, deadline: 10 * SECOND } as const;

export const OPERATIONS = {
  "key.create": operation(
    "Makes a key. Resident: inside the root. Wrapped: in the vault, sealed by the root.",
    "anyone",
    "POST /v1/keys",
    { ...NEW_KEY, type: oneOf(KEY_TYPE_NAMES), protection: optional(oneOf(["resident", "wrapped"])) },
    { key: KEY_INFO },
    changes,
  ),
  "key.import": operation(
    "Takes in a key: PKCS#8, SEC1, PKCS#1, OpenSSH or JWK, raw bytes of a symmetric one, or a key file of the vault's TPM.",
    "anyone",
    "POST /v1/keys/import",
    {
      ...NEW_KEY,
      type: optional(oneOf(KEY_TYPE_NAMES)),
      material: secretBytes(1, 16_384),
      auth: optional(secretBytes(1, 32, "of the key in a key file of a TPM, when it has one")),
    },
    { key: KEY_INFO },
    changes,
  ),
  "key.file": operation(
    "Writes a key of the vault's TPM as a file for other programs (TSS2 PEM), who then use it without the vault.",
    "manage",
    "POST /v1/keys/{key}/file",
    {
      key: keyName,
      auth: optional(secretBytes(1, 32, "what they must show; without it whoever has the file uses the key")),
    },
    { file: bytes(1, 16_384) },
  ),
  "key.list": operation(
    "The keys the caller has any right on.",
    "anyone",
    "GET /v1/keys",
    { after: optional(text(32)), limit: optional(integer(1, 500)), namespace: optional(namespaceName) },
    { keys: list(KEY_SUMMARY, 500), more: flag(), after: optional(text(32)) },
    looks,
  ),
  "key.show": operation(
    "All that is known of a key, and who enforces each line of its policy.",
    "observe",
    "GET /v1/keys/{key}",
    { key: keyName },
    { key: KEY_INFO },
    looks,
  ),
  "key.public": operation(
    "The public part of a key.",
    "observe",
    "GET /v1/keys/{key}/public",
    { key: keyName },
    { type: oneOf(RECORD_TYPES), publicKey: bytes(1, 2048) },
    looks,
  ),
  "key.policy": operation(
    "Changes what can be changed of a key's policy; fields that are not named stay.",
    "manage",
    "PUT /v1/keys/{key}/policy",
    {
      key: keyName,
      policy: POLICY,
      remove: optional(list(oneOf(["rate", "confirm", "recordUses"]), 3)),
    },
    { key: KEY_INFO },
    changes,
  ),
  "key.rename": operation(
    "Gives a key another name in its scope.",
    "manage",
    "PUT /v1/keys/{key}/name",
    { key: keyName, name: newName },
    { key: KEY_INFO },
    changes,
  ),
  "key.note": operation(
    "Keeps a front's own notes with a key, in place of those before.",
    "manage",
    "PUT /v1/keys/{key}/notes",
    { key: keyName, notes: bytes(0, MAXIMUM_NOTES) },
    { key: KEY_INFO },
    changes,
  ),
  "key.delete": operation(
    "Destroys a key for ever: its slot in the root is overwritten, its sealed form removed.",
    "manage",
    "DELETE /v1/keys/{key}",
    { key: keyName },
    { id: text(32) },
    changes,
  ),

  sign: operation(
    "Signs a message, or a digest of one. ECDSA answers r and s.",
    "use",
    "POST /v1/keys/{key}/sign",
    { key: keyName, data: message, ...SIGN_SPEC, ingredient },
    { signature: bytes(1, 512) },
  ),
  verify: operation(
    "Checks a signature or a MAC, with a key of the vault.",
    "observe",
    "POST /v1/keys/{key}/verify",
    { key: keyName, data: message, signature: bytes(0, 1024), ...SIGN_SPEC, ingredient },
    { valid: flag() },
  ),
  agree: operation(
    "ECDH or X25519 with somebody's public key; the secret is given to the caller.",
    "use",
    "POST /v1/keys/{key}/agree",
    { key: keyName, peer: spki, ingredient },
    { secret: secretBytes(32, 66) },
  ),
  derive: operation(
    "HKDF over an agreement or a MAC key, into a new key of the vault; the result never leaves.",
    "use",
    "POST /v1/keys/{key}/derive",
    { ...DERIVE_SPEC, into: record({ ...NEW_KEY, type: oneOf(["aes256", "hmac256"]) }) },
    { key: KEY_INFO },
    changes,
  ),
  encrypt: operation(
    "Encrypts a short message. AES-GCM answers nonce, cipher text and tag.",
    "use",
    "POST /v1/keys/{key}/encrypt",
    { ...CIPHER_SPEC, plaintext: secretBytes(0, MAXIMUM_MESSAGE - 8192) },
    { ciphertext: bytes(0, MAXIMUM_MESSAGE) },
  ),
  decrypt: operation(
    "Decrypts a short message.",
    "use",
    "POST /v1/keys/{key}/decrypt",
    { ...CIPHER_SPEC, ciphertext: bytes(0, MAXIMUM_MESSAGE - 8192) },
    { plaintext: secretBytes(0, MAXIMUM_MESSAGE) },
  ),
  mac: operation(
    "HMAC of a message.",
    "use",
    "POST /v1/keys/{key}/mac",
    { key: keyName, data: message, digest, ingredient },
    { mac: bytes(1, 64) },
  ),
  wrap: operation(
    "Encrypts one key of the vault under another, if its policy lets it leave.",
    "use",
    "POST /v1/keys/{key}/wrap",
    { key: keyName, target: keyName, cipher: optional(oneOf(CIPHERS)), iv, digest, ingredient },
    { wrapped: bytes(1, MAXIMUM_MESSAGE) },
  ),
  unwrap: operation(
    "Takes in a key that is encrypted under a key of the vault.",
    "use",
    "POST /v1/keys/{key}/unwrap",
    {
      key: keyName,
      wrapped: bytes(1, 16_384),
      cipher: optional(oneOf(CIPHERS)),
      iv,
      digest,
      ingredient,
      into: record({ ...NEW_KEY, type: optional(oneOf(KEY_TYPE_NAMES, "a private key says itself what it is")) }),
    },
    { key: KEY_INFO },
    changes,
  ),
  random: operation(
    "Random bytes of root and kernel mixed.",
    "anyone",
    "POST /v1/random",
    { length: integer(1, MAXIMUM_MESSAGE - 4096) },
    { random: secretBytes(1, MAXIMUM_MESSAGE) },
  ),

  "wallet.create": operation(
    "Makes a wallet: a master key, and the mnemonic (BIP39) that restores it. The mnemonic is answered once.",
    "anyone",
    "POST /v1/wallets",
    { ...NEW_WALLET, recovery: optional(oneOf(["bip39", "none"], "default: bip39, 24 words")), passphrase },
    {
      key: KEY_INFO,
      mnemonic: optional(secretBytes(1, 4096, "missing when the same request was answered before: then it is lost")),
    },
    changes,
  ),
  "wallet.restore": operation(
    "Makes a wallet's master key again, from its mnemonic (BIP39) or a seed of BIP32.",
    "anyone",
    "POST /v1/wallets/restore",
    {
      ...NEW_WALLET,
      mnemonic: optional(secretBytes(1, 4096, "ASCII words")),
      passphrase,
      seed: optional(secretBytes(16, 64, "instead of a mnemonic")),
    },
    { key: KEY_INFO },
    changes,
  ),
  "wallet.watch": operation(
    "Takes in a node of another wallet by its public key and chain code: addresses, and no private keys.",
    "anyone",
    "POST /v1/wallets/watch",
    {
      name: newName,
      policy: optional(POLICY),
      type: oneOf(WALLET_TYPES),
      variant: optional(oneOf(WALLET_VARIANTS)),
      wallet: optional(walletName),
      publicKey: bytes(32, 65, { about: "X and Y, a point of SEC 1, or the 32 bytes of ed25519" }),
      chainCode: bytes(32, 32),
      path: walletPath,
    },
    { key: KEY_INFO },
    changes,
  ),
  "wallet.child": operation(
    "Derives a key below a wallet key, a use of that key for deriving.",
    "use",
    "POST /v1/keys/{key}/children",
    {
      key: keyName,
      path: text(LONGEST_PATH, undefined, "from the key on: 0', or 44'/0'/0'/0/5; what lies between is not kept"),
      name: newName,
      fixed: optional(FIXED_POLICY),
      policy: optional(POLICY),
      chainCode: optional(flag("answer the chain code too; only of a hardened key")),
    },
    { key: KEY_INFO, chainCode: optional(bytes(32, 32)) },
    changes,
  ),
  "wallet.address": operation(
    "Where a wallet key is in which wallet; its chain code for who manages it.",
    "observe",
    "GET /v1/keys/{key}/address",
    { key: keyName, chainCode: optional(flag("answer the chain code too; only of a hardened key")) },
    { wallet: text(64), path: text(LONGEST_PATH), masterId: text(32), chainCode: optional(bytes(32, 32)) },
    looks,
  ),
  "wallet.find": operation(
    "The key at an address of a wallet, which is told by its name or by one of its keys.",
    "anyone",
    "POST /v1/wallets/find",
    { path: walletPath, wallet: optional(walletName), key: optional(keyName) },
    { key: KEY_INFO },
    looks,
  ),
  "wallet.list": operation(
    "The wallets whose first key the caller has any right on.",
    "anyone",
    "GET /v1/wallets",
    {},
    { wallets: list(WALLET_SUMMARY, 200), more: flag() },
    looks,
  ),
  "wallet.shares.begin": operation(
    "Begins to make a wallet whose secret is shared (SLIP-39). One on the device at a time; it ends when its caller does.",
    "anyone",
    "POST /v1/wallets/shares",
    {
      ...NEW_WALLET,
      groups: integer(1, 16),
      groupsNeeded: integer(1, 16),
      exponent: optional(integer(0, 10, "10000 * 2^exponent rounds for each passphrase; default 1")),
      passphrase,
    },
    {},
    changes,
  ),
  "wallet.shares.group": operation(
    "Says how the next group of shares is made; its members follow.",
    "anyone",
    "POST /v1/wallets/shares/group",
    { group: integer(0, 15), members: integer(1, 16), membersNeeded: integer(1, 16) },
    {},
    changes,
  ),
  "wallet.shares.member": operation(
    "Makes the share of the next member, answered once. With the last one the master key is there.",
    "anyone",
    "POST /v1/wallets/shares/member",
    { passphrase },
    {
      mnemonic: optional(secretBytes(1, 4096, "missing when the same request was answered before: then it is lost")),
      key: optional(KEY_INFO),
    },
    changes,
  ),
  "wallet.shares.restore.begin": operation(
    "Begins to restore a wallet from its shares (SLIP-39).",
    "anyone",
    "POST /v1/wallets/shares/restore",
    { ...NEW_WALLET, passphrase },
    {},
    changes,
  ),
  "wallet.shares.restore.add": operation(
    "Takes a share, in any order. Whether it was a right one is not told before there are enough: then the key is there.",
    "anyone",
    "POST /v1/wallets/shares/restore/share",
    { mnemonic: secretBytes(1, 4096, "ASCII words"), passphrase },
    { key: optional(KEY_INFO) },
    changes,
  ),
  "wallet.shares.cancel": operation(
    "Ends what the caller began with shares; nothing of it stays.",
    "anyone",
    "DELETE /v1/wallets/shares",
    {},
    {},
    changes,
  ),

  "object.create": operation(
    "Keeps a certificate, somebody's public key, or data of a program. Names need not differ.",
    "anyone",
    "POST /v1/objects",
    {
      name: newName,
      class: oneOf(OBJECT_CLASSES),
      value: bytes(0, MAXIMUM_OBJECT),
      key: optional(keyName),
      unique: optional(flag("KEY_EXISTS if another unique object of its class and scope has the name")),
      ...OBJECT_FIELDS,
    },
    { object: OBJECT_SUMMARY },
    changes,
  ),
  "object.list": operation(
    "The objects the caller may see.",
    "anyone",
    "GET /v1/objects",
    { class: optional(oneOf(OBJECT_CLASSES)), after: optional(text(32)), limit: optional(integer(1, 500)) },
    { objects: list(OBJECT_SUMMARY, 500), more: flag(), after: optional(text(32)) },
    looks,
  ),
  "object.show": operation(
    "An object, whole.",
    "anyone",
    "GET /v1/objects/{object}",
    { object: objectName },
    { object: OBJECT_INFO },
    looks,
  ),
  "object.change": operation(
    "Changes an object; fields that are not named stay.",
    "anyone",
    "PUT /v1/objects/{object}",
    {
      object: objectName,
      name: optional(newName),
      value: optional(bytes(0, MAXIMUM_OBJECT)),
      key: optional(keyName),
      ...OBJECT_FIELDS,
    },
    { object: OBJECT_SUMMARY },
    changes,
  ),
  "object.delete": operation(
    "Removes an object.",
    "anyone",
    "DELETE /v1/objects/{object}",
    { object: objectName },
    { id: text(32) },
    changes,
  ),

  "storage.public": operation(
    "What locked objects are encrypted to: P-256 and ML-KEM-768.",
    "anyone",
    "GET /v1/storage",
    { key: optional(keyName) },
    { p256: bytes(65, 65), mlkem: bytes(1184, 1184) },
    looks,
  ),
  "storage.open": operation(
    "Opens the file key of a locked object.",
    "anyone",
    "POST /v1/storage/open",
    {
      key: optional(keyName),
      stanzas: list(record({ args: list(text(2048), 8), body: bytes(0, 4096) }), 100),
    },
    { fileKey: secretBytes(16, 16) },
  ),

  status: operation("How the vault is.", "anyone", "GET /v1/status", {}, STATUS.fields, looks),
  version: operation(
    "A mark of all that is stored: as long as it is the same, nobody's lists and rights have changed.",
    "anyone",
    "GET /v1/version",
    {},
    { version: bytes(16, 16) },
    looks,
  ),
  figures: operation(
    "Figures for monitors: operations, keys, roots.",
    "observer",
    "GET /v1/figures",
    {},
    { figures: list(FIGURE, 10_000) },
    looks,
  ),
  freeze: operation(
    "Nothing is given out any more until an administrator thaws the vault.",
    "administrator",
    "POST /v1/freeze",
    { reason: optional(text(300)) },
    {},
    { ...changes, whenFrozen: true },
  ),
  thaw: operation("Ends a freeze.", "administrator", "POST /v1/thaw", {}, {}, { ...changes, whenFrozen: true }),
  destroy: operation(
    "Destroys every key and the vault, for ever.",
    "administrator",
    "POST /v1/destroy",
    {
      device: text(32, /^[0-9a-f]{32}$/, "the vault's id, so that nobody destroys the wrong one"),
      reason: optional(text(300)),
    },
    { destroyed: list(text(200), 64), kept: list(text(200), 64) },
    { ...changes, whenFrozen: true },
  ),
  "boot.complete": operation(
    "Ends the early boot: keys for it are not used again before the next start.",
    "administrator",
    "POST /v1/boot/complete",
    {},
    {},
    changes,
  ),

  "device.policy": operation(
    "Who administers, audits, observes; who may make keys.",
    "observer",
    "GET /v1/device",
    {},
    DEVICE_POLICY.fields,
    looks,
  ),
  "device.change": operation(
    "Changes the device's policy; fields that are not named stay.",
    "administrator",
    "PUT /v1/device",
    Object.fromEntries(Object.entries(DEVICE_POLICY.fields).map(([name, shape]) => [name, optional(shape)])) as {
      [Name in keyof typeof DEVICE_POLICY.fields]: { kind: "optional"; shape: (typeof DEVICE_POLICY.fields)[Name] };
    },
    DEVICE_POLICY.fields,
    changes,
  ),
  "user.challenge": operation(
    "Bytes for a person to sign with the key on his token, once and soon.",
    "anyone",
    "POST /v1/users/challenge",
    { name: personName },
    { challenge: bytes(32, 32), device: text(32), uid: integer(0, 0xffffffff) },
  ),
  "user.enroll": operation(
    "Enrols a person by the public key on his token; the signature over a challenge shows that he has it.",
    "administrator",
    "POST /v1/users",
    { name: personName, publicKey: spki, signature: bytes(1, 1024) },
    {},
    changes,
  ),
  "user.list": operation(
    "Who is enrolled, and who of them is there for the caller.",
    "anyone",
    "GET /v1/users",
    {},
    { users: list(PERSON_INFO, MOST_PERSONS) },
    looks,
  ),
  "user.remove": operation(
    "Enrols somebody no longer.",
    "administrator",
    "DELETE /v1/users/{name}",
    { name: personName },
    {},
    changes,
  ),
  "user.prove": operation(
    "A person is there for the caller, for a while: his signature over a challenge.",
    "anyone",
    "POST /v1/users/{name}/prove",
    {
      name: personName,
      signature: bytes(1, 1024),
      seconds: optional(integer(1, PRESENCE_SECONDS.most, "default: 60")),
    },
    { until: time },
    { whenFrozen: true },
  ),
  "pin.set": operation(
    "Chooses the caller's PIN, which programs show at the PKCS#11 socket with a login. In place of one before, that one.",
    "anyone",
    "PUT /v1/pin",
    { pin, before: optional(secretBytes(0, PIN_BYTES.most)) },
    {},
    changes,
  ),
  "pin.check": operation(
    "Whether this is the caller's PIN. Wrong ones are counted.",
    "anyone",
    "POST /v1/pin/check",
    { pin: secretBytes(0, PIN_BYTES.most) },
    {},
  ),
  "pin.status": operation(
    "Whether the caller chose a PIN, and how many wrong ones are left.",
    "anyone",
    "GET /v1/pin",
    {},
    { chosen: flag(), left: integer(0, PIN_TRIES) },
    looks,
  ),
  "pin.reset": operation(
    "Takes a user's PIN away.",
    "administrator",
    "DELETE /v1/pins/{uid}",
    { uid: integer(0, 0xffffffff) },
    {},
    changes,
  ),

  "namespace.create": operation(
    "Makes a namespace for a tenant.",
    "administrator",
    "POST /v1/namespaces",
    { ...NAMESPACE.fields, keysAtMost: optional(NAMESPACE.fields.keysAtMost) },
    { namespace: NAMESPACE },
    changes,
  ),
  "namespace.list": operation(
    "The namespaces the caller administers; all of them for an administrator.",
    "anyone",
    "GET /v1/namespaces",
    {},
    { namespaces: list(NAMESPACE, 1000) },
    looks,
  ),
  "namespace.delete": operation(
    "Removes an empty namespace.",
    "administrator",
    "DELETE /v1/namespaces/{name}",
    { name: namespaceName },
    {},
    changes,
  ),

  "bind.status": operation(
    "What ties the vault to this host.",
    "observer",
    "GET /v1/binding",
    {},
    BINDING.fields,
    looks,
  ),
  "bind.now": operation(
    "Takes the host as it is now for the one the vault belongs to, while in development.",
    "administrator",
    "POST /v1/binding",
    { needed: optional(integer(0, 64)), hard: optional(list(text(64), 32)), soft: optional(list(text(64), 32)) },
    BINDING.fields,
    changes,
  ),
  "bind.seal": operation(
    "Ends the development stage: only this host opens the vault. Rehearsed first; the owner's recovery key undoes it.",
    "administrator",
    "POST /v1/binding/seal",
    { rehearse: optional(flag("only say what would happen")) },
    {
      recovery: optional(secretBytes(32, 32, "the owner's recovery key, shown once; keep it off the device")),
      ...BINDING.fields,
    },
    changes,
  ),
  "bind.confirm": operation(
    "The second step of sealing: whoever shows the recovery key has written it down.",
    "administrator",
    "POST /v1/binding/seal/confirm",
    { recovery: secretBytes(32, 32) },
    BINDING.fields,
    changes,
  ),
  "bind.undo": operation(
    "Back to the development stage, with the owner's recovery key.",
    "administrator",
    "POST /v1/binding/undo",
    { recovery: secretBytes(32, 32) },
    BINDING.fields,
    { ...changes, whenFrozen: true },
  ),
  "bind.rebind": operation(
    "Takes another host for the one the vault belongs to, with the owner's recovery key.",
    "administrator",
    "POST /v1/binding/rebind",
    { recovery: secretBytes(32, 32) },
    BINDING.fields,
    { ...changes, whenFrozen: true },
  ),

  "root.list": operation(
    "The hardware the state is on.",
    "observer",
    "GET /v1/roots",
    {},
    { roots: list(ROOT_INFO, 16), needed: count },
    looks,
  ),
  "root.add": operation(
    "Adds hardware without which the state does not open from now on, or one of several that are enough.",
    "administrator",
    "POST /v1/roots",
    {
      specification: rootSpecification,
      needed: optional(integer(1, 8, "so many of them open it; default: all")),
      ...ROOT_WISHES,
    },
    ROOT_CHANGE.fields,
    { ...changes, deadline: ROOT_CHANGES },
  ),
  "root.remove": operation(
    "Takes hardware away: the state opens without it from now on.",
    "administrator",
    "POST /v1/roots/remove",
    { root: text(1000, undefined, "specification or serial number"), needed: optional(integer(1, 8)), ...ROOT_WISHES },
    ROOT_CHANGE.fields,
    { ...changes, deadline: ROOT_CHANGES },
  ),
  "root.move": operation(
    "Moves the state to other hardware; what is sealed follows.",
    "administrator",
    "POST /v1/roots/move",
    { specification: rootSpecification, ...ROOT_WISHES },
    ROOT_CHANGE.fields,
    { ...changes, deadline: ROOT_CHANGES },
  ),
  "root.lockout": operation(
    "The defence of hardware against guessing: failures, when it locks, and who can make it forget them.",
    "observer",
    "GET /v1/roots/lockout",
    {},
    { lockouts: list(LOCKOUT, 8) },
    looks,
  ),
  "root.lockout.reset": operation(
    "Makes hardware forget the failures that it counted.",
    "administrator",
    "POST /v1/roots/lockout/reset",
    { root: optional(text(1000, undefined, "specification or serial number, where several have such a defence")) },
    { lockouts: list(LOCKOUT, 8) },
  ),

  "journal.read": operation(
    "Lines of the journal as they were written; an auditor's are all, others' those of their keys.",
    "anyone",
    "GET /v1/journal",
    { after: optional(count), limit: optional(integer(1, 1000)) },
    { lines: list(text(8192), 1000), more: flag() },
    looks,
  ),
  "journal.checkpoint": operation(
    "Has the evidence key sign the journal as it is now.",
    "auditor",
    "POST /v1/journal/checkpoint",
    {},
    { entries: count, signed: count },
    changes,
  ),
  "events.subscribe": operation(
    "What happens from now on, or from an entry of the journal on; the gate serves it as a stream.",
    "anyone",
    "POST /v1/events/subscribe",
    { after: optional(count) },
    { sequence: count },
    looks,
  ),

  "confirm.list": operation(
    "Uses that wait for a confirmation the caller can give.",
    "anyone",
    "GET /v1/confirmations",
    {},
    { waiting: list(record({ id: count, key: text(110), operation: text(64), caller: text(200), until: time }), 100) },
    looks,
  ),
  "confirm.answer": operation(
    "Confirms or refuses a use.",
    "anyone",
    "POST /v1/confirmations/{id}",
    { id: count, approve: flag() },
    {},
  ),
} as const satisfies Record<string, Operation>;

export const HUMAN_DEADLINE = HUMAN;

export type OperationName = keyof typeof OPERATIONS;
export type ArgsOf<Name extends OperationName> = Infer<(typeof OPERATIONS)[Name]["args"]>;
export type ReplyOf<Name extends OperationName> = Infer<(typeof OPERATIONS)[Name]["reply"]>;

export const OPERATION_NAMES = Object.keys(OPERATIONS) as OperationName[];

export function isOperation(name: unknown): name is OperationName {
  return typeof name === "string" && Object.hasOwn(OPERATIONS, name);
}

/** @returns the row of one operation, without the types of its own */
export function operationOf(name: OperationName): Operation {
  return OPERATIONS[name] as unknown as Operation;
}
