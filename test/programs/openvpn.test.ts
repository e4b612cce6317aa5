/** OpenVPN's client signs in with keys of the vault, configured as `thornkey use` says; the tunnel leads nowhere. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Device, freePort, isThere, openDevice } from "./device.ts";
import { certify, KEYS, kindsOf } from "./keys.ts";
import { noteResult, versionOf } from "./results.ts";
import { openWorld, type World, worldIsPossible } from "./world.ts";

const missing = ["openvpn", "pkcs11-tool", "/usr/share/doc/libengine-pkcs11-openssl"].filter((name) => !isThere(name));
const possible = worldIsPossible();

describe.skipIf(missing.length > 0 || !possible)(`OpenVPN (${missing.join(", ") || "all there"})`, () => {
  let device: Device;
  let world: World;

  beforeAll(async () => {
    device = await openDevice();
    for (const [name, type, protection] of KEYS) await device.makeKey(name, type, protection);
    world = await openWorld(device);
    await certify(device, world, ["ec", "rsa", "silicon"]);
    const made = await world.shell(
      `openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout server.key -out server.csr -subj /CN=server &&
      openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -out server.pem`,
    );
    if (made.status !== 0) throw new Error(made.err);
  });
  afterAll(async () => {
    await world?.close();
    await device?.close();
  });

  it.each(KEYS)("signs in with %s (%s, %s), TLS 1.3", async (name) => {
    const { steps, check, files } = await world.use("openvpn", name, "--cert", device.path(`${name}.pem`));
    const attached = await world.shell(`set -e\n${steps.join("\n")}`);
    expect(attached.status, attached.err).toBe(0);
    const configuration = files.find(({ path }) => path.endsWith("client.conf"));
    const id = /pkcs11-id '(.*)'/.exec(configuration?.text ?? "")?.[1] ?? "";
    expect((await world.shell(check[0] ?? "")).out).toContain(id);

    const port = await freePort();
    const common = ["--dev", "null", "--ca", "ca.pem", "--verb", "3", "--tls-version-min", "1.3"];
    const server = await world.serve(
      "openvpn",
      [
        ...[...common, "--proto", "tcp-server", "--local", "127.0.0.1", "--lport", `${port}`, "--tls-server"],
        ...["--cert", "server.pem", "--key", "server.key", "--dh", "none"],
      ],
      () => true,
    );
    try {
      const client = await world.serve(
        "openvpn",
        [
          ...[...common, "--proto", "tcp-client", "--remote", "127.0.0.1", `${port}`, "--nobind", "--tls-client"],
          ...["--connect-retry", "1", "--config", configuration?.path ?? ""],
        ],
        () => server.said().includes("Initialization Sequence Completed"),
      );
      await client.stop();
      expect(server.said()).toContain("VERIFY OK: depth=0, CN=device");
      expect(server.said()).toContain("Control Channel: TLSv1.3");
    } finally {
      await server.stop();
    }
    noteResult({
      ...{ program: "OpenVPN", version: versionOf("openvpn"), keys: kindsOf(name) },
      seen: "client certificate out of the token, TLS 1.3",
    });
  });
});
