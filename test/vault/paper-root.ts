/** A root in memory, for campaigns that open a state a thousand times; it keeps the contract, and nothing of a chip. */

import { createECDH, createHmac, randomBytes } from "node:crypto";
import { p256 } from "@noble/curves/nist.js";
import { p256Spki } from "../../src/bytes/der.ts";
import { Secret } from "../../src/bytes/secret.ts";
import { ThornkeyError } from "../../src/errors.ts";
import type { Root } from "../../src/roots/root.ts";
import type { OpenRoot, openRoot } from "../../src/vault/root-spec.ts";

/** What a chip remembers. */
export interface Paper {
  readonly serial: string;
  readonly secret: Uint8Array;
  counter: number;
  /** Private scalars by handle, 32 bytes. */
  readonly slots: Map<string, Uint8Array>;
  /** Handles in the order they were overwritten. */
  readonly destroyed: string[];
  zeroized: number;
  /** The root does not answer to this. */
  broken: "destroyKey" | "counter" | undefined;
}

const HANDLES = ["slot-9", "slot-10", "slot-11"];

export function blankPaper(): Paper {
  const slots = new Map(HANDLES.map((handle) => [handle, scalar()]));
  const serial = randomBytes(9).toString("hex");
  const secret = new Uint8Array(randomBytes(32));
  return { serial, secret, counter: 0, slots, destroyed: [], zeroized: 0, broken: undefined };
}

/** The same chip at another time. */
export function copyPaper(paper: Paper): Paper {
  return { ...paper, slots: new Map(paper.slots), destroyed: [...paper.destroyed] };
}

/** Opens it, whatever the specification says. */
export function opening(paper: Paper): typeof openRoot {
  return async (specification, { expected }): Promise<OpenRoot> => {
    if (expected !== undefined && expected.serial !== paper.serial)
      throw new ThornkeyError("NOT_BOUND", "another root");
    const root = rootOn(paper);
    const close = async () => {};
    return { root, specification, emulated: true, serial: paper.serial, model: "paper", kind: "atecc", close };
  };
}

function rootOn(paper: Paper): Root {
  const slot = (handle: string) => {
    const found = paper.slots.get(handle);
    if (found === undefined) throw new ThornkeyError("KEY_NOT_FOUND", handle);
    return found;
  };
  const answers = (what: Paper["broken"]) => {
    if (paper.broken === what) throw new ThornkeyError("ROOT_UNAVAILABLE", "the root does not answer");
  };
  return {
    describe: async () => ({
      kind: "atecc",
      model: "paper",
      serial: paper.serial,
      firmware: "",
      state: "ready",
      profile: "thornkey-1",
      capabilities: {
        keys: HANDLES.map((handle) => ({
          ...{ handle, uses: ["sign" as const], present: true, replaceable: true },
          purpose: "user key: sign",
        })),
        ...{ makes: [{ algorithm: "p256" as const, use: "sign" as const }], destroys: true, random: true },
        ...{ derive: true, certify: false, counter: true, wireProtected: true, limits: [] },
      },
    }),
    random: async (length) => new Uint8Array(randomBytes(length)),
    async generateKey({ occupied }) {
      const handle = HANDLES.find((one) => !occupied.includes(one));
      if (handle === undefined) throw new ThornkeyError("NOT_SUPPORTED", "no free slot");
      paper.slots.set(handle, scalar());
      return { handle, publicKey: { algorithm: "p256", spki: p256Spki(pointOf(slot(handle))) } };
    },
    publicKey: async (handle) => ({ algorithm: "p256", spki: p256Spki(pointOf(slot(handle))) }),
    sign: async (handle, digest) => p256.sign(digest, slot(handle), { prehash: false, lowS: false }),
    agree: async () => {
      throw new ThornkeyError("NOT_SUPPORTED", "paper");
    },
    derive: async (label, salt) =>
      new Secret(new Uint8Array(createHmac("sha256", paper.secret).update(label).update(salt).digest())),
    counter: async () => ({
      maximum: 2_097_151,
      read: async () => paper.counter,
      async increment() {
        answers("counter");
        return ++paper.counter;
      },
    }),
    certify: async () => {
      throw new ThornkeyError("NOT_SUPPORTED", "paper");
    },
    async destroyKey(handle) {
      answers("destroyKey");
      slot(handle);
      paper.slots.set(handle, scalar());
      paper.destroyed.push(handle);
    },
    async zeroize() {
      answers("destroyKey");
      for (const handle of HANDLES) paper.slots.set(handle, scalar());
      paper.secret.set(randomBytes(32));
      paper.zeroized++;
      return { destroyed: HANDLES, kept: [] };
    },
    close: async () => {},
  };
}

function scalar(): Uint8Array {
  const ecdh = createECDH("prime256v1");
  ecdh.generateKeys();
  const key = new Uint8Array(32);
  const bytes = ecdh.getPrivateKey();
  key.set(bytes, 32 - bytes.length);
  return key;
}

function pointOf(key: Uint8Array): Uint8Array {
  return p256.getPublicKey(key, false).slice(1);
}
