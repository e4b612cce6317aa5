/** What goes wrong with the firmware, in the words of the house. */
import { constants } from "node:os";
import { type ErrorCode, ThornkeyError } from "../../errors.ts";
import { errnoName } from "../../machine/libc.ts";
import type { Outcome } from "./mailbox.ts";

const { EACCES, EINVAL, ENODEV, ENOENT, ENOTTY, ENXIO, EPERM } = constants.errno;

/** Codes of the tag "last error" that are acted on. */
export const FIRMWARE_ERROR = { keyNotSet: 6, notBlank: 10 } as const;

const UNTIL_REBOOT = "the lock holds until the next reboot; unlock before it is set, or restart the device";
export const NO_KEY_HINT =
  "a key is made once and for ever, and never erased: 'rpi-fw-crypto genkey --key-id 1 --alg ec' of raspberrypi/utils";
export const OLD_FIRMWARE_HINT =
  "a Raspberry Pi 5 needs a newer boot EEPROM (sudo rpi-eeprom-update -a), a Raspberry Pi 4 a newer start4.elf in the " +
  "boot partition (sudo apt full-upgrade), both at least of January 2026; older boards have no such service";

interface Meaning {
  readonly code: ErrorCode;
  readonly says: string;
  readonly hint?: string;
}

/** Error codes of the service (raspberrypi/utils, rpifwcrypto.h). */
const MEANINGS = new Map<number, Meaning>([
  [1, { code: "ROOT_UNAVAILABLE", says: "it gives no reason" }],
  [2, { code: "ROOT_REFUSED", says: "invalid argument" }],
  [3, { code: "KEY_NOT_FOUND", says: "there is no such key" }],
  [4, { code: "ROOT_REFUSED", says: "locked until the next reboot", hint: UNTIL_REBOOT }],
  [5, { code: "ROOT_UNAVAILABLE", says: "the OTP cannot be read or written" }],
  [FIRMWARE_ERROR.keyNotSet, { code: "ROOT_REFUSED", says: "there is no key in OTP", hint: NO_KEY_HINT }],
  [
    7,
    {
      code: "ROOT_REFUSED",
      says: "what is in OTP is not a P-256 key",
      hint: "it was written by hand, and cannot be used; OTP cannot be erased",
    },
  ],
  [8, { code: "NOT_SUPPORTED", says: "this firmware cannot do that", hint: OLD_FIRMWARE_HINT }],
  [9, { code: "ROOT_UNAVAILABLE", says: "the operation failed" }],
  [FIRMWARE_ERROR.notBlank, { code: "KEY_EXISTS", says: "there is a key in OTP already, which cannot be replaced" }],
]);

/** @param what was asked: `to sign`, `for the public key` */
export function failureOf(what: string, outcome: Exclude<Outcome, { kind: "answer" }>): ThornkeyError {
  if (outcome.kind === "refused") return refusal(what, outcome.errno);
  const { error } = outcome;
  const meaning = MEANINGS.get(error);
  const { code, says, hint } = meaning ?? { code: "ROOT_UNAVAILABLE", says: `error ${error}, which is not known` };
  return new ThornkeyError(
    code,
    `the firmware was asked ${what} and says: ${says}`,
    hint === undefined ? {} : { hint },
  );
}

/** The firmware, or the kernel before it, took none of the message. */
export function isTagRefused(outcome: Outcome): boolean {
  return outcome.kind === "refused" && (outcome.errno === EPERM || outcome.errno === EINVAL);
}

/** The firmware fails every message that it does not know. */
export function isUnknownToFirmware(outcome: Outcome): boolean {
  return outcome.kind === "refused" && outcome.errno === EINVAL;
}

/** What is left of the node after such an error is not used again. */
export function losesNode(errno: number): boolean {
  return errno !== EPERM && errno !== EINVAL;
}

function refusal(what: string, errno: number): ThornkeyError {
  const because = `the firmware cannot be asked ${what} (${errnoName(errno)})`;
  if (errno === EPERM) {
    return new ThornkeyError("ROOT_REFUSED", because, { hint: "the kernel does not let that through on this node" });
  }
  if (errno === EINVAL) return new ThornkeyError("ROOT_UNAVAILABLE", because, { hint: OLD_FIRMWARE_HINT });
  if (errno === ENOTTY) {
    return new ThornkeyError("NOT_SUPPORTED", because, { hint: "that file is not the firmware's mailbox" });
  }
  return new ThornkeyError("ROOT_UNAVAILABLE", because);
}

const NODE_HINTS = new Map<number, string>([
  [
    ENOENT,
    "the firmware's crypto service is on a Raspberry Pi 4 or 5; its node comes with the kernel of Raspberry Pi OS",
  ],
  [EACCES, "give the node to the user who runs this, by the udev rule in docs/pi.md"],
  [EPERM, "let the service use the node: with systemd, DeviceAllow=/dev/vcio_crypto"],
  [ENXIO, "the node is there without the kernel's driver behind it"],
  [ENODEV, "the node is there without the kernel's driver behind it"],
]);

/** The node cannot be opened. @param hint default: what is known to help on a Raspberry Pi */
export function unopened(nodes: readonly string[], errno: number, hint = NODE_HINTS.get(errno)): ThornkeyError {
  return new ThornkeyError(
    "ROOT_UNAVAILABLE",
    `${nodes.join(" and ")} cannot be opened (${errnoName(errno)})`,
    hint === undefined ? {} : { hint },
  );
}
