/** Makes the header of a new age file, for recipients of every kind that the age-encryption package knows. */
import { Secret } from "../../bytes/secret.ts";
import { ThornkeyError } from "../../errors.ts";

/** What an empty file is after its header: nonce, and the tag of an empty chunk. */
const EMPTY_PAYLOAD_BYTES = 32;
/** As many stanzas as we read ourselves. */
const MAXIMUM_RECIPIENTS = 100;

/**
 * @param recipients `age1…` (X25519), `age1pq1…`, `age1tag1…`, `age1tagpq1…`. A file is as safe from quantum computers
 *   as the weakest of them.
 * @returns a header with its MAC, and the new file key in it, the caller's to destroy
 * @throws ThornkeyError `USAGE` for a recipient that is none
 */
export async function newHeader(recipients: readonly string[]): Promise<{ header: Uint8Array; fileKey: Secret }> {
  if (recipients.length === 0) throw new ThornkeyError("USAGE", "locked for nobody");
  if (recipients.length > MAXIMUM_RECIPIENTS) throw new ThornkeyError("USAGE", "locked for more than 100 recipients");
  // Only who locks needs it, and it takes a while to load.
  const { Encrypter } = await import("age-encryption");
  const encrypter = new Encrypter();
  for (const recipient of recipients) {
    try {
      encrypter.addRecipient(recipient);
    } catch (cause) {
      const shown = recipient.length > 70 ? `${recipient.slice(0, 60)}…` : recipient;
      throw new ThornkeyError("USAGE", `'${shown}' is no age recipient`, { cause });
    }
  }
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
