/** OpenSSH of Debian with keys of the vault: the agent, host keys, certificates, restrictions. */
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { userInfo } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { LIBRARIES } from "../../src/cli/programs/setting.ts";
import { publicKeyAs } from "../../src/client/index.ts";
import { answersAt, type Device, freePort, isThere, openDevice, run, type Served, serve } from "./device.ts";
import { noteResult, versionOf } from "./results.ts";

const PROGRAMS = ["ssh", "ssh-add", "ssh-keygen", "sshd"];
const SEEN = "logins, the server's host key (resident), signatures of ssh-keygen -Y, through the ssh-agent";
const missing = PROGRAMS.filter((program) => !isThere(program));
const MODULE = join(LIBRARIES[process.arch] ?? "/usr/lib", "pkcs11/p11-kit-client.so");
const root = process.getuid?.() === 0;
const user = userInfo().username;

describe.skipIf(missing.length > 0)(`OpenSSH (${missing.join(", ") || "all there"})`, () => {
  let device: Device;
  let agent: { SSH_AUTH_SOCK: string };
  const lines = new Map<string, string>();

  const keys = [
    ["wrapped", "p256", "wrapped"],
    ["silicon", "p256", "resident"],
    ["p384", "p384", "wrapped"],
    ["p521", "p521", "wrapped"],
    ["rsa", "rsa2048", "wrapped"],
    ["edwards", "ed25519", "wrapped"],
  ] as const;

  const kindOf = (name: string) =>
    keys.filter(([own]) => own === name).map(([, type, protection]) => `${type} ${protection}`);

  beforeAll(async () => {
    device = await openDevice();
    agent = { SSH_AUTH_SOCK: `${device.run}/ssh-agent.sock` };
    for (const [name, type, protection] of keys) {
      const { publicKey = new Uint8Array(0) } = await device.makeKey(name, type, protection);
      const line = publicKeyAs("ssh", publicKey, name);
      lines.set(name, line);
      writeFileSync(device.path(`${name}.pub`), `${line}\n`);
    }
    await device.thornkey.keys.create({ name: "not-for-ssh", type: "secp256k1" });
    await device.thornkey.keys.create({ name: "not-mine-to-use", type: "p256", policy: { allow: [] } });
  });
  afterAll(() => device?.close());

  it("lists the keys one may use, and no others", async () => {
    const { status, out, err } = await run("ssh-add", ["-L"], { env: agent });
    expect(status, err).toBe(0);
    expect(out.trim().split("\n").sort()).toEqual([...lines.values()].sort());
  });

  it.each(keys)("tests and signs with %s (%s, %s)", async (name) => {
    const tested = await run("ssh-add", ["-T", device.path(`${name}.pub`)], { env: agent });
    expect(tested.status, tested.err).toBe(0);
    const sign = ["-Y", "sign", "-n", "file", "-f", device.path(`${name}.pub`)];
    const signed = await run("ssh-keygen", sign, { env: agent, input: "a message" });
    expect(signed.status, signed.err).toBe(0);
    writeFileSync(device.path("message.sig"), signed.out);
    writeFileSync(device.path("allowed"), `ann ${lines.get(name)}\n`);
    const check = [
      "-Y",
      "verify",
      "-n",
      "file",
      "-I",
      "ann",
      "-f",
      device.path("allowed"),
      "-s",
      device.path("message.sig"),
    ];
    expect((await run("ssh-keygen", check, { input: "a message" })).status).toBe(0);
    expect((await run("ssh-keygen", check, { input: "another" })).status).not.toBe(0);
  });

  it("is locked and unlocked with a passphrase", async () => {
    const ask = device.path("ask.sh");
    const answering = (word: string) => {
      writeFileSync(ask, `#!/bin/sh\necho ${word}\n`);
      chmodSync(ask, 0o755);
      return { ...agent, SSH_ASKPASS: ask, SSH_ASKPASS_REQUIRE: "force", DISPLAY: ":0" };
    };
    expect((await run("ssh-add", ["-x"], { env: answering("open-sesame") })).status).toBe(0);
    expect((await run("ssh-add", ["-l"], { env: agent })).out).toContain("no identities");
    expect((await run("ssh-add", ["-T", device.path("wrapped.pub")], { env: agent })).status).not.toBe(0);
    expect((await run("ssh-add", ["-X"], { env: answering("guess") })).status).not.toBe(0);
    expect((await run("ssh-add", ["-X"], { env: answering("open-sesame") })).status).toBe(0);
    expect((await run("ssh-add", ["-T", device.path("wrapped.pub")], { env: agent })).status).toBe(0);
  });

  it.each(["ed25519", "ecdsa", "rsa"])("takes a key in with ssh-add, and gives it up again: %s", async (type) => {
    const file = device.path(`added-${type}`);
    expect(
      (
        await run("ssh-keygen", [
          "-q",
          "-t",
          type,
          ...(type === "rsa" ? ["-b", "2048"] : []),
          "-N",
          "",
          "-C",
          `added-${type}`,
          "-f",
          file,
        ])
      ).status,
    ).toBe(0);
    const added = await run("ssh-add", [file], { env: agent });
    expect(added.status, added.err).toBe(0);
    expect((await run("ssh-add", ["-T", `${file}.pub`], { env: agent })).status).toBe(0);
    expect(await device.thornkey.keys.show(`added-${type}`)).toMatchObject({
      origin: "imported",
      protection: "wrapped",
    });
    expect((await run("ssh-add", ["-d", `${file}.pub`], { env: agent })).status).toBe(0);
    await expect(device.thornkey.keys.show(`added-${type}`)).rejects.toMatchObject({ code: "KEY_NOT_FOUND" });
  });

  it("gives up nothing that ssh-add did not add", async () => {
    expect((await run("ssh-add", ["-d", device.path("wrapped.pub")], { env: agent })).status).not.toBe(0);
    expect((await run("ssh-add", ["-D"], { env: agent })).status).toBe(0);
    expect((await run("ssh-add", ["-T", device.path("wrapped.pub")], { env: agent })).status).toBe(0);
  });

  it("adds no key of somebody who may make none, and no smart card", async () => {
    expect((await run("ssh-add", ["-s", "/usr/lib/none.so"], { env: agent })).status).not.toBe(0);
  });

  it("takes a lifetime for the end of a key", async () => {
    const file = device.path("short");
    await run("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-C", "short", "-f", file]);
    expect((await run("ssh-add", ["-t", "3600", file], { env: agent })).status).toBe(0);
    const { fixed } = await device.thornkey.keys.show("short");
    expect(fixed.makeUntil).toBeGreaterThan(Date.now() / 1000 + 3000);
    expect((await run("ssh-add", ["-d", `${file}.pub`], { env: agent })).status).toBe(0);
  });

  describe.skipIf(!root)("with a server whose host key is in the vault", () => {
    let port: number;
    let sshd: Served;
    const config = (words: string[]) => ["-p", `${port}`, "-F", "none", ...words.flatMap((word) => ["-o", word])];

    beforeAll(async () => {
      port = await freePort();
      await device.makeKey("host", "p256", "resident");
      const { publicKey } = await device.thornkey.keys.public("host");
      const line = publicKeyAs("ssh", publicKey, "host");
      writeFileSync(device.path("host.pub"), `${line}\n`);
      writeFileSync(device.path("known"), `[127.0.0.1]:${port} ${line}\n`);
      writeFileSync(
        device.path("authorized"),
        `${lines.get("wrapped")}\n${lines.get("silicon")}\n${lines.get("rsa")}\n${lines.get("edwards")}\n`,
      );
      writeFileSync(device.path("ca.pub"), `${lines.get("p384")}\n`);
      mkdirSync("/run/sshd", { recursive: true, mode: 0o755 });
      writeFileSync(
        device.path("sshd_config"),
        [
          `Port ${port}`,
          "ListenAddress 127.0.0.1",
          `HostKey ${device.path("host.pub")}`,
          `HostKeyAgent ${agent.SSH_AUTH_SOCK}`,
          `AuthorizedKeysFile ${device.path("authorized")}`,
          `TrustedUserCAKeys ${device.path("ca.pub")}`,
          "StrictModes no",
          "UsePAM no",
          "PasswordAuthentication no",
          "PermitRootLogin prohibit-password",
          `PidFile ${device.path("sshd.pid")}`,
        ].join("\n"),
      );
      sshd = await serve("/usr/sbin/sshd", ["-D", "-e", "-f", device.path("sshd_config")], () => answersAt(port));
    });
    afterAll(() => sshd?.stop());

    const login = (identity: string, ...words: string[]) =>
      run(
        "ssh",
        [
          ...config([
            "StrictHostKeyChecking yes",
            `UserKnownHostsFile ${device.path("known")}`,
            "BatchMode yes",
            "IdentitiesOnly yes",
            `IdentityFile ${device.path(identity)}`,
            ...words,
          ]),
          `${user}@127.0.0.1`,
          "echo inside",
        ],
        { env: agent },
      );

    it.each(["wrapped", "silicon", "rsa", "edwards"])("signs in with %s", async (name) => {
      const { status, out, err } = await login(`${name}.pub`);
      expect(status, err + sshd.said()).toBe(0);
      expect(out).toBe("inside\n");
      const said = ["-c", "ssh -V"];
      noteResult({ ...{ program: "OpenSSH", version: versionOf("sh", ...said), keys: kindOf(name) }, seen: SEEN });
    });

    describe.skipIf(!isThere(MODULE))("by the PKCS#11 module", () => {
      const token = () => ({ P11_KIT_SERVER_ADDRESS: `unix:path=${device.run}/pkcs11.sock` });

      it.each(["wrapped", "silicon", "rsa"])("ssh -I signs in with %s", async (name) => {
        const words = [
          ...["StrictHostKeyChecking yes", `UserKnownHostsFile ${device.path("known")}`, "BatchMode yes"],
          ...["IdentityAgent none", "IdentitiesOnly yes", `IdentityFile ${device.path(`${name}.pub`)}`],
        ];
        const { status, out, err } = await run(
          "ssh",
          ["-I", MODULE, ...config(words), `${user}@127.0.0.1`, "echo inside"],
          { env: token() },
        );
        expect(status, err + sshd.said()).toBe(0);
        expect(out).toBe("inside\n");
        noteResult({
          ...{ program: "OpenSSH with -I", version: versionOf("sh", "-c", "ssh -V"), keys: kindOf(name) },
          seen: "logins through the PKCS#11 module; ssh-keygen -D; OpenSSH's own agent with the module",
        });
      });

      it("ssh-keygen -D lists the keys, with their names", async () => {
        const { status, out, err } = await run("ssh-keygen", ["-D", MODULE], { env: token() });
        expect(status, err).toBe(0);
        for (const name of ["wrapped", "silicon", "rsa"]) expect(out.split("\n")).toContain(lines.get(name));
      });

      it("OpenSSH's own agent takes the module, and signs in", async () => {
        await device.thornkey.keys.delete("not-for-ssh"); // its agent ends at a curve it does not know
        const socket = device.path("own-agent.sock");
        const own = await serve("ssh-agent", ["-D", "-a", socket, "-P", "/usr/lib/*"], () => isThere(socket), {
          env: token(),
        });
        try {
          const env = { SSH_AUTH_SOCK: socket, SSH_ASKPASS: "/bin/true", SSH_ASKPASS_REQUIRE: "force", DISPLAY: ":0" };
          const added = await run("ssh-add", ["-s", MODULE], { env });
          expect(added.status, added.err).toBe(0);
          const words = [
            ...["StrictHostKeyChecking yes", `UserKnownHostsFile ${device.path("known")}`, "BatchMode yes"],
            ...["IdentitiesOnly yes", `IdentityFile ${device.path("silicon.pub")}`],
          ];
          const { status, err } = await run("ssh", [...config(words), `${user}@127.0.0.1`, "true"], { env });
          expect(status, err + sshd.said()).toBe(0);
        } finally {
          await own.stop();
        }
      });
    });

    it("does not sign in with a key the server does not know", async () => {
      expect((await login("p521.pub")).status).toBe(255);
    });

    it("uses a key with a destination there, and nowhere else", async () => {
      const file = device.path("restricted");
      await run("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-C", "restricted", "-f", file]);
      writeFileSync(device.path("authorized"), readFileSync(`${file}.pub`), { flag: "a" });
      const add = (to: string) => run("ssh-add", ["-H", device.path("known"), "-h", to, file], { env: agent });
      const here = `[127.0.0.1]:${port}`;
      expect((await add(`nobody@${here}`)).status).toBe(0);
      expect((await login("restricted.pub")).status).toBe(255);
      expect((await run("ssh-add", ["-d", `${file}.pub`], { env: agent })).status).toBe(0);
      const added = await add(`${user}@${here}`);
      expect(added.status, added.err).toBe(0);
      const { status, err } = await login("restricted.pub");
      expect(status, err).toBe(0);
      expect((await run("ssh-add", ["-d", `${file}.pub`], { env: agent })).status).toBe(0);
    });
  });
});
