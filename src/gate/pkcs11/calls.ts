/**
 * The calls of p11-kit's RPC protocol: number, arguments, results. The letters of a signature are the types of
 * codec.ts; TypeScript reads them too.
 */
import type { Attribute, AttributeRoom } from "./attributes.ts";
import type { Mechanism } from "./mechanism-forms.ts";

export const CALLS = {
  Initialize: [1, "ayyay", ""],
  Finalize: [2, "", ""],
  GetInfo: [3, "", "vsusv"],
  GetSlotList: [4, "yfu", "au"],
  GetSlotInfo: [5, "u", "ssuvv"],
  GetTokenInfo: [6, "u", "ssssuuuuuuuuuuuvvs"],
  GetMechanismList: [7, "ufu", "au"],
  GetMechanismInfo: [8, "uu", "uuu"],
  InitToken: [9, "uayz", ""],
  OpenSession: [10, "uu", "u"],
  CloseSession: [11, "u", ""],
  CloseAllSessions: [12, "u", ""],
  GetSessionInfo: [13, "u", "uuuu"],
  InitPIN: [14, "uay", ""],
  SetPIN: [15, "uayay", ""],
  GetOperationState: [16, "ufy", "ay"],
  SetOperationState: [17, "uayuu", ""],
  Login: [18, "uuay", ""],
  Logout: [19, "u", ""],
  CreateObject: [20, "uaA", "u"],
  CopyObject: [21, "uuaA", "u"],
  DestroyObject: [22, "uu", ""],
  GetObjectSize: [23, "uu", "u"],
  GetAttributeValue: [24, "uufA", "aAu"],
  SetAttributeValue: [25, "uuaA", ""],
  FindObjectsInit: [26, "uaA", ""],
  FindObjects: [27, "ufu", "au"],
  FindObjectsFinal: [28, "u", ""],
  EncryptInit: [29, "uMu", ""],
  Encrypt: [30, "uayfy", "ay"],
  EncryptUpdate: [31, "uayfy", "ay"],
  EncryptFinal: [32, "ufy", "ay"],
  DecryptInit: [33, "uMu", ""],
  Decrypt: [34, "uayfy", "ay"],
  DecryptUpdate: [35, "uayfy", "ay"],
  DecryptFinal: [36, "ufy", "ay"],
  DigestInit: [37, "uM", ""],
  Digest: [38, "uayfy", "ay"],
  DigestUpdate: [39, "uay", ""],
  DigestKey: [40, "uu", ""],
  DigestFinal: [41, "ufy", "ay"],
  SignInit: [42, "uMu", ""],
  Sign: [43, "uayfy", "ay"],
  SignUpdate: [44, "uay", ""],
  SignFinal: [45, "ufy", "ay"],
  SignRecoverInit: [46, "uMu", ""],
  SignRecover: [47, "uayfy", "ay"],
  VerifyInit: [48, "uMu", ""],
  Verify: [49, "uayay", ""],
  VerifyUpdate: [50, "uay", ""],
  VerifyFinal: [51, "uay", ""],
  VerifyRecoverInit: [52, "uMu", ""],
  VerifyRecover: [53, "uayfy", "ay"],
  DigestEncryptUpdate: [54, "uayfy", "ay"],
  DecryptDigestUpdate: [55, "uayfy", "ay"],
  SignEncryptUpdate: [56, "uayfy", "ay"],
  DecryptVerifyUpdate: [57, "uayfy", "ay"],
  GenerateKey: [58, "uMaA", "u"],
  GenerateKeyPair: [59, "uMaAaA", "uu"],
  WrapKey: [60, "uMuufy", "ay"],
  UnwrapKey: [61, "uMuayaA", "u"],
  DeriveKey: [62, "uMuaA", "u"],
  SeedRandom: [63, "uay", ""],
  GenerateRandom: [64, "ufy", "ay"],
  WaitForSlotEvent: [65, "u", "u"],
  // From p11-kit 0.25.0 on: functions of PKCS#11 v3.0.
  LoginUser: [66, "uuayay", ""],
  SessionCancel: [67, "uu", ""],
  MessageEncryptInit: [68, "uMu", ""],
  EncryptMessage: [69, "uayayayfy", "ay"],
  EncryptMessageBegin: [70, "uayay", ""],
  EncryptMessageNext: [71, "uayayfyu", "ay"],
  MessageEncryptFinal: [72, "u", ""],
  MessageDecryptInit: [73, "uMu", ""],
  DecryptMessage: [74, "uayayayfy", "ay"],
  DecryptMessageBegin: [75, "uayay", ""],
  DecryptMessageNext: [76, "uayayfyu", "ay"],
  MessageDecryptFinal: [77, "u", ""],
  MessageSignInit: [78, "uMu", ""],
  SignMessage: [79, "uayayfy", "ay"],
  SignMessageBegin: [80, "uay", ""],
  SignMessageNext: [81, "uayayyfy", "ay"],
  MessageSignFinal: [82, "u", ""],
  MessageVerifyInit: [83, "uMu", ""],
  VerifyMessage: [84, "uayayay", ""],
  VerifyMessageBegin: [85, "uay", ""],
  VerifyMessageNext: [86, "uayayay", ""],
  MessageVerifyFinal: [87, "u", ""],
  InitToken2: [88, "uays", ""],
  DeriveKey2: [89, "uMuaA", "uPu"],
} as const satisfies Record<string, readonly [number: number, request: string, reply: string]>;

export type CallName = keyof typeof CALLS;

/** Only its length is told: the answer to a size query, and to a buffer that is too small. */
export interface SizeOnly {
  readonly size: number;
}

interface RequestTypes {
  y: number;
  u: number;
  v: Version;
  s: Uint8Array;
  z: Uint8Array;
  /** null is a NULL pointer. */
  ay: Uint8Array | null;
  au: readonly number[] | null;
  /** Room in the caller's buffer; 0 is a size query. */
  fy: number;
  fu: number;
  fA: readonly AttributeRoom[];
  aA: readonly Attribute[];
  /** null cancels an operation. */
  M: Mechanism | null;
}

interface ReplyTypes extends Omit<RequestTypes, "s" | "ay" | "au"> {
  /** What comes back of a mechanism's parameter: one byte, or nothing for a mechanism that has none. */
  P: number | null;
  /** As it is in the structure: padded with spaces to its whole size. */
  s: string;
  ay: Uint8Array | SizeOnly;
  au: readonly number[] | SizeOnly;
}

export type Version = readonly [major: number, minor: number];

export type Token = keyof ReplyTypes;

type Parsed<Signature extends string, Types> = Signature extends `a${infer Of extends "y" | "u" | "A"}${infer Rest}`
  ? [At<Types, `a${Of}`>, ...Parsed<Rest, Types>]
  : Signature extends `f${infer Of extends "y" | "u" | "A"}${infer Rest}`
    ? [At<Types, `f${Of}`>, ...Parsed<Rest, Types>]
    : Signature extends `${infer Letter}${infer Rest}`
      ? [At<Types, Letter>, ...Parsed<Rest, Types>]
      : [];
type At<Types, Name> = Name extends keyof Types ? Types[Name] : never;

export type ArgumentsOf<Name extends CallName> = Parsed<(typeof CALLS)[Name][1], RequestTypes>;
export type ResultsOf<Name extends CallName> = Parsed<(typeof CALLS)[Name][2], ReplyTypes>;

/** A row of the table, with its signatures taken apart. */
export interface Call {
  readonly name: CallName;
  readonly number: number;
  /** As it stands in a message. */
  readonly request: string;
  readonly reply: string;
  readonly takes: readonly Token[];
  readonly gives: readonly Token[];
}

const BY_NUMBER: (Call | undefined)[] = [];
for (const [name, [number, request, reply]] of Object.entries(CALLS)) {
  const [takes, gives] = [tokensOf(request), tokensOf(reply)];
  BY_NUMBER[number] = { name: name as CallName, number, request, reply, takes, gives };
}

/** @returns undefined when there is no such call */
export function callOf(number: number): Call | undefined {
  return BY_NUMBER[number];
}

function tokensOf(signature: string): Token[] {
  return (signature.match(/a[yuA]|f[yuA]|[a-zA-Z]/g) ?? []) as Token[];
}
