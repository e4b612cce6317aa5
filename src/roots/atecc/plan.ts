import type { KeyUse } from "../root.ts";
import { type Ability, abilitiesOf, holdingOf } from "./abilities.ts";
import type { ChipConfig, Slot } from "./config.ts";
import { PROFILE, SLOTS } from "./profile.ts";
import { provisioningStage } from "./provision.ts";
import type { Model } from "./times.ts";

/** One private key slot as the root uses it. */
export interface PlannedKey {
  readonly slot: number;
  readonly uses: readonly KeyUse[];
  readonly replaceable: boolean;
  /** Has a purpose of its own: never given to somebody who asks for a new key. */
  readonly reserved: boolean;
  readonly purpose: string;
  /** The slot an ECDH result goes into; undefined when it is answered in clear. */
  readonly result: number | undefined;
}

/** What a root on this chip can do, decided once from its configuration. */
export interface RootPlan {
  readonly state: "blank" | "configured" | "ready";
  readonly profile: "thornkey-1" | "adopted" | undefined;
  readonly keys: readonly PlannedKey[];
  readonly derive: { readonly slot: number; readonly result: number | undefined } | undefined;
  readonly certify: { readonly signer: number; readonly subject: Slot } | undefined;
  /** Slots of secrets that zeroize overwrites, and those it cannot. */
  readonly erasable: readonly Slot[];
  readonly keptSecrets: readonly string[];
  readonly limits: readonly string[];
}

/**
 * @param present slots that hold a private key now
 * @param hasTransport whether the host holds the chip's transport key
 */
export function planOf(
  config: ChipConfig,
  model: Model,
  present: ReadonlySet<number>,
  hasTransport: boolean,
): RootPlan {
  const stage = provisioningStage(config);
  if (!config.configLocked || !config.dataLocked) {
    return { ...NOTHING, state: config.configLocked ? "configured" : "blank", limits: ["it is not provisioned"] };
  }
  return stage === "done" ? ourPlan(config, model, hasTransport) : adoptedPlan(config, model, present);
}

const NOTHING: RootPlan = {
  state: "blank",
  profile: undefined,
  keys: [],
  derive: undefined,
  certify: undefined,
  erasable: [],
  keptSecrets: [],
  limits: [],
};

const RESERVED: readonly number[] = [SLOTS.identity, SLOTS.evidence, SLOTS.storage];

function ourPlan(config: ChipConfig, model: Model, hasTransport: boolean): RootPlan {
  const keys = plannedKeys(config, model, (slot) => PROFILE[slot]?.purpose ?? "").map((key) => ({
    ...key,
    reserved: RESERVED.includes(key.slot),
    uses: key.slot === SLOTS.storage ? [] : key.uses,
  }));
  const subject = config.slots[SLOTS.identity];
  const secrets = slotsOf(config, [SLOTS.secret, SLOTS.wideSecret]);
  return {
    state: "ready",
    profile: "thornkey-1",
    keys,
    derive: hasTransport ? { slot: SLOTS.storage, result: SLOTS.storageResult } : undefined,
    certify: subject && { signer: SLOTS.evidence, subject },
    erasable: hasTransport ? secrets.filter(({ locked }) => !locked) : [],
    keptSecrets: [
      ...secrets
        .filter(({ locked }) => locked || !hasTransport)
        .map(({ number, locked }) => `slot ${number} (secret: ${locked ? "the slot is locked" : "no transport key"})`),
      `slot ${SLOTS.transport} (transport key: opens nothing by itself)`,
    ],
    limits: hasTransport ? [] : ["its transport key is not here, so nothing is derived or agreed"],
  };
}

/**
 * Somebody else decided what the slots do. We use what they allow and say what that is worth. Keys that are there may be
 * somebody's: none is replaced to make a new one. The key secrets are derived with serves no agreement, because whoever
 * may agree with it could compute what it derives.
 */
function adoptedPlan(config: ChipConfig, model: Model, present: ReadonlySet<number>): RootPlan {
  const allowed = plannedKeys(config, model, (slot) => `slot ${slot} as its owner configured it`)
    // Without a transport key of ours a result that lies in a slot is out of reach.
    .map((key) => (key.result === undefined ? key : { ...key, uses: without(key.uses, "agree"), result: undefined }));
  const source = allowed.find(({ slot, uses }) => uses.includes("agree") && present.has(slot));
  const keys = allowed.map((key) => ({
    ...key,
    uses: key === source ? without(key.uses, "agree") : key.uses,
    reserved: present.has(key.slot) || key === source,
  }));
  const signer = config.slots.find((slot) => present.has(slot.number) && isEvidenceKey(slot, config, model));
  const subject = config.slots.find(
    (slot) => slot !== signer && present.has(slot.number) && can(slot, config, model, "public key") && !isGated(slot),
  );
  const limits = ["it was configured by somebody else, and can do what its slots allow"];
  if (source) limits.push("what it derives crosses the bus in clear: who listens there can open the store");
  else limits.push("no slot with a key allows ECDH, so it cannot open a store");
  if (!signer) limits.push("no slot signs only the chip's own messages, so it gives no evidence");
  return {
    state: "ready",
    profile: "adopted",
    keys,
    derive: source && { slot: source.slot, result: undefined },
    certify: signer && subject ? { signer: signer.number, subject } : undefined,
    erasable: [],
    keptSecrets: [],
    limits,
  };
}

/** Signs what the chip itself says and nothing else, with a key nobody can bring in. */
function isEvidenceKey(slot: Slot, config: ChipConfig, model: Model): boolean {
  return (
    can(slot, config, model, "sign internal") &&
    can(slot, config, model, "public key") &&
    !can(slot, config, model, "sign digest") &&
    !can(slot, config, model, "import key") &&
    !isGated(slot)
  );
}

/** Its use needs more than the command: a nonce, an authorisation, or one of a limited number of uses. */
function isGated({ keyConfig, slotConfig }: Slot): boolean {
  return keyConfig.reqAuth || keyConfig.reqRandom || slotConfig.limitedUse;
}

function plannedKeys(config: ChipConfig, model: Model, purposeOf: (slot: number) => string): PlannedKey[] {
  return config.slots
    .filter((slot) => holdingOf(slot) === "private key" && can(slot, config, model, "public key") && !isGated(slot))
    .map((slot) => {
      const uses: KeyUse[] = [];
      if (can(slot, config, model, "sign digest")) uses.push("sign");
      if (can(slot, config, model, "ECDH")) uses.push("agree");
      return {
        slot: slot.number,
        uses,
        replaceable: can(slot, config, model, "new key"),
        reserved: false,
        purpose: purposeOf(slot.number),
        result: slot.slotConfig.readKey & 8 ? slot.number | 1 : undefined,
      };
    });
}

function without(uses: readonly KeyUse[], use: KeyUse): KeyUse[] {
  return uses.filter((other) => other !== use);
}

function can(slot: Slot, config: ChipConfig, model: Model, ability: Ability): boolean {
  return abilitiesOf(slot, config, model).some((finding) => finding.ability === ability && finding.possible);
}

function slotsOf(config: ChipConfig, numbers: readonly number[]): Slot[] {
  return numbers.flatMap((number) => config.slots[number] ?? []);
}
