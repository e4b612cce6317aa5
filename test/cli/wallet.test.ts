import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { HDKey } from "@scure/bip32";
import { mnemonicToSeedSync } from "@scure/bip39";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ready, thornkey, type Up } from "./lab.ts";

const folder = mkdtempSync(join(tmpdir(), "thornkey-wallet-"));
const at = (name: string) => join(folder, name);
let running: Up;
const ask = (args: readonly string[], input = "") => thornkey([...args, "--run", at("run")], input);
const done = (args: readonly string[], input = "") => {
  const { status, stdout, stderr } = ask(args, input);
  expect(stderr === "" || status === 0, stderr).toBe(true);
  expect(status, stderr).toBe(0);
  return { stdout, stderr };
};
const publicKey = (name: string) =>
  done(["key", "public", name, "--format", "der", "-o", at(`${name}.der`)]) && readFileSync(at(`${name}.der`));
const compressedIn = (spki: Buffer) => {
  const point = spki.subarray(-64);
  return Buffer.concat([Buffer.of(2 + ((point[63] ?? 0) & 1)), point.subarray(0, 32)]).toString("hex");
};

beforeAll(async () => {
  running = await ready(["--state", at("state"), "--run", at("run"), "--root", `emulated:${at("chip")}`]);
});
afterAll(async () => {
  running.child.kill();
  await running.ended;
  rmSync(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
});

describe("thornkey wallet", () => {
  it("prints a mnemonic once, from which another program makes the same keys", () => {
    writeFileSync(at("passphrase"), "geheim\n");
    const made = done(["wallet", "new", "gold", "--allow", "me", "--passphrase-file", at("passphrase")]);
    expect(made.stdout.trim().split(" ").length).toBe(24);
    expect(made.stderr).toMatch(/gold: secp256k1, m of wallet gold/);
    done(["wallet", "child", "gold", "44'/0'/0'", "account", "--allow", "me"]);
    const peer = HDKey.fromMasterSeed(mnemonicToSeedSync(made.stdout.trim(), "geheim")).derive("m/44'/0'/0'");
    expect(compressedIn(publicKey("account"))).toBe(Buffer.from(peer.publicKey ?? []).toString("hex"));

    done(["wallet", "restore", "again", "-", "--allow", "me", "--passphrase-file", at("passphrase")], made.stdout);
    done(["wallet", "child", "again", "44'/0'/0'", "account2"]);
    expect(publicKey("account2")).toEqual(publicKey("account"));
  });

  it("watches a node with its public key and chain code", () => {
    const [, code = ""] =
      /chain code ([0-9a-f]{64})/.exec(done(["wallet", "show", "account", "--chain-code"]).stdout) ?? [];
    publicKey("account");
    const where = ["--path", "m/44'/0'/0'", "--public-key", at("account.der"), "--chain-code", code];
    done(["wallet", "watch", "eye", "--allow", "me", ...where]);
    done(["wallet", "child", "eye", "0/5", "seen"]);
    done(["wallet", "child", "account", "0/5", "real"]);
    expect(publicKey("seen")).toEqual(publicKey("real"));
    expect(done(["wallet", "show"]).stdout).toMatch(/eye\s+~0\/eye\s+secp256k1\s+watches\s+2/);
  });

  it("makes shares and puts them together", () => {
    const file = at("shares");
    done(["wallet", "new", "silver", "--type", "p256", "--shares", "2/3", "--allow", "me", "--json", "-o", file]);
    expect(statSync(file).mode & 0o777).toBe(0o600);
    const lines = readFileSync(file, "utf8").trim().split("\n");
    expect(lines.map((line) => line.split(" ").length)).toEqual([33, 33, 33]);
    const two = `${lines[2]}\n${lines[0]}\n`;
    done(["wallet", "restore", "silver2", "-", "--type", "p256", "--shares", "--allow", "me"], two);
    for (const name of ["silver", "silver2"]) done(["wallet", "child", name, "1", `${name}-1`]);
    expect(publicKey("silver-1")).toEqual(publicKey("silver2-1"));
    const few = ask(["wallet", "restore", "few", "-", "--type", "p256", "--shares"], lines[0]);
    expect(few.stderr).toMatch(/MALFORMED/);
    expect(few.status).toBe(1);
  });

  it("writes no secret as JSON, and says what is wrong", () => {
    const json = ask(["wallet", "new", "copper", "--json"]);
    expect(json).toMatchObject({ status: 2, stdout: "" });
    expect(json.stderr).toMatch(/'-o FILE'/);
    expect(ask(["wallet", "restore", "none", "-"], "abandon abandon").status).toBe(1);
    expect(ask(["wallet", "show", "missing"]).status).toBe(4);
  });
});
