/** How the secret of a wallet can be restored. */
import { ThornkeyError } from "../../errors.ts";

/** Nothing restores it. */
export class RecoveryStrategy {
  /** How keys are derived: `cardano`, for ed25519 only, or empty. */
  readonly variant: "" | "cardano";

  /** @throws ThornkeyError `USAGE` for another variant */
  constructor(variant = "") {
    if (variant !== "" && variant !== "cardano") {
      throw new ThornkeyError("USAGE", "the variant of a wallet is 'cardano' or empty");
    }
    this.variant = variant;
  }
}

/** 24 words of BIP39. */
export class RecoveryStrategyBIP39 extends RecoveryStrategy {
  readonly passphrase: string;

  /** @param passphrase base64; what it decodes to is UTF-8. May be empty */
  constructor(variant = "", passphrase = "") {
    super(variant);
    decodePassphrase(passphrase);
    this.passphrase = passphrase;
  }
}

/** Shares of SLIP-39: groups of members. */
export class RecoveryStrategySLIP39 extends RecoveryStrategy {
  readonly group_count: number;
  readonly group_threshold: number;
  readonly iteration_exponent: number;
  readonly passphrase: string;

  /**
   * @param group_count 1 to 16. @param group_threshold 1 to `group_count`
   * @param iteration_exponent 0 to 10: each step doubles the work
   * @param passphrase base64, may be empty
   * @throws ThornkeyError `USAGE`
   */
  constructor(group_count: number, group_threshold: number, iteration_exponent: number, variant = "", passphrase = "") {
    super(variant);
    if (!isWhole(group_count, 1, 16) || !isWhole(group_threshold, 1, group_count)) {
      throw new ThornkeyError("USAGE", "1 to 16 groups, of which no more can be needed than there are");
    }
    if (!isWhole(iteration_exponent, 0, 10)) throw new ThornkeyError("USAGE", "the iteration exponent is 0 to 10");
    decodePassphrase(passphrase);
    this.group_count = group_count;
    this.group_threshold = group_threshold;
    this.iteration_exponent = iteration_exponent;
    this.passphrase = passphrase;
  }
}

/** @returns the bytes of a passphrase. @throws ThornkeyError `USAGE` when it is not base64 */
export function decodePassphrase(base64: string): Uint8Array {
  const bytes = Buffer.from(base64, "base64");
  if (bytes.toString("base64").replace(/=+$/, "") === base64.replace(/=+$/, "")) return new Uint8Array(bytes);
  throw new ThornkeyError("USAGE", "the passphrase of a recovery strategy is given in base64");
}

function isWhole(value: number, least: number, most: number): boolean {
  return Number.isInteger(value) && value >= least && value <= most;
}
