/**
 * The crypto service of the VideoCore firmware: one P-256 key in OTP, that signs digests and is the key of an HMAC.
 * Locks hold until the next reboot. Written from what is published of the service; no silicon was at hand.
 */
import { createHmac, createPrivateKey } from "node:crypto";
import { p256SignatureToDer, p256Spki } from "../../bytes/der.ts";
import { Reader } from "../../bytes/reader.ts";
import { freshKeyPair, isScalar, publicKeyOf, sign } from "../atecc508a/p256.ts";
import { answered, dataAnswer, type Question, questionsIn, SHORTEST, words } from "./message.ts";
import type { Otp } from "./otp.ts";
import { ALL_LOCKS, ERROR, LONGEST_MESSAGE, RESTRICTED, STATUS, TAG } from "./tags.ts";

/**
 * - `normal`: firmware of 2026-06 and later, through a node that lets every tag through
 * - `old`: firmware without the service; it fails every message
 * - `restricted`: through /dev/vcio_crypto
 * - `single-lock`: firmware from before 2026-06, with the lock of READ alone
 * - `no-keys`: the service is there, and has no key at all
 */
export type Mode = "normal" | "old" | "restricted" | "single-lock" | "no-keys";
export const MODES: readonly Mode[] = ["normal", "old", "restricted", "single-lock", "no-keys"];

export interface FirmwareOptions {
  readonly otp: Otp;
  /** Default `normal`. */
  readonly mode?: Mode;
  /** Words of the answer to set-status and generate, which is not published; default 1. */
  readonly replyWords?: 1 | 2;
}

export interface Firmware {
  /** What the ioctl does. @returns the answer, as long as the message, or an error number of Linux */
  ioctl(message: Uint8Array): Uint8Array | number;
  /** Takes the locks off and forgets the last error. */
  reboot(): void;
}

const EPERM = 1;
const EINVAL = 22;

/** A failure inside an answer; the code goes where {@link TAG.lastError} reads it. */
class Failure extends Error {
  readonly code: number;
  constructor(code: number) {
    super(`error ${code}`);
    this.code = code;
  }
}

interface State {
  readonly otp: Otp;
  readonly options: FirmwareOptions;
  locks: number;
  lastError: number;
}

interface Service {
  /** Bytes of room that the question must have. */
  readonly capacity: number;
  answer(state: State, request: Reader): Uint8Array;
}

const SERVICES = new Map<number, Service>([
  [TAG.firmwareRevision, { capacity: 4, answer: () => words(FIRMWARE_REVISION) }],
  [TAG.boardRevision, { capacity: 4, answer: () => words(BOARD_REVISION) }],
  [TAG.boardSerial, { capacity: 8, answer: ({ otp }) => otp.serial }],
  [TAG.lastError, { capacity: 4, answer: ({ lastError }) => words(lastError) }],
  [TAG.numberOfKeys, { capacity: 4, answer: (state) => words(numberOfKeys(state)) }],
  [TAG.keyStatus, { capacity: 4, answer: keyStatus }],
  [TAG.setKeyStatus, { capacity: 8, answer: setKeyStatus }],
  [TAG.sign, { capacity: 128, answer: signDigest }],
  [TAG.hmac, { capacity: 2060, answer: hmac }],
  [TAG.publicKey, { capacity: 520, answer: publicKey }],
  [TAG.privateKey, { capacity: 1032, answer: privateKey }],
  [TAG.generateKey, { capacity: 8, answer: generateKey }],
  [TAG.usage, { capacity: 4, answer: usage }],
  [TAG.setUsage, { capacity: 8, answer: setUsage }],
]);

/** A Raspberry Pi 4 Model B with 4 GB, revision 1.4 (BCM2711), and firmware of 2026-07-01. */
const BOARD_REVISION = 0x00c0_3114;
const FIRMWARE_REVISION = Date.UTC(2026, 6, 1) / 1000;

export function createFirmware(options: FirmwareOptions): Firmware {
  const state: State = { otp: options.otp, options, locks: 0, lastError: ERROR.none };
  return {
    ioctl(message) {
      if (message.length < SHORTEST || new Reader(message).u32le() !== message.length) return EINVAL;
      if (options.mode === "old") return EINVAL;
      const questions = questionsIn(message);
      if (questions === undefined) return EINVAL;
      if (options.mode === "restricted" && questions.some(({ tag }) => !RESTRICTED.has(tag))) return EPERM;
      const answers: Uint8Array[] = [];
      for (const question of questions) {
        const answer = answerTo(state, question);
        if (answer === undefined) return EINVAL;
        answers.push(answer);
      }
      return answered(message, questions, answers);
    },
    reboot() {
      state.locks = 0;
      state.lastError = ERROR.none;
    },
  };
}

/** @returns undefined where the whole message fails: no such tag, no room even for a status */
function answerTo(state: State, { tag, value }: Question): Uint8Array | undefined {
  const service = SERVICES.get(tag);
  if (service === undefined || value.length < 4) return undefined;
  try {
    if (value.length < service.capacity) throw new Failure(ERROR.invalidArgument);
    return service.answer(state, new Reader(value));
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    state.lastError = error.code;
    return words(0x8000_0000);
  }
}

function numberOfKeys({ options }: State): number {
  return options.mode === "no-keys" ? 0 : 1;
}

/** @throws Failure when the next word names no key */
function takeKeyId(state: State, request: Reader): void {
  const id = request.u32le();
  if (id < 1 || id > numberOfKeys(state)) throw new Failure(ERROR.noSuchKey);
}

function takeFlagsAndKeyId(state: State, request: Reader): void {
  const flags = request.u32le();
  takeKeyId(state, request);
  if (flags !== 0) throw new Failure(ERROR.invalidArgument);
}

function keyOf({ otp }: State): Uint8Array {
  const { key } = otp;
  if (key === undefined) throw new Failure(ERROR.keyNotSet);
  if (!isScalar(key)) throw new Failure(ERROR.keyInvalid);
  return key;
}

function refuseLocked({ locks }: State, lock: number): void {
  if ((locks & lock) !== 0) throw new Failure(ERROR.locked);
}

function keyStatus(state: State, request: Reader): Uint8Array {
  takeKeyId(state, request);
  return words(STATUS.deviceKey | state.locks);
}

function setKeyStatus(state: State, request: Reader): Uint8Array {
  takeKeyId(state, request);
  state.locks |= request.u32le() & (state.options.mode === "single-lock" ? STATUS.read : ALL_LOCKS);
  return acknowledgement(state);
}

function signDigest(state: State, request: Reader): Uint8Array {
  takeFlagsAndKeyId(state, request);
  const key = keyOf(state);
  refuseLocked(state, STATUS.sign);
  const length = request.u32le();
  if (length !== 32) throw new Failure(ERROR.invalidArgument);
  return dataAnswer(p256SignatureToDer(sign(request.take(length), key, freshKeyPair)));
}

function hmac(state: State, request: Reader): Uint8Array {
  takeFlagsAndKeyId(state, request);
  const key = keyOf(state);
  refuseLocked(state, STATUS.hmac);
  const length = request.u32le();
  if (length === 0 || length > LONGEST_MESSAGE) throw new Failure(ERROR.invalidArgument);
  return dataAnswer(createHmac("sha256", key).update(request.take(length)).digest());
}

function publicKey(state: State, request: Reader): Uint8Array {
  takeFlagsAndKeyId(state, request);
  return dataAnswer(p256Spki(publicKeyOf(keyOf(state))));
}

function privateKey(state: State, request: Reader): Uint8Array {
  takeFlagsAndKeyId(state, request);
  const key = keyOf(state);
  refuseLocked(state, STATUS.read);
  const point = publicKeyOf(key);
  const text = (bytes: Uint8Array) => Buffer.from(bytes).toString("base64url");
  const jwk = { kty: "EC", crv: "P-256", d: text(key), x: text(point.subarray(0, 32)), y: text(point.subarray(32)) };
  return dataAnswer(createPrivateKey({ key: jwk, format: "jwk" }).export({ type: "sec1", format: "der" }));
}

function generateKey(state: State, request: Reader): Uint8Array {
  takeFlagsAndKeyId(state, request);
  refuseLocked(state, STATUS.generate);
  if (state.otp.key !== undefined) throw new Failure(ERROR.notBlank);
  state.otp.burn(freshKeyPair().scalar);
  return acknowledgement(state);
}

function usage(state: State, request: Reader): Uint8Array {
  takeKeyId(state, request);
  return words(state.otp.usage);
}

function setUsage(state: State, request: Reader): Uint8Array {
  takeKeyId(state, request);
  refuseLocked(state, STATUS.usage);
  const wanted = request.u32le();
  if (wanted > 0xf) throw new Failure(ERROR.invalidArgument);
  state.otp.setUsage(wanted);
  return words(wanted);
}

function acknowledgement({ options }: State): Uint8Array {
  return words(...(options.replyWords === 2 ? [0, 0] : [0]));
}
