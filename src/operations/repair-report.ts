/** What a repair found and did. The vault's process writes it as JSON, the command line shows it. */

/**
 * - `intact`: as it was, which is proved
 * - `unproved`: restored, and it cannot be proved that this is its newest form
 * - `careful`: restored, with its counts of uses as high as they may be
 * - `disabled`: its policy is lost and its key is in the root; it can be seen and deleted, not used
 * - `left out`: it was found, and must not come back
 * - `lost`: it was not found
 */
export type Outcome = "intact" | "unproved" | "careful" | "disabled" | "left out" | "lost";

export interface KeyOutcome {
  readonly id: string;
  readonly name: string;
  readonly type: string;
  readonly protection: "resident" | "wrapped";
  readonly outcome: Outcome;
  /** For a person; empty for what is intact. */
  readonly why: string;
  /** For a key in the root: its place. */
  readonly handle?: string | undefined;
  /** SubjectPublicKeyInfo in base64, of a key that cannot be used any more. */
  readonly publicKey?: string | undefined;
}

export interface SettingOutcome {
  /** `the device's policy`, `namespace acme` */
  readonly name: string;
  readonly outcome: Exclude<Outcome, "careful" | "disabled"> | "rebuilt";
  readonly why: string;
}

export interface RepairReport {
  /** Id of the vault. */
  readonly device: string;
  /** What is wrong with the state, for a person; nothing when it is whole. */
  readonly problems: readonly string[];
  readonly keys: readonly KeyOutcome[];
  readonly settings: readonly SettingOutcome[];
  /** Records that should be there, and nobody knows what they were. */
  readonly unknown: number;
  readonly journal: {
    readonly kept: number;
    /** Entries that are not in the new journal. */
    readonly lost?: { readonly from: number; readonly to: number | undefined } | undefined;
    /** Lines of them that were found, and are kept in a file. */
    readonly aside: number;
  };
  /** Whether an old state was taken for the newest, by its owner's wish. */
  readonly rollbackAccepted: boolean;
  /** Whether the state was changed. */
  readonly repaired: boolean;
  /** Directory with what was there before. */
  readonly folder?: string | undefined;
}

/** Outcomes that take something from the owner. */
export const LOSSES: ReadonlySet<string> = new Set(["disabled", "left out", "lost"]);
