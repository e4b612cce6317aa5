import type { KeyUse } from "../root.ts";
import { type Ability, abilitiesOf, holdingOf } from "./abilities.ts";
import type { ChipConfig, Slot } from "./config.ts";
import { PROFILE, SLOTS } from "./profile.ts";
import { provisioningStage } from "./provision.ts";

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
  /** Secrets that can be overwritten. */
  readonly erasable: readonly Slot[];
  readonly limits: readonly string[];
}

/** @param hasTransport whether the host holds the chip's transport key */
export function planOf(config: ChipConfig, hasTransport: boolean): RootPlan {
  const stage = provisioningStage(config);
  if (!config.configLocked || !config.dataLocked) {
    return { ...NOTHING, state: config.configLocked ? "configured" : "blank", limits: ["it is not provisioned"] };
  }
  return stage === "done" ? ourPlan(config, hasTransport) : adoptedPlan(config);
}

const NOTHING: RootPlan = {
  state: "blank",
  profile: undefined,
  keys: [],
  derive: undefined,
  certify: undefined,
  erasable: [],
  limits: [],
};

const RESERVED: readonly number[] = [SLOTS.identity, SLOTS.evidence, SLOTS.storage];

function ourPlan(config: ChipConfig, hasTransport: boolean): RootPlan {
  const keys = plannedKeys(config, (slot) => PROFILE[slot]?.purpose ?? "").map((key) => ({
    ...key,
    reserved: RESERVED.includes(key.slot),
    uses: key.slot === SLOTS.storage ? [] : key.uses,
  }));
  const subject = config.slots[SLOTS.identity];
  return {
    state: "ready",
    profile: "thornkey-1",
    keys,
    derive: hasTransport ? { slot: SLOTS.storage, result: SLOTS.storageResult } : undefined,
    certify: subject && { signer: SLOTS.evidence, subject },
    erasable: hasTransport ? slotsOf(config, [SLOTS.secret, SLOTS.wideSecret]) : [],
    limits: hasTransport ? [] : ["its transport key is not here, so nothing is derived or agreed"],
  };
}

/** Somebody else decided what the slots do. We use what they allow and say what that is worth. */
function adoptedPlan(config: ChipConfig): RootPlan {
  const all = plannedKeys(config, (slot) => `slot ${slot} as its owner configured it`);
  // Without a transport key of ours a result that lies in a slot is out of reach.
  const keys = all.map((key) =>
    key.result === undefined ? key : { ...key, uses: key.uses.filter((use) => use !== "agree"), result: undefined },
  );
  const source = keys.find(({ uses }) => uses.includes("agree"));
  const signer = config.slots.find((slot) => can(slot, config, "sign internal") && can(slot, config, "public key"));
  const subject = keys
    .map(({ slot }) => config.slots[slot])
    .find((slot) => slot !== undefined && slot !== signer && can(slot, config, "public key"));
  const evidenceOnly = signer !== undefined && !can(signer, config, "sign digest");
  const limits = ["it was configured by somebody else, and can do what its slots allow"];
  if (source) limits.push("what it derives crosses the bus in clear: who listens there can open the store");
  else limits.push("no slot allows ECDH, so it cannot open a store");
  if (!evidenceOnly) limits.push("no slot signs only the chip's own messages, so it gives no evidence");
  return {
    state: "ready",
    profile: "adopted",
    keys,
    derive: source && { slot: source.slot, result: undefined },
    certify: evidenceOnly && signer && subject ? { signer: signer.number, subject } : undefined,
    erasable: [],
    limits,
  };
}

function plannedKeys(config: ChipConfig, purposeOf: (slot: number) => string): PlannedKey[] {
  return config.slots
    .filter((slot) => holdingOf(slot) === "private key" && can(slot, config, "public key"))
    .filter(({ keyConfig, slotConfig }) => !keyConfig.reqAuth && !keyConfig.reqRandom && !slotConfig.limitedUse)
    .map((slot) => {
      const uses: KeyUse[] = [];
      if (can(slot, config, "sign digest")) uses.push("sign");
      if (can(slot, config, "ECDH")) uses.push("agree");
      return {
        slot: slot.number,
        uses,
        replaceable: can(slot, config, "new key"),
        reserved: false,
        purpose: purposeOf(slot.number),
        result: slot.slotConfig.readKey & 8 ? slot.number | 1 : undefined,
      };
    });
}

function can(slot: Slot, config: ChipConfig, ability: Ability): boolean {
  return abilitiesOf(slot, config, "508a").some((finding) => finding.ability === ability && finding.possible);
}

function slotsOf(config: ChipConfig, numbers: readonly number[]): Slot[] {
  return numbers.flatMap((number) => config.slots[number] ?? []);
}
