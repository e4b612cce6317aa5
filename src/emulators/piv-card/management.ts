import { createCipheriv, randomBytes, timingSafeEqual } from "node:crypto";
import type { Command } from "./apdu.ts";
import { makeKey, pointOf, publicKeyOf } from "./keys.ts";
import type { Memory } from "./memory.ts";
import type { Session } from "./session.ts";
import { algorithmOf, SLOTS } from "./slots.ts";
import { type Answer, answer, refusal, STATUS } from "./status.ts";
import { TAG, type Template } from "./template.ts";
import { only, tlv, tlvsOf } from "./tlv.ts";

/** Key reference of the card management key (SP 800-73-4 Part 1, table 4b). */
export const MANAGEMENT = 0x9b;

/**
 * GENERAL AUTHENTICATE with the card management key (SP 800-73-4 Part 2, A.1): external, or mutual. A challenge and a
 * witness are good for one attempt.
 *
 * @param mechanism P1: AES-192, the one the key is for
 */
export function authenticateManagement(
  mechanism: number,
  template: Template | undefined,
  memory: Memory,
  session: Session,
): Answer {
  const { challenge, witness } = session;
  session.challenge = session.witness = undefined;
  if (mechanism !== AES_192) return refusal(STATUS.PARAMETERS);
  if (!template) return refusal(STATUS.DATA);
  const encrypted = (block: Uint8Array) => encrypt(memory.contents.management, block);
  const given = (tag: number) => template.get(tag);

  if (given(TAG.challenge)?.length === 0 && template.size === 1) {
    session.challenge = new Uint8Array(randomBytes(BLOCK));
    return answer(tlv(TAG.template, tlv(TAG.challenge, session.challenge)));
  }
  if (given(TAG.witness)?.length === 0 && template.size === 1) {
    session.witness = new Uint8Array(randomBytes(BLOCK));
    return answer(tlv(TAG.template, tlv(TAG.witness, encrypted(session.witness))));
  }
  const proof = given(TAG.witness) ?? given(TAG.response);
  const expected = given(TAG.witness) ? witness : challenge && encrypted(challenge);
  if (!proof || proof.length !== BLOCK) return refusal(STATUS.DATA);
  const right = expected !== undefined && timingSafeEqual(proof, expected);
  session.managementVerified = right;
  if (!right) return refusal(STATUS.SECURITY_STATUS);
  const asked = given(TAG.challenge);
  if (!asked) return answer();
  if (asked.length !== BLOCK) return refusal(STATUS.DATA);
  return answer(tlv(TAG.template, tlv(TAG.response, encrypted(asked))));
}

/** GENERATE ASYMMETRIC KEY PAIR (3.3.2): the key of the slot is replaced, its certificate stays until somebody puts another. */
export function generate(command: Command, memory: Memory, session: Session): Answer {
  const slot = SLOTS.get(command.p2);
  if (command.p1 !== 0 || !slot) return refusal(STATUS.PARAMETERS);
  if (!session.managementVerified) return refusal(STATUS.SECURITY_STATUS);
  const identifier = only(0x80, only(0xac, command.data) ?? new Uint8Array(0));
  const algorithm = identifier?.length === 1 ? algorithmOf(identifier[0] ?? 0) : undefined;
  if (!algorithm) return refusal(STATUS.DATA);
  const touch = memory.contents.keys.get(command.p2)?.touch ?? false;
  const pkcs8 = makeKey(algorithm);
  memory.contents.keys.set(command.p2, { algorithm, pkcs8, pin: slot.pin, touch });
  memory.save();
  if (algorithm !== "RSA-2048") return answer(tlv(0x7f49, tlv(0x86, pointOf(algorithm, pkcs8))));
  const { n = "", e = "" } = publicKeyOf(pkcs8).export({ format: "jwk" });
  return answer(tlv(0x7f49, tlv(0x81, base64url(n)), tlv(0x82, base64url(e))));
}

/** PUT DATA (3.3.1). An empty object is none. */
export function putData(command: Command, memory: Memory, session: Session): Answer {
  if (command.p1 !== 0x3f || command.p2 !== 0xff) return refusal(STATUS.PARAMETERS);
  if (!session.managementVerified) return refusal(STATUS.SECURITY_STATUS);
  const [name, content, ...more] = tlvsOf(command.data) ?? [];
  if (name?.tag !== 0x5c || content?.tag !== 0x53 || more.length > 0) return refusal(STATUS.DATA);
  const [first, second, third] = name.value;
  if (name.value.length !== 3 || first !== 0x5f || second !== 0xc1 || third === undefined) return refusal(STATUS.DATA);
  const { objects } = memory.contents;
  if (content.value.length === 0) objects.delete(0x5fc100 + third);
  else objects.set(0x5fc100 + third, content.value.slice());
  memory.save();
  return answer();
}

/** SP 800-78-4, table 6-2. */
const AES_192 = 0x0a;
const BLOCK = 16;

function encrypt(key: Uint8Array, block: Uint8Array): Uint8Array {
  const cipher = createCipheriv("aes-192-ecb", key, null).setAutoPadding(false);
  return new Uint8Array(Buffer.concat([cipher.update(block), cipher.final()]));
}

function base64url(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text, "base64url"));
}
