/** An SSH authority whose key is in the vault: what ssh-keygen reads, what sshd and ssh take. */
import { mkdirSync, readFileSync } from "node:fs";
import { userInfo } from "node:os";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { publicKeyAs } from "../../src/client/index.ts";
import {
  attach,
  attachedTo,
  FOR_EVER,
  issueSshCertificate,
  readSshPublicKey,
  sshCertificateLine,
} from "../../src/trust/index.ts";
import { answersAt, freePort, isThere, run, type Served, serve } from "../programs/device.ts";
import { openTrustLab, SIGNING_KEYS, type TrustLab } from "./lab.ts";

const missing = ["ssh", "ssh-keygen", "sshd"].filter((program) => !isThere(program));
const user = userInfo().username;
const KEYS = SIGNING_KEYS.filter(([name]) => name !== "koblitz");

describe.skipIf(missing.length > 0)(`an SSH authority (${missing.join(", ") || "all peers there"})`, () => {
  let lab: TrustLab;
  const line = async (name: string) => `${publicKeyAs("ssh", (await lab.vault.keys.public(name)).publicKey, name)}\n`;
  beforeAll(async () => {
    lab = await openTrustLab();
    for (const [name] of KEYS) lab.file(`${name}.pub`, await line(name));
  });
  afterAll(() => lab?.close());

  const readBack = (path: string) => run("ssh-keygen", ["-L", "-f", path]);

  it.each(KEYS)("of %s (%s) makes certificates that ssh-keygen reads", async (name) => {
    const { blob, comment } = readSshPublicKey(Buffer.from(await line("edwards")));
    const made = await issueSshCertificate(lab.vault, name, blob, {
      ...{ id: "ann@laptop", principals: ["ann", "backup"], seconds: 3600, serial: 42n },
      options: [
        ["source-address", "192.0.2.0/24"],
        ["force-command", "/bin/true"],
      ],
    });
    const { out, err } = await readBack(lab.file("read-cert.pub", sshCertificateLine(made, comment)));
    expect(err).toBe("");
    expect(out).toContain("Type: ssh-ed25519-cert-v01@openssh.com user certificate");
    expect(out).toContain('Key ID: "ann@laptop"');
    expect(out).toContain("Serial: 42");
    expect(out).toMatch(/Principals:\s+ann\s+backup/);
    expect(out).toMatch(/Critical Options:\s+force-command \/bin\/true\s+source-address 192\.0\.2\.0\/24/);
    for (const one of ["X11-forwarding", "agent-forwarding", "port-forwarding", "pty", "user-rc"])
      expect(out).toContain(`permit-${one}`);
    const fingerprint =
      (await run("ssh-keygen", ["-l", "-f", lab.device.path(`${name}.pub`)])).out.split(" ")[1] ?? "?";
    expect(out).toContain(`Signing CA: `);
    expect(out).toContain(fingerprint);
  });

  it("makes them for hosts, for ever, without extensions", async () => {
    const { blob } = readSshPublicKey(Buffer.from(await line("wrapped")));
    const host = await issueSshCertificate(lab.vault, "silicon", blob, {
      ...{ id: "h", kind: "host", principals: ["pump7.local"], seconds: FOR_EVER },
    });
    const { out } = await readBack(lab.file("host-cert.pub", sshCertificateLine(host, "h")));
    expect(out).toContain("host certificate");
    expect(out).toMatch(/Valid: after \S+\n/);
    expect(out).toMatch(/Critical Options: \(none\)\s+Extensions: \(none\)/);
  });

  it("makes none that sshd would not understand, or that is for everybody", async () => {
    const { blob } = readSshPublicKey(Buffer.from(await line("wrapped")));
    const good = { id: "x", principals: ["x"], seconds: 60 };
    const wishes = [
      { ...good, principals: [] },
      { ...good, principals: ["a,b"] },
      { ...good, principals: [""] },
      { ...good, id: "" },
      { ...good, id: "a\nb" },
      { ...good, extensions: ["permit-everything"] },
      { ...good, options: [["force-command", ""]] as const },
      { ...good, options: [["unknown", "x"]] as const },
      {
        ...good,
        options: [
          ["force-command", "a"],
          ["force-command", "b"],
        ] as const,
      },
      { ...good, kind: "host" as const, extensions: ["permit-pty"] },
    ];
    for (const wish of wishes) {
      await expect(issueSshCertificate(lab.vault, "wrapped", blob, wish), JSON.stringify(wish)).rejects.toMatchObject({
        code: "USAGE",
      });
    }
    await expect(issueSshCertificate(lab.vault, "koblitz", blob, good)).rejects.toMatchObject({
      code: "NOT_SUPPORTED",
    });
    const made = await issueSshCertificate(lab.vault, "wrapped", blob, good);
    await expect(issueSshCertificate(lab.vault, "wrapped", made, good)).rejects.toMatchObject({ code: "USAGE" });
    for (const junk of ["", "ssh-ed25519", "ssh-ed25519 AAAA", "ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAA", "\0\0"]) {
      expect(() => readSshPublicKey(Buffer.from(junk))).toThrow(expect.objectContaining({ code: "MALFORMED" }));
    }
  });

  it("of somebody else's is kept with the key it is for, and with no other", async () => {
    const theirs = lab.device.path("theirs");
    await run("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", theirs]);
    await run("ssh-keygen", ["-q", "-s", theirs, "-I", "id", "-n", user, lab.device.path("p384.pub")]);
    const certificate = readFileSync(lab.device.path("p384-cert.pub"));
    await expect(attach(lab.vault, "p521", certificate)).rejects.toMatchObject({ code: "USAGE" });
    await attach(lab.vault, "p384", certificate);
    const blob = new Uint8Array(Buffer.from(certificate.toString().split(" ")[1] ?? "", "base64"));
    await attach(lab.vault, "p384", blob);
    const kept = await attachedTo(lab.vault, await lab.vault.keys.show("p384"));
    expect(kept.map(({ kind, value }) => [kind, value])).toEqual([["ssh", blob]]);
    await expect(attach(lab.vault, "p384", blob.subarray(0, 90))).rejects.toMatchObject({ code: "MALFORMED" });
  });

  describe.skipIf(process.getuid?.() !== 0)("with a server that trusts only the authority", () => {
    let port: number;
    let sshd: Served;
    let agent: { SSH_AUTH_SOCK: string };
    beforeAll(async () => {
      port = await freePort();
      agent = { SSH_AUTH_SOCK: `${lab.device.run}/ssh-agent.sock` };
      await lab.device.makeKey("host", "p256", "resident");
      lab.file("host.pub", await line("host"));
      const forHost = ["--host", "--key", "host", "--id", "host", "--principal", "127.0.0.1", "--valid", "1d"];
      const made = await lab.thornkey("cert", "ssh", "p384", ...forHost, "-o", "host-cert.pub");
      expect(made.status, made.err).toBe(0);
      for (const [key, principal] of [
        ["silicon", user],
        ["rsa", "somebody-else"],
        ["edwards", user],
      ] as const) {
        const more = key === "edwards" ? ["--option", "force-command=echo forced"] : [];
        const words = ["--key", key, "--id", key, "--principal", principal, "--valid", "1h", ...more];
        const given = await lab.thornkey("cert", "ssh", "wrapped", ...words, "-o", `${key}-cert.pub`);
        expect(given.status, given.err).toBe(0);
      }
      lab.file("known", `@cert-authority [127.0.0.1]:${port} ${await line("p384")}`);
      mkdirSync("/run/sshd", { recursive: true, mode: 0o755 });
      const config = [
        ...[`Port ${port}`, "ListenAddress 127.0.0.1", "StrictModes no", "UsePAM no", "PasswordAuthentication no"],
        ...[`HostKey ${lab.device.path("host.pub")}`, `HostKeyAgent ${agent.SSH_AUTH_SOCK}`],
        ...[
          `HostCertificate ${lab.device.path("host-cert.pub")}`,
          `TrustedUserCAKeys ${lab.device.path("wrapped.pub")}`,
        ],
        ...["AuthorizedKeysFile none", "PermitRootLogin yes", `PidFile ${lab.device.path("sshd.pid")}`],
      ];
      sshd = await serve("/usr/sbin/sshd", ["-D", "-e", "-f", lab.file("sshd_config", config.join("\n"))], () =>
        answersAt(port),
      );
    });
    afterAll(() => sshd?.stop());

    const login = (key: string, known = "known") => {
      const words = [
        ...["StrictHostKeyChecking yes", `UserKnownHostsFile ${lab.device.path(known)}`, "GlobalKnownHostsFile none"],
        ...["BatchMode yes", "IdentitiesOnly yes", `IdentityFile ${lab.device.path(`${key}.pub`)}`],
        `CertificateFile ${lab.device.path(`${key}-cert.pub`)}`,
      ];
      const options = words.flatMap((word) => ["-o", word]);
      return run("ssh", ["-p", `${port}`, "-F", "none", ...options, `${user}@127.0.0.1`, "echo inside"], {
        env: agent,
      });
    };

    it("lets in who has a certificate for the user, and is known by its own", async () => {
      const { status, out, err } = await login("silicon");
      expect(status, err + sshd.said()).toBe(0);
      expect(out).toBe("inside\n");
    });

    it("holds to the command a certificate is for", async () => {
      expect((await login("edwards")).out).toBe("forced\n");
    });

    it("does not let in a certificate for somebody else, nor a key without one", async () => {
      expect((await login("rsa")).status).toBe(255);
      expect((await login("p521")).status).toBe(255);
    });

    it("is not believed when another authority certified it", async () => {
      lab.file("other", `@cert-authority [127.0.0.1]:${port} ${await line("p521")}`);
      expect((await login("silicon", "other")).status).toBe(255);
    });

    it("has its certificate in the vault, and the agent shows it", async () => {
      const [kept] = await attachedTo(lab.vault, await lab.vault.keys.show("silicon"));
      expect(kept?.kind).toBe("ssh");
      const { out } = await run("ssh-add", ["-L"], { env: agent });
      expect(out).toContain(Buffer.from(kept?.value ?? []).toString("base64"));
    });
  });
});
