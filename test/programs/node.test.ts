/** Node's own TLS with keys of the vault on both sides, configured as `thornkey use` says. */
import { writeFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { answersAt, type Device, freePort, isThere, openDevice } from "./device.ts";
import { certify, KEYS, kindsOf } from "./keys.ts";
import { noteResult } from "./results.ts";
import { openWorld, type World, worldIsPossible } from "./world.ts";

const possible = worldIsPossible() && isThere("/usr/share/doc/libengine-pkcs11-openssl");

describe.skipIf(!possible)(`Node.js${possible ? "" : " (skipped: no namespaces, or no engine of OpenSSL)"}`, () => {
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

  it.each(KEYS)("serves and asks with %s (%s, %s) on both sides", async (name) => {
    const { steps, files } = await world.use("node", name, "--cert", device.path(`${name}.pem`));
    const module = files.find(({ path }) => path.endsWith("tls.mjs"))?.path;
    const beginning = `import https from "node:https"; import { readFileSync } from "node:fs";
      import { options } from ${JSON.stringify(module)};
      const both = { ...options, ca: readFileSync("ca.pem") };`;
    const port = await freePort();
    writeFileSync(
      device.path("server.mjs"),
      `${beginning}
      https.createServer({ ...both, requestCert: true, rejectUnauthorized: true }, ({ socket }, response) =>
        response.end(socket.getProtocol() + " " + socket.getPeerCertificate().subject.CN)).listen(${port}, "127.0.0.1");`,
    );
    writeFileSync(
      device.path("client.mjs"),
      `${beginning}
      for (const maxVersion of ["TLSv1.2", "TLSv1.3"]) {
        console.log(await new Promise((resolve, reject) => https.get(
          { ...both, port: ${port}, host: "localhost", maxVersion, agent: false },
          (response) => response.on("data", (data) => resolve(String(data)))).on("error", reject)));
      }`,
    );
    const script = (program: string) => ["-c", `${steps[0]}\nexec ${process.execPath} ${program}`];
    const server = await world.serve("bash", script("server.mjs"), () => answersAt(port));
    try {
      const { status, out, err } = await world.run("bash", script("client.mjs"));
      expect(status, err + server.said()).toBe(0);
      expect(out).toBe("TLSv1.2 device\nTLSv1.3 device\n");
    } finally {
      await server.stop();
    }
    noteResult({
      ...{ program: "Node.js", version: process.versions.node, keys: kindsOf(name) },
      seen: "https, server and client, TLS 1.2 and 1.3, by the engine",
    });
  });
});
