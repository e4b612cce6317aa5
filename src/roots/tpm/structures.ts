/** Structures of TPM 2.0 Part 2 that the commands of this house carry. */
import { createHash } from "node:crypto";
import { concat } from "../../bytes/bytes.ts";
import { Reader } from "../../bytes/reader.ts";
import { Writer } from "../../bytes/writer.ts";
import { ThornkeyError } from "../../errors.ts";
import {
  BadEncoding,
  bytes2b,
  type Codec,
  encode,
  fixed,
  list,
  sized,
  struct,
  tagged,
  u8,
  u16,
  u32,
  u64,
} from "./codec.ts";
import { ALG, GENERATED, ST } from "./constants.ts";

const nothing = struct({});
const hashed = struct({ hash: u16 });

/** TPMT_SYM_DEF, TPMT_SYM_DEF_OBJECT: AES or none. */
export const symmetric = tagged(u16, { [ALG.aes]: struct({ keyBits: u16, mode: u16 }), [ALG.null]: nothing });

/** TPMT_SIG_SCHEME, TPMT_RSA_DECRYPT, TPMT_ASYM_SCHEME. */
export const asymmetricScheme = tagged(u16, {
  [ALG.rsassa]: hashed,
  [ALG.rsapss]: hashed,
  [ALG.oaep]: hashed,
  [ALG.ecdsa]: hashed,
  [ALG.ecdh]: hashed,
  [ALG.rsaes]: nothing,
  [ALG.null]: nothing,
});

/** TPMT_KEYEDHASH_SCHEME. */
const keyedHashScheme = tagged(u16, { [ALG.hmac]: hashed, [ALG.null]: nothing });

/** TPMT_KDF_SCHEME: none is used in public areas of today. */
const kdfScheme = tagged(u16, { [ALG.null]: nothing });

/** TPMS_ECC_POINT. */
export const eccPoint = struct({ x: bytes2b, y: bytes2b });

const head = { nameAlg: u16, attributes: u32, authPolicy: bytes2b };

/** TPMT_PUBLIC. */
export const publicArea = tagged(u16, {
  [ALG.ecc]: struct({
    ...head,
    symmetric,
    scheme: asymmetricScheme,
    curve: u16,
    kdf: kdfScheme,
    unique: eccPoint,
  }),
  [ALG.rsa]: struct({
    ...head,
    symmetric,
    scheme: asymmetricScheme,
    keyBits: u16,
    exponent: u32,
    unique: bytes2b,
  }),
  [ALG.keyedhash]: struct({ ...head, scheme: keyedHashScheme, unique: bytes2b }),
});

export type PublicArea = ReturnType<(typeof publicArea)["read"]>;
export type EccPublic = PublicArea & { readonly type: typeof ALG.ecc };
export type RsaPublic = PublicArea & { readonly type: typeof ALG.rsa };

/** TPMT_SIGNATURE. */
export const signature = tagged(u16, {
  [ALG.ecdsa]: struct({ hash: u16, r: bytes2b, s: bytes2b }),
  [ALG.rsassa]: struct({ hash: u16, signature: bytes2b }),
  [ALG.rsapss]: struct({ hash: u16, signature: bytes2b }),
});

export type TpmSignature = ReturnType<(typeof signature)["read"]>;

/** TPMT_TK_*: says that the TPM itself computed something; what a host gives is empty. */
export const ticket = struct({ tag: u16, hierarchy: u32, digest: bytes2b });

/** TPMS_PCR_SELECTION of one bank with 24 PCRs, as a list of one. @param value numbers of PCRs, 0 to 23 */
export const pcrSelection: Codec<readonly number[]> = {
  write(writer, pcrs) {
    const mask = [0, 0, 0];
    for (const pcr of pcrs) mask[pcr >> 3] = (mask[pcr >> 3] ?? 0) | (1 << (pcr & 7));
    writer.u32be(1).u16be(ALG.sha256).u8(3).put(Uint8Array.from(mask));
  },
  read(reader) {
    const selections = list(struct({ hash: u16, mask: mask }), 16).read(reader);
    return selections.flatMap(({ hash, mask }) =>
      hash === ALG.sha256
        ? Array.from({ length: 24 }, (_, n) => n).filter((n) => (mask[n >> 3] ?? 0) & (1 << (n & 7)))
        : [],
    );
  },
};

const mask: Codec<Uint8Array> = {
  write: (writer, value) => void writer.u8(value.length).put(value),
  read: (reader) => reader.take(reader.u8()).slice(),
};

/** TPMS_NV_PUBLIC. */
export const nvPublic = struct({ index: u32, nameAlg: u16, attributes: u32, authPolicy: bytes2b, size: u16 });
export type NvPublic = ReturnType<(typeof nvPublic)["read"]>;

/** TPMS_ATTEST of a quote or a certification. */
const attest = struct({
  magic: u32,
  type: u16,
  qualifiedSigner: bytes2b,
  extraData: bytes2b,
  clock: u64,
  resetCount: u32,
  restartCount: u32,
  safe: u8,
  firmwareVersion: u64,
});
const quoted = struct({ pcrs: pcrSelection, pcrDigest: bytes2b });
const certified = struct({ name: bytes2b, qualifiedName: bytes2b });

export type Attestation = ReturnType<(typeof attest)["read"]> &
  (
    | { readonly quote: ReturnType<(typeof quoted)["read"]> }
    | { readonly certify: ReturnType<(typeof certified)["read"]> }
  );

/** @param bytes TPMS_ATTEST. @throws BadEncoding, OutOfBytes */
export function readAttestation(bytes: Uint8Array): Attestation {
  const reader = new Reader(bytes);
  const common = attest.read(reader);
  if (common.magic !== GENERATED) throw new BadEncoding("no attestation of a TPM");
  const body =
    common.type === ST.attestQuote
      ? { quote: quoted.read(reader) }
      : common.type === ST.attestCertify
        ? { certify: certified.read(reader) }
        : undefined;
  if (body === undefined || reader.remaining > 0) throw new BadEncoding("an attestation of another kind");
  return { ...common, ...body };
}

/** TPMS_CAPABILITY_DATA of the kinds that are asked for. */
export const capabilityData = tagged(u32, {
  1: struct({ handles: list(u32, 1024) }),
  6: struct({ properties: list(struct({ property: u32, value: u32 }), 512) }),
  8: struct({ curves: list(u16, 256) }),
});

/** TPM2B_SENSITIVE_CREATE. */
export const sensitiveCreate = sized(struct({ userAuth: bytes2b, data: bytes2b }));

export const public2b = sized(publicArea);
export const nvPublic2b = sized(nvPublic);
export const eccPoint2b = sized(eccPoint);
/** What PCR_Extend takes: one SHA-256 digest. */
export const digestValues = struct({ count: u32, hash: u16, digest: fixed(32) });

/**
 * The name of an object: its digest's algorithm and digest (Part 1, 16).
 *
 * @returns 34 bytes
 * @throws ThornkeyError `MALFORMED` for a digest nobody knows
 */
export function nameOf(area: PublicArea): Uint8Array {
  return nameOfEncoded(encode(publicArea, area), area.nameAlg);
}

export function nameOfNv(area: NvPublic): Uint8Array {
  return nameOfEncoded(encode(nvPublic, area), area.nameAlg);
}

function nameOfEncoded(bytes: Uint8Array, nameAlg: number): Uint8Array {
  const hash = HASHES.get(nameAlg);
  if (hash === undefined) {
    throw new ThornkeyError("MALFORMED", `the name of this object of a TPM is made with 0x${nameAlg.toString(16)}`, {
      hint: "SHA-256, SHA-384 and SHA-512 are known here",
    });
  }
  const algorithm = new Writer(2).u16be(nameAlg).done();
  return concat(algorithm, new Uint8Array(createHash(hash).update(bytes).digest()));
}

const HASHES = new Map<number, string>([
  [ALG.sha256, "sha256"],
  [ALG.sha384, "sha384"],
  [ALG.sha512, "sha512"],
]);

/** The name of what has no public area: its handle. @returns 4 bytes */
export function nameOfHandle(handle: number): Uint8Array {
  return new Writer(4).u32be(handle).done();
}
