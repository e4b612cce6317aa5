/** The library, the one slot, and the token in it. */
import { readFileSync } from "node:fs";
import { PIN_BYTES, PIN_TRIES } from "../../operations/pins.ts";
import { type Application, MOST_SESSIONS } from "./application.ts";
import type { ResultsOf, Version } from "./calls.ts";
import { CKF, CKR, UNAVAILABLE } from "./constants.ts";
import { DONE, type Handlers } from "./handlers.ts";
import { MECHANISMS, OFFERS } from "./mechanisms.ts";
import { refuse } from "./refusals.ts";

/** What a client must say first. */
const GREETING = Buffer.from("PRIVATE-GNOME-KEYRING-PKCS11-PROTOCOL-V-1");

export const SLOT = 0;

/** These stand in URIs of programs' configurations, and never change. */
const MANUFACTURER = "Thornkey";
const LABEL = "thornkey";
const MODEL = "Thornkey";

const CRYPTOKI: Version = [2, 40];
const VERSION: Version = ownVersion();

/**
 * Callers are known by what the kernel says of them, so nobody has to log in; whoever does may, with any PIN or none.
 * The protected path tells programs that there is no PIN to ask a person for.
 */
const TOKEN_FLAGS = CKF.RNG | CKF.USER_PIN_INITIALIZED | CKF.PROTECTED_AUTHENTICATION_PATH | CKF.TOKEN_INITIALIZED;

export const slotCalls: Handlers = {
  Initialize(application, greeting) {
    if (application.initialized) refuse(CKR.CRYPTOKI_ALREADY_INITIALIZED);
    if (greeting === null || !GREETING.equals(greeting)) refuse(CKR.GENERAL_ERROR);
    application.initialized = true;
    return DONE;
  },

  Finalize(application) {
    application.closeAllSessions();
    application.initialized = false;
    return DONE;
  },

  GetInfo: () => [CRYPTOKI, padded(MANUFACTURER, 32), 0, padded("Thornkey", 32), VERSION],

  GetSlotList: (_, _present, room) => [room < 1 ? { size: 1 } : [SLOT]],

  GetSlotInfo(_, slot) {
    mustBeSlot(slot);
    const flags = CKF.TOKEN_PRESENT | CKF.HW_SLOT;
    return [padded("Thornkey", 64), padded(MANUFACTURER, 32), flags, VERSION, VERSION];
  },

  GetTokenInfo(application, slot) {
    mustBeSlot(slot);
    const device = application.token.device();
    if (application.login) return loginTokenInfo(application, device);
    return device instanceof Promise
      ? device.then((id) => tokenInfo(application, id, TOKEN_FLAGS))
      : tokenInfo(application, device, TOKEN_FLAGS);
  },

  GetMechanismList(_, slot, room) {
    mustBeSlot(slot);
    return [room < MECHANISMS.length ? { size: MECHANISMS.length } : MECHANISMS];
  },

  GetMechanismInfo(_, slot, type) {
    mustBeSlot(slot);
    const { minimum, maximum, flags } = OFFERS.get(type) ?? refuse(CKR.MECHANISM_INVALID);
    return [minimum, maximum, flags];
  },

  WaitForSlotEvent: (_, flags) => refuse((flags & CKF.DONT_BLOCK) === 0 ? CKR.FUNCTION_NOT_SUPPORTED : CKR.NO_EVENT),

  /** It would destroy every key of everybody; the device's administrator has `thornkey destroy` for that. */
  InitToken(_, slot) {
    mustBeSlot(slot);
    return refuse(CKR.TOKEN_WRITE_PROTECTED);
  },
  InitToken2(_, slot) {
    mustBeSlot(slot);
    return refuse(CKR.TOKEN_WRITE_PROTECTED);
  },
};

/** Where a PIN is shown, the token says how it is with that. */
async function loginTokenInfo(
  application: Application,
  device: string | Promise<string>,
): Promise<ResultsOf<"GetTokenInfo">> {
  const { chosen, left } = await application.ask("pin.status", {});
  const flags = [
    CKF.RNG | CKF.TOKEN_INITIALIZED | CKF.LOGIN_REQUIRED,
    chosen ? CKF.USER_PIN_INITIALIZED : 0,
    left < PIN_TRIES ? CKF.USER_PIN_COUNT_LOW : 0,
    left === 1 ? CKF.USER_PIN_FINAL_TRY : 0,
    left === 0 ? CKF.USER_PIN_LOCKED : 0,
  ];
  return tokenInfo(
    application,
    await device,
    flags.reduce((all, flag) => all | flag, 0),
    PIN_BYTES,
  );
}

function tokenInfo(
  { sessions }: Application,
  device: string,
  flags: number,
  pin = { least: 0, most: PIN_BYTES.most as number },
): ResultsOf<"GetTokenInfo"> {
  const readWrite = [...sessions.values()].filter((session) => session.readWrite).length;
  const [serial, none] = [device.slice(0, 16), UNAVAILABLE];
  return [
    ...([padded(LABEL, 32), padded(MANUFACTURER, 32), padded(MODEL, 16), padded(serial, 16)] as const),
    ...([flags, MOST_SESSIONS, sessions.size, MOST_SESSIONS, readWrite] as const),
    // The longest and the shortest PIN; then memory, which nobody counts in bytes.
    ...([pin.most, pin.least, none, none, none, none] as const),
    ...([VERSION, VERSION, padded("", 16)] as const),
  ];
}

/** @throws Refusal CKR_SLOT_ID_INVALID */
export function mustBeSlot(slot: number): void {
  if (slot !== SLOT) refuse(CKR.SLOT_ID_INVALID);
}

function padded(text: string, size: number): string {
  return text.slice(0, size).padEnd(size);
}

function ownVersion(): Version {
  const { version } = JSON.parse(readFileSync(new URL("../../../package.json", import.meta.url), "utf8"));
  const [major = 0, minor = 0] = String(version).split(".").map(Number);
  return [major, minor];
}
