import { concat } from "../../../../src/bytes/bytes.ts";
import { isScalar, publicKeyIn, scalarIn } from "./curve.ts";
import { AT, type Device, keyConfigOf, NO_TEMP_KEY, type ShaContext, secretOf, slotBytes, stageOf } from "./device.ts";
import { hmacSha256, sha256, u8 } from "./digests.ts";
import {
  dataLocked,
  isEccPrivate,
  isPublicSlot,
  nibbleOf,
  noPrivate,
  notNoMac,
  publicSlot,
  reqAuth,
  slotOf,
} from "./gates.ts";
import {
  type Answer,
  BOTH,
  bytes,
  type Command,
  type Condition,
  invalidate,
  OK,
  ONLY_508,
  type Rules,
  status,
  when,
} from "./rules.ts";

/** Commands about the session: Info, Random, Nonce, SHA, Pause. */

const info: Rules = {
  name: "Info",
  opcode: 0x30,
  models: BOTH,
  keepsSha: true,
  accepts: ({ mode, param2, data }, { model }) =>
    mode <= (model === "608a" ? 4 : 3) && data.length === 0 && (mode !== 1 || param2 < 16),
  conditions: [],
  perform: ({ mode, param2 }, device) => {
    switch (mode) {
      case 0:
        return bytes(device.config.slice(4, 8));
      case 1:
        return bytes(u8(keyValid(device, param2) ? 1 : 0, 0, 0, 0));
      case 2:
        return { kind: "learn", length: 4, learn: (state) => stateComplaint(device, state) };
      case 3:
        return bytes(u8(0, 0, 0, 0));
      default:
        return { kind: "learn", length: 4, learn: () => undefined };
    }
  },
};

function keyValid(device: Device, slot: number): boolean {
  if (isEccPrivate(device, slot)) return isScalar(scalarIn(slotBytes(device, slot)));
  return isPublicSlot(device, slot) && (!keyConfigOf(device, slot).pubInfo || nibbleOf(device, slot) === 5);
}

/** Info State. The AuthKeyID of nobody is not compared. */
export function stateComplaint({ tempKey, auth }: Device, state: Uint8Array): string | undefined {
  const [flags = 0, second = 0] = state;
  const seen = {
    valid: (second & 0x80) !== 0,
    keyId: flags & 15,
    source: (flags >> 4) & 1,
    genDig: (flags & 0x20) !== 0,
    genKey: (flags & 0x40) !== 0,
    noMac: (flags & 0x80) !== 0,
  };
  const wrong: string[] = [];
  for (const name of ["valid", "keyId", "source", "genDig", "genKey", "noMac"] as const) {
    if (seen[name] !== tempKey[name]) wrong.push(`TempKey ${name} is ${seen[name]}, not ${tempKey[name]}`);
  }
  const [authValid, authKeyId] = [(second & 0x04) !== 0, (second >> 3) & 15];
  if (authValid !== auth.valid) wrong.push(`AuthValid is ${authValid}, not ${auth.valid}`);
  else if (authValid && authKeyId !== auth.keyId) wrong.push(`AuthKeyID is ${authKeyId}, not ${auth.keyId}`);
  return wrong.length > 0 ? wrong.join("; ") : undefined;
}

const isRandomPattern = (payload: Uint8Array): boolean =>
  payload.every((byte, at) => byte === ((at & 2) === 0 ? 0xff : 0x00));
const patternComplaint = (device: Device, payload: Uint8Array): string | undefined =>
  (stageOf(device) === "open") === isRandomPattern(payload) ? undefined : "pattern FF FF 00 00: exactly while open";

const random: Rules = {
  name: "Random",
  opcode: 0x1b,
  models: BOTH,
  accepts: ({ mode, param2, data }) => mode < 2 && param2 === 0 && data.length === 0,
  conditions: [],
  perform: (_, device) => ({ kind: "learn", length: 32, learn: (payload) => patternComplaint(device, payload) }),
};

const isFixed = ({ mode }: Command): boolean => (mode & 3) === 3;
const fromTempKey = ({ param2 }: Command): boolean => param2 === 0x8000;

const nonce: Rules = {
  name: "Nonce",
  opcode: 0x16,
  models: BOTH,
  accepts: (command, { model }) => {
    const { mode, param2, data } = command;
    const is608 = model === "608a";
    if (!isFixed(command)) return mode < 2 && data.length === 20 && (param2 === 0 || (is608 && param2 === 0x8000));
    if (!is608) return mode === 3 && param2 === 0 && data.length === 32;
    if (mode & 0b1_1100 || mode >> 6 === 3 || param2 !== 0) return false;
    return mode & 0x20 ? data.length === 64 && mode >> 6 !== 2 : data.length === 32;
  },
  conditions: when(fromTempKey, { rule: "Nonce from TempKey: TempKey valid", holds: (_, d) => d.tempKey.valid }),
  perform: (command, device, tempKey): Answer => {
    const { mode, param2, data } = command;
    if (isFixed(command)) {
      const target = mode >> 6;
      if (target === 0) device.tempKey = { ...NO_TEMP_KEY, valid: true, value: data, source: 1 };
      if (target === 1) device.messageDigest = data;
      return status(OK);
    }
    const set = (randOut: Uint8Array, source: 0 | 1): void => {
      const value = sha256(randOut.slice(0, 32), data, u8(0x16, mode, param2 & 0xff));
      device.tempKey = { ...NO_TEMP_KEY, valid: true, value, source };
    };
    if (fromTempKey(command)) {
      set(tempKey.value, tempKey.source);
      return status(OK);
    }
    return {
      kind: "learn",
      length: 32,
      learn: (randOut) => {
        set(randOut, 0);
        return patternComplaint(device, randOut);
      },
    };
  },
};

const shaMode = ({ mode }: Command): number => mode & 0b111;
const isEnd = (command: Command): boolean => shaMode(command) === 2 || shaMode(command) === 5;
const startsHmac = (command: Command): boolean => shaMode(command) === 4;
const continues = (command: Command): boolean => [1, 2, 3, 5].includes(shaMode(command));
const isContextMode = (command: Command): boolean => shaMode(command) >= 6;
const shaKind = (kind: ShaContext["kind"]): Condition => ({
  rule: `the context is one of ${kind}`,
  holds: (_, { sha }) => typeof sha === "string" || sha.kind === kind,
});

const sha: Rules = {
  name: "SHA",
  opcode: 0x47,
  models: BOTH,
  keepsSha: true,
  accepts: (command, { model }) => {
    const { mode, param2, data } = command;
    const is608 = model === "608a";
    const target = mode >> 6;
    if (mode & 0b11_1000) return false;
    if (target !== 0 && (!is608 || shaMode(command) !== 2 || target === 2)) return false;
    if (isContextMode(command)) return is608;
    if (is608 && shaMode(command) === 5) return false;
    switch (shaMode(command)) {
      case 0:
        return param2 === 0 && data.length === 0;
      case 1:
        return param2 === 64 && data.length === 64;
      case 2:
      case 5:
        return data.length < 64 && param2 === data.length;
      default:
        return param2 < 16 && data.length === 0;
    }
  },
  conditions: [
    ...when(continues, { rule: "SHA: a context", holds: (_, device) => device.sha !== "none" }),
    ...when((command) => shaMode(command) === 3, dataLocked, publicSlot(slotOf)),
    ...when((command) => shaMode(command) === 5, shaKind("hmac")),
    ...when((command) => shaMode(command) === 2, {
      rule: "SHA end of an HMAC is mode 5 on the 508",
      holds: (command, device) => device.model === "608a" || shaKind("sha").holds(command, device),
    }),
    ...when(startsHmac, dataLocked, noPrivate(slotOf), notNoMac(slotOf), reqAuth(slotOf)),
  ],
  isOpen: (command, device) => isContextMode(command) || (continues(command) && device.sha === "unknown"),
  limited: (command) => (startsHmac(command) ? command.param2 : undefined),
  perform: (command, device): Answer => {
    const { data, param2 } = command;
    const context = device.sha;
    if (!continues(command)) {
      const key = startsHmac(command) ? secretOf(device, param2).slice() : new Uint8Array();
      device.sha = { kind: startsHmac(command) ? "hmac" : "sha", key, fed: new Uint8Array() };
      if (device.model === "508a") invalidate(device);
      return status(OK);
    }
    if (typeof context === "string") return { kind: "unspecified" };
    if (!isEnd(command)) {
      const more = shaMode(command) === 1 ? data : publicKeyIn(slotBytes(device, param2));
      device.sha = { ...context, fed: concat(context.fed, more) };
      return status(OK);
    }
    device.sha = "none";
    const text = concat(context.fed, data);
    const digest = context.kind === "sha" ? sha256(text) : hmacSha256(context.key, text);
    const target = command.mode >> 6;
    if (device.model === "608a" && target === 0) {
      device.tempKey = { ...NO_TEMP_KEY, valid: true, value: digest, source: 1 };
    }
    if (target === 1) device.messageDigest = digest;
    return bytes(digest);
  },
};

const pause: Rules = {
  name: "Pause",
  opcode: 0x01,
  models: ONLY_508,
  keepsSha: true,
  accepts: ({ param2, data }) => param2 === 0 && data.length === 0,
  conditions: [],
  perform: ({ mode: selector }, device) => {
    device.sha = "unknown";
    return selector === device.config[AT.selector] ? status(OK) : { kind: "silence" };
  },
};

export const sessionCommands: readonly Rules[] = [info, random, nonce, sha, pause];
