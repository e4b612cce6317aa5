import { createCipheriv, createDecipheriv, createECDH, createHmac, createSign } from "node:crypto";
import { describe, expect, test } from "vitest";
import { isSignature, keyPair, macOf, otherKey, otp, tempKeyShown, xor } from "./formulas.ts";
import { bench, H, hex, KEY, NONCE, pattern, SECRET, zeros } from "./lab.ts";

describe("608", () => {
  const ioKey = pattern(32, 0x6e);
  const IO = { 90: 0x06, 91: 0x40 };
  const model = "608a" as const;
  const unwrap = (payload: Uint8Array, length: number) => {
    expect(payload.length).toBe(length + 32);
    const outNonce = payload.subarray(length);
    const stream = Buffer.concat([H(ioKey, outNonce.subarray(0, 16)), H(ioKey, outNonce.subarray(16))]);
    return xor(payload.subarray(0, length), stream);
  };
  function details(bits: number, message: Uint8Array): Uint8Array {
    return Uint8Array.of(bits & 0xff, (bits >> 8) & 0xff, 0, message.length);
  }

  /** TLS 1.2 P_SHA256, RFC 5246 section 5. */
  function pHash(secret: Uint8Array, seed: Uint8Array, length: number): Uint8Array {
    const hmac = (...data: Uint8Array[]) => createHmac("sha256", secret).update(Buffer.concat(data)).digest();
    const a1 = hmac(seed);
    const a2 = hmac(a1);
    return Buffer.concat([hmac(a1, seed), hmac(a2, seed)]).subarray(0, length);
  }

  test("KDF PRF: the published vector, to the output in clear and encrypted", () => {
    const chip = bench({ model, config: IO, slots: { 4: { keyConfig: KEY.SECRET, content: ioKey } } });
    const count = Uint8Array.from({ length: 32 }, (_, i) => i % 16);
    const message = count.subarray(0, 16);
    chip.fixedNonce(count);
    const payload = chip.command(0x56, 0x10, 0x1234, details(0x101, message), message);
    expect(hex(payload)).toBe(
      "1ebcbe62005ab948fdffe1c402aaba354ec676050c9bc1aae1ff5b1509a4a04a44254664c2a480f5b77ea2d1020c7ba4b3640c4ac793324c26d6fddfdb1f011a",
    );
    expect(hex(payload)).toBe(hex(pHash(count, message, 64)));
    const wrapped = chip.command(0x56, 0x14, 0x1234, details(0x101, message), message);
    expect(hex(unwrap(wrapped, 64))).toBe(hex(payload));
  });

  test("KDF AES: the published vector", () => {
    const chip = bench({ model, config: IO, slots: { 4: { keyConfig: KEY.SECRET, content: ioKey } } });
    const count = Uint8Array.from({ length: 32 }, (_, i) => i % 16);
    chip.fixedNonce(count);
    const payload = chip.command(0x56, 0x30, 0, zeros(4), count.subarray(0, 16));
    expect(hex(payload)).toBe(`0a940bb5416ef045f1c39458c653ea5a${"00".repeat(16)}`);
  });

  test("KDF HKDF: from a slot, a buffer, TempKey, with a zero key, with an IV, into slot and TempKey", () => {
    const chip = bench({
      model,
      config: { ...IO, 72: 9, 73: 0x69, 74: 0x76 },
      slots: { 3: { keyConfig: KEY.SECRET, content: SECRET }, 5: { keyConfig: KEY.SECRET } },
    });
    const message = pattern(20, 0x40);
    const hmac = (k: Uint8Array, m: Uint8Array) => hex(createHmac("sha256", k).update(m).digest());
    expect(hex(chip.command(0x56, 0x52, 3, details(2, message), message))).toBe(hmac(SECRET, message));
    chip.status(0x16, 0x83, 0, otherKey);
    expect(hex(chip.command(0x56, 0x53, 0, details(2, message), message))).toBe(hmac(otherKey, message));
    chip.fixedNonce(NONCE);
    expect(hex(chip.command(0x56, 0x50, 0, Uint8Array.of(5, 0, 0, 32)))).toBe(hmac(zeros(32), NONCE));
    const withIv = pattern(20, 0x40);
    expect(chip.status(0x56, 0x52, 3, details(3, withIv), withIv)).toBe(0x0f);
    withIv.set([0x69, 0x76], 9);
    expect(hex(chip.command(0x56, 0x52, 3, details(3, withIv), withIv))).toBe(hmac(SECRET, withIv));
    expect(chip.status(0x56, 0x4a, 0x0503, details(2, message), message)).toBe(0);
    expect(hex(chip.memory.slots[5]!.slice(0, 32))).toBe(hmac(SECRET, message));
    expect(chip.status(0x56, 0x42, 3, details(2, message), message)).toBe(0);
    expect(tempKeyShown(chip, 1)).toBe(macOf(Buffer.from(hmac(SECRET, message), "hex"), 1));
  });

  test("AES encrypts and decrypts with a block of the slot; GFM multiplies as GCM does", () => {
    const keys = pattern(32, 0x21);
    const chip = bench({ model, slots: { 3: { keyConfig: KEY.AES, content: keys } } });
    const block = pattern(16, 0x99);
    for (const index of [0, 1]) {
      const aesKey = keys.subarray(16 * index, 16 * index + 16);
      const expected = createCipheriv("aes-128-ecb", aesKey, null).update(block);
      expect(hex(chip.command(0x51, index << 6, 3, block))).toBe(hex(expected));
      const back = createDecipheriv("aes-128-ecb", aesKey, null).setAutoPadding(false).update(block);
      expect(hex(chip.command(0x51, (index << 6) | 1, 3, block))).toBe(hex(back));
    }
    expect(chip.status(0x51, 0x80, 3, block)).toBe(0x0f);
    // GCM specification (McGrew, Viega), test case 2: H, and the products of its GHASH.
    const h = Buffer.from("66e94bd4ef8a2c3b884cfa59ca342b2e", "hex");
    const c = Buffer.from("0388dace60b6a392f328c2b971b2fe78", "hex");
    expect(hex(chip.command(0x51, 3, 0, h, c))).toBe("5e2ec746917062882c85b0685353deb7");
  });

  test("ECDH: output in clear and encrypted, into slot and TempKey, from TempKey", () => {
    const host = createECDH("prime256v1");
    const hostPoint = host.generateKeys().subarray(1);
    const chip = bench({
      model,
      config: IO,
      slots: {
        0: { slotConfig: 0x2004, keyConfig: KEY.ECC_PRIVATE },
        1: { keyConfig: KEY.SECRET },
        4: { keyConfig: KEY.SECRET, content: ioKey },
      },
    });
    const point = chip.command(0x40, 4, 0);
    const shared = host.computeSecret(Buffer.concat([Buffer.from([4]), point]));
    expect(hex(chip.command(0x43, 0x0c, 0, hostPoint))).toBe(hex(shared));
    expect(hex(unwrap(chip.command(0x43, 0x0e, 0, hostPoint), 32))).toBe(hex(shared));
    expect(chip.status(0x43, 0x04, 0, hostPoint)).toBe(0);
    expect(hex(chip.memory.slots[1]!.slice(0, 32))).toBe(hex(shared));
    expect(chip.status(0x43, 0x08, 0, hostPoint)).toBe(0);
    expect(tempKeyShown(chip, 1)).toBe(macOf(shared, 1));

    const ephemeral = chip.command(0x40, 4, 0xffff);
    const second = host.computeSecret(Buffer.concat([Buffer.from([4]), ephemeral]));
    expect(hex(chip.command(0x43, 0x0d, 0, hostPoint))).toBe(hex(second));
    expect(chip.status(0x08, 0x06, 0, zeros(32))).toBe(0x0f);
  });

  test("Verify answers a MAC under the IO key", () => {
    const pair = keyPair();
    const message = pattern(40, 1);
    const digest = H(message);
    const signature = createSign("sha256").update(message).sign({ key: pair.privateKey, dsaEncoding: "ieee-p1363" });
    const hostNonce = pattern(32, 0x88);
    const chip = bench({ model, config: IO, slots: { 4: { keyConfig: KEY.SECRET, content: ioKey } } });
    expect(chip.status(0x16, 0x63, 0, digest, hostNonce)).toBe(0);
    const fromBuffer = chip.command(0x45, 0xa2, 4, signature, pair.x, pair.y);
    expect(hex(fromBuffer)).toBe(hex(H(ioKey, digest, hostNonce, signature, [0x45, 0xa2, 4, 0])));
    chip.fixedNonce(digest);
    expect(chip.status(0x16, 0x43, 0, hostNonce)).toBe(0);
    const fromTempKey = chip.command(0x45, 0x82, 4, signature, pair.x, pair.y);
    expect(hex(fromTempKey)).toBe(hex(H(ioKey, digest, hostNonce, signature, [0x45, 0x82, 4, 0])));
  });

  test("Nonce can take TempKey for RandOut", () => {
    const chip = bench({ model, otp });
    const numIn = pattern(20, 0x30);
    const tempKey = chip.randomNonce();
    expect(chip.status(0x16, 1, 0x8000, numIn)).toBe(0);
    expect(tempKeyShown(chip, 0)).toBe(macOf(H(tempKey, numIn, [0x16, 1, 0]), 0));
    expect(chip.status(0x16, 1, 0x8000, numIn)).toBe(0x0f);
  });

  test("a SHA context can be taken out and put back", () => {
    const chip = bench({ model });
    const message = pattern(150, 0x19);
    expect(chip.status(0x47, 0, 0)).toBe(0);
    expect(chip.status(0x47, 1, 64, message.subarray(0, 64))).toBe(0);
    const context = chip.command(0x47, 6, 0);
    expect(context.length).toBe(36);
    expect(hex(context.subarray(32))).toBe("40000000");
    expect(hex(chip.command(0x47, 2, 0))).toBe(hex(H(message.subarray(0, 64))));
    expect(chip.status(0x47, 7, context.length, context)).toBe(0);
    expect(chip.status(0x47, 1, 64, message.subarray(64, 128))).toBe(0);
    expect(hex(chip.command(0x47, 0xc2, 22, message.subarray(128)))).toBe(hex(H(message)));
    const rest = Uint8Array.from([...context.subarray(0, 32), 70, 0, 0, 0, 1, 2, 3, 4, 5]);
    expect(chip.status(0x47, 7, rest.length, rest)).toBe(0x03);
    expect(chip.status(0x47, 7, rest.length + 1, rest, Uint8Array.of(6))).toBe(0);
    expect(hex(chip.command(0x47, 2, 0))).toBe(hex(H(message.subarray(0, 64), [1, 2, 3, 4, 5, 6])));
  });

  test("the digest of SHA goes where its target bits say", () => {
    const pair = keyPair();
    const chip = bench({
      model,
      otp,
      slots: { 0: { slotConfig: 0x4301, keyConfig: KEY.ECC_PRIVATE, content: Buffer.concat([zeros(4), pair.d]) } },
    });
    const message = pattern(30, 2);
    chip.status(0x47, 0, 0);
    const digest = chip.command(0x47, 0x02, 30, message);
    expect(tempKeyShown(chip, 1)).toBe(macOf(digest, 1));
    chip.status(0x47, 0, 0);
    chip.command(0x47, 0x42, 30, message);
    const signature = chip.command(0x41, 0xa0, 0);
    expect(isSignature(message, signature, Buffer.concat([pair.x, pair.y]))).toBe(true);
    expect(chip.status(0x41, 0xa0, 0)).toBe(0x0f);
  });

  test("what Nonce makes of a fixed TempKey is fixed", () => {
    const chip = bench({ model, otp });
    chip.fixedNonce(NONCE);
    expect(chip.status(0x16, 0, 0x8000, zeros(20))).toBe(0);
    expect(tempKeyShown(chip, 1)).toBe(macOf(H(NONCE, zeros(20), [0x16, 0, 0]), 1));
  });

  test("KDF does not write where nothing may be written, nor AES run when it is not enabled", () => {
    const message = Uint8Array.of(2, 0, 0, 1, 9);
    const target = (slotConfig: number, keyConfig: number, lock = false) => {
      const chip = bench({
        model,
        slots: {
          3: { keyConfig: KEY.SECRET, content: SECRET },
          5: { slotConfig, keyConfig: keyConfig | KEY.LOCKABLE },
        },
      });
      if (lock) expect(chip.status(0x17, 2 | (5 << 2), 0)).toBe(0);
      return chip.status(0x56, 0x4a, 0x0503, message);
    };
    expect(target(0x0000, KEY.SECRET)).toBe(0);
    const closed = [0x1000, 0x2000, 0x3000, 0x4000, 0x7000, 0x8000, 0xb000, 0xf000];
    for (const slotConfig of closed) expect(target(slotConfig, KEY.SECRET)).toBe(0x0f);
    expect(target(0, KEY.ECC_PRIVATE)).toBe(0x0f);
    expect(target(0, KEY.SECRET, true)).toBe(0x0f);

    for (const config of [{ 90: 0 }, { 90: 4, 13: 0 }]) {
      const chip = bench({ model, config });
      chip.fixedNonce(NONCE);
      expect(chip.status(0x56, 0x30, 0, zeros(20))).toBe(0x0f);
    }
  });

  test("KDF: private slots and, for the MAC algorithms, NoMac slots are no sources", () => {
    const message = Uint8Array.of(2, 0, 0, 1, 9);
    const source = (slotConfig: number, keyConfig: number, mode: number, data: Uint8Array) =>
      bench({ model, config: { 90: 4 }, slots: { 3: { slotConfig, keyConfig, content: SECRET } } }).command(
        0x56,
        mode,
        3,
        data,
      ).length;
    expect(source(0, KEY.SECRET, 0x52, message)).toBe(32);
    expect(source(0, KEY.ECC_PRIVATE, 0x52, message)).toBe(1);
    expect(source(0x10, KEY.SECRET, 0x52, message)).toBe(1);
    expect(source(0x10, KEY.SECRET, 0x12, Uint8Array.of(1, 0, 0, 1, 9))).toBe(1);
    expect(source(0x10, KEY.SECRET, 0x32, zeros(20))).toBe(32);
  });

  test("KDF: keys of 48 and 64 bytes are in a TempKey of 64; its upper half is a source and a target", () => {
    const long = pattern(64, 0x13);
    const message = pattern(5, 1);
    const chip = bench({ model, otp });
    expect(chip.status(0x16, 0x23, 0, long)).toBe(0);
    expect(hex(chip.command(0x56, 0x10, 0, details(3, message), message))).toBe(hex(pHash(long, message, 32)));
    expect(hex(chip.command(0x56, 0x10, 0, details(2, message), message))).toBe(
      hex(pHash(long.subarray(0, 48), message, 32)),
    );
    expect(hex(chip.command(0x56, 0x11, 0, details(1, message), message))).toBe(
      hex(pHash(long.subarray(32), message, 32)),
    );
    expect(chip.status(0x56, 0x04, 0, details(0, message), message)).toBe(0);
    const upper = pHash(long.subarray(0, 16), message, 32);
    expect(hex(chip.command(0x56, 0x11, 0, details(1, message), message))).toBe(hex(pHash(upper, message, 32)));
    chip.fixedNonce(NONCE);
    expect(chip.status(0x56, 0x10, 0, details(2, message), message)).toBe(0x0f);
    expect(chip.status(0x56, 0x11, 0, details(1, message), message)).toBe(0x0f);
  });
});
