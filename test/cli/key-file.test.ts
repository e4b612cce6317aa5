/** Key files between a vault on a TPM and the programs of others: tpm2-tools, OpenSSL's provider. */
import { spawnSync } from "node:child_process";
import { createPublicKey, type KeyObject, randomBytes, verify } from "node:crypto";
import { existsSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { bytes2b, encode } from "../../src/roots/tpm/codec.ts";
import { formatTpmLocation } from "../../src/roots/tpm/location.ts";
import { public2b } from "../../src/roots/tpm/structures.ts";
import { decodeKeyFile, encodeKeyFile, keyFileFromPem, keyFileToPem } from "../../src/roots/tpm/tss2.ts";
import {
  HAS_SWTPM,
  HAS_TPM2_PROVIDER,
  HAS_TPM2_TOOLS,
  openTpmLab,
  type SoftwareTpm,
  type TpmLab,
} from "../roots/tpm/lab.ts";
import { ready, thornkey, type Up } from "./lab.ts";

describe.runIf(HAS_SWTPM)("key files of a TPM", { timeout: 180_000 }, () => {
  let lab: TpmLab;
  let tpm: SoftwareTpm;
  let vault: Up | undefined;
  const file = (name: string) => join(lab.folder, name);
  const places = () => ["--state", file("state"), "--run", file("run"), "--root", formatTpmLocation(tpm.location)];
  const run = () => ["--run", file("run")];

  beforeAll(async () => {
    lab = openTpmLab();
    tpm = await lab.tpm();
    vault = await ready(places());
    for (const [name, type] of OURS) {
      ours("key", "new", name, "--type", type, "--resident", "--allow", "me");
      ours("key", "file", name, "-o", file(`${name}.pem`), "--auth-file", file(`${name}.auth`));
    }
    ours("key", "file", "ec", "-o", file("second.pem"), "--auth-file", file("second.auth"));
    ours("key", "file", "ec", "-o", file("third.pem"), "--auth-file", file("second.auth"));
    ours("key", "file", "ec", "-o", file("open.pem"), "--no-auth");
    await withoutVault();
  }, 180_000);
  afterAll(async () => {
    await end();
    await lab?.close();
  });

  async function end(): Promise<void> {
    vault?.child.kill("SIGTERM");
    await vault?.ended;
    vault = undefined;
  }

  const OURS = [
    ["ec", "p256"],
    ["rsa", "rsa2048"],
    ["tools", "p256"],
  ] as const;
  const message = randomBytes(50);
  /** What the programs of others did: `done`, or what they said. */
  const outcomes = new Map<string, string>();
  const publicKeys = new Map<string, KeyObject>();

  /** A TPM serves one program at a time: the vault goes, the others do all their work, the vault comes back. */
  async function withoutVault(): Promise<void> {
    for (const [name] of OURS) publicKeys.set(name, publicKeyOf(name));
    writeFileSync(file("message"), message);
    writeFileSync(file("wrong"), "wrong");
    await end();
    const tcti = await tpm.overTcp();
    const env = { ...process.env, TPM2TOOLS_TCTI: tcti, TPM2OPENSSL_TCTI: tcti };
    const run = (program: string, ...args: string[]): Buffer => {
      const { status, stdout, stderr } = spawnSync(program, args, { env, cwd: lab.folder, timeout: 60_000 });
      if (status !== 0) throw new Error(`${program} ${args.join(" ")}: ${stderr}`);
      return stdout;
    };
    const attempt = (name: string, body: () => void) => {
      try {
        body();
        outcomes.set(name, "done");
      } catch (error) {
        outcomes.set(name, (error as Error).message);
      }
    };
    if (HAS_TPM2_PROVIDER) withProvider(run, attempt);
    if (HAS_TPM2_TOOLS) withTools(run, attempt);
    await tpm.restart();
    vault = await ready(places());
  }

  type Run = (program: string, ...args: string[]) => Buffer;
  type Attempt = (name: string, body: () => void) => void;
  const PROVIDERS = ["-provider", "tpm2", "-provider", "default"];

  function withProvider(run: Run, attempt: Attempt): void {
    const sign = (pem: string, pass?: string) =>
      attempt(`${pem} with ${pass ?? "nothing"}`, () =>
        run(
          ...([
            "openssl",
            "pkeyutl",
            ...PROVIDERS,
            "-sign",
            "-rawin",
            "-digest",
            "sha256",
            "-inkey",
            `${pem}.pem`,
          ] as const),
          ...(pass === undefined ? [] : ["-passin", `file:${pass}`]),
          ...["-in", "message", "-out", `${pem}.signature`],
        ),
      );
    sign("ec", "ec.auth");
    sign("rsa", "rsa.auth");
    sign("third", "second.auth");
    sign("open");
    sign("second", "ec.auth");
    sign("second", "wrong");
    const make = (name: string, algorithm: string, ...options: string[]) =>
      attempt(name, () => {
        const all = options.flatMap((option) => ["-pkeyopt", option]);
        run("openssl", "genpkey", ...PROVIDERS, "-algorithm", algorithm, ...all, "-out", `${name}.pem`);
        if (name === "phrase") return;
        publicKeys.set(name, createPublicKey(run("openssl", "pkey", ...PROVIDERS, "-in", `${name}.pem`, "-pubout")));
      });
    make("their-ec", "EC", "group:P-256");
    make("their-rsa", "RSA", "bits:2048");
    make("phrase", "EC", "group:P-256", "user-auth:secret phrase");
  }

  function withTools(run: Run, attempt: Attempt): void {
    attempt("tools", () => {
      const pem = keyFileFromPem(readFileSync(file("tools.pem"), "latin1"));
      const { area, privatePart } = decodeKeyFile(pem ?? new Uint8Array(0));
      // tpm2_load of older releases takes the two parts each in a file of its own.
      writeFileSync(file("tools.pub"), encode(public2b, area));
      writeFileSync(file("tools.priv"), encode(bytes2b, privatePart));
      run("tpm2_load", "-C", "0x81000001", "-u", "tools.pub", "-r", "tools.priv", "-c", "tools.ctx", "-Q");
      run("tpm2_flushcontext", "-t");
      const auth = ["-p", "file:tools.auth"];
      run("tpm2_sign", "-c", "tools.ctx", ...auth, "-g", "sha256", "-f", "plain", "-o", "tools.signature", "message");
      run("tpm2_flushcontext", "-t");
    });
    const make = (name: string, algorithm: string, attributes?: string) =>
      attempt(name, () => {
        const what = attributes === undefined ? [] : ["-a", attributes];
        run(
          "tpm2_create",
          "-C",
          "0x81000001",
          "-G",
          algorithm,
          ...what,
          "-u",
          `${name}.pub`,
          "-r",
          `${name}.priv`,
          "-Q",
        );
        for (const kind of ["-t", "-l"]) run("tpm2_flushcontext", kind);
        run("tpm2_encodeobject", "-C", "0x81000001", "-u", `${name}.pub`, "-r", `${name}.priv`, "-o", `${name}.pem`);
        for (const kind of ["-t", "-l"]) run("tpm2_flushcontext", kind);
      });
    const born = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth";
    make("made", "ecc256");
    make("hmac", "hmac");
    make("below", "ecc256", `${born}|restricted|decrypt`);
    make("portable", "ecc256", "sensitivedataorigin|userwithauth|sign");
    make("agreeing", "ecc256", `${born}|decrypt`);
  }

  function ours(...args: string[]): string {
    const { status, stdout, stderr } = thornkey([...args, ...run()]);
    expect(status, `${args.join(" ")}: ${stderr}`).toBe(0);
    return stdout;
  }
  const refused = (...args: string[]) => thornkey([...args, ...run()]).stderr;
  const publicKeyOf = (name: string) => createPublicKey(ours("key", "public", name));
  const signedBy = (name: string, key = publicKeys.get(name)) =>
    key !== undefined && verify("sha256", message, key, readFileSync(file(`${name}.signature`)));

  function signsHere(name: string, algorithm?: string): void {
    const more = algorithm === undefined ? [] : ["--algorithm", algorithm];
    ours("sign", name, file("message"), "-o", file("here.signature"), ...more);
    expect(signedBy("here", publicKeyOf(name))).toBe(true);
  }

  it("are PEM for other programs, and with their authorisation nobody else's to read", () => {
    expect(readFileSync(file("ec.pem"), "latin1")).toMatch(/^-----BEGIN TSS2 PRIVATE KEY-----\n/);
    expect(readFileSync(file("ec.auth"), "latin1")).toMatch(/^[A-Za-z0-9_-]{32}$/);
    for (const name of ["ec.pem", "ec.auth"]) expect(statSync(file(name)).mode & 0o777).toBe(0o600);
    // One authorisation for each file that asks for a new one; none is the vault's own.
    expect(readFileSync(file("second.auth"))).not.toEqual(readFileSync(file("ec.auth")));
    const parent = decodeKeyFile(keyFileFromPem(readFileSync(file("ec.pem"), "latin1")) ?? new Uint8Array(0)).parent;
    expect(parent).toBe(0x81000001);
    expect(ours("journal", "show", "--json")).toMatch(/ec was given out as a file.*with an authorisation/);
    signsHere("ec");
  });

  it.runIf(HAS_TPM2_PROVIDER)(
    "OpenSSL's provider signs with them and their authorisation, and not with another",
    () => {
      expect(outcomes.get("ec with ec.auth")).toBe("done");
      expect(outcomes.get("rsa with rsa.auth")).toBe("done");
      expect(outcomes.get("third with second.auth")).toBe("done");
      expect(outcomes.get("open with nothing")).toBe("done");
      expect(outcomes.get("second with ec.auth")).not.toBe("done");
      expect(outcomes.get("second with wrong")).not.toBe("done");
      expect(signedBy("ec")).toBe(true);
      expect(signedBy("rsa")).toBe(true);
      for (const name of ["third", "open"]) expect(signedBy(name, publicKeys.get("ec"))).toBe(true);
    },
  );

  it.runIf(HAS_TPM2_PROVIDER).each([
    ["their-ec", "p256", undefined],
    ["their-rsa", "rsa2048", "rsa-pkcs1"],
    ["their-rsa", "rsa2048", "rsa-pss"],
  ] as const)("OpenSSL's provider's %s becomes a key of the vault: %s, %s", (theirs, type, scheme) => {
    expect(outcomes.get(theirs)).toBe("done");
    const name = `${theirs}-${scheme}`;
    expect(ours("key", "import", name, file(`${theirs}.pem`), "--allow", "me")).toMatch(`${type}, resident in`);
    expect(publicKeyOf(name).equals(publicKeys.get(theirs) as KeyObject)).toBe(true);
    expect(JSON.parse(ours("key", "show", name, "--json"))).toMatchObject({
      origin: "imported",
      protection: "resident",
    });
    if (scheme !== "rsa-pss") signsHere(name, scheme);
    else expect(ours("sign", name, file("message"), "-o", file("pss.signature"))).toBe("");
  });

  it.runIf(HAS_TPM2_PROVIDER)("one with a passphrase is taken in with it, and with nothing else", async () => {
    expect(outcomes.get("phrase")).toBe("done");
    expect(refused("key", "import", "phrase", file("phrase.pem"))).toMatch(
      /NOT_PERMITTED: .*passphrase.*\nhint: .*--auth-file/,
    );
    writeFileSync(file("phrase"), "wrong", { mode: 0o600 });
    expect(refused("key", "import", "phrase", file("phrase.pem"), "--auth-file", file("phrase"))).toMatch(
      /NOT_PERMITTED: the TPM does not take this/,
    );
    writeFileSync(file("phrase"), "secret phrase\n");
    ours("key", "import", "phrase", file("phrase.pem"), "--auth-file", file("phrase"), "--allow", "me");
    signsHere("phrase");
    // It is the vault's own authorisation now.
    await end();
    vault = await ready(places());
    signsHere("phrase");
  });

  it.runIf(HAS_TPM2_TOOLS)("tpm2-tools sign with them", () => {
    expect(outcomes.get("tools")).toBe("done");
    expect(signedBy("tools")).toBe(true);
  });

  it.runIf(HAS_TPM2_TOOLS)("keys of tpm2-tools are taken in; what is none of ours is refused, and why is said", () => {
    for (const name of ["made", "hmac", "below", "portable", "agreeing"]) expect(outcomes.get(name), name).toBe("done");
    ours("key", "import", "made", file("made.pem"), "--allow", "me");
    signsHere("made");
    ours("key", "import", "agreeing", file("agreeing.pem"), "--allow", "me");
    expect(JSON.parse(ours("key", "show", "agreeing", "--json")).fixed.uses).toEqual(["agree"]);
    expect(refused("key", "import", "a", file("hmac.pem"))).toMatch(/NOT_SUPPORTED: .*HMAC/);
    expect(refused("key", "import", "a", file("below.pem"))).toMatch(/NOT_SUPPORTED: .*restricted/);
    expect(refused("key", "import", "a", file("portable.pem"))).toMatch(/NOT_SUPPORTED: .*was not made in the TPM/);
    expect(refused("key", "import", "a", file("agreeing.pem"), "--use", "sign,verify")).toMatch(/does not sign/);
    expect(refused("key", "import", "made", file("made.pem"))).toMatch(/KEY_EXISTS/);
  });

  it("a file of another TPM is told from a damaged one", async () => {
    ours("key", "new", "here", "--resident", "--allow", "me");
    ours("key", "file", "here", "-o", file("here.pem"), "--no-auth");
    const pem = readFileSync(file("here.pem"), "latin1");
    const whole = decodeKeyFile(keyFileFromPem(pem) ?? new Uint8Array(0));
    const written = (change: object) => {
      writeFileSync(file("changed.pem"), keyFileToPem(encodeKeyFile({ ...whole, ...change })));
      return refused("key", "import", "changed", file("changed.pem"));
    };
    expect(written({ privatePart: whole.privatePart.map((byte, at) => (at === 40 ? byte ^ 1 : byte)) })).toMatch(
      /ROOT_REFUSED: this key is of another TPM/,
    );
    expect(written({ kind: "sealed" })).toMatch(/MALFORMED: it is a sealed secret/);
    writeFileSync(file("changed.pem"), pem.replace(/\n[^\n]{64}\n/, "\nAAAA\n"));
    expect(refused("key", "import", "changed", file("changed.pem"))).toMatch(/MALFORMED: this is no key file/);
    // What a file says of an authorisation is not always so; the TPM knows.
    expect(written({ emptyAuth: false })).toBe("");
    const other = await lab.tpm();
    const places = ["--state", file("other"), "--run", file("other-run"), "--root", formatTpmLocation(other.location)];
    const elsewhere = await ready(places);
    try {
      const { stderr } = thornkey(["key", "import", "x", file("here.pem"), "--run", file("other-run")]);
      expect(stderr).toMatch(
        /ROOT_REFUSED: this key is of another TPM.*\nhint: .*works only with the TPM that made it/,
      );
    } finally {
      elsewhere.child.kill("SIGTERM");
      await elsewhere.ended;
    }
  });

  it("the vault's own file can come back, and a deleted key with it", () => {
    ours("key", "new", "moving", "--resident", "--allow", "me");
    const spki = publicKeyOf("moving");
    ours("key", "file", "moving", "-o", file("moving.pem"), "--auth-file", file("moving.auth"));
    ours("key", "delete", "moving", "--yes");
    ours("key", "import", "moving", file("moving.pem"), "--auth-file", file("moving.auth"), "--allow", "me");
    expect(publicKeyOf("moving").equals(spki)).toBe(true);
    signsHere("moving");
  });

  it("no file for a wrapped key, for a key with limits the vault sees to, or without a word about authorisation", () => {
    ours("key", "new", "wrapped", "--wrapped");
    ours("key", "new", "limited", "--resident", "--max-uses", "3");
    ours("key", "new", "kept", "--resident", "--export", "never");
    expect(refused("key", "file", "wrapped", "--no-auth")).toMatch(/NOT_SUPPORTED/);
    expect(refused("key", "file", "limited", "--no-auth")).toMatch(/NOT_PERMITTED: .*maximumUses/);
    expect(refused("key", "file", "kept", "--no-auth")).toMatch(/NOT_PERMITTED: .*export/);
    expect(refused("key", "file", "here")).toMatch(/USAGE.*\nhint: --auth-file FILE, or --no-auth/);
    expect(refused("key", "file", "here", "--no-auth", "--auth-file", file("x"))).toMatch(/USAGE/);
    writeFileSync(file("long"), "x".repeat(33), { mode: 0o600 });
    expect(refused("key", "file", "here", "--auth-file", file("long"))).toMatch(/USAGE: .*33 bytes/);
    expect(existsSync(file("x"))).toBe(false);
  });

  it("a vault that is not on a TPM takes none", async () => {
    const chip = file("chip.mem");
    const places = ["--state", file("chip"), "--run", file("chip-run"), "--root", `emulated:${chip}`];
    const elsewhere = await ready(places);
    try {
      const at = ["--run", file("chip-run")];
      expect(thornkey(["key", "import", "x", file("here.pem"), ...at]).stderr).toMatch(
        /NOT_SUPPORTED: this is a key of a TPM, and the vault is not on one/,
      );
      expect(thornkey(["key", "new", "k", "--resident", ...at]).status).toBe(0);
      expect(thornkey(["key", "file", "k", "--no-auth", ...at]).stderr).toMatch(/NOT_SUPPORTED/);
    } finally {
      elsewhere.child.kill("SIGTERM");
      await elsewhere.ended;
      rmSync(chip, { force: true });
    }
  });

  it("on several roots as one, the TPM is found", async () => {
    const other = await lab.tpm();
    const both = `emulated:${file("both.mem")}+${formatTpmLocation(other.location)}`;
    const pair = await ready(["--state", file("both"), "--run", file("both-run"), "--root", both]);
    try {
      const at = ["--run", file("both-run")];
      const said = (...args: string[]) => thornkey([...args, ...at]);
      expect(said("key", "new", "k", "--type", "p384", "--resident", "--allow", "me").stderr).toBe("");
      expect(said("key", "file", "k", "-o", file("k.pem"), "--no-auth").status).toBe(0);
      expect(said("key", "import", "k2", file("k.pem"), "--allow", "me").stdout).toMatch(/p384, resident/);
      writeFileSync(file("message"), "hello");
      expect(said("sign", "k2", file("message"), "-o", file("signature")).status).toBe(0);
      expect(said("tpm", "lockout", "--state", file("both"), "--json").stdout).toMatch(/"owner": "vault"/);
    } finally {
      pair.child.kill("SIGTERM");
      await pair.ended;
    }
  });
});
