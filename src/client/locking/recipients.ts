/** Makes the header of a new age file. */
import { randomBytes } from "node:crypto";
import { Secret } from "../../bytes/secret.ts";
import { ThornkeyError } from "../../errors.ts";
import { FILE_KEY_BYTES, headerMac } from "./file-key.ts";
import { encodeHeader } from "./header.ts";
import { type Wrap, wrapFor } from "./wrapping.ts";

export interface NewHeader {
  /** With its MAC. */
  readonly header: Uint8Array;
  /** In all of its stanzas; the caller's to destroy. */
  readonly fileKey: Secret;
}

/** As many stanzas as we read ourselves. */
const MAXIMUM_RECIPIENTS = 100;
/** What an empty file is after its header: nonce, and the tag of an empty chunk. */
const EMPTY_PAYLOAD_BYTES = 32;

/**
 * @param recipients `age1…` (X25519), `age1tag1…`, `age1tagpq1…`, and what else the age-encryption package knows. A file
 *   is as safe from quantum computers as the weakest of them.
 * @throws ThornkeyError `USAGE` for a recipient that is none
 */
export async function newHeader(recipients: readonly string[]): Promise<NewHeader> {
  if (recipients.length === 0) throw new ThornkeyError("USAGE", "locked for nobody");
  if (recipients.length > MAXIMUM_RECIPIENTS) throw new ThornkeyError("USAGE", "locked for more than 100 recipients");
  const wraps = recipients.map((recipient) => orUsage(recipient, () => wrapFor(recipient)));
  if (!wraps.every((wrap) => wrap !== undefined)) return headerOfOtherKinds(recipients);
  return headerOf(wraps, recipients);
}

function headerOf(wraps: readonly Wrap[], recipients: readonly string[]): NewHeader {
  const fileKey = new Secret(new Uint8Array(randomBytes(FILE_KEY_BYTES)));
  try {
    // A key that takes part in nothing, such as a point of low order, shows only now.
    const stanzas = wraps.map((wrap, i) => orUsage(recipients[i] ?? "", () => fileKey.use(wrap)));
    return { header: encodeHeader(stanzas, (authenticated) => headerMac(fileKey, authenticated)), fileKey };
  } catch (error) {
    fileKey.destroy();
    throw error;
  }
}

/** For `age1pq1…`, and whatever the package learns. */
async function headerOfOtherKinds(recipients: readonly string[]): Promise<NewHeader> {
  const { Encrypter } = await import("age-encryption");
  const encrypter = new Encrypter();
  for (const recipient of recipients) orUsage(recipient, () => encrypter.addRecipient(recipient));
  // The package makes the file key itself; a recipient without a stanza is how it is asked for.
  let made: Uint8Array | undefined;
  encrypter.addRecipient({
    wrapFileKey: (fileKey) => {
      made = fileKey;
      return [];
    },
  });
  const file = await encrypter.encrypt(new Uint8Array(0));
  if (made === undefined) throw new Error("age-encryption did not show the file key");
  const fileKey = new Secret(made.slice());
  made.fill(0);
  return { header: file.slice(0, file.length - EMPTY_PAYLOAD_BYTES), fileKey };
}

function orUsage<Result>(recipient: string, attempt: () => Result): Result {
  try {
    return attempt();
  } catch (cause) {
    const shown = recipient.length > 70 ? `${recipient.slice(0, 60)}…` : recipient;
    throw new ThornkeyError("USAGE", `'${shown}' is no age recipient`, { cause });
  }
}
