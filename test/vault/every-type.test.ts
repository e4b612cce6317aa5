/** Every operation on keys, through gate and client, with every type that can do it; Node's own crypto is the peer. */
import {
  constants,
  createHmac,
  createPublicKey,
  diffieHellman,
  generateKeyPairSync,
  hkdfSync,
  type KeyObject,
  publicEncrypt,
  randomBytes,
  verify,
} from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  connect,
  KEY_TYPE_NAMES,
  type Key,
  type KeyInfo,
  type KeyType,
  type Secret,
  type Thornkey,
} from "../../src/client/index.ts";
import {
  DIGESTS,
  factsOf,
  type KeyUse,
  ONLY_WHEN_NAMED,
  type SignatureAlgorithm,
  signatureAlgorithmsOf,
} from "../../src/operations/key-types.ts";
import { type LabProcess, type LabVault, openLab, spawnProgram } from "./lab.ts";

const lab = openLab();
let vault: LabVault;
let gate: LabProcess;
let thornkey: Thornkey;
const infos = new Map<KeyType, KeyInfo>();

const digests = Object.keys(DIGESTS) as (keyof typeof DIGESTS)[];
const allow = [{ who: "any", rights: ["use" as const] }];
const bytesIn = (secret: Secret) => secret.use((bytes) => new Uint8Array(bytes));
const plain = (bytes: Uint8Array) => new Uint8Array(bytes);
const can = (use: KeyUse) => KEY_TYPE_NAMES.filter((type) => factsOf(type).uses.some((one) => one === use));
/** What a key does without being asked for by its policy. */
const named = (algorithms: readonly SignatureAlgorithm[]) => algorithms.filter((one) => !ONLY_WHEN_NAMED.has(one));
const key = (type: KeyType): Key => thornkey.key(type);
let last = 0;
const fresh = () => `new${++last}`;

function peerOf(type: KeyType): KeyObject {
  return createPublicKey({ key: Buffer.from(infos.get(type)?.publicKey ?? []), format: "der", type: "spki" });
}

/** @returns a key pair for agreement with a key of the type */
function partnerFor(type: KeyType) {
  const { curve = "" } = factsOf(type);
  return type === "x25519" ? generateKeyPairSync("x25519") : generateKeyPairSync("ec", { namedCurve: curve });
}
const spkiOf = (publicKey: KeyObject) => plain(publicKey.export({ type: "spki", format: "der" }));

beforeAll(async () => {
  vault = await lab.vault();
  gate = await spawnProgram("gate", ["--run", vault.run]);
  thornkey = await connect({ run: vault.run });
  for (const type of KEY_TYPE_NAMES) {
    infos.set(
      type,
      await thornkey.keys.create({ name: type, type, policy: { allow }, fixed: { export: "wrapped", digests } }),
    );
  }
});
afterAll(async () => {
  await thornkey?.close();
  await gate?.end();
  await lab.close();
});

describe("keys of every type", () => {
  const message = plain(randomBytes(200));

  const signing = can("sign").flatMap((type) =>
    named(signatureAlgorithmsOf(type)).flatMap((algorithm) =>
      (algorithm === "ed25519" ? [undefined] : digests).map((digest) => [type, algorithm, digest] as const),
    ),
  );
  it.each(signing)("sign: %s with %s over %s", async (type, algorithm, digest) => {
    const spec = { algorithm, ...(digest && { digest }) };
    const signature = await key(type).sign(message, spec);
    const padding = algorithm === "rsa-pss" ? constants.RSA_PKCS1_PSS_PADDING : constants.RSA_PKCS1_PADDING;
    const how = algorithm.startsWith("rsa") ? { padding } : {};
    const peer = { key: peerOf(type), dsaEncoding: "ieee-p1363" as const, ...how };
    expect(verify(digest ?? null, message, peer, signature)).toBe(true);
    expect(await key(type).verify(message, signature, spec)).toBe(true);
    expect(await key(type).verify(plain(randomBytes(200)), signature, spec)).toBe(false);
  });

  it.each(can("agree"))("agree: %s", async (type) => {
    const { privateKey, publicKey } = partnerFor(type);
    const secret = bytesIn(await key(type).agree(spkiOf(publicKey)));
    expect(secret).toEqual(plain(diffieHellman({ privateKey, publicKey: peerOf(type) })));
  });

  it.each(can("derive"))("derive: %s", async (type) => {
    const name = fresh();
    const [salt, info] = [plain(randomBytes(16)), plain(randomBytes(10))];
    const partner = type === "hmac256" ? undefined : partnerFor(type);
    const peer = partner && { peer: spkiOf(partner.publicKey) };
    const into = { name, type: "hmac256" as const, policy: { allow } };
    expect(await key(type).derive({ ...peer, salt, info, into })).toMatchObject({ origin: "derived" });
    const mac = await thornkey.key(name).mac(message);
    expect(mac).toHaveLength(32);
    if (partner === undefined) return;
    const shared = diffieHellman({ privateKey: partner.privateKey, publicKey: peerOf(type) });
    const derived = Buffer.from(hkdfSync("sha256", shared, salt, info, 32));
    expect(mac).toEqual(plain(createHmac("sha256", derived).update(message).digest()));
  });

  it.each(can("encrypt"))("encrypt and decrypt: %s", async (type) => {
    const short = plain(randomBytes(60));
    expect(bytesIn(await key(type).decrypt(await key(type).encrypt(short)))).toEqual(short);
    if (factsOf(type).family !== "rsa") return;
    const theirs = publicEncrypt({ key: peerOf(type), oaepHash: "sha256" }, short);
    expect(bytesIn(await key(type).decrypt(plain(theirs), { digest: "sha256" }))).toEqual(short);
  });

  it.each(can("mac"))("mac: %s", async (type) => {
    for (const digest of digests) {
      const mac = await key(type).mac(message, { digest });
      expect(mac).toHaveLength(DIGESTS[digest]);
      expect(await key(type).verify(message, mac, { digest })).toBe(true);
      expect(await key(type).verify(plain(randomBytes(9)), mac, { digest })).toBe(false);
    }
  });

  it.each(KEY_TYPE_NAMES)("wrap and unwrap, under aes256: %s", async (type) => {
    const wrapped = await key("aes256").wrap(type);
    const name = fresh();
    const back = await key("aes256").unwrap(wrapped, { into: { name, type, policy: { allow } } });
    expect(back).toMatchObject({ origin: "unwrapped", type });
    expect(back.publicKey).toEqual(infos.get(type)?.publicKey);
  });

  it.each(can("wrap").filter((type) => type !== "aes256"))("wrap and unwrap a key under: %s", async (type) => {
    const wrapped = await key(type).wrap("hmac256");
    const name = fresh();
    await key(type).unwrap(wrapped, { into: { name, type: "hmac256", policy: { allow } } });
    expect(await thornkey.key(name).mac(message)).toEqual(await key("hmac256").mac(message));
  });

  it.each(KEY_TYPE_NAMES)("import: %s", async (type) => {
    const { family, bits } = factsOf(type);
    const pair =
      family === "rsa"
        ? generateKeyPairSync("rsa", { modulusLength: bits })
        : family === "edwards"
          ? generateKeyPairSync("ed25519")
          : family === "symmetric"
            ? undefined
            : partnerFor(type);
    const material = plain(pair ? pair.privateKey.export({ type: "pkcs8", format: "der" }) : randomBytes(32));
    const info = await thornkey.keys.import({ name: fresh(), type, material });
    expect(info).toMatchObject({ origin: "imported", type });
    if (pair) expect(info.publicKey).toEqual(spkiOf(pair.publicKey));
  });

  it.each([1, 32, 61_440])("random: %i bytes", async (length) => {
    expect(bytesIn(await thornkey.random(length))).toHaveLength(length);
  });

  it.each(KEY_TYPE_NAMES)("show, list, and delete: %s", async (type) => {
    const listed = [];
    for await (const { name } of thornkey.keys.list()) listed.push(name);
    expect(listed).toContain(`~${process.getuid?.()}/${type}`);
    const name = fresh();
    await thornkey.keys.create({ name, type: "ed25519" });
    await thornkey.keys.delete(name);
    await expect(thornkey.keys.show(name)).rejects.toMatchObject({ code: "KEY_NOT_FOUND" });
    expect(await thornkey.keys.show(type)).toMatchObject({ type, protection: "wrapped" });
  });
});
