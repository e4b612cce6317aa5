import { describe, expect, test } from "vitest";
import { crc16 } from "../../../src/bytes/crc16.ts";
import { type Bench, bench, H, hex, KEY, pattern, type Setup, SN, type Stage } from "./lab.ts";

const key = pattern(32, 0x11);
const nonce = pattern(32, 0x91);
const zeros = (length: number) => new Uint8Array(length);
const SNX = [SN[8]!, SN[0]!, SN[1]!];
const REFUSED = 0x0f;
const stages = ["open", "configured", "locked"] as const;

describe("Lock", () => {
  const summary = (host: Bench, zone: "config" | "data") =>
    zone === "config" ? crc16(host.memory.config) : crc16(Buffer.concat([...host.memory.slots, host.memory.otp]));

  test("the stages follow each other; nothing opens again", () => {
    const host = bench({ stage: "open" });
    expect(host.status(0x17, 0x81, 0)).toBe(REFUSED);
    expect(host.status(0x17, 0x80, 0)).toBe(0);
    expect(host.memory.config[87]).toBe(0);
    expect(host.status(0x17, 0x80, 0)).toBe(REFUSED);
    expect(host.status(0x17, 0x81, 0)).toBe(0);
    expect(host.memory.config[86]).toBe(0);
    expect(host.status(0x17, 0x81, 0)).toBe(REFUSED);
  });

  test("the summary must be right, unless b7 says that it does not count", () => {
    const host = bench({ stage: "open", otp: pattern(64, 3), slots: { 8: { content: pattern(416, 5) } } });
    expect(host.status(0x17, 0x00, summary(host, "config") ^ 1)).toBe(REFUSED);
    expect(host.memory.config[87]).toBe(0x55);
    expect(host.status(0x17, 0x00, summary(host, "config"))).toBe(0);
    expect(host.status(0x17, 0x01, summary(host, "data") ^ 0x8000)).toBe(REFUSED);
    expect(host.memory.config[86]).toBe(0x55);
    expect(host.status(0x17, 0x01, summary(host, "data"))).toBe(0);
  });

  test("one slot: Lockable, not open, once; the summary does not count", () => {
    const slots = { 5: { keyConfig: KEY.SECRET | KEY.LOCKABLE }, 6: { keyConfig: KEY.SECRET } };
    expect(bench({ stage: "open", slots }).status(0x17, 2 | (5 << 2), 0)).toBe(REFUSED);
    for (const stage of ["configured", "locked"] as const) {
      const host = bench({ stage, slots });
      expect(host.status(0x17, 2 | (6 << 2), 0)).toBe(REFUSED);
      expect(host.status(0x17, 2 | (5 << 2), 0xabcd)).toBe(0);
      expect(hex(host.memory.config.slice(88, 90))).toBe("dfff");
      expect(host.status(0x17, 0x82 | (5 << 2), 0)).toBe(REFUSED);
    }
  });
});

describe("a slot lock stops change, not use", () => {
  const slots = {
    0: { slotConfig: 0x6105, keyConfig: KEY.ECC_PRIVATE },
    1: { keyConfig: KEY.SECRET, content: key },
    2: { slotConfig: 0x0000, keyConfig: KEY.SECRET | KEY.LOCKABLE },
    3: { slotConfig: 0x2000, keyConfig: KEY.SECRET | KEY.LOCKABLE, content: key },
    9: { slotConfig: 0x0009, keyConfig: KEY.PUBLIC_VALIDATED, content: pattern(72, 9) },
  };
  function locked(slot: number): Bench {
    const host = bench({ slots });
    if (slot === 0) expect(host.command(0x40, 4, 0).length).toBe(64);
    expect(host.status(0x17, 2 | (slot << 2), 0)).toBe(0);
    return host;
  }

  test("GenKey and PrivWrite stop; Sign, ECDH and the public key go on", () => {
    const host = locked(0);
    expect(host.status(0x40, 4, 0)).toBe(REFUSED);
    host.fixedNonce(nonce);
    expect(host.command(0x41, 0x80, 0).length).toBe(64);
    const point = host.command(0x40, 0, 0);
    expect(host.command(0x43, 0, 0, point).length).toBe(32);
    const tempKey = host.randomNonce();
    expect(host.status(0x15, 2, 1)).toBe(0);
    const session = H(key, [0x15, 2, 1, 0], SNX, zeros(25), tempKey);
    const plain = Buffer.concat([zeros(35), Uint8Array.of(1)]);
    const cipher = plain.map((byte, i) => byte ^ (i < 32 ? session[i]! : H(session)[i - 32]!));
    expect(host.status(0x46, 0x40, 0, cipher, H(session, [0x46, 0x40, 0, 0], SNX, zeros(21), plain))).toBe(REFUSED);
  });

  test("Write, DeriveKey and Verify (validate) stop", () => {
    expect(locked(2).status(0x12, 0x82, 2 << 3, zeros(32))).toBe(REFUSED);
    const derive = locked(3);
    derive.fixedNonce(nonce);
    expect(derive.status(0x1c, 4, 3)).toBe(REFUSED);
    const validate = locked(9);
    validate.fixedNonce(nonce);
    expect(validate.status(0x40, 0x10, 9, zeros(3))).toBe(0);
    expect(validate.status(0x45, 3, 9, zeros(83))).toBe(REFUSED);
  });

  test("ECDH does not write into a locked slot", () => {
    const host = bench({
      slots: { 2: { slotConfig: 0x200c, keyConfig: KEY.ECC_PRIVATE }, 3: { keyConfig: KEY.SECRET | KEY.LOCKABLE } },
    });
    const point = host.command(0x40, 4, 2);
    expect(host.status(0x43, 0, 2, point)).toBe(0);
    host.status(0x17, 2 | (3 << 2), 0);
    expect(host.status(0x43, 0, 2, point)).toBe(REFUSED);
  });
});

describe("Read", () => {
  const content = pattern(72, 0x33);
  const slot = (slotConfig: number, keyConfig: number = KEY.SECRET) => ({ 10: { slotConfig, keyConfig, content } });

  test("config always; OTP and data only when locked", () => {
    for (const stage of stages) {
      const host = bench({ stage, slots: slot(0) });
      expect(host.command(0x02, 0x80, 0).length).toBe(32);
      expect(host.command(0x02, 0x00, 0x15).length).toBe(4);
      const allowed = stage === "locked" ? 32 : 1;
      expect(host.command(0x02, 0x81, 8).length).toBe(allowed);
      expect(host.command(0x02, 0x82, 10 << 3).length).toBe(allowed);
    }
  });

  test("IsSecret and EncryptRead", () => {
    expect(hex(bench({ slots: slot(0x0000) }).command(0x02, 0x82, 0x0150))).toBe(hex(content.subarray(32, 64)));
    expect(hex(bench({ slots: slot(0x0000) }).command(0x02, 0x02, 0x0251))).toBe(hex(content.subarray(68)));
    for (const slotConfig of [0x0080, 0x0040]) {
      expect(bench({ slots: slot(slotConfig) }).status(0x02, 0x82, 10 << 3)).toBe(REFUSED);
      expect(bench({ slots: slot(slotConfig) }).status(0x02, 0x02, 10 << 3)).toBe(REFUSED);
    }
  });

  test("a private slot never, whatever IsSecret says", () => {
    for (const slotConfig of [0x0000, 0x0080, 0x00c0]) {
      expect(bench({ slots: slot(slotConfig, KEY.ECC_PRIVATE) }).status(0x02, 0x82, 10 << 3)).toBe(REFUSED);
    }
  });

  test("encrypted: random TempKey from GenDig with the read key, 32 bytes, once", () => {
    const slots = { ...slot(0x00c3), 3: { keyConfig: KEY.SECRET, content: key }, 4: { keyConfig: KEY.SECRET } };
    const prepared = (prepare: (host: Bench) => void) => {
      const host = bench({ slots });
      prepare(host);
      return host;
    };
    const random = prepared((host) => {
      host.randomNonce();
      host.status(0x15, 2, 3);
    });
    expect(random.command(0x02, 0x82, 10 << 3).length).toBe(32);
    expect(random.status(0x02, 0x82, 10 << 3)).toBe(REFUSED);
    const refused: ((host: Bench) => void)[] = [
      () => {},
      (host) => host.randomNonce(),
      (host) => {
        host.fixedNonce(nonce);
        host.status(0x15, 2, 3);
      },
      (host) => {
        host.randomNonce();
        host.status(0x15, 2, 4);
      },
      (host) => {
        host.randomNonce();
        host.status(0x15, 2, 3);
        host.status(0x15, 0, 0);
      },
    ];
    for (const prepare of refused) expect(prepared(prepare).status(0x02, 0x82, 10 << 3)).toBe(REFUSED);
    const short = prepared((host) => {
      host.randomNonce();
      host.status(0x15, 2, 3);
    });
    expect(short.status(0x02, 0x02, 10 << 3)).toBe(REFUSED);
  });
});

describe("Write", () => {
  const block = pattern(32, 0x21);

  test("config: only while open, and only bytes 16 to 83 and 88 to 127", () => {
    for (const stage of ["configured", "locked"] as const) {
      expect(bench({ stage }).status(0x12, 0, 5, zeros(4))).toBe(REFUSED);
    }
    for (let word = 0; word < 32; word++) {
      const writable = (word >= 4 && word <= 20) || word >= 22;
      expect(bench({ stage: "open" }).status(0x12, 0, word, pattern(4, word))).toBe(writable ? 0 : REFUSED);
    }
    for (const [index, allowed] of [false, true, false, true].entries()) {
      const host = bench({ stage: "open" });
      expect(host.status(0x12, 0x80, 8 * index, block)).toBe(allowed ? 0 : REFUSED);
      expect(hex(host.memory.config.slice(32 * index, 32 * index + 32)) === hex(block)).toBe(allowed);
    }
  });

  test("OTP: 32 bytes while configured; later only by consumption on the 508", () => {
    for (const stage of stages) {
      const host = bench({ stage, otp: zeros(64).fill(0xff), config: { 18: 0xaa } });
      expect(host.status(0x12, 0x81, 0, block)).toBe(stage === "configured" ? 0 : REFUSED);
      expect(host.status(0x12, 0x01, 0, zeros(4))).toBe(REFUSED);
    }
    const otp = zeros(64).fill(0xf0);
    const consumption = bench({ otp, config: { 18: 0x55 } });
    expect(consumption.status(0x12, 0x01, 2, Uint8Array.of(0xff, 0x0f, 0x50, 0x00))).toBe(0);
    expect(hex(consumption.memory.otp.slice(8, 12))).toBe("f0005000");
    const other = bench({ model: "608a", otp, config: { 18: 0x55 } });
    expect(other.status(0x12, 0x01, 2, zeros(4))).toBe(REFUSED);
  });

  test("data, configured: 32 bytes whatever the policy, but not a private slot", () => {
    const slots = { 1: { slotConfig: 0x8080, keyConfig: KEY.SECRET }, 2: { keyConfig: KEY.ECC_PRIVATE } };
    const host = bench({ stage: "configured", slots });
    expect(host.status(0x12, 0x82, 1 << 3, block)).toBe(0);
    expect(host.status(0x12, 0x02, 1 << 3, zeros(4))).toBe(REFUSED);
    expect(host.status(0x12, 0x82, 2 << 3, block)).toBe(REFUSED);
    expect(bench({ stage: "open", slots }).status(0x12, 0x82, 1 << 3, block)).toBe(REFUSED);
  });

  test.each(Array.from({ length: 16 }, (_, writeConfig) => writeConfig))(
    "data, locked, WriteConfig %i",
    (writeConfig) => {
      const slots = { 1: { slotConfig: writeConfig << 12, keyConfig: KEY.SECRET } };
      const clear = writeConfig <= 1;
      const encrypted = (writeConfig & 4) !== 0;
      expect(bench({ slots }).status(0x12, 0x82, 1 << 3, block)).toBe(clear ? 0 : REFUSED);
      expect(bench({ slots }).status(0x12, 0x02, 1 << 3, zeros(4))).toBe(clear ? 0 : REFUSED);
      const host = bench({ slots: { ...slots, 0: { keyConfig: KEY.SECRET, content: key } } });
      host.fixedNonce(nonce);
      host.status(0x15, 2, 0);
      const session = H(key, [0x15, 2, 0, 0], SNX, zeros(25), nonce);
      const mac = H(session, [0x12, 0x82, 8, 0], SNX, zeros(25), block);
      const cipher = block.map((byte, i) => byte ^ session[i]!);
      expect(host.status(0x12, 0x82, 1 << 3, cipher, mac)).toBe(encrypted ? 0 : REFUSED);
      expect(host.tempKeyIsValid()).toBe(false);
    },
  );

  test("WriteConfig 0001: only while the public key is not valid", () => {
    for (const nibble of [0x5, 0xa]) {
      const content = Uint8Array.of(nibble << 4);
      const host = bench({ slots: { 9: { slotConfig: 0x1000, keyConfig: KEY.PUBLIC_VALIDATED, content } } });
      expect(host.status(0x12, 0x82, 9 << 3, zeros(32))).toBe(nibble === 5 ? REFUSED : 0);
    }
  });

  test("a write takes the validation from a public key, wherever it goes", () => {
    for (const param2 of [9 << 3, (9 << 3) | 0x0100]) {
      const content = Uint8Array.of(0x5c);
      const host = bench({ slots: { 9: { keyConfig: KEY.PUBLIC_VALIDATED, content } } });
      expect(host.status(0x12, 0x82, param2, pattern(32, 0x50))).toBe(0);
      expect(host.memory.slots[9]![0]! >> 4).toBe(0xa);
    }
    const configured = bench({ stage: "configured", slots: { 9: { keyConfig: KEY.PUBLIC_VALIDATED } } });
    configured.status(0x12, 0x82, 9 << 3, pattern(32, 0x50));
    expect(configured.memory.slots[9]![0]).toBe(0x50);
  });

  test("the last block of a slot takes 32 bytes and keeps what fits", () => {
    const host = bench({ slots: { 1: { keyConfig: KEY.SECRET } } });
    expect(host.status(0x12, 0x82, 0x0108, block)).toBe(0);
    expect(hex(host.memory.slots[1]!.slice(32))).toBe(hex(block.subarray(0, 4)));
    expect(hex(Uint8Array.from(host.memory.slots[2]!))).toBe(hex(zeros(36)));
  });
});

describe("PrivWrite and GenKey", () => {
  const scalar = Buffer.concat([zeros(35), Uint8Array.of(7)]);

  test("in clear only while configured, only a scalar from 1 to n-1", () => {
    const slots = { 2: { slotConfig: 0x4000, keyConfig: KEY.ECC_PRIVATE } };
    for (const stage of stages) {
      const status = bench({ stage, slots }).status(0x46, 0, 2, scalar, zeros(32));
      expect(status).toBe(stage === "configured" ? 0 : REFUSED);
    }
    const n = Buffer.from("00000000ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551", "hex");
    expect(bench({ stage: "configured", slots }).status(0x46, 0, 2, n, zeros(32))).toBe(REFUSED);
    expect(bench({ stage: "configured", slots }).status(0x46, 0, 2, zeros(36), zeros(32))).toBe(REFUSED);
    const secret = { 2: { slotConfig: 0x4000, keyConfig: KEY.SECRET } };
    expect(bench({ stage: "configured", slots: secret }).status(0x46, 0, 2, scalar, zeros(32))).toBe(REFUSED);
  });

  test("GenKey: not while open; WriteConfig bit 13 once data is locked", () => {
    for (const stage of stages) {
      for (const slotConfig of [0x2000, 0x0000]) {
        const host = bench({ stage, slots: { 2: { slotConfig, keyConfig: KEY.ECC_PRIVATE } } });
        const allowed = stage === "configured" || (stage === "locked" && slotConfig === 0x2000);
        expect(host.command(0x40, 4, 2).length).toBe(allowed ? 64 : 1);
        expect(hex(host.command(0x30, 1, 2))).toBe(allowed ? "01000000" : "00000000");
      }
    }
  });

  test("the public key of a slot without PubInfo is answered once, at creation", () => {
    const host = bench({ slots: { 2: { slotConfig: 0x2000, keyConfig: KEY.ECC_PRIVATE_NO_PUB_INFO } } });
    expect(host.command(0x40, 4, 2).length).toBe(64);
    expect(host.status(0x40, 0, 2)).toBe(REFUSED);
    host.fixedNonce(nonce);
    expect(host.status(0x40, 8, 2)).toBe(REFUSED);
  });

  test("no key, no public key, no signature", () => {
    const host = bench({ slots: { 2: { slotConfig: 0x2001, keyConfig: KEY.ECC_PRIVATE } } });
    expect(host.status(0x40, 0, 2)).toBe(REFUSED);
    host.fixedNonce(nonce);
    expect(host.status(0x41, 0x80, 2)).toBe(REFUSED);
  });
});

describe("gates", () => {
  /** Uses of a slot's key, each with the slot it needs; all of them work as they stand. */
  type Use = {
    readonly name: string;
    readonly slotConfig: number;
    readonly keyConfig: number;
    readonly reqRandom: boolean;
    readonly reqAuth: boolean;
    readonly works: (host: Bench) => boolean;
  };
  const succeeds = (payload: Uint8Array) => payload.length > 1 || payload[0] === 0 || payload[0] === 1;
  const withNonce = (act: (host: Bench) => Uint8Array) => (host: Bench) => {
    host.randomNonce();
    return succeeds(act(host));
  };
  const point = Buffer.from(
    "6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c2964fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5",
    "hex",
  );
  const uses: Use[] = [
    {
      name: "MAC",
      slotConfig: 0,
      keyConfig: KEY.SECRET,
      reqRandom: true,
      reqAuth: true,
      works: withNonce((h) => h.command(0x08, 1, 5)),
    },
    {
      name: "HMAC",
      slotConfig: 0,
      keyConfig: KEY.SECRET,
      reqRandom: true,
      reqAuth: true,
      works: withNonce((h) => h.command(0x11, 0, 5)),
    },
    {
      name: "CheckMac",
      slotConfig: 0,
      keyConfig: KEY.SECRET,
      reqRandom: true,
      reqAuth: true,
      works: withNonce((h) => h.command(0x28, 1, 5, zeros(77))),
    },
    {
      name: "GenDig",
      slotConfig: 0,
      keyConfig: KEY.SECRET,
      reqRandom: true,
      reqAuth: true,
      works: withNonce((h) => h.command(0x15, 2, 5)),
    },
    {
      name: "DeriveKey",
      slotConfig: 0x2000,
      keyConfig: KEY.SECRET,
      reqRandom: true,
      reqAuth: true,
      works: withNonce((h) => h.command(0x1c, 0, 5)),
    },
    {
      name: "Sign",
      slotConfig: 0x2001,
      keyConfig: KEY.ECC_PRIVATE,
      reqRandom: true,
      reqAuth: true,
      works: withNonce((h) => h.command(0x41, 0x80, 5)),
    },
    {
      name: "GenKey",
      slotConfig: 0x2000,
      keyConfig: KEY.ECC_PRIVATE,
      reqRandom: false,
      reqAuth: true,
      works: withNonce((h) => h.command(0x40, 0, 5)),
    },
    {
      name: "GenKey with digest",
      slotConfig: 0x2000,
      keyConfig: KEY.ECC_PRIVATE,
      reqRandom: true,
      reqAuth: true,
      works: withNonce((h) => h.command(0x40, 8, 5)),
    },
    {
      name: "ECDH",
      slotConfig: 0x2004,
      keyConfig: KEY.ECC_PRIVATE,
      reqRandom: false,
      reqAuth: true,
      works: (h) => succeeds(h.command(0x43, 0, 5, point)),
    },
    {
      name: "SHA HMAC",
      slotConfig: 0,
      keyConfig: KEY.SECRET,
      reqRandom: false,
      reqAuth: true,
      works: (h) => h.status(0x47, 4, 5) === 0,
    },
  ];

  const setup = (use: Use, keyConfig = 0, slotConfig = 0, stage: Stage = "locked"): Setup => ({
    stage,
    slots: {
      5: {
        slotConfig: use.slotConfig | slotConfig,
        keyConfig: use.keyConfig | keyConfig,
        content: Buffer.concat([zeros(4), key]),
      },
      7: { keyConfig: KEY.SECRET, content: key },
    },
  });

  function withFixedNonce(host: Bench): Bench {
    return {
      ...host,
      randomNonce() {
        host.fixedNonce(nonce);
        return nonce;
      },
    };
  }

  /** CheckMac of slot 7 over a random TempKey. */
  function authorise(host: Bench): void {
    const tempKey = host.randomNonce();
    const response = H(key, tempKey, zeros(4), zeros(8), zeros(3), [SN[8]!], zeros(4), [SN[0]!, SN[1]!], zeros(2));
    expect(host.status(0x28, 1, 7, zeros(32), response, zeros(13))).toBe(0);
    expect(host.state()[1] & 0x7c).toBe((7 << 3) | 4);
  }

  test.each(uses)("$name: works, when nothing forbids it", (use) => {
    expect(use.works(bench(setup(use)))).toBe(true);
  });

  test.each(uses)("$name: only when data is locked, but for what provisioning needs", (use) => {
    const provisioning = ["GenDig", "GenKey", "GenKey with digest"].includes(use.name);
    expect(use.works(bench(setup(use, 0, 0, "configured")))).toBe(provisioning);
    expect(use.works(bench(setup(use, 0, 0, "open")))).toBe(false);
  });

  test.each(uses)("$name: ReqAuth", (use) => {
    const gated = setup(use, KEY.REQ_AUTH | 0x0700);
    expect(use.works(bench(gated))).toBe(false);
    const host = bench(gated);
    authorise(host);
    expect(use.works(host)).toBe(true);
    const other = bench(setup(use, KEY.REQ_AUTH | 0x0600));
    authorise(other);
    expect(use.works(other)).toBe(false);
  });

  test.each(uses.filter((use) => use.reqRandom))("$name: ReqRandom", (use) => {
    const gated = setup(use, KEY.REQ_RANDOM);
    expect(use.works(bench(gated))).toBe(true);
    const host = bench(gated);
    expect(use.works(withFixedNonce(host))).toBe(false);
  });

  test("ReqRandom: Sign, GenDig and GenKey after a fixed nonce work on a slot without it", () => {
    for (const use of uses.filter(({ name }) => ["Sign", "GenDig", "GenKey with digest"].includes(name))) {
      const host = bench(setup(use));
      expect(use.works(withFixedNonce(host))).toBe(true);
    }
  });

  test.each([
    ["MAC", 0x08, 5, 0, KEY.SECRET],
    ["HMAC", 0x11, 4, 0, KEY.SECRET],
    ["CheckMac", 0x28, 5, 77, KEY.SECRET],
    ["DeriveKey", 0x1c, 4, 0, KEY.SECRET],
  ] as const)("ReqRandom: %s after a fixed nonce, which it names", (_, opcode, mode, length, keyConfig) => {
    for (const gate of [0, KEY.REQ_RANDOM]) {
      const host = bench({ slots: { 5: { slotConfig: 0x2000, keyConfig: keyConfig | gate, content: key } } });
      host.fixedNonce(nonce);
      const payload = host.command(opcode, mode, 5, zeros(length));
      expect(payload.length === 1 && payload[0] === REFUSED).toBe(gate !== 0);
    }
  });

  test("ReqRandom: a challenge from outside is no TempKey", () => {
    const host = bench({ slots: { 5: { keyConfig: KEY.SECRET | KEY.REQ_RANDOM, content: key } } });
    host.randomNonce();
    expect(host.status(0x08, 0, 5, zeros(32))).toBe(REFUSED);
    host.randomNonce();
    expect(host.status(0x28, 0, 5, zeros(77))).toBe(REFUSED);
  });

  test("NoMac: MAC, HMAC and SHA HMAC", () => {
    for (const use of uses) {
      if (use.name === "GenDig") continue;
      const forbidden = ["MAC", "HMAC", "SHA HMAC"].includes(use.name);
      expect([use.name, use.works(bench(setup(use, 0, 0x10)))]).toEqual([use.name, !forbidden]);
    }
  });

  test("a private slot is no secret", () => {
    for (const use of uses.filter(({ keyConfig }) => keyConfig === KEY.SECRET)) {
      expect([use.name, use.works(bench(setup(use, 1)))]).toEqual([use.name, false]);
    }
  });

  test("AuthComplete: a CheckMac or Verify that fails, and sleep, end it; idle does not", () => {
    const use = uses[0]!;
    const ends: [string, boolean, (host: Bench) => void][] = [
      ["CheckMac that fails", false, (host) => void host.status(0x28, 0, 7, zeros(77))],
      [
        "Verify that fails",
        false,
        (host) => {
          host.fixedNonce(nonce);
          expect(host.status(0x45, 2, 4, zeros(64), point)).toBe(1);
        },
      ],
      [
        "sleep",
        false,
        ({ chip }) => {
          chip.write(0x60, Uint8Array.of(1));
          chip.write(0, Uint8Array.of(1));
        },
      ],
      [
        "idle",
        true,
        ({ chip }) => {
          chip.write(0x60, Uint8Array.of(2));
          chip.write(0, Uint8Array.of(1));
        },
      ],
      ["a refusal", true, (host) => void host.status(0x41, 0x80, 0)],
    ];
    for (const [name, stays, end] of ends) {
      const host = bench(setup(use, KEY.REQ_AUTH | 0x0700));
      authorise(host);
      end(host);
      expect([name, use.works(host)]).toEqual([name, stays]);
    }
  });

  test("AuthComplete is not had for a fixed nonce or a challenge from outside", () => {
    const host = bench({ slots: { 7: { keyConfig: KEY.SECRET, content: key } } });
    const response = (second: Uint8Array) =>
      H(key, second, zeros(4), zeros(8), zeros(3), [SN[8]!], zeros(4), [SN[0]!, SN[1]!], zeros(2));
    host.fixedNonce(nonce);
    expect(host.status(0x28, 5, 7, zeros(32), response(nonce), zeros(13))).toBe(0);
    expect(host.state()[1] & 4).toBe(0);
    expect(host.status(0x28, 0, 7, zeros(32), response(zeros(32)), zeros(13))).toBe(0);
    expect(host.state()[1] & 4).toBe(0);
  });

  test("Verify stored over a random TempKey authorises", async () => {
    const { p256 } = await import("@noble/curves/nist.js");
    const publicKey = p256.getPublicKey(key, false).subarray(1);
    const content = Buffer.concat([zeros(4), publicKey.subarray(0, 32), zeros(4), publicKey.subarray(32)]);
    const host = bench({
      slots: { 9: { keyConfig: KEY.PUBLIC, content }, 5: { keyConfig: KEY.SECRET | KEY.REQ_AUTH | 0x0900 } },
    });
    const sign = (digest: Uint8Array) => p256.sign(digest, key, { prehash: false });
    host.fixedNonce(nonce);
    expect(host.status(0x45, 0, 9, sign(nonce))).toBe(0);
    expect(host.status(0x08, 0, 5, zeros(32))).toBe(REFUSED);
    const tempKey = host.randomNonce();
    expect(host.status(0x45, 0, 9, sign(tempKey))).toBe(0);
    expect(host.command(0x08, 0, 5, zeros(32)).length).toBe(32);
  });
});

describe("SourceFlag", () => {
  test("a command that names the other source is refused, and TempKey is gone", () => {
    const slots = { 5: { slotConfig: 0x2000, keyConfig: KEY.SECRET, content: key } };
    const wrongs: [number, number, Uint8Array][] = [
      [0x08, 0x01, zeros(0)],
      [0x08, 0x02, zeros(32)],
      [0x11, 0x00, zeros(0)],
      [0x28, 0x01, zeros(77)],
      [0x1c, 0x00, zeros(0)],
    ];
    for (const [opcode, mode, data] of wrongs) {
      const fixed = bench({ slots });
      fixed.fixedNonce(nonce);
      expect(fixed.status(opcode, mode, 5, data)).toBe(REFUSED);
      expect(fixed.tempKeyIsValid()).toBe(false);
      const random = bench({ slots });
      random.randomNonce();
      expect(random.status(opcode, mode | 4, 5, data)).toBe(REFUSED);
    }
  });
});

describe("uses of a LimitedUse slot", () => {
  const mac = (host: Bench, slot: number) => host.command(0x08, 0, slot, zeros(32)).length;

  test("508: slot 15 has 128, bit after bit from byte 68; others have no limit", () => {
    const slots = {
      14: { slotConfig: 0x20, keyConfig: KEY.SECRET, content: key },
      15: { slotConfig: 0x20, keyConfig: KEY.SECRET, content: key },
    };
    const host = bench({ slots });
    expect(mac(host, 14)).toBe(32);
    for (let use = 0; use < 128; use++) {
      const before = [...host.memory.config.slice(68, 84)];
      before[use >> 3]! &= ~(0x80 >> (use & 7));
      expect(mac(host, 15)).toBe(32);
      expect([...host.memory.config.slice(68, 84)]).toEqual(before);
    }
    expect(mac(host, 15)).toBe(1);
    expect(host.status(0x08, 0, 15, zeros(32))).toBe(REFUSED);
    expect(mac(host, 14)).toBe(32);
  });

  test("508: UpdateExtra mode 2 takes one; a refused use takes none", () => {
    const slots = { 15: { slotConfig: 0x20, keyConfig: KEY.SECRET | KEY.REQ_AUTH, content: key } };
    const host = bench({ slots });
    expect(host.status(0x08, 0, 15, zeros(32))).toBe(REFUSED);
    expect(host.memory.config[68]).toBe(0xff);
    expect(host.status(0x20, 2, 15)).toBe(0);
    expect(host.memory.config[68]).toBe(0x7f);
    expect(host.status(0x20, 2, 14)).toBe(REFUSED);
    expect(bench({ stage: "open", slots }).status(0x20, 2, 15)).toBe(REFUSED);
    expect(bench({ slots: { 15: { keyConfig: KEY.SECRET } } }).status(0x20, 2, 15)).toBe(REFUSED);
  });

  const match = (value: number, copy = value) => {
    const content = zeros(8);
    new DataView(content.buffer).setUint32(0, value, true);
    new DataView(content.buffer).setUint32(4, copy, true);
    return { keyConfig: KEY.SECRET, content };
  };

  test("608: every use counts Counter0, up to CountMatch", () => {
    const slots = { 3: { slotConfig: 0x20, keyConfig: KEY.SECRET, content: key }, 10: match(32) };
    const host = bench({ model: "608a", slots, config: { 18: 0xa1 } });
    for (let use = 1; use <= 32; use++) {
      expect(mac(host, 3)).toBe(32);
      expect(host.command(0x24, 0, 0)[0]).toBe(use);
    }
    expect(mac(host, 3)).toBe(1);
    expect(host.command(0x24, 0, 0)[0]).toBe(32);
  });

  test("608: without CountMatch the counter's end is the limit; a value that is not sound allows nothing", () => {
    const slot = { 3: { slotConfig: 0x20, keyConfig: KEY.SECRET, content: key } };
    expect(mac(bench({ model: "608a", slots: slot }), 3)).toBe(32);
    for (const content of [match(33), match(64, 96)]) {
      const host = bench({ model: "608a", slots: { ...slot, 10: content }, config: { 18: 0xa1 } });
      expect(mac(host, 3)).toBe(1);
      expect(host.command(0x24, 0, 0)[0]).toBe(0);
    }
  });
});

describe("UpdateExtra", () => {
  test("while open any value; later only where the byte is 0", () => {
    const open = bench({ stage: "open" });
    expect(open.status(0x20, 0, 5)).toBe(0);
    expect(open.status(0x20, 0, 0)).toBe(0);
    expect(open.status(0x20, 1, 9)).toBe(0);
    expect([...open.memory.config.slice(84, 88)]).toEqual([0, 9, 0x55, 0x55]);
    open.status(0x17, 0x80, 0);
    expect(open.status(0x20, 0, 7)).toBe(0);
    expect(open.status(0x20, 0, 8)).toBe(REFUSED);
    expect(open.status(0x20, 1, 8)).toBe(REFUSED);
  });
});

describe("while open", () => {
  test("Random and Nonce give the pattern that nobody takes for randomness", () => {
    const host = bench({ stage: "open" });
    expect(hex(host.command(0x1b, 0, 0))).toBe("ffff0000".repeat(8));
    expect(hex(host.command(0x16, 0, 0, zeros(20)))).toBe("ffff0000".repeat(8));
    expect(hex(bench({ stage: "configured" }).command(0x1b, 0, 0))).not.toBe("ffff0000".repeat(8));
  });
});

describe("personalities", () => {
  test("the revision", () => {
    expect(hex(bench({ model: "508a" }).command(0x30, 0, 0))).toBe("00005000");
    expect(hex(bench({ model: "608a" }).command(0x30, 0, 0))).toBe("00006002");
  });

  test("508: SHA start spends TempKey; 608: it does not", () => {
    for (const model of ["508a", "608a"] as const) {
      const host = bench({ model });
      host.fixedNonce(nonce);
      expect(host.status(0x47, 0, 0)).toBe(0);
      expect(host.tempKeyIsValid()).toBe(model === "608a");
    }
  });

  test("a command between ends a SHA computation; Info does not", () => {
    const host = bench();
    host.status(0x47, 0, 0);
    host.command(0x30, 0, 0);
    expect(host.command(0x47, 2, 0).length).toBe(32);
    host.status(0x47, 0, 0);
    host.command(0x1b, 0, 0);
    expect(host.status(0x47, 2, 0)).toBe(REFUSED);
  });

  test("608: SelfTest passes, SecureBoot is disabled, AES needs its enable bit", () => {
    const host = bench({ model: "608a" });
    expect(host.status(0x77, 0x3b, 0)).toBe(0);
    expect(host.status(0x80, 5, 0, zeros(96))).toBe(REFUSED);
    const slots = { 3: { keyConfig: KEY.AES, content: key } };
    expect(bench({ model: "608a", slots, config: { 13: 0 } }).status(0x51, 0, 3, zeros(16))).toBe(REFUSED);
    expect(bench({ model: "608a", slots: { 3: { keyConfig: KEY.SECRET } } }).status(0x51, 0, 3, zeros(16))).toBe(
      REFUSED,
    );
  });

  test("608: output protection leaves only what is as strict", () => {
    const point = Buffer.from(
      "6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c2964fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5",
      "hex",
    );
    const slots = {
      0: { slotConfig: 0x2004, keyConfig: KEY.ECC_PRIVATE },
      1: { keyConfig: KEY.SECRET },
      4: { keyConfig: KEY.SECRET, content: key },
    };
    for (let level = 0; level < 4; level++) {
      const host = bench({ model: "608a", slots, config: { 90: 2, 91: 0x40 | level | (level << 2) } });
      host.command(0x40, 4, 0);
      const ecdh = [0x0c, 0x0e, 0x08, 0x04].map((mode) => host.command(0x43, mode, 0, point));
      expect(ecdh.map((payload) => payload[0] !== REFUSED || payload.length > 1)).toEqual(
        [0, 1, 2, 3].map((n) => n >= level),
      );
      const message = Uint8Array.of(2, 0, 0, 1, 9);
      const kdf = [0x52, 0x56, 0x42, 0x4a].map((mode) => host.command(0x56, mode, 0x0104, message));
      expect(kdf.map((payload) => payload[0] !== REFUSED || payload.length > 1)).toEqual(
        [0, 1, 2, 3].map((n) => n >= level),
      );
    }
  });

  test("608: without the IO key nothing is encrypted", () => {
    const host = bench({ model: "608a", slots: { 4: { keyConfig: KEY.SECRET, content: key } } });
    expect(host.status(0x56, 0x56, 4, Uint8Array.of(2, 0, 0, 1, 9))).toBe(REFUSED);
  });
});
