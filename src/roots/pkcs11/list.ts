import type { TokenFacts } from "./calls.ts";
import { CKF_TOKEN } from "./constants.ts";
import { linkToken, PATIENCE } from "./link.ts";
import type { Pkcs11Location } from "./location.ts";
import { fits } from "./tokens.ts";

/** A token of a module, for somebody who sets it up. */
export interface ListedToken {
  readonly token: string;
  readonly manufacturer: string;
  readonly model: string;
  readonly serial: string;
  readonly slotId: number | bigint;
  readonly firmware: string;
  /** Without it the token can do nothing yet. */
  readonly initialized: boolean;
  readonly needsPin: boolean;
  /** What the token says of its user's PIN; asking does not cost a try. */
  readonly pin: "fine" | "few-tries" | "last-try" | "locked";
}

/**
 * The tokens that a module shows; it is loaded in a process of its own for the time this takes.
 *
 * @param modulePath of the shared library, absolute
 * @throws ThornkeyError `FILE_NOT_FOUND`, `NOT_SUPPORTED` for the module; `ROOT_UNAVAILABLE` when it fails
 */
export async function listTokens(modulePath: string): Promise<readonly ListedToken[]> {
  const link = linkToken({ module: modulePath }, undefined, PATIENCE);
  try {
    return (await link.ask("list")).map(listed);
  } finally {
    await link.close();
  }
}

/** Those of a module that a location speaks of. @throws ThornkeyError as {@link listTokens} */
export async function tokensAt(location: Pkcs11Location): Promise<readonly ListedToken[]> {
  const link = linkToken({ module: location.module }, undefined, PATIENCE);
  try {
    return (await link.ask("list")).filter((facts) => fits(location, facts)).map(listed);
  } finally {
    await link.close();
  }
}

/** The worst first. */
const STANDINGS = [
  [CKF_TOKEN.USER_PIN_LOCKED, "locked"],
  [CKF_TOKEN.USER_PIN_FINAL_TRY, "last-try"],
  [CKF_TOKEN.USER_PIN_COUNT_LOW, "few-tries"],
] as const;

function listed({ label, manufacturer, model, serial, slotId, firmware, flags }: TokenFacts): ListedToken {
  return {
    ...{ token: label, manufacturer, model, serial, slotId, firmware },
    initialized: (flags & CKF_TOKEN.INITIALIZED) !== 0,
    needsPin: (flags & CKF_TOKEN.LOGIN_REQUIRED) !== 0,
    pin: STANDINGS.find(([flag]) => (flags & flag) !== 0)?.[1] ?? "fine",
  };
}
