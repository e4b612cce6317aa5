/** What guest and host say to each other on a serial line: one JSON object a line. */
export type FromGuest =
  | {
      readonly kind: "result";
      readonly step: string;
      readonly ok: boolean;
      readonly milliseconds: number;
      /** What was seen, or what went wrong. */
      readonly detail: unknown;
    }
  /** The host is to do this, and to answer with one line. */
  | { readonly kind: "ask"; readonly what: string }
  | { readonly kind: "end" };

export type Result = FromGuest & { readonly kind: "result" };

/** Begins the name of each test of the contract (test/roots/contract.ts), in the guest as in vitest's list. */
export const CONTRACT = "a TPM keeps the contract of a root > ";

/** @returns undefined for a line that is none of ours */
export function parseReport(line: string): FromGuest | undefined {
  if (!line.startsWith("{")) return undefined;
  try {
    return JSON.parse(line) as FromGuest;
  } catch {
    return undefined;
  }
}
