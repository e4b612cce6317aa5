/** Setting locks, and looking whether they are set: the answer to setting them says nothing. */
import { ThornkeyError } from "../../errors.ts";
import type { Firmware } from "./firmware.ts";
import { bitsOf, hasOneLockOnly, type LockName, locksIn } from "./status.ts";

export interface LockReport {
  /** All that are set now, until the next reboot. */
  readonly set: readonly LockName[];
  /** Those asked for that are not. */
  readonly missing: readonly LockName[];
  /**
   * The firmware is from before June 2026 and knows one lock, READ. What it is asked to do with the key it goes on doing,
   * for whoever can open the node.
   */
  readonly oneLockOnly: boolean;
}

/**
 * Sets locks and reads back which are set.
 *
 * @throws ThornkeyError `ROOT_UNAVAILABLE` when the firmware says that it set one, and it is not set
 */
export async function setLocks(firmware: Firmware, wanted: readonly LockName[]): Promise<LockReport> {
  const report = await tryLocks(firmware, wanted);
  if (report.missing.length === 0 || report.oneLockOnly) return report;
  throw new ThornkeyError(
    "ROOT_UNAVAILABLE",
    `the firmware was asked to lock ${wanted.join(", ")}, and ${report.missing.join(", ")} did not lock`,
    { hint: "what is not locked, root can still ask of the key; restart the device and try again" },
  );
}

/** The same, which only reports. */
export async function tryLocks(firmware: Firmware, wanted: readonly LockName[]): Promise<LockReport> {
  try {
    await firmware.setKeyStatus(bitsOf(wanted));
  } catch (error) {
    // Old firmware may refuse the whole because of the locks that it does not know.
    const refused = error instanceof ThornkeyError && ["ROOT_REFUSED", "NOT_SUPPORTED"].includes(error.code);
    if (!refused || wanted.length === 1 || !wanted.includes("READ")) throw error;
    await firmware.setKeyStatus(bitsOf(["READ"]));
  }
  const status = await firmware.keyStatus();
  const set = locksIn(status);
  const missing = wanted.filter((name) => !set.includes(name));
  return { set, missing, oneLockOnly: missing.length > 0 && wanted.includes("READ") && hasOneLockOnly(status) };
}
