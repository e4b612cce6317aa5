import { createECDH } from "node:crypto";
import { expect, it } from "vitest";
import { fromHex, toHex } from "../../src/bytes/bytes.ts";
import { Secret } from "../../src/bytes/secret.ts";
import { KEM, keySchedule, openMessage, p256SharedSecret } from "../../src/operations/hpke.ts";

/** RFC 9180, A.5.1: DHKEM(P-256, HKDF-SHA256), HKDF-SHA256, ChaCha20Poly1305, base mode, sequence number 0. */
const VECTOR = {
  info: "4f6465206f6e2061204772656369616e2055726e",
  pkRm: "04a697bffde9405c992883c5c439d6cc358170b51af72812333b015621dc0f40bad9bb726f68a5c013806a790ec716ab8669f84f6b694596c2987cf35baba2a006",
  skRm: "a4d1c55836aa30f9b3fbb6ac98d338c877c2867dd3a77396d13f68d3ab150d3b",
  enc: "04c07836a0206e04e31d8ae99bfd549380b072a1b1b82e563c935c095827824fc1559eac6fb9e3c70cd3193968994e7fe9781aa103f5b50e934b5b2f387e381291",
  sharedSecret: "806520f82ef0b03c823b7fc524b6b55a088f566b9751b89551c170f4113bd850",
  key: "a8f45490a92a3b04d1dbf6cf2c3939ad8bfc9bfcb97c04bffe116730c9dfe3fc",
  baseNonce: "726b4390ed2209809f58c693",
  pt: "4265617574792069732074727574682c20747275746820626561757479",
  aad: "436f756e742d30",
  ct: "6469c41c5c81d3aa85432531ecf6460ec945bde1eb428cb2fedf7a29f5a685b4ccb0d057f03ea2952a27bb458b",
} as const;

it("opens what RFC 9180 publishes for P-256 with ChaCha20-Poly1305, step by step", () => {
  const ecdh = createECDH("prime256v1");
  ecdh.setPrivateKey(fromHex(VECTOR.skRm));
  const enc = fromHex(VECTOR.enc);
  const shared = p256SharedSecret(ecdh.computeSecret(enc), enc, fromHex(VECTOR.pkRm));
  expect(shared.use(toHex)).toBe(VECTOR.sharedSecret);
  const { key, nonce } = keySchedule(KEM.p256, shared, fromHex(VECTOR.info));
  expect([toHex(key), toHex(nonce)]).toEqual([VECTOR.key, VECTOR.baseNonce]);
  const open = (ct: Uint8Array) => openMessage(KEM.p256, shared, fromHex(VECTOR.info), ct, fromHex(VECTOR.aad));
  expect(open(fromHex(VECTOR.ct))?.use(toHex)).toBe(VECTOR.pt);
  const changed = fromHex(VECTOR.ct);
  changed[3]! ^= 1;
  expect(open(changed)).toBeUndefined();
  expect(open(changed.subarray(0, 15))).toBeUndefined();
  expect(openMessage(KEM.mlkem768p256, new Secret(new Uint8Array(32)), new Uint8Array(0), changed)).toBeUndefined();
});
