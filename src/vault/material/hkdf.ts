import { hkdfSync } from "node:crypto";
import { Secret } from "../../bytes/secret.ts";
import { ThornkeyError } from "../../errors.ts";
import { DIGESTS } from "../../operations/key-types.ts";
import type { DeriveSpec } from "./material.ts";

/**
 * HKDF (RFC 5869).
 *
 * @param input keying material; is zeroed
 * @throws ThornkeyError `MALFORMED` when the length is not from 1 to 255 digests
 */
export function hkdf(input: Uint8Array, { digest, salt, info, length }: DeriveSpec): Secret {
  try {
    const most = 255 * DIGESTS[digest];
    if (!Number.isInteger(length) || length < 1 || length > most) {
      throw new ThornkeyError("MALFORMED", `HKDF with ${digest} makes 1 to ${most} bytes`);
    }
    return new Secret(new Uint8Array(hkdfSync(digest, input, salt, info, length)));
  } finally {
    input.fill(0);
  }
}
