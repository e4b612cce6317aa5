import { attributeCalls } from "./attribute-calls.ts";
import { cipherCalls } from "./cipher-calls.ts";
import { deriveCalls } from "./derive-calls.ts";
import { digestCalls } from "./digest-calls.ts";
import { dualCalls } from "./dual-calls.ts";
import { findCalls } from "./find-calls.ts";
import { generateCalls } from "./generate-calls.ts";
import type { Handlers } from "./handlers.ts";
import { objectCalls } from "./object-calls.ts";
import { sessionCalls } from "./session-calls.ts";
import { signCalls } from "./sign-calls.ts";
import { slotCalls } from "./slot-calls.ts";
import { verifyCalls } from "./verify-calls.ts";
import { wrapCalls } from "./wrap-calls.ts";

/** Every call that is served; the others are refused with CKR_FUNCTION_NOT_SUPPORTED. */
export const handlers: Handlers = {
  ...slotCalls,
  ...sessionCalls,
  ...findCalls,
  ...attributeCalls,
  ...objectCalls,
  ...generateCalls,
  ...deriveCalls,
  ...wrapCalls,
  ...signCalls,
  ...verifyCalls,
  ...digestCalls,
  ...cipherCalls,
  ...dualCalls,
};
