/** GnuTLS's tools, OpenSC's pkcs11-tool and stunnel with keys of the vault, configured as `thornkey use` says. */
import { writeFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { FixedPolicy } from "../../src/client/index.ts";
import { answersAt, type Device, freePort, isThere, openDevice } from "./device.ts";
import { certify, KEY_KINDS, KEYS, kindsOf } from "./keys.ts";
import { noteResult, versionOf } from "./results.ts";
import { openTlsServer, type TlsServer } from "./tls-server.ts";
import { openWorld, type World, worldIsPossible } from "./world.ts";

const possible = worldIsPossible() && isThere("/usr/share/doc/libengine-pkcs11-openssl");
const gnutls = isThere("gnutls-cli") && isThere("certtool") && isThere("p11tool");

/** What pkcs11-tool has every RSA key do in its test. */
const EVERYTHING: FixedPolicy["algorithms"] = [
  ...(["rsa-pss", "rsa-pkcs1", "rsa-oaep", "rsaes-pkcs1", "rsa-pkcs1-any", "rsa-raw"] as const),
];

describe.skipIf(!possible)(`tools${possible ? "" : " (skipped: no namespaces, or no engine of OpenSSL)"}`, () => {
  let device: Device;
  let world: World;
  let server: TlsServer;

  beforeAll(async () => {
    device = await openDevice();
    for (const [name, type, protection] of KEYS) {
      await device.makeKey(name, type, protection, type === "rsa2048" ? { algorithms: EVERYTHING } : undefined);
    }
    world = await openWorld(device);
    await certify(device, world, ["ec", "rsa", "silicon"]);
    server = await openTlsServer(device, world);
  });
  afterAll(async () => {
    server?.close();
    await world?.close();
    await device?.close();
  });

  describe.skipIf(!gnutls)(`GnuTLS${gnutls ? "" : " (skipped: gnutls-bin is not there)"}`, () => {
    const use = (name: string) =>
      world.use("gnutls", name, "--cert", device.path(`${name}.pem`), "--connect", `localhost:${server.port}`);

    it.each(KEYS)("p11tool signs and verifies with %s (%s, %s)", async (name) => {
      const { check } = await use(name);
      const { status, out, err } = await world.shell(check[0] ?? "");
      expect(status, out + err).toBe(0);
      expect(out + err).toMatch(/Signing using .*ok\nVerifying .*ok/);
      noteResult({ program: "p11tool", version: versionOf("p11tool"), keys: kindsOf(name), seen: "--test-sign" });
    });

    it.each(KEYS)("certtool requests a certificate with %s (%s, %s)", async (name) => {
      writeFileSync(device.path("request.template"), 'cn = "device"\nsigning_key\ntls_www_client\n');
      const { steps } = await use(name);
      for (const step of steps) {
        const { status, out, err } = await world.shell(step);
        expect(status, out + err).toBe(0);
      }
      const checked = await world.shell("openssl req -verify -noout -in request.pem");
      expect(checked.out + checked.err).toContain("verify OK");
      noteResult({
        program: "certtool",
        version: versionOf("certtool"),
        keys: kindsOf(name),
        seen: "certificate requests",
      });
    });

    it.each(KEYS)("gnutls-cli shows a client certificate with %s (%s, %s), TLS 1.2 and 1.3", async (name) => {
      const { check } = await use(name);
      for (const version of ["1.2", "1.3"]) {
        const line = `${check[1]} --x509cafile server.pem --priority NORMAL:-VERS-ALL:+VERS-TLS${version} --no-ca-verification`;
        const { status, out, err } = await world.shell(line, {
          input: "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        });
        expect(status, out + err).toBe(0);
        expect(out).toContain(`TLSv${version} device`);
      }
      noteResult({
        program: "gnutls-cli",
        version: versionOf("gnutls-cli"),
        keys: kindsOf(name),
        seen: "client certificate, TLS 1.2 and 1.3",
      });
    });
  });

  describe.skipIf(!isThere("pkcs11-tool"))("pkcs11-tool", () => {
    it.each(KEYS)("signs with %s (%s, %s)", async (name) => {
      const { check } = await world.use("pkcs11-tool", name);
      const { status, out, err } = await world.shell(check[0] ?? "");
      expect(status, out + err).toBe(0);
      await world.thornkey("key", "public", name, "-o", device.path("public.pem"));
      const verified = await world.shell("echo hello | openssl dgst -sha256 -verify public.pem -signature hello.sig");
      expect(verified.out).toBe("Verified OK\n");
    });

    it("lists every key, and tests the token without an error", async () => {
      const { steps, check } = await world.use("pkcs11-tool", "ec");
      const listed = await world.shell(steps[0] ?? "");
      for (const [name] of KEYS) expect(listed.out).toContain(`label:      ${name}\n`);
      const { status, out, err } = await world.shell(check[2] ?? "");
      expect(status, out + err).toBe(0);
      expect(out).toContain("No errors");
      noteResult({
        program: "pkcs11-tool",
        version: versionOf("dpkg-query", "-W", "opensc"),
        keys: KEY_KINDS,
        seen: "objects; --test ends in 'No errors'",
      });
    });
  });

  describe.skipIf(!isThere("stunnel4"))("stunnel", () => {
    it.each(KEYS)("makes TLS with a client certificate of plain connections, with %s (%s, %s)", async (name) => {
      const listen = await freePort();
      const { steps, check } = await world.use(
        ...(["stunnel", name, "--cert", device.path(`${name}.pem`)] as const),
        ...["--listen", `127.0.0.1:${listen}`, "--connect", `localhost:${server.port}`],
        ...["--authority", device.path("server.pem")],
      );
      const [program = "", ...args] = (steps[0] ?? "").replace(/ *#.*/, "").split(" ");
      const stunnel = await world.serve(program, args, () => answersAt(listen));
      try {
        const { status, out, err } = await world.shell(`${check[0]} -sS --max-time 50`);
        expect(status, `${err}\n${stunnel.said()}`).toBe(0);
        expect(out).toBe("TLSv1.3 device");
      } finally {
        await stunnel.stop();
      }
      noteResult({
        program: "stunnel",
        version: versionOf("stunnel4", "-version"),
        keys: kindsOf(name),
        seen: "client certificate of the proxy, TLS 1.3",
      });
    });
  });
});
