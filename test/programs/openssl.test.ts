/** OpenSSL's command line and curl with keys of the vault, configured as `thornkey use` says. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { answersAt, type Device, freePort, isThere, openDevice } from "./device.ts";
import { certify, KEYS, kindsOf } from "./keys.ts";
import { noteResult, versionOf } from "./results.ts";
import { openTlsServer } from "./tls-server.ts";
import { openWorld, type World, worldIsPossible } from "./world.ts";

const missing = ["openssl", "curl", "/usr/share/doc/libengine-pkcs11-openssl"].filter((name) => !isThere(name));
const possible = worldIsPossible();

describe.skipIf(missing.length > 0 || !possible)(`OpenSSL (${missing.join(", ") || "all there"})`, () => {
  let device: Device;
  let world: World;

  beforeAll(async () => {
    device = await openDevice();
    for (const [name, type, protection] of KEYS) await device.makeKey(name, type, protection);
    world = await openWorld(device);
    await certify(device, world, ["ec", "rsa", "silicon"]);
  });
  afterAll(async () => {
    await world?.close();
    await device?.close();
  });

  it.each(KEYS)("requests a certificate with %s (%s, %s), and checks the request", async (name) => {
    const { check } = await world.use("openssl", name);
    const { status, out, err } = await world.shell(check[0] ?? "");
    expect(status, err).toBe(0);
    expect(out + err).toContain("verify OK");
  });

  it.each(KEYS)("serves and asks over TLS 1.2 and 1.3 with %s (%s, %s) on both sides", async (name, type) => {
    const { files } = await world.use("openssl", name, "--cert", device.path(`${name}.pem`));
    const certificate = files.find(({ path }) => path.endsWith(".crt"))?.path ?? "";
    const key = [
      "-engine",
      "pkcs11",
      "-keyform",
      "engine",
      "-key",
      `pkcs11:token=thornkey;object=${name};type=private`,
    ];
    const port = await freePort();
    const server = await world.serve(
      "openssl",
      [
        ...["s_server", "-accept", `127.0.0.1:${port}`, "-cert", certificate, ...key, "-naccept", "100"],
        ...["-Verify", "1", "-CAfile", "ca.pem", "-verify_return_error", "-quiet"],
      ],
      () => answersAt(port),
    );
    try {
      for (const version of ["-tls1_2", "-tls1_3"]) {
        const { check } = await world.use(
          ...(["openssl", name, "--cert", device.path(`${name}.pem`)] as const),
          ...["--connect", `127.0.0.1:${port}`],
        );
        const line = `${check[1]} ${version} -CAfile ca.pem -verify_return_error`;
        const { status, out, err } = await world.shell(line, { input: "Q\n" });
        expect(status, `${version}: ${err}\n${server.said()}`).toBe(0);
        expect(out).toContain("Verify return code: 0 (ok)");
        expect(out).toContain(version === "-tls1_3" ? "TLSv1.3" : "TLSv1.2");
        expect(out).toContain(`Peer signature type: ${type === "p256" ? "ECDSA" : "RSA-PSS"}`);
      }
    } finally {
      await server.stop();
    }
    noteResult({
      program: "openssl",
      version: versionOf("openssl", "version"),
      keys: kindsOf(name),
      seen: "certificate requests; s_server and s_client with certificates on both sides, TLS 1.2 and 1.3",
    });
  });

  it.each(KEYS)("curl shows a client certificate with %s (%s, %s)", async (name) => {
    const { port, close } = await openTlsServer(device, world);
    try {
      const where = ["--cert", device.path(`${name}.pem`), "--connect", `localhost:${port}`];
      const { check } = await world.use("curl", name, ...where);
      for (const [option, protocol] of [
        ["--tls-max 1.2", "TLSv1.2"],
        ["--tlsv1.3", "TLSv1.3"],
      ] as const) {
        const { status, out, err } = await world.shell(`${check[0]} -sS --cacert server.pem ${option}`);
        expect(status, err).toBe(0);
        expect(out).toBe(`${protocol} device`);
      }
      expect((await world.shell(`curl -sS --cacert server.pem https://localhost:${port}/`)).status).not.toBe(0);
    } finally {
      close();
    }
    noteResult({
      program: "curl",
      version: versionOf("curl"),
      keys: kindsOf(name),
      seen: "client certificate, TLS 1.2 and 1.3",
    });
  });
});
