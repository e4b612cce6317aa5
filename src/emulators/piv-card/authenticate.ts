import type { Command } from "./apdu.ts";
import { agree, type Key, rawRsa, signDigest } from "./keys.ts";
import { authenticateManagement, MANAGEMENT } from "./management.ts";
import type { Memory } from "./memory.ts";
import type { Session } from "./session.ts";
import { ALGORITHMS, SLOTS, type Slot } from "./slots.ts";
import { type Answer, answer, refusal, STATUS } from "./status.ts";
import { TAG, type Template, templateOf } from "./template.ts";
import { tlv } from "./tlv.ts";

/**
 * GENERAL AUTHENTICATE (SP 800-73-4 Part 2, 3.2.4): a key of the card used on a challenge, on a block (RSA) or on a point
 * (ECDH); or the holder of the card management key tells itself. P1 is the algorithm, P2 the key.
 *
 * @param finger waits for a finger on the card; false when there was none
 */
export async function authenticate(
  command: Command,
  memory: Memory,
  session: Session,
  finger: () => Promise<boolean>,
): Promise<Answer> {
  const fresh = session.pinFresh;
  session.pinFresh = false;
  const template = templateOf(command.data);
  if (command.p2 === MANAGEMENT) return authenticateManagement(command.p1, template, memory, session);
  const slot = SLOTS.get(command.p2);
  const key = memory.contents.keys.get(command.p2);
  if (!slot || !key || ALGORITHMS[key.algorithm] !== command.p1) return refusal(STATUS.PARAMETERS);
  if (!ALLOWED[key.pin]({ ...session, pinFresh: fresh })) return refusal(STATUS.SECURITY_STATUS);
  const [use, input] = useOf(template) ?? [];
  if (!use || !input) return refusal(STATUS.DATA);
  if (key.touch && !(await finger())) return refusal(STATUS.SECURITY_STATUS);
  const result = used(key, slot, use, input);
  return result ? answer(tlv(TAG.template, tlv(TAG.response, result))) : refusal(STATUS.DATA);
}

const ALLOWED: Record<Key["pin"], (session: Session) => boolean> = {
  never: () => true,
  once: ({ pinVerified }) => pinVerified,
  always: ({ pinVerified, pinFresh }) => pinVerified && pinFresh,
};

type Use = "challenge" | "exponentiation";

/** A place for the response, which some programs leave out, and one thing to work on. */
function useOf(template: Template | undefined): [Use, Uint8Array] | undefined {
  if (!template || (template.get(TAG.response)?.length ?? 0) > 0) return undefined;
  const rest = [...template].filter(([tag]) => tag !== TAG.response);
  const [tag, input] = rest[0] ?? [];
  if (rest.length !== 1 || !input) return undefined;
  if (tag === TAG.challenge) return ["challenge", input];
  return tag === TAG.exponentiation ? ["exponentiation", input] : undefined;
}

function used({ algorithm, pkcs8 }: Key, slot: Slot, use: Use, input: Uint8Array): Uint8Array | undefined {
  if (algorithm === "RSA-2048") return use === "challenge" ? rawRsa(pkcs8, input) : undefined;
  if (use !== (slot.ec === "signs" ? "challenge" : "exponentiation")) return undefined;
  return slot.ec === "signs" ? signDigest(algorithm, pkcs8, input) : agree(algorithm, pkcs8, input);
}
