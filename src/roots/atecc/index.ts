/**
 * The secure element on its own, without the rest of Thornkey: `import { openChip } from "thornkey/atecc"`.
 */

export { Secret } from "../../bytes/secret.ts";
export { type ErrorCode, ThornkeyError } from "../../errors.ts";
export { type Ability, abilitiesOf, type Finding, type Holding, holdingOf } from "./abilities.ts";
export { type Chip, openChip, type Runner } from "./chip.ts";
export type { Command, Results } from "./command.ts";
export * from "./commands.ts";
export * from "./commands608.ts";
export { type ChipConfig, type KeyConfig, parseConfig, SLOT_SIZES, type Slot, type SlotConfig } from "./config.ts";
export {
  incrementCounter,
  lockConfig,
  lockData,
  lockSlot,
  readConfig,
  readEncrypted,
  readOtp,
  readSlot,
  signDigest,
  type TransportKey,
  writeEncrypted,
} from "./conversations.ts";
export * as digests from "./digests.ts";
export { type EmulatedChip, type EmulatorOptions, startEmulatedChip } from "./emulated.ts";
export { type ChipLocation, DEFAULT_ADDRESS, formatChipLocation, parseChipLocation } from "./location.ts";
export { PROFILE, PROFILE_NAME, type ProfileSlot } from "./profile.ts";
export { type ProvisioningStage, provision, provisioningStage } from "./provision.ts";
export { openAteccRoot } from "./root.ts";
export type { Model } from "./times.ts";
