/**
 * The commands of TPM 2.0 Part 3 that this house sends, a line each. Whether a parameter can be encrypted follows from
 * the line: its first one is a TPM2B, or it is not.
 */
import { bytes2b, type Codec, fixed, list, struct, u8, u16, u32, type ValueOf } from "./codec.ts";
import { HANDLE } from "./constants.ts";
import {
  asymmetricScheme,
  capabilityData,
  digestValues,
  eccPoint2b,
  nvPublic2b,
  pcrSelection,
  public2b,
  sensitiveCreate,
  signature,
  symmetric,
  ticket,
} from "./structures.ts";

export interface CommandSpec<P, R> {
  readonly name: string;
  /** TPM_CC */
  readonly code: number;
  /** Handles in the command, of which the first `authorised` need an authorisation. */
  readonly handles: number;
  readonly authorised: number;
  readonly parameters: Codec<P>;
  /** Whether the answer begins with a handle. */
  readonly givesHandle: boolean;
  readonly answer: Codec<R>;
  /** Whether no session can be with it (Part 3: "no sessions of any type"). */
  readonly bare: boolean;
  /** Whether it may be sent again when its answer was lost. */
  readonly repeatable: boolean;
  /**
   * The authValue of its first handle after it, where it changes; the answer is proved with that one (Part 1, 19.6.5).
   *
   * @param handle the first
   */
  readonly authAfter: ((parameters: P, handle: number) => Uint8Array | undefined) | undefined;
  /** Milliseconds it may take; making RSA keys takes some chips many seconds. */
  readonly longest: number;
}

export type AnswerOf<C> = C extends CommandSpec<never, infer R> ? R : never;

interface Line<P extends Fields, R> {
  handles?: number;
  authorised?: number;
  in?: P;
  out?: R;
  givesHandle?: boolean;
  bare?: boolean;
  once?: boolean;
  longest?: number;
  authAfter?: (parameters: StructOf<P>, handle: number) => Uint8Array | undefined;
}

type Fields = { readonly [name: string]: unknown };
type StructOf<F> = { readonly [Name in keyof F]: ValueOf<F[Name]> };

function command<const P extends Fields = Record<never, never>, const R extends Fields = Record<never, never>>(
  name: string,
  code: number,
  line: Line<P, R> = {},
): CommandSpec<StructOf<P>, StructOf<R>> {
  const authorised = line.authorised ?? 0;
  return {
    name,
    code,
    handles: Math.max(line.handles ?? 0, authorised),
    authorised,
    parameters: struct(line.in ?? ({} as P)),
    givesHandle: line.givesHandle ?? false,
    answer: struct(line.out ?? ({} as R)),
    bare: line.bare ?? false,
    repeatable: line.once !== true,
    authAfter: line.authAfter,
    longest: line.longest ?? SHORT,
  };
}

/** Milliseconds; the longest durations a TPM announces for most commands are 2 s (TCG PTP, command durations). */
const SHORT = 10_000;
/** An RSA key may be looked for this long. */
const KEY_MAKING = 120_000;

const creation = { creationData: bytes2b, creationHash: bytes2b, creationTicket: ticket };
const created = { outPublic: public2b, ...creation };

export const Startup = command("Startup", 0x144, { in: { type: u16 }, bare: true });
export const Shutdown = command("Shutdown", 0x145, { in: { type: u16 } });
export const SelfTest = command("SelfTest", 0x143, { in: { full: u8 }, longest: KEY_MAKING });
export const GetTestResult = command("GetTestResult", 0x17c, { out: { data: bytes2b, result: u32 } });
export const GetCapability = command("GetCapability", 0x17a, {
  in: { capability: u32, property: u32, count: u32 },
  out: { more: u8, data: capabilityData },
});
export const GetRandom = command("GetRandom", 0x17b, { in: { count: u16 }, out: { bytes: bytes2b } });
export const ReadPublic = command("ReadPublic", 0x173, {
  handles: 1,
  out: { outPublic: public2b, name: bytes2b, qualifiedName: bytes2b },
});
/** The same, for an object of a kind that nothing here uses: its public area stays bytes. */
export const ReadPublicBytes = command("ReadPublic", 0x173, {
  handles: 1,
  out: { outPublic: bytes2b, name: bytes2b, qualifiedName: bytes2b },
});
export const CreatePrimary = command("CreatePrimary", 0x131, {
  authorised: 1,
  in: { inSensitive: sensitiveCreate, inPublic: public2b, outsideInfo: bytes2b, creationPCR: list(u8, 0) },
  givesHandle: true,
  out: { ...created, name: bytes2b },
  longest: KEY_MAKING,
});
export const Create = command("Create", 0x153, {
  authorised: 1,
  in: { inSensitive: sensitiveCreate, inPublic: public2b, outsideInfo: bytes2b, creationPCR: list(u8, 0) },
  out: { outPrivate: bytes2b, ...created },
  longest: KEY_MAKING,
});
export const Load = command("Load", 0x157, {
  authorised: 1,
  in: { inPrivate: bytes2b, inPublic: public2b },
  givesHandle: true,
  out: { name: bytes2b },
});
export const FlushContext = command("FlushContext", 0x165, { in: { handle: u32 }, bare: true });
export const EvictControl = command("EvictControl", 0x120, { handles: 2, authorised: 1, in: { persistent: u32 } });
export const ObjectChangeAuth = command("ObjectChangeAuth", 0x150, {
  handles: 2,
  authorised: 1,
  in: { newAuth: bytes2b },
  out: { outPrivate: bytes2b },
});
export const Sign = command("Sign", 0x15d, {
  authorised: 1,
  in: { digest: bytes2b, scheme: asymmetricScheme, validation: ticket },
  out: { signature },
});
export const ECDH_ZGen = command("ECDH_ZGen", 0x154, {
  authorised: 1,
  in: { inPoint: eccPoint2b },
  out: { outPoint: eccPoint2b },
});
export const RSA_Decrypt = command("RSA_Decrypt", 0x159, {
  authorised: 1,
  in: { cipherText: bytes2b, scheme: asymmetricScheme, label: bytes2b },
  out: { message: bytes2b },
});
export const Unseal = command("Unseal", 0x15e, { authorised: 1, out: { data: bytes2b } });
export const HMAC = command("HMAC", 0x155, {
  authorised: 1,
  in: { buffer: bytes2b, hash: u16 },
  out: { hmac: bytes2b },
});
export const StartAuthSession = command("StartAuthSession", 0x176, {
  handles: 2,
  in: { nonceCaller: bytes2b, encryptedSalt: bytes2b, type: u8, symmetric, hash: u16 },
  givesHandle: true,
  out: { nonceTPM: bytes2b },
});
export const PolicyPCR = command("PolicyPCR", 0x17f, { handles: 1, in: { pcrDigest: bytes2b, pcrs: pcrSelection } });
export const PolicySecret = command("PolicySecret", 0x151, {
  handles: 2,
  authorised: 1,
  in: { nonceTPM: bytes2b, cpHash: bytes2b, policyRef: bytes2b, expiration: u32 },
  out: { timeout: bytes2b, ticket },
});
export const PolicyAuthValue = command("PolicyAuthValue", 0x16b, { handles: 1 });
export const PolicyCommandCode = command("PolicyCommandCode", 0x16c, { handles: 1, in: { code: u32 } });
export const PolicyOR = command("PolicyOR", 0x171, { handles: 1, in: { digests: list(bytes2b, 8) } });
export const PolicyGetDigest = command("PolicyGetDigest", 0x189, { handles: 1, out: { digest: bytes2b } });
export const PolicyRestart = command("PolicyRestart", 0x180, { handles: 1 });
export const PCR_Read = command("PCR_Read", 0x17e, {
  in: { pcrs: pcrSelection },
  out: { updateCounter: u32, pcrs: pcrSelection, values: list(bytes2b, 24) },
});
export const PCR_Extend = command("PCR_Extend", 0x182, { authorised: 1, in: { digests: digestValues }, once: true });
export const NV_DefineSpace = command("NV_DefineSpace", 0x12a, {
  authorised: 1,
  in: { auth: bytes2b, publicInfo: nvPublic2b },
  once: true,
});
export const NV_UndefineSpace = command("NV_UndefineSpace", 0x122, { handles: 2, authorised: 1, once: true });
export const NV_ReadPublic = command("NV_ReadPublic", 0x169, {
  handles: 1,
  out: { nvPublic: nvPublic2b, name: bytes2b },
});
export const NV_Increment = command("NV_Increment", 0x134, { handles: 2, authorised: 1, once: true });
export const NV_Read = command("NV_Read", 0x14e, {
  handles: 2,
  authorised: 1,
  in: { size: u16, offset: u16 },
  out: { data: bytes2b },
});
export const NV_Write = command("NV_Write", 0x137, {
  handles: 2,
  authorised: 1,
  in: { data: bytes2b, offset: u16 },
  once: true,
});
export const Quote = command("Quote", 0x158, {
  authorised: 1,
  in: { qualifyingData: bytes2b, scheme: asymmetricScheme, pcrs: pcrSelection },
  out: { quoted: bytes2b, signature },
});
export const Certify = command("Certify", 0x148, {
  authorised: 2,
  in: { qualifyingData: bytes2b, scheme: asymmetricScheme },
  out: { certifyInfo: bytes2b, signature },
});
export const ActivateCredential = command("ActivateCredential", 0x147, {
  authorised: 2,
  in: { credentialBlob: bytes2b, secret: bytes2b },
  out: { certInfo: bytes2b },
});
export const DictionaryAttackLockReset = command("DictionaryAttackLockReset", 0x139, { authorised: 1 });
export const DictionaryAttackParameters = command("DictionaryAttackParameters", 0x13a, {
  authorised: 1,
  in: { maxTries: u32, recoveryTime: u32, lockoutRecovery: u32 },
});
export const HierarchyChangeAuth = command("HierarchyChangeAuth", 0x129, {
  authorised: 1,
  in: { newAuth: bytes2b },
  once: true,
  authAfter: ({ newAuth }) => newAuth,
});
export const Clear = command("Clear", 0x126, {
  authorised: 1,
  once: true,
  longest: KEY_MAKING,
  // The platform hierarchy keeps its own (Part 3, 24.6).
  authAfter: (_, handle) => (handle === HANDLE.lockout ? new Uint8Array(0) : undefined),
});
export const ReadClock = command("ReadClock", 0x181, { out: { time: fixed(25) } });
