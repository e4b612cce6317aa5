/** Where the firmware's service is, and what is locked: `pi`, `pi:NODE`, each with `?lock=hmac`. */
import { ThornkeyError } from "../../errors.ts";
import type { PiOptions } from "./root.ts";

/** @throws ThornkeyError `USAGE` */
export function parsePiLocation(specification: string): PiOptions {
  const match = /^pi(?::([^?]+))?(?:\?lock=(read|hmac))?$/.exec(specification);
  if (match === null) {
    throw new ThornkeyError("USAGE", `'${specification.slice(0, 100)}' names no firmware of a Raspberry Pi`, {
      hint: "write pi, pi:/dev/vcio, or pi?lock=hmac, which locks deriving until the next reboot once the vault is open",
    });
  }
  const [, node, lock] = match;
  return { node, lock: lock as PiOptions["lock"] };
}
