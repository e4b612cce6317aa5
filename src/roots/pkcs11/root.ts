import { createHash, hkdfSync, randomBytes } from "node:crypto";
import { concat, toHex } from "../../bytes/bytes.ts";
import { Secret } from "../../bytes/secret.ts";
import { Writer } from "../../bytes/writer.ts";
import { type ErrorCode, ThornkeyError } from "../../errors.ts";
import { verifiesNatively } from "../../machine/openssl.ts";
import { curvePoint } from "../curve-point.ts";
import {
  type Capabilities,
  EVIDENCE_TAG,
  type KeyHandle,
  type KeyMaking,
  type Root,
  type SigningWay,
  type ZeroizeReport,
} from "../root.ts";
import type { MechanismFacts, TokenFacts } from "./calls.ts";
import { CKF_MECHANISM, CKF_TOKEN, CKM } from "./constants.ts";
import { type Key, keysOf } from "./keys.ts";
import { can, makesOf } from "./kinds.ts";
import { linkToken, PATIENCE, type Patience } from "./link.ts";
import type { Pkcs11Location } from "./location.ts";

export interface Pkcs11Options {
  /** Goes before the location's file. Taken over: zeroed when the root is closed, or cannot be opened. */
  readonly pin?: Secret | undefined;
  /** Whether the two keys of the root's own may be made when they are not there: only when it is set up. */
  readonly mayProvision?: boolean | undefined;
  readonly patience?: Partial<Patience> | undefined;
}

/** What keys are labelled with that are made here: what begins like this is destroyed by `zeroize`. */
const LABEL = "thornkey-";
/** Signs with nothing but evidence, and agrees, or signs, for nothing but `derive`. */
const OWN = { derive: `${LABEL}derive`, evidence: `${LABEL}evidence` } as const;
/** Random bytes asked for at once. */
const RANDOM_AT_ONCE = 1024;

/**
 * A token behind a vendor's PKCS#11 module as a root of trust. The module is loaded in a process of its own; whatever it
 * says is checked here before it goes out.
 *
 * @throws ThornkeyError `ROOT_UNAVAILABLE` when the token is not there; `ROOT_REFUSED` when it does not take the PIN, or
 *   wants one and there is none; `FILE_NOT_FOUND`, `NOT_SUPPORTED` for the module; `USAGE` when more than one token fits
 */
export async function openPkcs11Root(location: Pkcs11Location, options: Pkcs11Options = {}): Promise<Root> {
  const link = linkToken(location, options.pin, { ...PATIENCE, ...options.patience });
  const keys = keysOf(link);
  const own = {
    derive: location.deriveId ?? idOf(OWN.derive),
    evidence: location.evidenceId ?? idOf(OWN.evidence),
  };

  async function open() {
    const looked = await link.ask("look");
    link.settle(looked.facts);
    // What cannot be checked here is not made.
    const makes = makesOf(looked.mechanisms).filter(({ algorithm }) => algorithm === "p256" || verifiesNatively());
    for (const [name, making] of [
      ["derive", derivingKind(makes)],
      ["evidence", makes.find(({ algorithm, use }) => algorithm === "p256" && use === "sign")],
    ] as const) {
      const there = await found(name);
      if (there !== undefined || making === undefined || options.mayProvision !== true) continue;
      // A key of somebody else that is missing is not made here under its name.
      if ((name === "derive" ? location.deriveId : location.evidenceId) !== undefined) continue;
      await keys.make(making, own[name], OWN[name]);
    }
    return { facts: looked.facts, makes, random: (looked.facts.flags & CKF_TOKEN.RNG) !== 0 && (await givesRandom()) };
  }

  /** Some modules say that a token has a generator, and have no function for it. */
  async function givesRandom(): Promise<boolean> {
    try {
      return (await link.ask("random", 16)).length === 16;
    } catch (error) {
      if (error instanceof ThornkeyError && error.code === "NOT_SUPPORTED") return false;
      throw error;
    }
  }

  async function found(name: keyof typeof own): Promise<Key | undefined> {
    try {
      return await keys.get(own[name]);
    } catch (error) {
      if (error instanceof ThornkeyError && error.code === "KEY_NOT_FOUND") return undefined;
      throw error;
    }
  }

  async function mustHave(name: keyof typeof own): Promise<Key> {
    const key = await found(name);
    if (key !== undefined) return key;
    throw new ThornkeyError(
      makes.length > 0 ? "ROOT_REFUSED" : "NOT_SUPPORTED",
      `the token has no key to ${name === "derive" ? "derive secrets" : "give evidence"} with`,
      { hint: "it is made when the token is set up as a root; after it was destroyed what it protected is lost" },
    );
  }

  const opened = await open().catch(async (error) => {
    await link.close();
    throw error;
  });
  const { makes } = opened;

  return {
    async describe() {
      const { facts, mechanisms } = await link.ask("look");
      const [derive, evidence] = [await found("derive"), await found("evidence")];
      const wanted = [derivingKind(makes), makes.find(isSigner)].filter((one) => one !== undefined).length;
      const there = [derive, evidence].filter((key) => key !== undefined).length;
      return {
        kind: "pkcs11",
        model: facts.model || facts.manufacturer || facts.label,
        serial: serialOf(opened.facts),
        firmware: facts.firmware,
        state: there >= wanted ? "ready" : there > 0 ? "configured" : "blank",
        profile: location.deriveId === undefined && location.evidenceId === undefined ? "thornkey-1" : "adopted",
        capabilities: capabilitiesOf(opened.random, mechanisms, makes, derive, evidence),
      };
    },
    async random(length) {
      const parts: Uint8Array[] = [];
      for (let missing = length; missing > 0; missing -= RANDOM_AT_ONCE) {
        const part = await link.ask("random", Math.min(missing, RANDOM_AT_ONCE));
        if (part.length !== Math.min(missing, RANDOM_AT_ONCE) || isStuck(part)) throw stuckGenerator();
        parts.push(part);
      }
      return concat(...parts);
    },
    async generateKey({ algorithm, use }) {
      const making = makes.find((one) => one.algorithm === algorithm && one.use === use);
      if (making === undefined) {
        throw new ThornkeyError("NOT_SUPPORTED", `the token makes no ${algorithm} keys to ${use} with`);
      }
      const id = toHex(randomBytes(16));
      try {
        const { publicKey } = await keys.make(making, id, `${LABEL}key`);
        return { handle: `id:${id}`, publicKey };
      } catch (error) {
        // Nobody will ask for what may have been made all the same.
        void link.ask("destroy", id).catch(() => {});
        throw error;
      }
    },
    publicKey: async (handle) => (await keys.get(idIn(handle))).publicKey,
    sign: async (handle, digest, way = { scheme: "ecdsa" }) => keys.sign(idIn(handle), digest, way),
    agree: async (handle, peer) => keys.agree(idIn(handle), peer),
    async derive(label, salt) {
      const { publicKey } = await mustHave("derive");
      const input = publicKey.algorithm.startsWith("rsa")
        ? new Secret(await keys.sign(own.derive, deriveDigest(label, salt), DERIVING))
        : await keys.agree(own.derive, curvePoint(label, salt));
      try {
        return input.use((bytes) => new Secret(new Uint8Array(hkdfSync("sha256", bytes, salt, infoOf(label), 32))));
      } finally {
        input.destroy();
      }
    },
    async counter() {
      throw new ThornkeyError("NOT_SUPPORTED", "a PKCS#11 token has no counter");
    },
    async certify(statement) {
      if (statement.length !== 32) throw new RangeError(`a statement of ${statement.length} bytes`);
      const { point } = await mustHave("evidence");
      if (point?.length !== 64) throw new ThornkeyError("NOT_SUPPORTED", "the token's evidence key is not of P-256");
      const message = concat(new TextEncoder().encode(EVIDENCE_TAG), statement);
      const digest = new Uint8Array(createHash("sha256").update(message).digest());
      const signature = await keys.sign(own.evidence, digest, { scheme: "ecdsa" });
      return { format: "tagged", signature, message, signer: point.slice(), subject: point.slice() };
    },
    async destroyKey(handle) {
      const id = idIn(handle);
      const listed = await link.ask("keys", undefined);
      if (!listed.some((one) => one.id === id)) throw noKey(handle);
      keys.forget(id);
      await link.ask("destroy", id);
      keys.forget(id); // somebody may have asked meanwhile
    },
    async zeroize(): Promise<ZeroizeReport> {
      const report: { destroyed: string[]; kept: string[] } = { destroyed: [], kept: [] };
      const listed = await link.ask("keys", undefined);
      const ours = ({ id, label }: { id: string; label: string }) =>
        label.startsWith(LABEL) || id === own.derive || id === own.evidence;
      // First what opens the vault.
      const order = listed.filter(ours).sort((a, b) => Number(b.id === own.derive) - Number(a.id === own.derive));
      for (const { id, label } of order) {
        const name = `${label || "key"} (id:${id})`;
        try {
          await link.ask("destroy", id);
          report.destroyed.push(name);
        } catch (error) {
          // One that refuses must not save the others.
          if (!(error instanceof ThornkeyError) || !REFUSALS.has(error.code)) throw error;
          report.kept.push(`${name}: ${error.message}`);
        }
      }
      keys.forget();
      return report;
    },
    close: () => link.close(),
  };

  /** @throws ThornkeyError `KEY_NOT_FOUND` for what is no handle, or names a key of the root's own */
  function idIn(handle: KeyHandle): string {
    const id = /^id:((?:[0-9a-f]{2}){1,64})$/.exec(handle)?.[1];
    if (id === undefined || id === own.derive || id === own.evidence) throw noKey(handle);
    return id;
  }
}

/** Of a token that does not destroy a key, or cannot. */
const REFUSALS: ReadonlySet<ErrorCode> = new Set(["ROOT_REFUSED", "NOT_SUPPORTED"]);

/** The CKA_ID of a key of the root's own: the same on every token, so that it is found again and made once. */
function idOf(label: string): string {
  return createHash("sha256").update(label).digest("hex").slice(0, 32);
}

const isSigner = ({ algorithm, use }: KeyMaking) => algorithm === "p256" && use === "sign";

/** ECDH where the token can, otherwise a signature of which there is only one. */
function derivingKind(makes: readonly KeyMaking[]): KeyMaking | undefined {
  return (
    makes.find(({ algorithm, use }) => algorithm === "p256" && use === "agree") ??
    makes.find(({ algorithm, use }) => algorithm === "rsa2048" && use === "sign") ??
    makes.find(({ algorithm, use }) => algorithm.startsWith("rsa") && use === "sign")
  );
}

/** RSASSA-PKCS1-v1_5 has no salt: one digest has one signature (RFC 8017, 8.2). */
const DERIVING: SigningWay = { scheme: "rsa-pkcs1", digest: "sha256" };

function deriveDigest(label: string, salt: Uint8Array): Uint8Array {
  const name = new TextEncoder().encode(label);
  const hash = createHash("sha256").update("thornkey-1 derive digest");
  return new Uint8Array(hash.update(new Writer(4).u32be(name.length).done()).update(name).update(salt).digest());
}

const infoOf = (label: string) => `thornkey-1 derive ${label}`;

/** Names this one token: model, and the number its vendor gave it. */
function serialOf({ label, manufacturer, model, serial }: TokenFacts): string {
  const words = [model || manufacturer, serial || label];
  return words.map((word) => word.replaceAll(/[^A-Za-z0-9._-]+/g, "_")).join("-");
}

function capabilitiesOf(
  random: boolean,
  mechanisms: readonly MechanismFacts[],
  makes: readonly KeyMaking[],
  derive: Key | undefined,
  evidence: Key | undefined,
): Capabilities {
  const pss = can(mechanisms, CKM.RSA_PKCS_PSS, CKF_MECHANISM.SIGN, 2048);
  return {
    makes,
    keys: [],
    destroys: makes.length > 0,
    random,
    derive: derive !== undefined,
    certify: evidence !== undefined,
    counter: false,
    wireProtected: false,
    limits: [
      "a token has no counter: an old copy of the state that is put back is not noticed by it",
      "what it derives and agrees on passes the vendor's module in clear",
      ...(derive === undefined ? ["it has no key to derive secrets with"] : []),
      ...(evidence === undefined ? ["it has no key to give evidence with"] : []),
      ...(makes.some(({ algorithm }) => algorithm.startsWith("rsa")) && !pss ? ["no RSASSA-PSS"] : []),
    ],
  };
}

/** All bytes alike: once in 2^120 of the shortest that is looked at. */
function isStuck(bytes: Uint8Array): boolean {
  return bytes.length >= 16 && bytes.every((byte) => byte === bytes[0]);
}

function stuckGenerator(): ThornkeyError {
  return new ThornkeyError("ROOT_UNAVAILABLE", "the token's generator gave bytes that are not random");
}

function noKey(handle: KeyHandle): ThornkeyError {
  return new ThornkeyError("KEY_NOT_FOUND", `the token has no key '${handle.slice(0, 80)}'`);
}
