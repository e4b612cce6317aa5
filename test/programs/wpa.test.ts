/** EAP-TLS as wpa_supplicant does it (its own eapol_test), against hostapd's RADIUS server, with keys of the vault. */
import { readFileSync, writeFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Device, freePort, isThere, openDevice, type Served } from "./device.ts";
import { certify, KEYS, kindsOf } from "./keys.ts";
import { noteResult, versionOf } from "./results.ts";
import { openWorld, type World, worldIsPossible } from "./world.ts";

const needed = ["eapol_test", "hostapd", "/usr/share/doc/libengine-pkcs11-openssl"];
const missing = needed.filter((name) => !isThere(name));
const possible = worldIsPossible();

describe.skipIf(missing.length > 0 || !possible)(`wpa_supplicant (${missing.join(", ") || "all there"})`, () => {
  let device: Device;
  let world: World;
  let radius: Served;
  let port: number;

  beforeAll(async () => {
    device = await openDevice();
    for (const [name, type, protection] of KEYS) await device.makeKey(name, type, protection);
    world = await openWorld(device);
    await certify(device, world, ["ec", "rsa", "silicon"]);
    await world.shell(
      `openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout server.key -out server.csr -subj /CN=server &&
      openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -out server.pem`,
    );
    port = await freePort();
    writeFileSync(device.path("clients"), "127.0.0.1 secret\n");
    writeFileSync(device.path("users"), "* TLS\n");
    writeFileSync(
      device.path("hostapd.conf"),
      [
        ...["driver=none", "eap_server=1", `radius_server_auth_port=${port}`],
        ...[`radius_server_clients=${device.path("clients")}`, `eap_user_file=${device.path("users")}`],
        ...["ca_cert=ca.pem", "server_cert=server.pem", "private_key=server.key", ""],
      ].join("\n"),
    );
    radius = await world.serve("hostapd", [device.path("hostapd.conf")], () =>
      readFileSync("/proc/net/udp", "utf8").includes(`:${port.toString(16).toUpperCase().padStart(4, "0")} `),
    );
  });
  afterAll(async () => {
    await radius?.stop();
    await world?.close();
    await device?.close();
  });

  it.each(KEYS)("is let into the network with %s (%s, %s)", async (name) => {
    const { files } = await world.use(
      ...([
        "wpa_supplicant",
        name,
        "--cert",
        device.path(`${name}.pem`),
        "--authority",
        device.path("ca.pem"),
      ] as const),
    );
    const network = files.find(({ path }) => path.endsWith(".network.conf"))?.path ?? "";
    const test = ["-c", network, "-a", "127.0.0.1", "-p", `${port}`, "-s", "secret", "-t", "60"];
    const { status, out, err } = await world.run("eapol_test", test);
    expect(status, `${out.slice(-3000)}${err}\n${radius.said()}`).toBe(0);
    expect(out).toMatch(/\nSUCCESS\n$/);
    noteResult({
      ...{ program: "wpa_supplicant", version: versionOf("dpkg-query", "-W", "eapoltest"), keys: kindsOf(name) },
      seen: "EAP-TLS (its eapol_test)",
    });
  });
});
