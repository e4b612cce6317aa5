/** What a module's return values (CK_RV) mean here: what they leave behind, and what is told. */
import { type ErrorCode, ThornkeyError } from "../../errors.ts";

/**
 * What is no longer good after a return value:
 *
 * - `nothing`: it is an answer, and stands
 * - `again`: nobody knows; the same is asked once more, in another session
 * - `session`: the session, or handles of objects; another is opened, and they are looked up again
 * - `login`: the login
 * - `token`: the token is gone, or was; it is looked for anew, with the module started anew
 */
export type Lost = "nothing" | "again" | "session" | "login" | "token";

interface Meaning {
  readonly name: string;
  readonly lost: Lost;
  readonly code: ErrorCode;
  readonly sentence: string;
  readonly hint?: string;
}

const PLUG = "it is used again by itself as soon as it is there; nothing needs to be started anew";
const LOCKED = "unlock it with the security officer's PIN and the vendor's tool, or pkcs11-tool --unlock-pin";

type Row = readonly [rv: number, name: string, lost: Lost, code: ErrorCode, sentence: string, hint?: string];

// biome-ignore format: a table
const ROWS: readonly Row[] = [
  [0x02, "HOST_MEMORY", "again", "ROOT_UNAVAILABLE", "its module has no memory"],
  [0x03, "SLOT_ID_INVALID", "token", "ROOT_UNAVAILABLE", "its slot is gone", PLUG],
  [0x05, "GENERAL_ERROR", "again", "ROOT_UNAVAILABLE", "its module failed"],
  [0x06, "FUNCTION_FAILED", "again", "ROOT_UNAVAILABLE", "its module failed"],
  [0x07, "ARGUMENTS_BAD", "nothing", "ROOT_REFUSED", "its module does not take these arguments"],
  [0x08, "NO_EVENT", "nothing", "ROOT_REFUSED", "nothing happened"],
  [0x09, "NEED_TO_CREATE_THREADS", "nothing", "NOT_SUPPORTED", "its module needs threads of its own"],
  [0x0a, "CANT_LOCK", "nothing", "NOT_SUPPORTED", "its module knows no locks of this system"],
  [0x10, "ATTRIBUTE_READ_ONLY", "nothing", "ROOT_REFUSED", "it does not let us say what a key is for"],
  [0x11, "ATTRIBUTE_SENSITIVE", "nothing", "ROOT_REFUSED", "it does not give that out"],
  [0x12, "ATTRIBUTE_TYPE_INVALID", "nothing", "ROOT_REFUSED", "it does not know that attribute"],
  [0x13, "ATTRIBUTE_VALUE_INVALID", "nothing", "ROOT_REFUSED", "it does not take such a key"],
  [0x1b, "ACTION_PROHIBITED", "nothing", "ROOT_REFUSED", "it does not allow that"],
  [0x20, "DATA_INVALID", "nothing", "ROOT_REFUSED", "it does not take these bytes"],
  [0x21, "DATA_LEN_RANGE", "nothing", "ROOT_REFUSED", "it does not take so many bytes"],
  [0x30, "DEVICE_ERROR", "again", "ROOT_UNAVAILABLE", "the device failed", "is it plugged in well, or its network there?"],
  [0x31, "DEVICE_MEMORY", "nothing", "ROOT_REFUSED", "it is full", "delete keys that are no longer needed"],
  [0x32, "DEVICE_REMOVED", "token", "ROOT_UNAVAILABLE", "it was taken out", PLUG],
  [0x50, "FUNCTION_CANCELED", "again", "ROOT_UNAVAILABLE", "it was cancelled"],
  [0x54, "FUNCTION_NOT_SUPPORTED", "nothing", "NOT_SUPPORTED", "its module does not have that function"],
  [0x60, "KEY_HANDLE_INVALID", "session", "ROOT_UNAVAILABLE", "the key is gone"],
  [0x62, "KEY_SIZE_RANGE", "nothing", "ROOT_REFUSED", "it has no keys of that size"],
  [0x63, "KEY_TYPE_INCONSISTENT", "nothing", "ROOT_REFUSED", "the key is of another kind"],
  [0x68, "KEY_FUNCTION_NOT_PERMITTED", "nothing", "ROOT_REFUSED", "the key is not for that"],
  [0x6a, "KEY_UNEXTRACTABLE", "nothing", "ROOT_REFUSED", "it does not give that out"],
  [0x70, "MECHANISM_INVALID", "nothing", "NOT_SUPPORTED", "it does not have that mechanism"],
  [0x71, "MECHANISM_PARAM_INVALID", "nothing", "ROOT_REFUSED", "it does not take these parameters"],
  [0x82, "OBJECT_HANDLE_INVALID", "session", "ROOT_UNAVAILABLE", "the object is gone"],
  [0x90, "OPERATION_ACTIVE", "session", "ROOT_UNAVAILABLE", "something else is under way in the session"],
  [0x91, "OPERATION_NOT_INITIALIZED", "session", "ROOT_UNAVAILABLE", "the session forgot what it was doing"],
  [0xa0, "PIN_INCORRECT", "nothing", "ROOT_REFUSED", "it does not take the PIN"],
  [0xa1, "PIN_INVALID", "nothing", "ROOT_REFUSED", "the PIN has characters it does not take"],
  [0xa2, "PIN_LEN_RANGE", "nothing", "ROOT_REFUSED", "the PIN is too short or too long"],
  [0xa3, "PIN_EXPIRED", "nothing", "ROOT_REFUSED", "the PIN has expired", "set another with the vendor's tool"],
  [0xa4, "PIN_LOCKED", "nothing", "ROOT_REFUSED", "its PIN is locked after too many wrong tries", LOCKED],
  [0xb0, "SESSION_CLOSED", "session", "ROOT_UNAVAILABLE", "the session was closed"],
  [0xb1, "SESSION_COUNT", "session", "ROOT_UNAVAILABLE", "others have all of its sessions open"],
  [0xb3, "SESSION_HANDLE_INVALID", "session", "ROOT_UNAVAILABLE", "the session is gone"],
  [0xb5, "SESSION_READ_ONLY", "nothing", "ROOT_REFUSED", "it is write-protected"],
  [0xb8, "SESSION_READ_WRITE_SO_EXISTS", "nothing", "ROOT_UNAVAILABLE", "its security officer is logged in"],
  [0xd0, "TEMPLATE_INCOMPLETE", "nothing", "ROOT_REFUSED", "it wants to know more about a key"],
  [0xd1, "TEMPLATE_INCONSISTENT", "nothing", "ROOT_REFUSED", "it does not make such keys"],
  [0xe0, "TOKEN_NOT_PRESENT", "token", "ROOT_UNAVAILABLE", "it is not plugged in", PLUG],
  [0xe1, "TOKEN_NOT_RECOGNIZED", "token", "ROOT_UNAVAILABLE", "its module does not recognize it", PLUG],
  [0xe2, "TOKEN_WRITE_PROTECTED", "nothing", "ROOT_REFUSED", "it is write-protected"],
  [0x101, "USER_NOT_LOGGED_IN", "login", "NOT_PERMITTED", "it wants its PIN"],
  [0x102, "USER_PIN_NOT_INITIALIZED", "nothing", "ROOT_REFUSED", "its PIN was never set", "initialize it with the vendor's tool, or pkcs11-tool --init-pin"],
  [0x104, "USER_ANOTHER_ALREADY_LOGGED_IN", "nothing", "ROOT_UNAVAILABLE", "another user is logged in"],
  [0x120, "RANDOM_SEED_NOT_SUPPORTED", "nothing", "NOT_SUPPORTED", "its generator takes no seed"],
  [0x121, "RANDOM_NO_RNG", "nothing", "NOT_SUPPORTED", "it has no generator of random bytes"],
  [0x130, "DOMAIN_PARAMS_INVALID", "nothing", "NOT_SUPPORTED", "it does not know that curve"],
  [0x140, "CURVE_NOT_SUPPORTED", "nothing", "NOT_SUPPORTED", "it does not know that curve"],
  [0x150, "BUFFER_TOO_SMALL", "nothing", "ROOT_UNAVAILABLE", "its module gives more bytes than there can be"],
  [0x190, "CRYPTOKI_NOT_INITIALIZED", "token", "ROOT_UNAVAILABLE", "its module was not initialized"],
];

const MEANINGS: ReadonlyMap<number, Meaning> = new Map(
  ROWS.map(([rv, name, lost, code, sentence, hint]) => [
    rv,
    { name, lost, code, sentence, ...(hint !== undefined && { hint }) },
  ]),
);

/** Return values that the code itself looks for. */
export const CKR = {
  OK: 0x0,
  CANT_LOCK: 0x0a,
  ARGUMENTS_BAD: 0x07,
  ATTRIBUTE_SENSITIVE: 0x11,
  ATTRIBUTE_TYPE_INVALID: 0x12,
  DATA_INVALID: 0x20,
  MECHANISM_PARAM_INVALID: 0x71,
  OBJECT_HANDLE_INVALID: 0x82,
  PIN_INCORRECT: 0xa0,
  PIN_INVALID: 0xa1,
  PIN_LEN_RANGE: 0xa2,
  PIN_LOCKED: 0xa4,
  TOKEN_WRITE_PROTECTED: 0xe2,
  USER_ALREADY_LOGGED_IN: 0x100,
  BUFFER_TOO_SMALL: 0x150,
  CRYPTOKI_ALREADY_INITIALIZED: 0x191,
} as const;

/** A module answered with something else than CKR_OK. */
export class ReturnValue extends Error {
  override readonly name = "ReturnValue";
  readonly rv: number;
  readonly meaning: Meaning;

  constructor(call: string, rv: number) {
    const meaning = MEANINGS.get(rv) ?? {
      name: `0x${rv.toString(16)}`,
      lost: "again",
      code: "ROOT_UNAVAILABLE",
      sentence: "its module failed",
    };
    super(`${call}: CKR_${meaning.name}`);
    this.rv = rv;
    this.meaning = meaning;
  }
}

/** @param who names the token in a sentence */
export function errorOf({ meaning, message }: ReturnValue, who: string): ThornkeyError {
  const { code, sentence, hint } = meaning;
  return new ThornkeyError(code, `${who}: ${sentence} (${message})`, hint === undefined ? {} : { hint });
}
