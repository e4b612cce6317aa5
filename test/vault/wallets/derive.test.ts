import { createHash, createPrivateKey, createPublicKey, sign, verify } from "node:crypto";
import { createBase58check } from "@scure/base";
import { HDKey } from "@scure/bip32";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { concat, fromHex, toHex } from "../../../src/bytes/bytes.ts";
import { Secret } from "../../../src/bytes/secret.ts";
import { spkiOf } from "../../../src/operations/public-keys.ts";
import { loadKey } from "../../../src/vault/material/load.ts";
import { signCardano } from "../../../src/vault/wallets/cardano.ts";
import {
  childNode,
  descend,
  masterNode,
  publicChild,
  publicNode,
  schemeOf,
  watchNode,
} from "../../../src/vault/wallets/derive.ts";
import { extendedPublicKey, readExtendedKey } from "../../../src/vault/wallets/extended-key.ts";
import { destroyNode, WALLET_CURVES, type WalletNode } from "../../../src/vault/wallets/node.ts";
import { formatPath, parsePath } from "../../../src/vault/wallets/path.ts";
import { materialOf } from "../../../src/vault/wallets/private-key.ts";
import { BIP32_INVALID, BIP32_VECTORS } from "./bip32-vectors.ts";
import { bytesOf, code, secretOf } from "./secrets.ts";
import { SLIP10_VECTORS } from "./slip10-vectors.ts";

const seedOf = (hex: string) => new Secret(fromHex(hex));
const hexOf = (node: WalletNode) => toHex(bytesOf(node.secret));
const anySeed = fc.uint8Array({ minLength: 16, maxLength: 64 });
const anyIndex = fc.integer({ min: 0, max: 0x7fff_ffff });
const cardanoMaster = (seed: Uint8Array) =>
  masterNode("ed25519", new Secret(new Uint8Array(createHash("sha512").update(seed).digest()).slice(0, 64)), "");

/** All ancestors of a path and itself. */
const pathsTo = (path: string) => {
  const steps = parsePath(path);
  return Array.from({ length: steps.length + 1 }, (_, depth) => formatPath(steps.slice(0, depth)));
};

describe("SLIP-10", () => {
  it.each(SLIP10_VECTORS)("$name of $curve", ({ curve, seed, path, nodes }) => {
    const master = masterNode(curve, seedOf(seed));
    for (const [depth, at] of pathsTo(path).entries()) {
      const node = descend(master, at);
      const publicKey = toHex(schemeOf(curve, "").compressed(node.publicKey));
      expect([toHex(node.chainCode), hexOf(node), publicKey]).toEqual(nodes[depth]);
      expect(node).toMatchObject({ depth, path: at });
    }
  });
});

describe("BIP32", () => {
  it.each(BIP32_VECTORS)("vector of seed $seed", ({ seed, nodes }) => {
    const master = masterNode("secp256k1", seedOf(seed));
    for (const [path, xpub, xprv] of nodes) {
      const node = descend(master, path);
      expect(extendedPublicKey(node)).toBe(xpub);
      expect(extendedPublicKey(publicNode(node))).toBe(xpub);
      expect(readExtendedKey(xpub, path)).toEqual(publicNode(node));
      const read = readExtendedKey(xprv, path);
      expect(hexOf(read)).toBe(hexOf(node));
      expect(extendedPublicKey(read)).toBe(xpub);
    }
  });

  it.each(BIP32_INVALID)("refuses an extended key: %s", (_, text) => {
    for (const path of ["m", "m/0", "m/0'", "m/1"]) expect(code(() => readExtendedKey(text, path))).toBe("MALFORMED");
  });

  it("refuses each of them for its own reason: only the last has a wrong checksum", () => {
    const base58check = createBase58check(
      (data: Uint8Array) => new Uint8Array(createHash("sha256").update(data).digest()),
    );
    const whole = BIP32_INVALID.map(([, text]) => {
      try {
        return base58check.decode(text).length === 78;
      } catch {
        return false;
      }
    });
    expect(whole).toEqual(BIP32_INVALID.map((_, i) => i < BIP32_INVALID.length - 1));
  });

  it("takes an extended key only where it says it is", () => {
    const [, child] = BIP32_VECTORS[0]!.nodes;
    for (const path of ["m", "m/0", "m/1'", "m/0'/0'"]) {
      expect(code(() => readExtendedKey(child![1], path))).toBe("MALFORMED");
    }
  });

  it("gives MALFORMED for any other text", () => {
    fc.assert(fc.property(fc.string(), (text) => code(() => readExtendedKey(text, "m")) === "MALFORMED"));
  });

  it("agrees with another implementation", () => {
    fc.assert(
      fc.property(anySeed, fc.array(fc.tuple(anyIndex, fc.boolean()), { maxLength: 4 }), (seed, steps) => {
        const path = formatPath(steps.map(([index, hardened]) => ({ index, hardened })));
        const node = descend(masterNode("secp256k1", new Secret(new Uint8Array(seed))), path);
        const other = HDKey.fromMasterSeed(seed).derive(path);
        expect(extendedPublicKey(node)).toBe(other.publicExtendedKey);
        expect(hexOf(node)).toBe(toHex(other.privateKey!));
      }),
      { numRuns: 40 },
    );
  });
});

describe("a wallet that only watches", () => {
  const masters = {
    secp256k1: (seed: Uint8Array) => masterNode("secp256k1", new Secret(seed.slice())),
    p256: (seed: Uint8Array) => masterNode("p256", new Secret(seed.slice())),
    cardano: (seed: Uint8Array) => {
      const long = concat(createHash("sha512").update(seed).digest(), createHash("sha256").update(seed).digest());
      return masterNode("ed25519", new Secret(long), "cardano");
    },
  };

  it.each(Object.entries(masters))("sees the same children that are not hardened: %s", (_, masterOf) => {
    fc.assert(
      fc.property(anySeed, anyIndex, anyIndex, (seed, first, second) => {
        const account = childNode(masterOf(seed), 0, true);
        const { curve, variant, publicKey, chainCode, path } = account;
        const watching = watchNode({ curve, variant, publicKey, chainCode, path });
        const seen = publicChild(publicChild(watching, first), second);
        const { secret, ...own } = childNode(childNode(account, first, false), second, false);
        expect(seen).toEqual({ ...own, secret: undefined });
        expect(secret).toBeInstanceOf(Secret);
      }),
      { numRuns: 15 },
    );
  });

  it("has no private keys and no hardened children", () => {
    const watching = publicNode(masters.secp256k1(new Uint8Array(16)));
    expect(code(() => childNode(watching, 0, false))).toBe("NOT_SUPPORTED");
    expect(code(() => childNode(watching, 0, true))).toBe("NOT_SUPPORTED");
    expect(code(() => materialOf(watching))).toBe("NOT_SUPPORTED");
  });

  it("takes a public key in each of its forms", () => {
    for (const curve of ["secp256k1", "p256"] as const) {
      const { chainCode, publicKey } = masters[curve](new Uint8Array(16));
      const short = schemeOf(curve, "").compressed(publicKey);
      for (const form of [publicKey, concat(Uint8Array.of(4), publicKey), short]) {
        expect(watchNode({ curve, variant: "", publicKey: form, chainCode, path: "m" }).publicKey).toEqual(publicKey);
      }
    }
  });

  it("refuses what is no public key, and nothing else happens", () => {
    const chainCode = new Uint8Array(32);
    const anyKey = fc.oneof(
      fc.uint8Array({ maxLength: 70 }),
      fc.uint8Array({ minLength: 64, maxLength: 64 }),
      fc.uint8Array({ minLength: 32, maxLength: 33 }),
    );
    fc.assert(
      fc.property(anyKey, fc.constantFrom("secp256k1", "p256", "ed25519"), (publicKey, curve) => {
        const variant = curve === "ed25519" ? "cardano" : "";
        const outcome = code(() => watchNode({ curve, variant, publicKey, chainCode, path: "m/0'" }));
        const compact = publicKey.length === 33 && (publicKey[0] === 2 || publicKey[0] === 3);
        expect(outcome === "MALFORMED" || compact || curve === "ed25519").toBe(true);
        expect(["MALFORMED", undefined]).toContain(outcome);
      }),
      { numRuns: 300 },
    );
    // The neutral point, and one of order 8.
    const small = ["01".padEnd(64, "0"), "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"];
    for (const hex of small) {
      const spec = { curve: "ed25519", variant: "cardano", chainCode, path: "m" } as const;
      expect(code(() => watchNode({ ...spec, publicKey: fromHex(hex) }))).toBe("MALFORMED");
    }
    const { publicKey } = masters.p256(new Uint8Array(16));
    const spec = { curve: "p256", variant: "", publicKey, path: "m" } as const;
    expect(code(() => watchNode({ ...spec, chainCode: new Uint8Array(31) }))).toBe("MALFORMED");
    expect(code(() => watchNode({ ...spec, chainCode, path: "m/x" }))).toBe("MALFORMED");
  });

  it("does not exist for ed25519 without variant", () => {
    const { publicKey, chainCode } = masterNode("ed25519", secretOf(new Uint8Array(16)));
    const spec = { curve: "ed25519", variant: "", publicKey, chainCode, path: "m" } as const;
    expect(code(() => watchNode(spec))).toBe("NOT_SUPPORTED");
  });
});

describe("a tree", () => {
  it("has only hardened children on ed25519", () => {
    const master = masterNode("ed25519", secretOf(new Uint8Array(16)));
    expect(code(() => childNode(master, 0, false))).toBe("NOT_SUPPORTED");
    expect(code(() => publicChild(master, 0))).toBe("NOT_SUPPORTED");
  });

  it("has the variant cardano on ed25519 only", () => {
    for (const curve of ["secp256k1", "p256"] as const) {
      expect(code(() => masterNode(curve, secretOf(new Uint8Array(96)), "cardano"))).toBe("NOT_SUPPORTED");
    }
  });

  it("is made of a seed of the right length", () => {
    for (const [length, variant] of [
      [15, ""],
      [65, ""],
      [64, "cardano"],
      [95, "cardano"],
      [97, "cardano"],
    ] as const) {
      expect(code(() => masterNode("ed25519", secretOf(new Uint8Array(length)), variant))).toBe("MALFORMED");
    }
  });

  it("refuses an index that is none", () => {
    const master = masterNode("p256", secretOf(new Uint8Array(16)));
    for (const index of [-1, 0.5, 0x8000_0000, Number.NaN, Number.POSITIVE_INFINITY]) {
      expect(code(() => childNode(master, index, true))).toBe("MALFORMED");
      expect(code(() => publicChild(master, index))).toBe("MALFORMED");
    }
  });

  it("is 255 levels deep", () => {
    const steps = Array.from({ length: 255 }, () => ({ index: 0, hardened: true }));
    const deepest = descend(masterNode("ed25519", secretOf(new Uint8Array(16))), formatPath(steps));
    expect(deepest.depth).toBe(255);
    expect(code(() => childNode(deepest, 0, true))).toBe("LIMIT_REACHED");
  });

  it("leads down only", () => {
    const master = masterNode("p256", secretOf(new Uint8Array(16)));
    const node = descend(master, "m/1'/2");
    for (const path of ["m", "m/1'", "m/1'/20", "m/1/2", "m/1'/3/1"]) {
      expect(code(() => descend(node, path))).toBe("MALFORMED");
    }
    expect(hexOf(descend(node, "m/1'/2/3"))).toBe(hexOf(descend(master, "m/1h/2/3")));
  });

  it("leaves a node usable when another that came from it is destroyed", () => {
    const master = masterNode("p256", secretOf(new Uint8Array(16)));
    const before = hexOf(master);
    destroyNode(descend(master, "m"));
    destroyNode(descend(master, "m/0"));
    expect(hexOf(master)).toBe(before);
    destroyNode(master);
    expect(() => childNode(master, 0, true)).toThrow("destroyed");
  });
});

describe("a path", () => {
  it("is written in one form, which is read again", () => {
    const steps = fc.array(fc.record({ index: anyIndex, hardened: fc.boolean() }), { maxLength: 255 });
    fc.assert(
      fc.property(steps, (path) => {
        expect(parsePath(formatPath(path))).toEqual(path);
      }),
    );
  });

  it("is refused when it is none", () => {
    const texts = [
      "",
      "M",
      "m/",
      "/",
      "m//1",
      "m/01",
      "m/-1",
      "m/1''",
      "m/2147483648",
      "m/1 ",
      "m/0x1",
      "m/1e3",
      "n/1",
      "m/99999999999",
    ];
    for (const text of [...texts, `m${"/0".repeat(256)}`, "m/1".repeat(5000)]) {
      expect(code(() => parsePath(text))).toBe("MALFORMED");
    }
    fc.assert(fc.property(fc.string(), (text) => text === "m" || code(() => parsePath(text)) === "MALFORMED"));
  });
});

describe("the private key of a node", () => {
  it.each(WALLET_CURVES)("is one that OpenSSL and the vault work with: %s", async (curve) => {
    const node = descend(masterNode(curve, secretOf(new Uint8Array(32))), "m/44'/0'");
    const { type, secret, publicKey } = materialOf(node);
    expect(type).toBe(curve);
    const der = Buffer.from(bytesOf(secret));
    const key = createPrivateKey({ key: der, format: "der", type: "pkcs8" });
    expect(new Uint8Array(createPublicKey(key).export({ format: "der", type: "spki" }))).toEqual(publicKey);
    const message = Buffer.from("message");
    const publicObject = createPublicKey({ key: Buffer.from(publicKey!), format: "der", type: "spki" });
    const digest = curve === "ed25519" ? undefined : "sha256";
    expect(verify(digest, message, publicObject, sign(digest, message, key))).toBe(true);

    const loaded = loadKey(type, secret);
    const algorithm = curve === "ed25519" ? "ed25519" : "ecdsa";
    const signature = await loaded.sign({ algorithm, digest, digested: false }, message);
    const verifier = { key: publicObject, dsaEncoding: "ieee-p1363" } as const;
    expect(verify(digest, message, verifier, signature)).toBe(true);
    loaded.close();
  });

  it("is not to be had of the variant cardano, which signs itself", () => {
    const node = masterNode("ed25519", secretOf(new Uint8Array(96)), "cardano");
    expect(code(() => materialOf(node))).toBe("NOT_SUPPORTED");
    expect(code(() => signCardano(publicNode(node), new Uint8Array(1)))).toBe("NOT_SUPPORTED");
    expect(code(() => signCardano(cardanoMaster(new Uint8Array(1)), new Uint8Array(1)))).toBe("NOT_SUPPORTED");
  });

  it("never shows", () => {
    const node = masterNode("p256", secretOf(new Uint8Array(16)));
    expect(JSON.stringify(node)).not.toContain(hexOf(node));
    expect(JSON.stringify({ ...node, chainCode: 0, publicKey: 0 })).toContain("[secret]");
  });
});

describe("BIP32-Ed25519", () => {
  // Constants D1, D1_H0, D1_H0_SIGNATURE of the reference implementation (typed-io/rust-ed25519-bip32, src/tests.rs).
  const D1 =
    "f8a29231ee38d6c5bf715d5bac21c750577aa3798b22d79d65bf97d6fadea15adcd1ee1abdf78bd4be64731a12deb94d3671784112eb6f364b871851fd1c9a247384db9ad6003bbd08b3b1ddc0d07a597293ff85e961bf252b331262eddfad0d";
  const D1_H0 =
    "60d399da83ef80d8d4f8d223239efdc2b8fef387e1b5219137ffb4e8fbdea15adc9366b7d003af37c11396de9a83734e30e05e851efa32745c9cd7b42712c890608763770eddf77248ab652984b21b849760d1da74a6f5bd633ce41adceef07a";
  const SIGNATURE =
    "90194d57cde4fdadd01eb7cf161780c277e129fc7135b97779a3268837e4cd2e9444b9bb91c0e84d23bba870df3c4bda91a110ef735638fa7a34ea2046d4be04";

  it("derives and signs as the reference does", () => {
    const child = childNode(masterNode("ed25519", seedOf(D1), "cardano"), 0, true);
    expect(hexOf(child) + toHex(child.chainCode)).toBe(D1_H0);
    expect(toHex(signCardano(child, Buffer.from("Hello World")))).toBe(SIGNATURE);
  });

  it("makes signatures that OpenSSL verifies as Ed25519", () => {
    const long = fc.uint8Array({ minLength: 96, maxLength: 96 });
    fc.assert(
      fc.property(long, fc.uint8Array({ maxLength: 300 }), anyIndex, fc.boolean(), (seed, message, index, hardened) => {
        const node = childNode(masterNode("ed25519", new Secret(seed.slice()), "cardano"), index, hardened);
        const spki = Buffer.from(spkiOf("ed25519", node.publicKey));
        const key = createPublicKey({ key: spki, format: "der", type: "spki" });
        const signature = signCardano(node, message);
        expect(verify(null, message, key, signature)).toBe(true);
        expect(verify(null, concat(message, Uint8Array.of(0)), key, signature)).toBe(false);
      }),
      { numRuns: 30 },
    );
  });
});
