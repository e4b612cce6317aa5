import { HDKey } from "@scure/bip32";
import { mnemonicToSeedSync } from "@scure/bip39";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  RecoveryStrategy,
  RecoveryStrategyBIP39,
  RecoveryStrategySLIP39,
  type Zymkey,
} from "../../../src/client/zymkey/index.ts";
import { codeOf, openZymkeyLab, type ZymkeyLab } from "./lab.ts";

let lab: ZymkeyLab;
let zymkey: Zymkey;
beforeAll(async () => {
  lab = await openZymkeyLab();
  zymkey = lab.zymkey();
});
afterAll(() => lab.close());

const none = new Uint8Array(0);
let last = 0;
const fresh = () => `wallet ${++last}`;
const base64 = (text: string) => Buffer.from(text).toString("base64");
const xOf = (key: Uint8Array | null | undefined) =>
  Buffer.from(key ?? [])
    .subarray(-32)
    .toString("hex");

describe("wallets", () => {
  it("without recovery answer a slot, which derives and shows no public key", async () => {
    const name = fresh();
    const master = await zymkey.gen_wallet_master_seed("nistp256", none, name);
    expect(master).toBeGreaterThanOrEqual(16);
    expect(await codeOf(zymkey.get_public_key(master as number))).toBe("NOT_PERMITTED");
    const child = await zymkey.gen_wallet_child_key(master as number, 3, true);
    const grandchild = await zymkey.gen_wallet_child_key(child, 28, false);
    expect(await zymkey.get_wallet_node_addr(grandchild)).toEqual(["m/3'/28", name, master]);
    expect(await zymkey.get_wallet_key_slot("m/3'/28", name)).toBe(grandchild);
    expect(await zymkey.get_wallet_key_slot("m/3'", null, master as number)).toBe(child);
    expect(await codeOf(zymkey.get_wallet_key_slot("m/3'"))).toBe("USAGE");
    expect(await codeOf(zymkey.get_wallet_key_slot("m/4'", name))).toBe("KEY_NOT_FOUND");
    const signature = await zymkey.sign("a transaction", grandchild);
    expect(await zymkey.verify("a transaction", signature, true, grandchild)).toBe(true);
    // With a parent go all below it.
    expect(await zymkey.remove_key(child)).toBe(0);
    expect(await codeOf(zymkey.get_public_key(grandchild))).toBe("KEY_NOT_FOUND");
    expect(await codeOf(zymkey.gen_wallet_master_seed("nistp256", none, name))).toBe("KEY_EXISTS");
    await zymkey.remove_key(master as number);
  });

  it("with BIP39 answer 24 words, from which anybody makes the same keys", async () => {
    const strategy = new RecoveryStrategyBIP39("", base64("geheim"));
    const made = await zymkey.gen_wallet_master_seed("secp256k1", none, fresh(), strategy);
    const [master, mnemonic] = made as [number, string];
    expect(mnemonic.split(" ").length).toBe(24);
    const [child, chainCode] = await zymkey.gen_wallet_child_key(master, 44, true, true);
    const peer = HDKey.fromMasterSeed(mnemonicToSeedSync(mnemonic, "geheim")).derive("m/44'");
    expect(xOf((await zymkey.get_public_key(child)).subarray(0, 32))).toBe(xOf(peer.publicKey));
    expect(xOf(chainCode)).toBe(xOf(peer.chainCode));

    const again = await zymkey.restore_wallet_master_seed("secp256k1", none, fresh(), strategy, mnemonic);
    const same = await zymkey.gen_wallet_child_key(again, 44, true);
    expect(await zymkey.get_public_key(same)).toEqual(await zymkey.get_public_key(child));
    const keyed = await zymkey.restore_wallet_master_seed("secp256k1", Uint8Array.of(1), fresh(), strategy, mnemonic);
    const other = await zymkey.gen_wallet_child_key(keyed, 44, true);
    expect(await zymkey.get_public_key(other)).not.toEqual(await zymkey.get_public_key(child));

    expect(await codeOf(zymkey.gen_wallet_child_key(master, 0, false, true))).toBe("USAGE");
    expect(await codeOf(zymkey.gen_wallet_child_key(master, 2 ** 31, false))).toBe("USAGE");
    const wrong = mnemonic.replace(/^\S+/, "zzzz");
    expect(await codeOf(zymkey.restore_wallet_master_seed("secp256k1", none, fresh(), strategy, wrong))).toBe(
      "MALFORMED",
    );
    const plain = new RecoveryStrategy();
    expect(await codeOf(zymkey.restore_wallet_master_seed("secp256k1", none, fresh(), plain, mnemonic))).toBe("USAGE");
    expect(await codeOf(zymkey.gen_wallet_master_seed("x25519", none, fresh()))).toBe("USAGE");
  });

  it("are watched from elsewhere", async () => {
    const strategy = new RecoveryStrategy("cardano");
    const master = (await zymkey.gen_wallet_master_seed("ed25519", none, fresh(), strategy)) as number;
    let slot = master;
    for (const index of [1852, 1815]) slot = await zymkey.gen_wallet_child_key(slot, index, true);
    const [account, chainCode] = await zymkey.gen_wallet_child_key(slot, 0, true, true);
    const publicKey = await zymkey.get_public_key(account);
    const watched = await zymkey.gen_oversight_wallet(
      ...(["ed25519", publicKey, chainCode, "m/1852'/1815'/0'", fresh(), "cardano"] as const),
    );
    const seen = await zymkey.gen_wallet_child_key(watched, 5, false);
    const real = await zymkey.gen_wallet_child_key(account, 5, false);
    expect(await zymkey.get_public_key(seen)).toEqual(await zymkey.get_public_key(real));
    expect((await zymkey.get_wallet_node_addr(seen))[0]).toBe("m/1852'/1815'/0'/5");
    const signature = await zymkey.sign("m", real);
    expect(await zymkey.verify("m", signature, true, seen)).toBe(true);
    expect(await codeOf(zymkey.sign("m", seen))).toBe("NOT_PERMITTED");
    expect(await codeOf(zymkey.gen_wallet_child_key(watched, 5, true))).toBe("NOT_SUPPORTED");
  });

  it("with SLIP39 are made share after share, and restored from enough of them", async () => {
    const strategy = new RecoveryStrategySLIP39(2, 2, 0, "", base64("all"));
    expect(await zymkey.gen_wallet_master_seed("secp256k1", none, fresh(), strategy)).toBe(0);
    // Meanwhile nobody makes another.
    expect(await codeOf(zymkey.gen_wallet_master_seed("secp256k1", none, fresh()))).toBe("LIMIT_REACHED");
    expect(await codeOf(zymkey.add_gen_SLIP39_member_pwd())).toBe("USAGE");
    const shares: [number, string][] = [];
    expect(await zymkey.set_gen_SLIP39_group_info(0, 1, 1)).toBe(0);
    shares.push(await zymkey.add_gen_SLIP39_member_pwd("my own"));
    expect(await zymkey.set_gen_SLIP39_group_info(1, 3, 2)).toBe(0);
    for (let member = 0; member < 3; member++) shares.push(await zymkey.add_gen_SLIP39_member_pwd());
    const slots = shares.map(([slot]) => slot);
    expect(slots.slice(0, 3)).toEqual([-1, -1, -1]);
    const master = slots[3] ?? -1;
    expect(master).toBeGreaterThanOrEqual(16);
    expect(shares.every(([, words]) => words.split(" ").length === 33)).toBe(true);

    expect(await zymkey.restore_wallet_master_seed("secp256k1", none, fresh(), strategy)).toBe(-1);
    const words = shares.map(([, sentence]) => sentence);
    expect(await codeOf(zymkey.add_restore_SLIP39_mnemonic("no share"))).toBe("MALFORMED");
    expect(await zymkey.add_restore_SLIP39_mnemonic(words[3] ?? "")).toBe(-1);
    // With a wrong passphrase a share does not fit, and that is not told.
    expect(await zymkey.add_restore_SLIP39_mnemonic(words[0] ?? "", "wrong")).toBe(-1);
    expect(await zymkey.add_restore_SLIP39_mnemonic(words[1] ?? "")).toBe(-1);
    const again = await zymkey.add_restore_SLIP39_mnemonic(words[0] ?? "", "my own");
    expect(again).toBeGreaterThanOrEqual(16);
    const keys = [];
    for (const slot of [master, again]) {
      keys.push(await zymkey.get_public_key(await zymkey.gen_wallet_child_key(slot, 0, true)));
    }
    expect(keys[0]).toEqual(keys[1]);
  });

  it("with SLIP39 can be given up", async () => {
    await zymkey.gen_wallet_master_seed("nistp256", none, fresh(), new RecoveryStrategySLIP39(1, 1, 0));
    expect(await zymkey.cancel_SLIP39_session()).toBe(0);
    expect(await codeOf(zymkey.cancel_SLIP39_session())).toBe("USAGE");
    expect(await codeOf(zymkey.gen_wallet_master_seed("nistp256", none, fresh()))).toBe("done");
  });

  it.each([
    () => new RecoveryStrategy("bitcoin"),
    () => new RecoveryStrategyBIP39("", "no base64!"),
    () => new RecoveryStrategySLIP39(17, 1, 0),
    () => new RecoveryStrategySLIP39(2, 3, 0),
    () => new RecoveryStrategySLIP39(1, 1, 11),
    () => new RecoveryStrategySLIP39(1, 1, 0, "", "?"),
  ])("have no strategy that makes no sense: %s", (make) => {
    expect(make).toThrow(expect.objectContaining({ code: "USAGE" }));
  });
});
