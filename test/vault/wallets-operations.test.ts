/** Wallets as applications get them: through the vault's process, with the vectors of the specifications. */
import { createPublicKey, verify } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { HDKey } from "@scure/bip32";
import { entropyToMnemonic, mnemonicToSeedSync, validateMnemonic } from "@scure/bip39";
import { wordlist } from "@scure/bip39/wordlists/english.js";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { concat, fromHex, toHex } from "../../src/bytes/bytes.ts";
import { pointOf } from "../../src/operations/public-keys.ts";
import type { ArgsOf, KeyInfo } from "../../src/operations/table.ts";
import { bytesOf, type LabVault, openLab, type Person, tracesOf } from "./lab.ts";
import { BIP32_VECTORS } from "./wallets/bip32-vectors.ts";
import { BIP39_VECTORS } from "./wallets/bip39-vectors.ts";
import { SLIP10_VECTORS } from "./wallets/slip10-vectors.ts";

type Slip39Vector = readonly [title: string, mnemonics: readonly string[], secret: string, xprv: string];
const SLIP39_VECTORS: readonly Slip39Vector[] = JSON.parse(
  readFileSync(join(import.meta.dirname, "wallets/slip39-vectors.json"), "utf8"),
);

const lab = openLab();
let vault: LabVault;
/** Each process of a user is a caller of its own. */
let pid = 100;
const someone = (uid = 1000) => vault.person({ uid, pid: ++pid });
let user: Person;
afterAll(() => lab.close());
beforeAll(async () => {
  vault = await lab.vault();
  expect(vault.said, vault.stderr()).toBe("ready");
  user = someone();
});

let last = 0;
const fresh = () => `w${++last}`;
const text = (bytes: Uint8Array | undefined) => Buffer.from(bytes ?? []).toString("latin1");
const codeOf = (act: Promise<unknown>) =>
  act.then(
    () => "done",
    (error) => (error as { code?: string }).code,
  );

/** X and Y, or the 32 bytes of Ed25519. */
function pointIn({ type, publicKey }: KeyInfo): Uint8Array {
  return (type !== "storage" && publicKey && pointOf(type, publicKey)) || new Uint8Array(0);
}
function compressed(info: KeyInfo): string {
  const point = pointIn(info);
  return toHex(concat(Uint8Array.of(2 + ((point[63] ?? 0) & 1)), point.subarray(0, 32)));
}

type Restoring = Partial<ArgsOf<"wallet.restore">>;
async function restored(args: Restoring, who = user): Promise<KeyInfo> {
  return (await who.ask("wallet.restore", { name: fresh(), type: "secp256k1", ...args })).key;
}
async function child(parent: string, path: string, args: Partial<ArgsOf<"wallet.child">> = {}, who = user) {
  return who.ask("wallet.child", { key: parent, path, name: fresh(), ...args });
}

describe("a wallet", () => {
  it.each(BIP32_VECTORS.map((vector, index) => [index + 1, vector] as const))(
    "has the keys and the chain codes of BIP32, test vector %i",
    async (_, { seed, nodes }) => {
      const master = await restored({ seed: fromHex(seed) });
      for (const [path, xpub] of nodes.slice(1)) {
        const hardened = path.endsWith("'") || path.endsWith("H") || path.endsWith("h");
        const made = await child(master.id, path.slice(2), { chainCode: hardened });
        const peer = HDKey.fromExtendedKey(xpub);
        expect(compressed(made.key)).toBe(toHex(peer.publicKey ?? new Uint8Array(0)));
        expect(made.chainCode).toEqual(hardened ? new Uint8Array(peer.chainCode ?? []) : undefined);
      }
    },
  );

  it("derives step by step what it derives at once, on every curve of SLIP-10", async () => {
    expect(SLIP10_VECTORS.length).toBeGreaterThan(0);
    for (const type of ["secp256k1", "p256", "ed25519"] as const) {
      const seed = () => fromHex("000102030405060708090a0b0c0d0e0f");
      const [one, two] = [await restored({ type, seed: seed() }), await restored({ type, seed: seed() })];
      const atOnce = await child(one.id, "0'/1'/2'");
      let key = two;
      for (const step of ["0'", "1h", "2'"]) key = (await child(key.id, step)).key;
      expect(key.publicKey).toEqual(atOnce.key.publicKey);
      expect(key.wallet).toMatchObject({ path: "m/0'/1'/2'", masterId: two.id, watchOnly: false });
    }
  });

  it.each(BIP39_VECTORS)("is restored from a mnemonic of BIP39: %s", async (_, mnemonic, seed) => {
    const master = await restored({ mnemonic: bytesOf(mnemonic), passphrase: bytesOf("TREZOR") });
    const { key } = await child(master.id, "44'/0'/0'/0/5");
    const peer = HDKey.fromMasterSeed(fromHex(seed)).derive("m/44'/0'/0'/0/5");
    expect(compressed(key)).toBe(toHex(peer.publicKey ?? new Uint8Array(0)));
  });

  it("gives its mnemonic once, which another program turns into the same keys", async () => {
    const passphrase = "geheim ß";
    const made = await user.ask("wallet.create", { name: fresh(), type: "secp256k1", passphrase: bytesOf(passphrase) });
    const sentence = text(made.mnemonic);
    expect(sentence.split(" ").length).toBe(24);
    expect(validateMnemonic(sentence, wordlist)).toBe(true);
    const { key } = await child(made.key.id, "0'/7");
    const peer = HDKey.fromMasterSeed(mnemonicToSeedSync(sentence, passphrase)).derive("m/0'/7");
    expect(compressed(key)).toBe(toHex(peer.publicKey ?? new Uint8Array(0)));
    const shown = await user.ask("key.show", { key: made.key.id });
    expect(JSON.stringify(shown)).not.toContain(sentence.split(" ").slice(0, 3).join(" "));
  });

  it("of which nothing is to be written down has no mnemonic", async () => {
    const made = await user.ask("wallet.create", { name: fresh(), type: "p256", recovery: "none" });
    expect(made.mnemonic).toBeUndefined();
    expect(await codeOf(child(made.key.id, "0"))).toBe("done");
  });

  it("opens as another one without its generator key", async () => {
    const mnemonic = () => bytesOf(entropyToMnemonic(new Uint8Array(32).fill(5), wordlist));
    const keyed = await restored({ mnemonic: mnemonic(), generatorKey: bytesOf("generator") });
    const again = await restored({ mnemonic: mnemonic(), generatorKey: bytesOf("generator") });
    const plain = await restored({ mnemonic: mnemonic() });
    const keys = [];
    for (const master of [keyed, again, plain]) keys.push(compressed((await child(master.id, "0'")).key));
    expect(keys[0]).toBe(keys[1]);
    expect(keys[0]).not.toBe(keys[2]);
  });

  it("refuses a mnemonic with a wrong word, and more or less than one secret", async () => {
    const mnemonic = bytesOf(`${"abandon ".repeat(11)}zoo`);
    expect(await codeOf(restored({ mnemonic }))).toBe("MALFORMED");
    expect(await codeOf(restored({}))).toBe("USAGE");
    const both = { mnemonic: bytesOf(`${"abandon ".repeat(11)}about`), seed: new Uint8Array(16) };
    expect(await codeOf(restored(both))).toBe("USAGE");
    const variant = { type: "p256", variant: "cardano", seed: new Uint8Array(32) } as const;
    expect(await codeOf(restored(variant))).toBe("NOT_SUPPORTED");
  });
});

describe("keys of a wallet", () => {
  it("sign like any other, of the variant cardano too", async () => {
    for (const wanted of [
      { type: "secp256k1" },
      { type: "p256" },
      { type: "ed25519" },
      { type: "ed25519", variant: "cardano" },
    ] as const) {
      const made = await user.ask("wallet.create", { name: fresh(), ...wanted });
      const { key } = await child(made.key.id, "1852'/1815'/0'");
      const message = bytesOf("a transaction");
      const { signature } = await user.ask("sign", { key: key.id, data: message });
      const publicKey = createPublicKey({ key: Buffer.from(key.publicKey ?? []), format: "der", type: "spki" });
      const digest = wanted.type === "ed25519" ? null : "sha256";
      expect(verify(digest, message, { key: publicKey, dsaEncoding: "ieee-p1363" }, signature)).toBe(true);
      expect((await user.ask("verify", { key: key.id, data: message, signature })).valid).toBe(true);
    }
  });

  it("show no public part of the master, and it does nothing but derive", async () => {
    const { key: master } = await user.ask("wallet.create", { name: fresh(), type: "p256" });
    expect(master.publicKey).toBeUndefined();
    expect(await user.codeOf("key.public", { key: master.id })).toBe("NOT_PERMITTED");
    expect(await user.codeOf("sign", { key: master.id, data: bytesOf("m") })).toBe("NOT_PERMITTED");
    const peer = (await child(master.id, "0")).key.publicKey ?? new Uint8Array(0);
    expect(await user.codeOf("agree", { key: master.id, peer })).toBe("NOT_PERMITTED");
    const into = { name: fresh(), type: "aes256" } as const;
    expect(await user.codeOf("derive", { key: master.id, peer, into })).toBe("NOT_PERMITTED");
    expect(await user.codeOf("wallet.address", { key: master.id, chainCode: true })).toBe("NOT_PERMITTED");
    const wishes = { name: fresh(), type: "p256" } as const;
    expect(await user.codeOf("wallet.create", { ...wishes, fixed: { uses: ["sign"] } })).toBe("USAGE");
    expect(await user.codeOf("wallet.create", { ...wishes, fixed: { export: "wrapped" } })).toBe("USAGE");
  });

  it("give their chain code only when they are hardened, and to who manages them", async () => {
    const { key: master } = await user.ask("wallet.create", { name: fresh(), type: "secp256k1" });
    const policy = { allow: [{ who: "uid:1001", rights: ["observe" as const, "use" as const] }] };
    const account = await child(master.id, "44'", { chainCode: true, policy });
    expect(account.chainCode?.length).toBe(32);
    const address = await user.ask("wallet.address", { key: account.key.id, chainCode: true });
    expect(address).toMatchObject({ path: "m/44'", masterId: master.id, chainCode: account.chainCode });
    expect(await codeOf(child(account.key.id, "0", { chainCode: true }))).toBe("NOT_PERMITTED");
    const plain = (await child(account.key.id, "0")).key;
    expect(await user.codeOf("wallet.address", { key: plain.id, chainCode: true })).toBe("NOT_PERMITTED");
    const other = someone(1001);
    expect((await other.ask("wallet.address", { key: account.key.id })).path).toBe("m/44'");
    expect(await other.codeOf("wallet.address", { key: account.key.id, chainCode: true })).toBe("NOT_PERMITTED");
    // Who may use a key may derive from it, and owns what comes out.
    const theirs = await child(account.key.id, "5", {}, other);
    expect(theirs.key.owner).toBe(1001);
    expect(await codeOf(child(master.id, "9", {}, other))).toBe("KEY_NOT_FOUND");
  });

  it("keep to their policy: a key that may not derive has no children", async () => {
    const { key: master } = await user.ask("wallet.create", { name: fresh(), type: "p256", fixed: { maximumUses: 2 } });
    const leaf = await child(master.id, "0", { fixed: { uses: ["sign", "verify"] } });
    expect(await codeOf(child(leaf.key.id, "0"))).toBe("NOT_PERMITTED");
    await child(master.id, "1");
    expect(await codeOf(child(master.id, "2"))).toBe("NOT_PERMITTED");
  });

  it("are found by their address in a wallet that is named, or that one of its keys tells", async () => {
    const wallet = fresh();
    const { key: master } = await user.ask("wallet.create", { name: fresh(), wallet, type: "p256" });
    const { key } = await child(master.id, "3'/1'/0'");
    expect((await user.ask("wallet.find", { wallet, path: "m/3h/1h/0h" })).key.id).toBe(key.id);
    expect((await user.ask("wallet.find", { key: master.name, path: "m/3'/1'/0'" })).key.id).toBe(key.id);
    expect((await user.ask("wallet.find", { key: key.id, path: "m" })).key.id).toBe(master.id);
    expect(await user.ask("wallet.address", { key: key.id })).toEqual({
      ...{ wallet, path: "m/3'/1'/0'", masterId: master.id },
    });
    expect(await user.codeOf("wallet.find", { wallet, path: "m/3'" })).toBe("KEY_NOT_FOUND");
    expect(await user.codeOf("wallet.find", { path: "m" })).toBe("USAGE");
    expect(await user.codeOf("wallet.find", { wallet, path: "3'" })).toBe("MALFORMED");
    expect(await someone(1001).codeOf("wallet.find", { wallet, path: "m/3'/1'/0'" })).toBe("KEY_NOT_FOUND");
    const listed = (await user.ask("wallet.list", {})).wallets.find(({ name }) => name === wallet);
    expect(listed).toEqual({ name: wallet, key: master.name, id: master.id, type: "p256", watchOnly: false, keys: 2 });
    expect((await someone(1001).ask("wallet.list", {})).wallets).toEqual([]);
  });

  it("are at one place once, in wallets of different names", async () => {
    const wallet = fresh();
    const { key: master } = await user.ask("wallet.create", { name: fresh(), wallet, type: "p256" });
    const both = await Promise.all([codeOf(child(master.id, "0")), codeOf(child(master.id, "0"))]);
    expect(both.sort()).toEqual(["KEY_EXISTS", "done"]);
    expect(await user.codeOf("wallet.create", { name: fresh(), wallet, type: "p256" })).toBe("KEY_EXISTS");
    expect(await someone(1001).codeOf("wallet.create", { name: fresh(), wallet, type: "p256" })).toBe("done");
    const alone = await user.ask("key.create", { name: fresh(), type: "p256" });
    expect(await codeOf(child(alone.key.id, "0"))).toBe("USAGE");
  });

  it("go with the key they come from, and the journal says so", async () => {
    const { key: master } = await user.ask("wallet.create", { name: fresh(), type: "p256" });
    const { key: account } = await child(master.id, "1'");
    const { key: below } = await child(account.id, "0/0");
    const { key: beside } = await child(master.id, "10'");
    await user.ask("key.delete", { key: account.id });
    expect(await user.codeOf("key.show", { key: below.id })).toBe("KEY_NOT_FOUND");
    expect(await user.codeOf("sign", { key: beside.id, data: bytesOf("m") })).toBe("done");
    const entries: { sequence: number; kind: string; text: string }[] = [];
    for (let more = true; more; ) {
      const page = await vault.root.ask("journal.read", { after: entries.at(-1)?.sequence ?? 0 });
      entries.push(...page.lines.map((line) => JSON.parse(line)));
      more = page.more;
    }
    const words = entries.filter(({ kind }) => kind === "key.deleted").map((entry) => entry.text);
    expect(words).toContain(`key ${below.name} was destroyed with ${account.name}, which it comes from`);
    expect(words.some((line) => line.includes(beside.name))).toBe(false);
    // The place is free again.
    expect(compressed((await child(master.id, "1'")).key)).toBe(compressed(account));
  });
});

describe("a wallet that watches", () => {
  it("sees the keys of another that are not hardened, and signs nothing", async () => {
    for (const wanted of [{ type: "secp256k1" }, { type: "p256" }, { type: "ed25519", variant: "cardano" }] as const) {
      const { key: master } = await user.ask("wallet.create", { name: fresh(), ...wanted });
      const account = await child(master.id, "1852'/1815'/0'", { chainCode: true });
      const watcher = someone(1002);
      const { key: watched } = await watcher.ask("wallet.watch", {
        ...{ name: fresh(), ...wanted, path: "m/1852'/1815'/0'" },
        publicKey: pointIn(account.key),
        chainCode: account.chainCode ?? new Uint8Array(32),
      });
      expect(watched.wallet).toMatchObject({ path: "m/1852'/1815'/0'", watchOnly: true, masterId: watched.id });
      const seen = await child(watched.id, "0/7", {}, watcher);
      const { key: real } = await child(account.key.id, "0/7");
      expect(seen.key.publicKey).toEqual(real.publicKey);
      const { signature } = await user.ask("sign", { key: real.id, data: bytesOf("m") });
      expect((await watcher.ask("verify", { key: seen.key.id, data: bytesOf("m"), signature })).valid).toBe(true);
      expect(await watcher.codeOf("sign", { key: seen.key.id, data: bytesOf("m") })).toBe("NOT_PERMITTED");
      expect(await codeOf(child(watched.id, "0'", {}, watcher))).toBe("NOT_SUPPORTED");
      const words = (await watcher.ask("key.show", { key: seen.key.id })).key.enforced.map(({ line }) => line);
      expect(words).toContain("there is no private part: it watches another wallet");
    }
  });
});

/** Makes all shares of a wallet. */
async function share(who: Person, groups: readonly (readonly [members: number, needed: number])[], needed: number) {
  const name = fresh();
  const passphrase = bytesOf("secret");
  const begin = { name, type: "secp256k1", groups: groups.length, groupsNeeded: needed, exponent: 0 } as const;
  await who.ask("wallet.shares.begin", { ...begin, passphrase });
  const shares: string[][] = [];
  let key: KeyInfo | undefined;
  for (const [group, [members, membersNeeded]] of groups.entries()) {
    await who.ask("wallet.shares.group", { group, members, membersNeeded });
    const own: string[] = [];
    for (let member = 0; member < members; member++) {
      expect(key).toBeUndefined();
      const made = await who.ask("wallet.shares.member", {});
      own.push(text(made.mnemonic));
      key = made.key;
    }
    shares.push(own);
  }
  if (key === undefined) throw new Error("there is no key after the last member");
  return { key, shares };
}

async function addAll(who: Person, mnemonics: readonly string[]): Promise<KeyInfo | undefined> {
  let key: KeyInfo | undefined;
  for (const mnemonic of mnemonics) {
    expect(key).toBeUndefined();
    ({ key } = await who.ask("wallet.shares.restore.add", { mnemonic: bytesOf(mnemonic) }));
  }
  return key;
}

describe("shares of a wallet (SLIP-39)", () => {
  it.each(SLIP39_VECTORS.filter(([, , secret]) => secret !== ""))("restore it: %s", async (_, mnemonics, __, xprv) => {
    const who = someone();
    const passphrase = bytesOf("TREZOR");
    await who.ask("wallet.shares.restore.begin", { name: fresh(), type: "secp256k1", passphrase });
    const master = await addAll(who, mnemonics);
    const { key } = await child(master?.id ?? "", "0'/3", {}, who);
    const peer = HDKey.fromExtendedKey(xprv).derive("m/0'/3");
    expect(compressed(key)).toBe(toHex(peer.publicKey ?? new Uint8Array(0)));
  });

  it("that are no shares get an error, and those that do not fit nothing at all", async () => {
    const who = someone();
    const { shares } = await share(who, [[3, 2]], 1);
    const [[one = "", two = ""] = []] = shares;
    const foreign = SLIP39_VECTORS.find(([title]) => title.startsWith("4."))?.[1][0] ?? "";
    await who.ask("wallet.shares.restore.begin", { name: fresh(), type: "secp256k1", passphrase: bytesOf("secret") });
    const wrong = one.replace(/^\S+/, (word) => (word === "academic" ? "acid" : "academic"));
    expect(await who.codeOf("wallet.shares.restore.add", { mnemonic: bytesOf(wrong) })).toBe("MALFORMED");
    expect(await addAll(who, [foreign, one, one])).toBeUndefined();
    expect(await addAll(who, [two])).toMatchObject({ type: "secp256k1", wallet: { path: "m" } });
  });

  it("are made one after the other, and any that are enough make the same keys", async () => {
    const who = someone();
    const made = await share(
      who,
      [
        [1, 1],
        [3, 2],
      ],
      2,
    );
    expect(made.shares.flat().every((words) => words.split(" ").length === 33)).toBe(true);
    await who.ask("wallet.shares.restore.begin", { name: fresh(), type: "secp256k1", passphrase: bytesOf("secret") });
    const again = await addAll(who, [made.shares[1]?.[2] ?? "", made.shares[0]?.[0] ?? "", made.shares[1]?.[0] ?? ""]);
    const keys = [];
    for (const master of [made.key, again]) keys.push(compressed((await child(master?.id ?? "", "0'", {}, who)).key));
    expect(keys[0]).toBe(keys[1]);
  });

  it("belong to who began, one at a time, until he cancels", async () => {
    const [who, other] = [someone(), someone()];
    const begin = { name: fresh(), type: "p256", groups: 1, groupsNeeded: 1 } as const;
    await who.ask("wallet.shares.begin", begin);
    expect(await other.codeOf("wallet.shares.begin", begin)).toBe("LIMIT_REACHED");
    expect(await who.codeOf("wallet.shares.begin", begin)).toBe("LIMIT_REACHED");
    expect(await other.codeOf("wallet.create", { name: fresh(), type: "p256" })).toBe("LIMIT_REACHED");
    expect(await codeOf(restored({ seed: new Uint8Array(16) }, other))).toBe("LIMIT_REACHED");
    expect(await other.codeOf("wallet.shares.group", { group: 0, members: 1, membersNeeded: 1 })).toBe("USAGE");
    expect(await other.codeOf("wallet.shares.cancel", {})).toBe("USAGE");
    expect(await who.codeOf("wallet.shares.member", {})).toBe("USAGE");
    expect(await who.codeOf("wallet.shares.restore.add", { mnemonic: bytesOf("academic") })).toBe("USAGE");
    expect(await who.codeOf("wallet.shares.cancel", {})).toBe("done");
    expect(await who.codeOf("wallet.shares.member", {})).toBe("USAGE");
    expect(await other.codeOf("key.show", { key: begin.name })).toBe("KEY_NOT_FOUND");
    expect(await other.codeOf("wallet.create", { name: fresh(), type: "p256" })).toBe("done");
    expect(await who.codeOf("wallet.shares.begin", { ...begin, groups: 1, groupsNeeded: 2 })).toBe("USAGE");
    expect(await who.codeOf("wallet.create", { name: fresh(), type: "p256" })).toBe("done");
  });
});

describe("a vault that was killed", () => {
  it("has the wallets it answered, and nothing of a sharing that was not finished", async () => {
    const made = await user.ask("wallet.create", { name: "kept", type: "ed25519", variant: "cardano" });
    const { key } = await child(made.key.id, "1'");
    await user.ask("wallet.shares.begin", { name: "unfinished", type: "p256", groups: 1, groupsNeeded: 1 });
    await user.ask("wallet.shares.group", { group: 0, members: 2, membersNeeded: 2 });
    const { mnemonic } = await user.ask("wallet.shares.member", {});
    await vault.end("SIGKILL");
    const secrets = { sentence: made.mnemonic ?? new Uint8Array(0), share: mnemonic ?? new Uint8Array(0) };
    expect(tracesOf(secrets, lab.path("state"), 16)).toEqual([]);
    vault = await lab.vault();
    user = someone();
    expect(await user.codeOf("wallet.shares.member", {})).toBe("USAGE");
    expect(await user.codeOf("key.show", { key: "unfinished" })).toBe("KEY_NOT_FOUND");
    expect((await user.ask("wallet.find", { wallet: "kept", path: "m/1'" })).key.publicKey).toEqual(key.publicKey);
    expect(await user.codeOf("sign", { key: key.id, data: bytesOf("m") })).toBe("done");
    expect(await codeOf(child(made.key.id, "1'"))).toBe("KEY_EXISTS");
  });

  it("in the middle of making and destroying keys has each of them, or not", async () => {
    for (const round of [1, 2, 3]) {
      const { key: master } = await user.ask("wallet.create", { name: fresh(), type: "ed25519" });
      await child(master.id, "0'");
      const answered = new Map<string, string>();
      let ended = 0;
      const making = Array.from({ length: 30 }, (_, index) =>
        child(master.id, `0'/${index}'`)
          .then(({ key }) => void answered.set(`m/0'/${index}'`, key.id))
          .catch(() => {})
          .finally(() => void ended++),
      );
      while (answered.size < 5 * round && ended < 30) await new Promise((resolve) => setTimeout(resolve, 1));
      const deleting = round === 3 ? user.codeOf("key.delete", { key: master.id }) : undefined;
      await vault.end("SIGKILL");
      await Promise.allSettled([...making, deleting]);
      vault = await lab.vault();
      expect(vault.said, vault.stderr()).toBe("ready");
      user = someone();
      const masterIsThere = (await user.codeOf("key.show", { key: master.id })) === "done";
      expect(masterIsThere || round === 3).toBe(true);
      for (const [path, id] of answered) {
        const found = await user.ask("wallet.find", { key: id, path }).catch(() => undefined);
        expect(found?.key.id).toBe(masterIsThere ? id : undefined);
      }
      if (!masterIsThere) continue;
      const listed = (await user.ask("wallet.list", {})).wallets.find(({ id }) => id === master.id);
      let there = 2;
      for (let index = 0; index < 30; index++) {
        if ((await user.codeOf("wallet.find", { key: master.id, path: `m/0'/${index}'` })) === "done") there++;
      }
      expect(listed?.keys).toBe(there);
    }
  });
});
