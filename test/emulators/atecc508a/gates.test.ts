import { describe, expect, test } from "vitest";
import { type Bench, bench, H, KEY, NONCE, REFUSED, SECRET, type Setup, SN, type Stage, zeros } from "./lab.ts";

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
        content: Buffer.concat([zeros(4), SECRET]),
      },
      7: { keyConfig: KEY.SECRET, content: SECRET },
    },
  });

  function withFixedNonce(host: Bench): Bench {
    return {
      ...host,
      randomNonce() {
        host.fixedNonce(NONCE);
        return NONCE;
      },
    };
  }

  /** CheckMac of slot 7 over a random TempKey. */
  function authorise(host: Bench): void {
    const tempKey = host.randomNonce();
    const response = H(SECRET, tempKey, zeros(4), zeros(8), zeros(3), [SN[8]!], zeros(4), [SN[0]!, SN[1]!], zeros(2));
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
      const host = bench({ slots: { 5: { slotConfig: 0x2000, keyConfig: keyConfig | gate, content: SECRET } } });
      host.fixedNonce(NONCE);
      const payload = host.command(opcode, mode, 5, zeros(length));
      expect(payload.length === 1 && payload[0] === REFUSED).toBe(gate !== 0);
    }
  });

  test("ReqRandom: a challenge from outside is no TempKey", () => {
    const host = bench({ slots: { 5: { keyConfig: KEY.SECRET | KEY.REQ_RANDOM, content: SECRET } } });
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
          host.fixedNonce(NONCE);
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
    const host = bench({ slots: { 7: { keyConfig: KEY.SECRET, content: SECRET } } });
    const response = (second: Uint8Array) =>
      H(SECRET, second, zeros(4), zeros(8), zeros(3), [SN[8]!], zeros(4), [SN[0]!, SN[1]!], zeros(2));
    host.fixedNonce(NONCE);
    expect(host.status(0x28, 5, 7, zeros(32), response(NONCE), zeros(13))).toBe(0);
    expect(host.state()[1] & 4).toBe(0);
    expect(host.status(0x28, 0, 7, zeros(32), response(zeros(32)), zeros(13))).toBe(0);
    expect(host.state()[1] & 4).toBe(0);
  });

  test("Verify stored over a random TempKey authorises", async () => {
    const { p256 } = await import("@noble/curves/nist.js");
    const publicKey = p256.getPublicKey(SECRET, false).subarray(1);
    const content = Buffer.concat([zeros(4), publicKey.subarray(0, 32), zeros(4), publicKey.subarray(32)]);
    const host = bench({
      slots: { 9: { keyConfig: KEY.PUBLIC, content }, 5: { keyConfig: KEY.SECRET | KEY.REQ_AUTH | 0x0900 } },
    });
    const sign = (digest: Uint8Array) => p256.sign(digest, SECRET, { prehash: false });
    host.fixedNonce(NONCE);
    expect(host.status(0x45, 0, 9, sign(NONCE))).toBe(0);
    expect(host.status(0x08, 0, 5, zeros(32))).toBe(REFUSED);
    const tempKey = host.randomNonce();
    expect(host.status(0x45, 0, 9, sign(tempKey))).toBe(0);
    expect(host.command(0x08, 0, 5, zeros(32)).length).toBe(32);
  });
});

describe("SourceFlag", () => {
  test("a command that names the other source is refused, and TempKey is gone", () => {
    const slots = { 5: { slotConfig: 0x2000, keyConfig: KEY.SECRET, content: SECRET } };
    const wrongs: [number, number, Uint8Array][] = [
      [0x08, 0x01, zeros(0)],
      [0x08, 0x02, zeros(32)],
      [0x11, 0x00, zeros(0)],
      [0x28, 0x01, zeros(77)],
      [0x1c, 0x00, zeros(0)],
    ];
    for (const [opcode, mode, data] of wrongs) {
      const fixed = bench({ slots });
      fixed.fixedNonce(NONCE);
      expect(fixed.status(opcode, mode, 5, data)).toBe(REFUSED);
      expect(fixed.tempKeyIsValid()).toBe(false);
      const random = bench({ slots });
      random.randomNonce();
      expect(random.status(opcode, mode | 4, 5, data)).toBe(REFUSED);
    }
  });
});
