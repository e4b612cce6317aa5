/** mosquitto and MQTT.js with keys of the vault: the broker's own key, and those of clients it demands certificates of. */
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { LIBRARIES } from "../../src/cli/programs/setting.ts";
import { answersAt, type Device, freePort, isThere, openDevice, type Served } from "./device.ts";
import { certify, KEYS, kindsOf } from "./keys.ts";
import { noteResult, versionOf } from "./results.ts";
import { openWorld, type World, worldIsPossible } from "./world.ts";

const missing = ["mosquitto", "/usr/share/doc/libengine-pkcs11-openssl"].filter((name) => !isThere(name));
const possible = worldIsPossible();
/** It has native code for these. */
const SDK_IS_THERE = ["x64", "arm64"].includes(process.arch);
const PACKAGE = join(import.meta.dirname, "../../package.json");

describe.skipIf(missing.length > 0 || !possible)(`MQTT (${missing.join(", ") || "all there"})`, () => {
  let device: Device;
  let world: World;
  let ports: ReadonlyMap<string, number>;
  let broker: Served;

  beforeAll(async () => {
    device = await openDevice();
    for (const [name, type, protection] of KEYS) await device.makeKey(name, type, protection);
    world = await openWorld(device);
    await certify(device, world, ["ec", "rsa", "silicon"]);
    ports = new Map(await Promise.all(KEYS.map(async ([name]) => [name, await freePort()] as const)));
    for (const [name, port] of ports) {
      const { first } = await world.use(
        ...(["mosquitto", name, "--cert", device.path(`${name}.pem`)] as const),
        ...["--listen", `127.0.0.1:${port}`, "--authority", device.path("ca.pem")],
      );
      expect(first).toEqual([]);
    }
    await world.shell("chmod 644 ca.pem");
    writeFileSync(device.path("mosquitto.conf"), "include_dir /etc/mosquitto/conf.d\n");
    broker = await world.serve("/usr/sbin/mosquitto", ["-c", device.path("mosquitto.conf"), "-v"], () =>
      [...ports.values()].every(answersAt),
    );
  });
  afterAll(async () => {
    await broker?.stop();
    await world?.close();
    await device?.close();
  });

  it.each(KEYS)("the broker's own key is %s (%s, %s), and it lets nobody in without a certificate", async (name) => {
    const connect = [
      "s_client",
      "-connect",
      `127.0.0.1:${ports.get(name)}`,
      "-CAfile",
      "ca.pem",
      "-verify_return_error",
    ];
    const { out, err } = await world.run("openssl", connect, { input: "Q\n" });
    expect(out, err + broker.said()).toContain("Verify return code: 0 (ok)");
    expect((await mqtt(name, "")).out).not.toContain("received");
  });

  /** Two connections one after the other, a message each, and `received` when it came back. */
  async function mqtt(name: string, options: string) {
    writeFileSync(
      device.path("client.mjs"),
      `import { createRequire } from "node:module";
      import { readFileSync } from "node:fs";
      ${options === "" ? "" : `import { url, options } from ${JSON.stringify(options)};`}
      const mqtt = createRequire(${JSON.stringify(PACKAGE)})("mqtt");
      ${options === "" ? `const [url, options] = ["mqtts://localhost:${ports.get(name)}", { ca: readFileSync("ca.pem") }];` : ""}
      for (let round = 0; round < 3; round++) {
        const client = mqtt.connect(url, { ...options, reconnectPeriod: 0, connectTimeout: 20_000 });
        const message = await new Promise((resolve, reject) => {
          client.on("error", reject).on("close", () => reject(new Error("closed")));
          client.on("message", (_, payload) => resolve(String(payload)));
          client.on("connect", () => client.subscribe("t", () => client.publish("t", "message " + round)));
        });
        console.log("received", message);
        await client.endAsync();
      }`,
    );
    return world.shell(`${environment}\n${process.execPath} client.mjs`);
  }
  let environment = "";

  it.each(KEYS)(
    "MQTT.js shows a client certificate with %s (%s, %s), in every connection of a process",
    async (name) => {
      const { steps, files } = await world.use(
        ...(["mqtt.js", name, "--cert", device.path(`${name}.pem`), "--authority", device.path("ca.pem")] as const),
        ...["--connect", `localhost:${ports.get(name)}`],
      );
      environment = steps[0] ?? "";
      const { status, out, err } = await mqtt(name, files.find(({ path }) => path.endsWith("broker.mjs"))?.path ?? "");
      expect(status, `${err}\n${broker.said()}`).toBe(0);
      expect(out).toBe("received message 0\nreceived message 1\nreceived message 2\n");
      expect(broker.said()).toContain("u'device'"); // the name in the certificate
      const { default: manifest } = await import("mqtt/package.json", { with: { type: "json" } });
      noteResult({
        ...{ program: "MQTT.js", version: manifest.version, keys: kindsOf(name) },
        seen: `client certificate by the engine, in Node.js ${process.versions.node}; three connections of one process`,
      });
      noteResult({
        ...{ program: "mosquitto", version: versionOf("mosquitto", "-h"), keys: kindsOf(name) },
        seen: "the broker's own key; demands client certificates",
      });
    },
  );

  describe.skipIf(!SDK_IS_THERE)("AWS IoT Device SDK v2", () => {
    const sdk = (...args: string[]) =>
      world.run(process.execPath, [join(import.meta.dirname, "aws-sdk.mjs"), ...args], { timeout: 60_000 });

    it.each(KEYS)("shows a client certificate with %s (%s, %s) in MQTT 3.1.1, with and without a PIN", async (name) => {
      for (const pin of ["1234", null]) {
        const { status, out, err } = await sdk(
          "3",
          JSON.stringify({
            ...{
              module: join(LIBRARIES[process.arch] ?? "", "p11-kit-proxy.so"),
              pin,
              label: name,
              cert: device.path(`${name}.pem`),
            },
            ...{ ca: device.path("ca.pem"), host: "localhost", port: ports.get(name) },
          }),
        );
        expect(status, err + broker.said()).toBe(0);
        expect(out).toBe("received message by 3.1.1\n");
      }
    });

    it.each(KEYS)("shows a client certificate with %s (%s, %s) in MQTT 5, as it was configured", async (name) => {
      const { files } = await world.use(
        ...(["aws-iot", name, "--cert", device.path(`${name}.pem`), "--authority", device.path("ca.pem")] as const),
        ...["--connect", `localhost:${ports.get(name)}`],
      );
      // The program of a user has the SDK beside it; here it is the checkout's.
      const written = files.find(({ path }) => path.endsWith("builder.mjs"))?.text ?? "";
      const builder = join(import.meta.dirname, `.results/builder-${name}-${process.pid}.mjs`);
      mkdirSync(dirname(builder), { recursive: true });
      writeFileSync(builder, written);
      try {
        const { status, out, err } = await sdk("5", builder);
        expect(status, err + broker.said()).toBe(0);
        expect(out).toBe("received message by 5\n");
      } finally {
        rmSync(builder);
      }
      const { default: manifest } = await import("aws-iot-device-sdk-v2/package.json", { with: { type: "json" } });
      noteResult({
        ...{ program: "AWS IoT Device SDK v2", version: manifest.version, keys: kindsOf(name) },
        seen: "client certificate by its own TLS (1.2); MQTT 3.1.1 with a PIN and without, and MQTT 5",
      });
    });
  });
});
