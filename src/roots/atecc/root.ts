import { createECDH, hkdfSync } from "node:crypto";
import { concat, toHex } from "../../bytes/bytes.ts";
import { p256Spki } from "../../bytes/der.ts";
import { Reader } from "../../bytes/reader.ts";
import { Secret } from "../../bytes/secret.ts";
import { ThornkeyError } from "../../errors.ts";
import { verifyP256Digest } from "../../machine/openssl.ts";
import { curvePoint } from "../curve-point.ts";
import type {
  Certification,
  Counter,
  KeyHandle,
  KeyMaking,
  KeyPlace,
  KeySpecification,
  KeyUse,
  PublicKey,
  ResidentKey,
  Root,
  RootDescription,
  SigningWay,
  ZeroizeReport,
} from "../root.ts";
import { holdingOf } from "./abilities.ts";
import { type Chip, openChip } from "./chip.ts";
import {
  CounterRead,
  ECDH,
  ECDHIntoSlot,
  exactly,
  GenKeyCreate,
  GenKeyPublic,
  InfoKeyValid,
  InfoState,
  NonceFixed,
  Random,
  ReadWord,
  SignInternal,
} from "./commands.ts";
import { type ChipConfig, CONFIG, configWords, formatKeyConfig, formatSlotConfig, type Slot } from "./config.ts";
import {
  incrementCounter,
  readConfig,
  readEncrypted,
  signDigest,
  type TransportKey,
  writeEncrypted,
} from "./conversations.ts";
import { genKeyDigest, internalMessage, sha256 } from "./digests.ts";
import type { ChipLocation } from "./location.ts";
import { type PlannedKey, planOf, type RootPlan } from "./plan.ts";
import { SLOTS } from "./profile.ts";
import { holdsTransportKey } from "./provision.ts";

/** Blocks of 32 random bytes in one list: quick, and still short enough not to hold others up. */
const RANDOM_AT_ONCE = 16;

/** Largest value of the chip's counters (data sheet, "Counters"). */
const COUNTER_MAXIMUM = 2_097_151;

/**
 * A secure element as a root of trust. A chip with the profile `thornkey-1` offers all of the contract; one that
 * somebody else configured offers what its slots allow.
 *
 * @param transport 32 bytes shared with the chip when it was provisioned; without it nothing is derived or agreed on a
 *   chip whose results leave only encrypted
 * @throws ThornkeyError `ROOT_UNAVAILABLE`, `NOT_SUPPORTED`; `ROOT_REFUSED` when the transport key is another chip's
 */
export async function openAteccRoot(location: ChipLocation, transport?: Secret): Promise<Root> {
  return rootOn(await openChip(location), transport);
}

/** The same on a chip that is open already; the root closes it. */
export async function rootOn(chip: Chip, transport?: Secret): Promise<Root> {
  try {
    const config = await readConfig(chip);
    const present = await slotsWithKeys(chip, config);
    const plan = planOf(config, chip.model, present, transport !== undefined);
    if (plan.profile === "thornkey-1" && transport) await mustShare(chip, transport);
    return new AteccRoot(chip, plan, transport);
  } catch (error) {
    await chip.close();
    throw error;
  }
}

class AteccRoot implements Root {
  readonly #chip: Chip;
  readonly #transport: Secret | undefined;
  readonly #publicKeys = new Map<number, Uint8Array>();
  /** Slots in which a key is being made. */
  readonly #making = new Set<number>();
  readonly #plan: RootPlan;

  constructor(chip: Chip, plan: RootPlan, transport: Secret | undefined) {
    this.#chip = chip;
    this.#transport = transport;
    this.#plan = plan;
  }

  async describe(): Promise<RootDescription> {
    const { model, serial, revision } = this.#chip;
    const plan = this.#plan;
    const keys: KeyPlace[] = [];
    for (const place of plan.keys) {
      const [present] = await this.#chip.run(InfoKeyValid(place.slot));
      keys.push({
        handle: handleOf(place.slot),
        uses: place.uses,
        present,
        replaceable: place.replaceable,
        purpose: place.purpose,
      });
    }
    return {
      kind: "atecc",
      model: model === "508a" ? "ATECC508A" : "ATECC608",
      serial: toHex(serial),
      firmware: toHex(revision),
      state: plan.state,
      profile: plan.profile,
      capabilities: {
        makes: makesOf(plan),
        keys,
        destroys: true,
        random: plan.state === "ready",
        derive: plan.derive !== undefined,
        certify: plan.certify !== undefined,
        counter: plan.state === "ready",
        wireProtected: plan.derive?.result !== undefined,
        limits: plan.limits,
      },
    };
  }

  async random(length: number): Promise<Uint8Array> {
    this.#mustBeReady();
    const blocks: Uint8Array[] = [];
    for (let missing = Math.ceil(length / 32); missing > 0; missing = Math.ceil(length / 32) - blocks.length) {
      const list = Array.from({ length: Math.min(missing, RANDOM_AT_ONCE) }, () => Random());
      blocks.push(...(await this.#chip.run(...list)));
    }
    return concat(...blocks).slice(0, length);
  }

  async generateKey({ algorithm, use, occupied }: KeySpecification): Promise<ResidentKey> {
    this.#mustBeReady();
    if (algorithm !== "p256") throw new ThornkeyError("NOT_SUPPORTED", `a secure element makes no ${algorithm} keys`);
    const free = this.#plan.keys.find(
      ({ slot, uses, replaceable, reserved }) =>
        replaceable && !reserved && uses.includes(use) && !occupied.includes(handleOf(slot)) && !this.#making.has(slot),
    );
    if (free === undefined) {
      throw new ThornkeyError("NOT_SUPPORTED", `the secure element has no free slot for a key to ${use} with`, {
        hint: "delete a resident key that is no longer needed, or make a wrapped key",
      });
    }
    this.#publicKeys.delete(free.slot); // whatever comes of it, the key before is no longer sure to be there
    this.#making.add(free.slot);
    try {
      const [point] = await this.#chip.run(GenKeyCreate(free.slot));
      this.#publicKeys.set(free.slot, point);
      return { handle: handleOf(free.slot), publicKey: publicKeyOf(point) };
    } finally {
      this.#making.delete(free.slot);
    }
  }

  async publicKey(handle: KeyHandle): Promise<PublicKey> {
    return publicKeyOf(await this.#point(this.#place(handle).slot));
  }

  async sign(handle: KeyHandle, digest: Uint8Array, way?: SigningWay): Promise<Uint8Array> {
    if (way !== undefined && way.scheme !== "ecdsa") {
      throw new ThornkeyError("NOT_SUPPORTED", `a secure element makes no ${way.scheme} signatures`);
    }
    const { slot } = this.#place(handle, "sign");
    const point = await this.#point(slot);
    return this.#verified(point, digest, () => signDigest(this.#chip, slot, digest));
  }

  async agree(handle: KeyHandle, peer: Uint8Array): Promise<Secret> {
    exactly("public key", peer, 64);
    const place = this.#place(handle, "agree");
    return new Secret(await this.#ecdh(place.slot, place.result, peer));
  }

  async derive(label: string, salt: Uint8Array): Promise<Secret> {
    this.#mustBeReady();
    const source = this.#plan.derive;
    if (source === undefined) throw this.#cannot("derive");
    const shared = await this.#ecdh(source.slot, source.result, curvePoint(label, salt));
    try {
      return new Secret(new Uint8Array(hkdfSync("sha256", shared, salt, `thornkey-1 derive ${label}`, 32)));
    } finally {
      shared.fill(0);
    }
  }

  async counter(): Promise<Counter> {
    this.#mustBeReady();
    return {
      maximum: COUNTER_MAXIMUM,
      read: async () => (await this.#chip.run(CounterRead(0)))[0],
      increment: () => incrementCounter(this.#chip, 0),
    };
  }

  async certify(statement: Uint8Array): Promise<Certification> {
    exactly("statement", statement, 32);
    this.#mustBeReady();
    const keys = this.#plan.certify;
    if (keys === undefined) throw this.#cannot("certify");
    const { signer, subject } = keys;
    const mode = 0x40;
    const signerPoint = await this.#point(signer);
    // GenKey with digest puts the statement and the identity's public key into TempKey; Sign adds what the slot is.
    const [, subjectPoint, state, signature, locks] = await this.#chip.run(
      NonceFixed(statement.slice()),
      GenKeyPublic(subject.number, { digest: true }),
      InfoState(),
      SignInternal(signer, { serial: true }),
      ReadWord("config", CONFIG.slotLocked >> 5, (CONFIG.slotLocked >> 2) & 7),
    );
    const message = internalMessage({
      tempKey: genKeyDigest(subjectPoint, 0x08, subject.number, this.#chip.serial, statement),
      mode,
      signer,
      slotConfig: configWords([formatSlotConfig(subject.slotConfig)]),
      keyConfig: configWords([formatKeyConfig(subject.keyConfig)]),
      tempKeyFlags: state.keyId | (state.sourceFlag << 4) | 0x40,
      slotLocked: (new Reader(locks).u16le() & (1 << subject.number)) === 0, // it may have been locked meanwhile
      publicKeyValid: false,
      serial: this.#chip.serial,
    });
    if (!verifyP256Digest(signerPoint, sha256(message), signature)) throw wrongSignature();
    return { format: "atecc-internal", signature, message, signer: signerPoint, subject: subjectPoint };
  }

  async destroyKey(handle: KeyHandle): Promise<void> {
    const place = this.#place(handle);
    if (!place.replaceable) throw new ThornkeyError("ROOT_REFUSED", `the key in slot ${place.slot} cannot be replaced`);
    await this.#destroy(place);
  }

  async zeroize(): Promise<ZeroizeReport> {
    this.#mustBeReady();
    const destroyed: string[] = [];
    const kept: string[] = [];
    /** One that refuses must not save the others. */
    const attempt = async (name: string, act: () => Promise<void>) => {
      try {
        await act();
        destroyed.push(name);
      } catch (error) {
        if (!(error instanceof ThornkeyError) || error.code !== "ROOT_REFUSED") throw error;
        kept.push(`${name}: ${error.message}`);
      }
    };
    for (const place of this.#plan.keys) {
      const name = `slot ${place.slot} (${place.purpose})`;
      if (place.replaceable) await attempt(name, () => this.#destroy(place));
      else kept.push(name);
    }
    for (const slot of this.#plan.erasable) {
      await attempt(`slot ${slot.number} (secret)`, () => this.#erase(slot));
    }
    return { destroyed, kept: [...kept, ...this.#plan.keptSecrets] };
  }

  async close(): Promise<void> {
    this.#transport?.destroy();
    await this.#chip.close();
  }

  /**
   * A private key is destroyed by making another one over it that nobody will use; what it last agreed on still lies in
   * the slot beside it, and is overwritten by an agreement with a key nobody keeps.
   */
  async #destroy({ slot, result }: PlannedKey): Promise<void> {
    const nobody = new Uint8Array(createECDH("prime256v1").generateKeys().subarray(1));
    this.#publicKeys.delete(slot);
    await this.#chip.run(GenKeyCreate(slot), ...(result === undefined ? [] : [ECDHIntoSlot(slot, nobody)]));
    this.#publicKeys.delete(slot); // somebody may have asked meanwhile
  }

  /** Overwrites a secret with random bytes nobody keeps. */
  async #erase(slot: Slot): Promise<void> {
    const key = this.#transportKey();
    for (let block = 0; block * 32 < slot.size; block++) {
      await writeEncrypted(this.#chip, slot.number, block, crypto.getRandomValues(new Uint8Array(32)), key);
    }
  }

  async #ecdh(slot: number, result: number | undefined, peer: Uint8Array): Promise<Uint8Array> {
    if (result === undefined) return (await this.#chip.run(ECDH(slot, peer.slice())))[0];
    return readEncrypted(this.#chip, result, 0, this.#transportKey(), ECDHIntoSlot(slot, peer.slice()));
  }

  #transportKey(): TransportKey {
    if (this.#transport === undefined) {
      throw new ThornkeyError(
        "ROOT_REFUSED",
        "the chip gives this out only encrypted, and its transport key is not here",
        {
          hint: "give the transport key file that was written when the chip was provisioned",
        },
      );
    }
    return { slot: SLOTS.transport, secret: this.#transport };
  }

  async #point(slot: number): Promise<Uint8Array> {
    const known = this.#publicKeys.get(slot);
    if (known) return known;
    const [point] = await this.#chip.run(GenKeyPublic(slot));
    this.#publicKeys.set(slot, point);
    return point;
  }

  /** Gives out no signature that does not verify. */
  async #verified(point: Uint8Array, digest: Uint8Array, make: () => Promise<Uint8Array>): Promise<Uint8Array> {
    for (let attempt = 1; attempt <= 2; attempt++) {
      const signature = await make();
      if (verifyP256Digest(point, digest, signature)) return signature;
    }
    throw wrongSignature();
  }

  #place(handle: KeyHandle, use?: KeyUse) {
    this.#mustBeReady();
    const place = this.#plan.keys.find(({ slot }) => handleOf(slot) === handle);
    if (place === undefined) throw new ThornkeyError("KEY_NOT_FOUND", `the secure element has no key '${handle}'`);
    if (use !== undefined && !place.uses.includes(use)) {
      throw new ThornkeyError("ROOT_REFUSED", `slot ${place.slot} does not allow to ${use}`, {
        hint: "'thornkey chip info' shows what each slot allows and why",
      });
    }
    return place;
  }

  #cannot(what: string): ThornkeyError {
    return new ThornkeyError("NOT_SUPPORTED", `this secure element cannot ${what}: ${this.#plan.limits.join("; ")}`);
  }

  #mustBeReady(): void {
    if (this.#plan.state !== "ready") {
      throw new ThornkeyError("ROOT_REFUSED", `the secure element is not provisioned (${this.#plan.state})`, {
        hint: "'thornkey chip provision' does it, once and for ever",
      });
    }
  }
}

/** Kinds of keys for which there are slots whose keys can be made anew. */
function makesOf({ keys }: RootPlan): KeyMaking[] {
  const uses = new Set(
    keys.filter(({ replaceable, reserved }) => replaceable && !reserved).flatMap(({ uses }) => uses),
  );
  return [...uses].map((use) => ({ algorithm: "p256", use }));
}

function publicKeyOf(point: Uint8Array): PublicKey {
  return { algorithm: "p256", spki: p256Spki(point) };
}

/** Slots for private keys that hold one. */
async function slotsWithKeys(chip: Chip, { slots }: ChipConfig): Promise<ReadonlySet<number>> {
  const candidates = slots.filter((slot) => holdingOf(slot) === "private key").map(({ number }) => number);
  const valid = await chip.run(...candidates.map((slot) => InfoKeyValid(slot)));
  return new Set(candidates.filter((_, index) => valid[index]));
}

/** With another transport key everything that leaves the chip encrypted would come out as noise. */
async function mustShare(chip: Chip, secret: Secret): Promise<void> {
  if (await holdsTransportKey(chip, { slot: SLOTS.transport, secret })) return;
  throw new ThornkeyError("ROOT_REFUSED", "this transport key is not the one the chip was provisioned with", {
    hint: "use the transport key file that was written when this chip was provisioned",
  });
}

function handleOf(slot: number): KeyHandle {
  return `slot-${slot}`;
}

function wrongSignature(): ThornkeyError {
  return new ThornkeyError("ROOT_UNAVAILABLE", "the secure element gave a signature that its own public key refutes", {
    hint: "check its supply and the wires, and whether somebody else makes keys in it",
  });
}
