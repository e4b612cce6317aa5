import type { TokenFacts } from "./calls.ts";
import { CKF_TOKEN } from "./constants.ts";
import { linkToken, PATIENCE } from "./link.ts";

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

function listed({ label, manufacturer, model, serial, slotId, firmware, flags }: TokenFacts): ListedToken {
  return {
    ...{ token: label, manufacturer, model, serial, slotId, firmware },
    initialized: (flags & CKF_TOKEN.INITIALIZED) !== 0,
    needsPin: (flags & CKF_TOKEN.LOGIN_REQUIRED) !== 0,
  };
}
