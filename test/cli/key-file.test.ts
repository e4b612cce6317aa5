/** Key files between a vault on a TPM and the programs of others: tpm2-tools, OpenSSL's provider. */
import { spawnSync } from "node:child_process";
import { createPublicKey, randomBytes, verify } from "node:crypto";
import { existsSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
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
  });
  afterAll(async () => {
    await end();
    await lab?.close();
  });

  async function end(): Promise<void> {
    vault?.child.kill("SIGTERM");
    await vault?.ended;
    vault = undefined;
  }

  /** A TPM serves one program at a time: the vault goes, and comes back. */
  async function others<T>(body: (run: (program: string, ...args: string[]) => Buffer) => T): Promise<T> {
    await end();
    const port = await freePort();
    const tcti = await tpm.overTcp(port);
    const env = { ...process.env, TPM2TOOLS_TCTI: tcti, TPM2OPENSSL_TCTI: tcti };
    try {
      return body((program, ...args) => {
        const { status, stdout, stderr } = spawnSync(program, args, { env, cwd: lab.folder, timeout: 60_000 });
        if (status !== 0) throw new Error(`${program} ${args.join(" ")}: ${stderr}`);
        return stdout;
      });
    } finally {
      await tpm.restart();
      vault = await ready(places());
    }
  }

  async function freePort(): Promise<number> {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const address = server.address();
    await new Promise((resolve) => server.close(resolve));
    return typeof address === "object" && address !== null ? address.port : 0;
  }

  function ours(...args: string[]): string {
    const { status, stdout, stderr } = thornkey([...args, ...run()]);
    expect(status, `${args.join(" ")}: ${stderr}`).toBe(0);
    return stdout;
  }
  const refused = (...args: string[]) => thornkey([...args, ...run()]).stderr;
  const publicKeyOf = (name: string) => createPublicKey(ours("key", "public", name));

  function signsHere(name: string, algorithm?: string): void {
    const message = randomBytes(40);
    writeFileSync(file("message"), message);
    const more = algorithm === undefined ? [] : ["--algorithm", algorithm];
    ours("sign", name, file("message"), "-o", file("signature"), ...more);
    expect(verify("sha256", message, publicKeyOf(name), readFileSync(file("signature")))).toBe(true);
  }

  const PROVIDERS = ["-provider", "tpm2", "-provider", "default"];

  describe.runIf(HAS_TPM2_PROVIDER)("and OpenSSL's provider", () => {
    it.each(["p256", "rsa2048"])(
      "a %s key of ours signs there with the file's authorisation, and not without",
      async (type) => {
        ours("key", "new", type, "--type", type, "--resident", "--allow", "me");
        const [pem, auth] = [file(`${type}.pem`), file(`${type}.auth`)];
        ours("key", "file", type, "-o", pem, "--auth-file", auth);
        expect(readFileSync(pem, "latin1")).toMatch(/^-----BEGIN TSS2 PRIVATE KEY-----\n/);
        expect(readFileSync(auth, "latin1")).toMatch(/^[A-Za-z0-9_-]{32}$/);
        for (const path of [pem, auth]) expect(statSync(path).mode & 0o777).toBe(0o600);
        const spki = publicKeyOf(type);
        const message = randomBytes(50);
        writeFileSync(file("message"), message);
        writeFileSync(file("wrong"), "wrong");
        const sign = (pass: string) => [
          ...["pkeyutl", ...PROVIDERS, "-sign", "-rawin", "-digest", "sha256", "-inkey", pem],
          ...["-passin", `file:${pass}`, "-in", file("message"), "-out", file("signature")],
        ];
        await others((run) => {
          run("openssl", ...sign(auth));
          expect(verify("sha256", message, spki, readFileSync(file("signature")))).toBe(true);
          expect(() => run("openssl", ...sign(file("wrong")))).toThrow();
        });
        // In the vault it goes on with its own.
        signsHere(type, type === "rsa2048" ? "rsa-pkcs1" : undefined);
        expect(ours("journal", "show", "--json")).toMatch(
          new RegExp(`${type} was given out as a file.*with an authorisation`),
        );
      },
    );

    it("each file has an authorisation of its own, and a key without one needs none", async () => {
      ours("key", "file", "p256", "-o", file("second.pem"), "--auth-file", file("second.auth"));
      ours("key", "file", "p256", "-o", file("open.pem"), "--no-auth");
      const again = readFileSync(file("second.auth"));
      ours("key", "file", "p256", "-o", file("third.pem"), "--auth-file", file("second.auth"));
      expect(readFileSync(file("second.auth"))).toEqual(again); // one that is there is used
      writeFileSync(file("message"), "hello");
      const sign = (pem: string, ...pass: string[]) => [
        ...["pkeyutl", ...PROVIDERS, "-sign", "-rawin", "-digest", "sha256", "-inkey", pem],
        ...[...pass, "-in", file("message"), "-out", file("signature")],
      ];
      await others((run) => {
        run("openssl", ...sign("open.pem"));
        run("openssl", ...sign("third.pem", "-passin", "file:second.auth"));
        expect(() => run("openssl", ...sign("second.pem", "-passin", "file:p256.auth"))).toThrow();
      });
    });

    it.each([
      ["EC", "group:P-256", "p256", undefined],
      ["RSA", "bits:2048", "rsa2048", "rsa-pkcs1"],
    ] as const)("a key that it made (%s) becomes one of the vault", async (algorithm, option, type, scheme) => {
      const name = `theirs-${type}`;
      const spki = await others((run) => {
        run("openssl", "genpkey", ...PROVIDERS, "-algorithm", algorithm, "-pkeyopt", option, "-out", `${name}.pem`);
        return createPublicKey(run("openssl", "pkey", ...PROVIDERS, "-in", `${name}.pem`, "-pubout"));
      });
      expect(ours("key", "import", name, file(`${name}.pem`), "--allow", "me")).toMatch(`${type}, resident in`);
      expect(publicKeyOf(name).equals(spki)).toBe(true);
      expect(JSON.parse(ours("key", "show", name, "--json"))).toMatchObject({
        origin: "imported",
        protection: "resident",
      });
      signsHere(name, scheme);
    });

    it("one with a passphrase is taken in with it, and with nothing else", async () => {
      await others((run) => {
        run(
          ...(["openssl", "genpkey", ...PROVIDERS, "-algorithm", "EC", "-pkeyopt", "group:P-256"] as const),
          ...["-pkeyopt", "user-auth:secret phrase", "-out", "phrase.pem"],
        );
      });
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
  });

  describe.runIf(HAS_TPM2_TOOLS)("and tpm2-tools", () => {
    it("a key of ours signs there", async () => {
      ours("key", "new", "tools", "--resident", "--allow", "me");
      ours("key", "file", "tools", "-o", file("tools.pem"), "--auth-file", file("tools.auth"));
      const { area, privatePart, parent } = decodeKeyFile(
        keyFileFromPem(readFileSync(file("tools.pem"), "latin1")) ?? new Uint8Array(0),
      );
      expect(parent).toBe(0x81000001);
      // tpm2_load of older releases takes the two parts each in a file of its own.
      writeFileSync(file("tools.pub"), encode(public2b, area));
      writeFileSync(file("tools.priv"), encode(bytes2b, privatePart));
      writeFileSync(file("message"), "hello");
      const spki = publicKeyOf("tools");
      await others((run) => {
        run("tpm2_load", "-C", "0x81000001", "-u", "tools.pub", "-r", "tools.priv", "-c", "tools.ctx", "-Q");
        run("tpm2_flushcontext", "-t");
        run(
          ...(["tpm2_sign", "-c", "tools.ctx", "-p", "file:tools.auth", "-g", "sha256"] as const),
          ...["-f", "plain", "-o", "signature", "message"],
        );
      });
      expect(verify("sha256", Buffer.from("hello"), spki, readFileSync(file("signature")))).toBe(true);
    });

    it("keys that they made are taken in; what is no key of ours is refused, and why is said", async () => {
      const make = (run: (program: string, ...args: string[]) => Buffer, name: string, ...args: string[]) => {
        run("tpm2_create", "-C", "0x81000001", ...args, "-u", `${name}.pub`, "-r", `${name}.priv`, "-Q");
        run("tpm2_flushcontext", "-t");
        run("tpm2_encodeobject", "-C", "0x81000001", "-u", `${name}.pub`, "-r", `${name}.priv`, "-o", `${name}.pem`);
        run("tpm2_flushcontext", "-t");
      };
      await others((run) => {
        make(run, "made", "-G", "ecc256");
        make(run, "hmac", "-G", "hmac");
        make(
          run,
          "below",
          "-G",
          "ecc256",
          "-a",
          "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|restricted|decrypt",
        );
        make(run, "portable", "-G", "ecc256", "-a", "sensitivedataorigin|userwithauth|sign");
        make(run, "agreeing", "-G", "ecc256", "-a", "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|decrypt");
      });
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
    expect(written({ emptyAuth: false })).toMatch(/NOT_PERMITTED: .*passphrase/);
    expect(written({ kind: "sealed" })).toMatch(/MALFORMED: it is a sealed secret/);
    writeFileSync(file("changed.pem"), pem.replace(/\n[^\n]{64}\n/, "\nAAAA\n"));
    expect(refused("key", "import", "changed", file("changed.pem"))).toMatch(/MALFORMED: this is no key file/);
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
