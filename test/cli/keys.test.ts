/** Keys and their use at the command line, before a vault on an emulated chip. */
import { spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { ready, thornkey, type Up } from "./lab.ts";

const folder = mkdtempSync(join(tmpdir(), "thornkey-keys-"));
const file = (name: string) => join(folder, name);
const run = file("run");
const ask = (...args: string[]) => thornkey([...args, "--run", run]);
const json = (...args: string[]) => JSON.parse(ask(...args, "--json").stdout);
let both: Up;

function openssl(...args: string[]): string {
  const { status, stdout, stderr } = spawnSync("openssl", args, { encoding: "utf8", timeout: 60_000 });
  if (status !== 0) throw new Error(`openssl ${args[0]}: ${stdout}${stderr}`);
  return stdout;
}
const withOpenssl = it.skipIf(spawnSync("openssl", ["version"]).error !== undefined);

beforeAll(async () => {
  // A host of its own, with something hard to be bound to.
  mkdirSync(file("host/proc/device-tree"), { recursive: true });
  writeFileSync(file("host/proc/device-tree/serial-number"), "10000000abcdef01\0");
  const root = `emulated:${file("chip")}`;
  both = await ready(["--state", file("state"), "--run", run, "--root", root, "--host", file("host")]);
  writeFileSync(file("small"), randomBytes(1000));
  writeFileSync(file("large"), randomBytes(300_000));
}, 120_000);

afterAll(async () => {
  both.child.kill("SIGTERM");
  await both.ended;
  rmSync(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
});

withOpenssl("signs what OpenSSL verifies, small and large, resident and wrapped", { timeout: 120_000 }, () => {
  for (const protection of ["resident", "wrapped"]) {
    const name = `sign-${protection}`;
    expect(json("key", "new", name, `--${protection}`, "--allow", "me")).toMatchObject({ type: "p256", protection });
    expect(ask("key", "public", name, "-o", file("public.pem")).status).toBe(0);
    for (const message of ["small", "large"]) {
      expect(ask("sign", name, file(message), "-o", file("signature")).stderr).toBe("");
      const check = ["-verify", file("public.pem"), "-signature", file("signature"), file(message)];
      expect(openssl("dgst", "-sha256", ...check)).toBe("Verified OK\n");
      expect(ask("verify", name, file(message), file("signature"))).toMatchObject({ status: 0, stdout: "valid\n" });
    }
    expect(ask("verify", name, file("small"), file("signature"))).toMatchObject({ status: 1, stdout: "not valid\n" });
  }
  expect(ask("sign", "sign-wrapped", file("small"), "--format", "raw", "-o", file("raw")).status).toBe(0);
  expect(statSync(file("raw")).size).toBe(64);
});

withOpenssl("takes a key in, signs with it, and agrees with another", { timeout: 120_000 }, () => {
  openssl("genpkey", "-algorithm", "ed25519", "-out", file("ed.pem"));
  expect(ask("key", "import", "ed", file("ed.pem"), "--allow", "me").status).toBe(0);
  openssl("pkey", "-in", file("ed.pem"), "-pubout", "-out", file("ed.pub"));
  expect(ask("key", "public", "ed").stdout).toBe(readFileSync(file("ed.pub"), "utf8"));
  expect(ask("sign", "ed", file("small"), "-o", file("ed.sig")).stderr).toBe("");
  const verify = ["-verify", "-pubin", "-inkey", file("ed.pub"), "-rawin", "-in", file("small")];
  expect(openssl("pkeyutl", ...verify, "-sigfile", file("ed.sig"))).toContain("Verified Successfully");

  expect(ask("key", "new", "x", "--type", "x25519", "--use", "agree", "--allow", "me").status).toBe(0);
  openssl("genpkey", "-algorithm", "x25519", "-out", file("x.pem"));
  openssl("pkey", "-in", file("x.pem"), "-pubout", "-out", file("x.pub"));
  expect(ask("key", "public", "x", "-o", file("ours.pub")).status).toBe(0);
  expect(ask("agree", "x", file("x.pub"), "-o", file("secret")).stderr).toBe("");
  expect(statSync(file("secret")).mode & 0o777).toBe(0o600);
  openssl("pkeyutl", "-derive", "-inkey", file("x.pem"), "-peerkey", file("ours.pub"), "-out", file("theirs"));
  expect(readFileSync(file("secret"))).toEqual(readFileSync(file("theirs")));
});

it("gives a key its life: made, shown, changed, destroyed", { timeout: 120_000 }, () => {
  const limits = ["--max-uses", "3", "--make-until", "2999-12-31", "--rate", "5/60"];
  const grants = ["--allow", "me", "--allow", "uid:4242=use,observe"];
  expect(json("key", "new", "life", ...limits, ...grants)).toMatchObject({
    fixed: { maximumUses: 3, makeUntil: Date.UTC(2999, 11, 31) / 1000 },
    policy: { rate: { uses: 5, seconds: 60 } },
  });
  const changed = json("key", "policy", "life", "--no-rate", "--record-uses", "--revoke", "uid:4242");
  expect(changed.policy).toMatchObject({ recordUses: true });
  expect(changed.policy.rate).toBeUndefined();
  expect(JSON.stringify(changed.policy.allow)).toContain(`uid:${process.getuid?.()}`);
  expect(JSON.stringify(changed.policy.allow)).not.toContain("4242");
  expect(json("key", "list").map(({ name }: { name: string }) => name)).toContain(changed.name);
  expect(ask("key", "show", "life").stdout).toMatch(/at most 3 uses/);
  expect(ask("key", "delete", "life").status).toBe(0);
  expect(ask("key", "show", "life").status).toBe(4);
});

it("ends with the status scripts rely on, and says what to do", { timeout: 120_000 }, () => {
  const cases: [number, string, string[]][] = [
    [2, "Allowed are", ["key", "new", "no", "--use", "dance"]],
    [2, "names no caller", ["key", "new", "no", "--allow", "somebody"]],
    [2, "exclude each other", ["key", "new", "no", "--resident", "--wrapped"]],
    [2, "2027-01-31", ["key", "new", "no", "--not-before", "tomorrow"]],
    [2, "whole number", ["random", "many"]],
    [4, "KEY_NOT_FOUND", ["key", "show", "nothing"]],
    [4, "FILE_NOT_FOUND", ["key", "import", "no", file("nothing")]],
    [1, "MALFORMED", ["key", "import", "no", file("small")]],
    [2, "nobody is here", ["destroy"]],
    [2, "nobody is here", ["bind", "seal"]],
    [1, "24 words", ["bind", "confirm", "--recovery", file("small")]],
  ];
  for (const [status, text, args] of cases) {
    const result = ask(...args);
    expect(result.stderr, args.join(" ")).toContain(text);
    expect(result.status, args.join(" ")).toBe(status);
    expect(result.stdout).toBe("");
  }
  expect(ask("key", "new", "theirs", "--use", "agree", "--allow", "me").status).toBe(0);
  expect(ask("sign", "theirs", file("small"))).toMatchObject({
    status: 3,
    stderr: expect.stringContaining("NOT_PERMITTED"),
  });
  expect(ask("key", "show", "nothing").stderr).toMatch(/\nhint: .*thornkey key list/);
});

it("writes random bytes only for the caller", { timeout: 60_000 }, () => {
  expect(ask("random", "70000", "-o", file("random")).status).toBe(0);
  expect(statSync(file("random"))).toMatchObject({ size: 70_000 });
  expect(statSync(file("random")).mode & 0o777).toBe(0o600);
});

it("freezes and thaws", { timeout: 60_000 }, () => {
  expect(ask("freeze", "--reason", "a test").status).toBe(0);
  expect(ask("random", "16", "--json")).toMatchObject({ status: 5, stderr: expect.stringContaining("a test") });
  expect(ask("thaw").status).toBe(0);
  expect(ask("random", "16", "--json").status).toBe(0);
});

it("keeps tenants apart, and says who has a say", { timeout: 60_000 }, () => {
  const me = `uid:${process.getuid?.()}`;
  expect(json("namespace", "create", "acme", "--administrator", "me")).toMatchObject({ administrators: [me] });
  expect(ask("namespace", "list").stdout).toContain("acme");
  expect(ask("namespace", "delete", "acme").status).toBe(0);
  expect(json("device", "change", "--auditor", "me", "--auditor", "uid:5")).toMatchObject({ auditors: [me, "uid:5"] });
  expect(ask("device", "show").stdout).toMatch(/^auditors +uid:\d+, uid:5$/m);
  expect(json("confirm", "list")).toEqual([]);
});

it("finds a byte that was changed in an exported journal, and names its entry", { timeout: 120_000 }, () => {
  expect(ask("journal", "export", "-o", file("journal")).status).toBe(0);
  expect(ask("journal", "key").stdout).toContain("BEGIN PUBLIC KEY");
  writeFileSync(file("evidence.pem"), ask("journal", "key").stdout);
  const verify = (...args: string[]) => thornkey(["journal", "verify", file("journal"), "--json", ...args]);
  const whole = JSON.parse(verify("--key", file("evidence.pem")).stdout);
  expect(whole).toMatchObject({ valid: true, keyGiven: true, signed: whole.entries - 1 });
  expect(ask("journal", "verify").status).toBe(0);

  const lines = readFileSync(file("journal"), "utf8").split("\n");
  const place = lines.findIndex((line) => line.includes("key.generated")) + 1;
  lines[place - 1] = (lines[place - 1] ?? "").replace("generated", "genetated");
  writeFileSync(file("journal"), lines.join("\n"));
  const changed = verify();
  expect(changed).toMatchObject({ status: 5, stderr: expect.stringContaining(`entry ${place}`) });
  expect(JSON.parse(changed.stdout)).toMatchObject({ valid: false, problem: { entry: place } });
});

it("shows the recovery key once, seals with it, and undoes it", { timeout: 120_000 }, () => {
  expect(ask("bind", "now").stdout).toMatch(/soc-serial .* must match +matches/);
  expect(ask("bind", "seal", "--rehearse").status).toBe(0);
  const shown = ask("bind", "seal", "--yes").stdout;
  expect(shown.match(/\d+\. [a-z]+/g)).toHaveLength(24);
  const others = `${"zoo ".repeat(23)}vote`;
  const wrong = thornkey(["bind", "confirm", "--recovery", "-", "--run", run], others);
  expect(wrong).toMatchObject({ status: 3, stderr: expect.stringContaining("not the recovery key") });
  const sealed = thornkey(["bind", "confirm", "--recovery", "-", "--run", run], shown);
  expect(sealed.stderr).toBe("");
  expect(sealed.stdout).toContain("stage sealed");
  writeFileSync(file("words"), shown);
  expect(json("bind", "undo", "--recovery", file("words"))).toMatchObject({ stage: "development" });
});

it("is destroyed by who names it", { timeout: 60_000 }, () => {
  const { device } = json("status");
  expect(ask("destroy", "--yes", "--device", "0".repeat(32)).status).toBe(2);
  expect(ask("destroy", "--yes", "--device", device).stdout).toContain("destroyed: the sealed master key");
  expect(ask("random", "16", "--json").status).toBe(5);
  expect(existsSync(file("state/destroyed"))).toBe(true);
});
