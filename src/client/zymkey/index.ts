/**
 * Programs that were written for a Zymkey, over a vault: docs/zymkey.md.
 *
 *     await using zymkey = new Zymkey();
 *     const signature = await zymkey.sign("message");
 *     await zymkey.verify("message", signature);
 */
export { ThornkeyError } from "../../errors.ts";
export type { KdfName } from "./agreement.ts";
export { VerificationError, ZymkeyLibraryError, ZymkeyTimeoutError } from "./errors.ts";
export type { EncryptionKey } from "./locked-objects.ts";
export { RecoveryStrategy, RecoveryStrategyBIP39, RecoveryStrategySLIP39 } from "./recovery-strategy.ts";
export type { Acceleration, Axis, DigitalPerimeter, Led, Sensors } from "./sensors.ts";
export type { RunningHash } from "./signing.ts";
export type { KeyTypeName } from "./slots.ts";
export { client, Zymkey, ZymkeyAccelAxisData, type ZymkeyOptions } from "./zymkey.ts";
