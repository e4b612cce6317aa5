/** Two operations of one session over the same message. */
import type { SizeOnly } from "./calls.ts";
import { more } from "./cipher-calls.ts";
import { CKR } from "./constants.ts";
import type { Handlers } from "./handlers.ts";
import { refuse } from "./refusals.ts";
import { active, type OverMessage, type Session } from "./session.ts";

type Output = [Uint8Array | SizeOnly];

export const dualCalls: Handlers = {
  DigestEncryptUpdate: (application, handle, part, room) =>
    encrypting(application.session(handle), "digest", part, room),
  SignEncryptUpdate: (application, handle, part, room) => encrypting(application.session(handle), "sign", part, room),
  DecryptDigestUpdate: (application, handle, part, room) =>
    decrypting(application.session(handle), "digest", part, room),
  DecryptVerifyUpdate: (application, handle, part, room) =>
    decrypting(application.session(handle), "verify", part, room),
};

/** A part that is asked again for want of room counts once. */
function encrypting(session: Session, name: "digest" | "sign", part: Uint8Array | null, room: number) {
  const other: OverMessage = active(session, name);
  const cipher = active(session, "encrypt");
  if (part === null) return refuse(CKR.ARGUMENTS_BAD);
  if (room > 0 && room >= cipher.room(part.length, false)) {
    other.started = true;
    other.update(part);
  }
  return more(session, "encrypt", part, room);
}

function decrypting(
  session: Session,
  name: "digest" | "verify",
  part: Uint8Array | null,
  room: number,
): Output | Promise<Output> {
  const other: OverMessage = active(session, name);
  const take = (output: Output): Output => {
    const [plaintext] = output;
    if (plaintext instanceof Uint8Array) {
      other.started = true;
      other.update(plaintext);
    }
    return output;
  };
  const output = more(session, "decrypt", part, room);
  return output instanceof Promise ? output.then(take) : take(output);
}
