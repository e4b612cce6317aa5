import { fromHex } from "../../bytes/bytes.ts";
import type { Command } from "./apdu.ts";
import type { Memory } from "./memory.ts";
import type { Session } from "./session.ts";
import { type Answer, answer, refusal, STATUS } from "./status.ts";
import { only, tagBytes, tlv } from "./tlv.ts";

/** The PIV card application of version 1.0 (SP 800-73-4 Part 1, 2.2): RID, PIX, version. */
export const AID = fromHex("a0000003080000100001 00");
const RID_SIZE = 5;

/** SELECT (SP 800-73-4 Part 2, 3.1.1). Whoever selects something else in vain stays where it was. */
export function select(command: Command, session: Session): Answer {
  if (command.p1 !== 0x04 || command.p2 !== 0x00) return refusal(STATUS.PARAMETERS);
  const { data } = command;
  const isOurs = data.length >= RID_SIZE && data.length <= AID.length && data.every((byte, i) => byte === AID[i]);
  if (!isOurs) return refusal(STATUS.NOT_FOUND);
  session.selected = true;
  return answer(APPLICATION);
}

/** The application property template: PIX with version, and who allots the tags (table 3). */
const APPLICATION = tlv(0x61, tlv(0x4f, AID.subarray(RID_SIZE)), tlv(0x79, tlv(0x4f, AID.subarray(0, RID_SIZE))));

/** GET DATA (3.1.2): the tag of an object stands in 5C. */
export function getData(command: Command, memory: Memory, session: Session): Answer {
  if (command.p1 !== 0x3f || command.p2 !== 0xff) return refusal(STATUS.PARAMETERS);
  const name = only(0x5c, command.data);
  if (!name || name.length === 0 || name.length > 3) return refusal(STATUS.DATA);
  const tag = name.reduce((sum, byte) => sum * 0x100 + byte, 0);
  if (tag === DISCOVERY_TAG) return answer(DISCOVERY);
  if (AFTER_PIN.has(tag) && !session.pinVerified) return refusal(STATUS.SECURITY_STATUS);
  const object = tagBytes(tag).length === name.length ? memory.contents.objects.get(tag) : undefined;
  return object ? answer(tlv(0x53, object)) : refusal(STATUS.NOT_FOUND);
}

/** The discovery object (Part 1, 3.3.2): the application, and that only the card's own PIN counts. */
const DISCOVERY_TAG = 0x7e;
const DISCOVERY = tlv(DISCOVERY_TAG, tlv(0x4f, AID), tlv(0x5f2f, Uint8Array.of(0x40, 0x00)));

/** Fingerprints, face, printed information and irises (Part 1, table 2). */
const AFTER_PIN: ReadonlySet<number> = new Set([0x5fc103, 0x5fc108, 0x5fc109, 0x5fc121]);
