/**
 * `thornkey aws` from the claim to the first message, before Debian's mosquitto and a responder that speaks the topics of
 * fleet provisioning. No AWS is asked.
 */
import { X509Certificate } from "node:crypto";
import { copyFileSync, readFileSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { MAIN } from "../cli/lab.ts";
import { blocksOf, promisesOf, root, scriptOf, writeCommands } from "../docs/page.ts";
import { openResponder, openssl, type Responder } from "./aws-responder.ts";
import { answersAt, type Device, freePort, isThere, openDevice, run, type Served, serve } from "./device.ts";
import { noteResult, versionOf } from "./results.ts";

const missing = ["mosquitto", "openssl", "/usr/share/doc/libengine-pkcs11-openssl"].filter((name) => !isThere(name));

const KEYS = [
  ["wrapped", "p256", "wrapped"],
  ["silicon", "p256", "resident"],
  ["rsa", "rsa2048", "wrapped"],
] as const;

describe.skipIf(missing.length > 0)(`thornkey aws (${missing.join(", ") || "all there"})`, () => {
  let device: Device;
  let broker: Served;
  let responder: Responder;
  let mute: Server;
  /** TLS 1.2 and later; 1.3 alone; and somebody who takes connections and says nothing. */
  const ports = { any: 0, newest: 0, mute: 0 };

  beforeAll(async () => {
    device = await openDevice();
    for (const [name, type, protection] of KEYS) await device.makeKey(name, type, protection);
    for (const name of ["claim", "other", "refused"]) await device.makeKey(name, "p256");
    const must = async (line: string) => {
      const { status, err } = await openssl(device, line);
      if (status !== 0) throw new Error(err);
    };
    const ec = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
    writeFileSync(device.path("san.cnf"), "subjectAltName = DNS:localhost\n");
    await must(`req -x509 ${ec} -keyout ca.key -out ca.pem -subj /CN=authority -days 2`);
    await must(`req -x509 ${ec} -keyout stranger.key -out stranger.pem -subj /CN=stranger -days 2`);
    for (const name of ["localhost", "claimant", "responder"]) {
      await must(`req -new ${ec} -keyout ${name}.key -out ${name}.csr -subj /CN=${name}`);
      await must(
        `x509 -req -in ${name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -extfile san.cnf -days 2 -out ${name}.pem`,
      );
    }
    Object.assign(ports, { any: await freePort(), newest: await freePort(), mute: await freePort() });
    const listener = (port: number, version: string) =>
      [
        `listener ${port} 127.0.0.1`,
        `cafile ${device.path("ca.pem")}`,
        `certfile ${device.path("localhost.pem")}`,
        `keyfile ${device.path("localhost.key")}`,
        ...["require_certificate true", "use_identity_as_username true", `tls_version ${version}`],
      ].join("\n");
    const user = process.getuid?.() === 0 ? "user root\n" : "";
    writeFileSync(
      device.path("mosquitto.conf"),
      `${user}allow_anonymous true\n${listener(ports.any, "tlsv1.2")}\n${listener(ports.newest, "tlsv1.3")}\n`,
    );
    await startBroker();
    const file = (name: string) => readFileSync(device.path(name));
    responder = await openResponder(device, `mqtts://localhost:${ports.any}`, {
      ...{ ca: file("ca.pem"), cert: file("responder.pem"), key: file("responder.key") },
    });
    mute = createServer((socket) => void socket.on("error", () => {}));
    mute.listen(ports.mute, "127.0.0.1");
    const csr = await thornkey("csr", "claim", "--subject", "CN=claim");
    writeFileSync(device.path("claim.csr"), csr.out);
    await must("x509 -req -in claim.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -out claim.pem");
    expect((await thornkey("cert", "attach", "claim", "claim.pem")).status).toBe(0);
  }, 120_000);
  afterAll(async () => {
    await responder?.close();
    mute?.close();
    await broker?.stop();
    await device?.close();
  });
  afterEach(() => {
    responder.answerWith = "certificate of the request";
  });

  async function startBroker(): Promise<void> {
    broker = await serve("mosquitto", ["-c", device.path("mosquitto.conf"), "-v"], () =>
      [ports.any, ports.newest].every(answersAt),
    );
  }

  const thornkey = (...args: string[]) =>
    run(process.execPath, [MAIN, ...args], { cwd: device.folder, env: { THORNKEY_RUN: device.run } });

  const FILES = ["--claim-cert", "claimant.pem", "--claim-key", "claimant.key"];
  const SERIAL = ["--parameter", "SerialNumber=0042"];
  const provision = (key: string, ...more: string[]) =>
    thornkey(
      ...["aws", "provision", "--key", key, "--endpoint", `localhost:${ports.any}`, "--template", "fleet"],
      ...["--ca", "ca.pem", ...more],
    );

  async function certificateOf(key: string): Promise<X509Certificate | undefined> {
    const { status, out } = await thornkey("cert", "show", key, "--pem");
    return status === 0 ? new X509Certificate(out) : undefined;
  }

  it.each(KEYS)("joins with a key that is %s (%s, %s), and then needs nothing but the key's name", async (key) => {
    const claim = key === "silicon" ? ["--claim", "claim"] : FILES;
    const { status, out, err } = await provision(key, ...claim, "--json", "--parameter", `SerialNumber=${key}`);
    expect(status, err).toBe(0);
    expect(JSON.parse(out)).toMatchObject({
      ...{ thingName: `thing-${key}`, certificateId: "c0ffee".padEnd(64, "0"), key: `~${process.getuid?.()}/${key}` },
      deviceConfiguration: { place: "roof" },
    });
    expect(responder.registered).toContain(key);
    const certificate = await certificateOf(key);
    expect(certificate?.issuer).toBe("CN=authority");
    const { publicKey } = await device.thornkey.keys.show(key);
    expect(certificate?.publicKey.export({ format: "der", type: "spki" })).toEqual(Buffer.from(publicKey ?? []));

    const listening = thornkey("aws", "connect", "--key", key, "--subscribe", `t/${key}`, "--count", "2", "--json");
    await until(() => broker.said().includes(`t/${key} (QoS 1)`));
    for (const [message, version] of [
      ["one", "3"],
      ["two", "5"],
    ] as const) {
      const sent = await run(
        process.execPath,
        [MAIN, ...["aws", "connect", "--key", key, "--publish", `t/${key}`, "--client-id", "b", "--mqtt", version]],
        { cwd: device.folder, env: { THORNKEY_RUN: device.run }, input: message },
      );
      expect(sent.status, sent.err).toBe(0);
    }
    const heard = await listening;
    expect(heard.status, heard.err).toBe(0);
    expect(
      heard.out
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line)),
    ).toEqual([
      { topic: `t/${key}`, message: "one" },
      { topic: `t/${key}`, message: "two" },
    ]);
    noteResult({
      ...{ program: "thornkey aws with mosquitto", version: versionOf("mosquitto", "-h"), keys: [`${keyKind(key)}`] },
      seen: "fleet provisioning by CSR, then publish and subscribe, before mosquitto and a responder of the tests (no AWS)",
    });
  });

  const keyKind = (key: string) => KEYS.filter(([name]) => name === key).map(([, type, way]) => `${type} ${way}`)[0];

  it("docs/aws.md does what it prints, as printed", async () => {
    const blocks = blocksOf(readFileSync(join(root, "docs/aws.md"), "utf8"));
    writeCommands(device.folder);
    for (const kind of ["pem", "key"]) copyFileSync(device.path(`claimant.${kind}`), device.path(`claim.${kind}`));
    const { status, out, err } = await run("bash", ["-c", scriptOf(device.folder, blocks)], {
      cwd: device.folder,
      env: {
        ...{ PATH: `${device.folder}:${process.env.PATH}`, THORNKEY_RUN: device.run },
        ...{ ENDPOINT: `localhost:${ports.any}`, NODE_EXTRA_CA_CERTS: device.path("ca.pem") },
      },
    });
    expect(status, err + out).toBe(0);
    for (const { printed, promised } of promisesOf(blocks, out)) expect(printed).toMatch(promised);
  });

  it("speaks TLS 1.3 where nothing else is spoken", async () => {
    const where = ["--endpoint", `localhost:${ports.newest}`];
    const { status, err } = await thornkey(
      ...["aws", "connect", "--key", "claim", "--client-id", "newest", "--ca", "ca.pem", ...where],
    );
    expect(status, err).toBe(0);
    expect(err).toContain("connected with localhost as newest");
  });

  it("a template without its parameter, and one that is not there, are refused in AWS's words", async () => {
    const without = await provision("refused", ...FILES);
    expect(without.status).toBe(1);
    expect(without.err).toContain("InvalidParameters (400): SerialNumber is missing.");
    expect(without.err).toContain("--parameter NAME=VALUE");
    const elsewhere = await provision("refused", ...FILES, ...SERIAL, "--template", "nowhere");
    expect(elsewhere.status).toBe(1);
    expect(elsewhere.err).toContain("ResourceNotFound (404)");
    expect(await certificateOf("refused")).toBeUndefined();
  });

  it("a certificate for another key is not taken, and nothing is registered", async () => {
    responder.answerWith = "certificate of another key";
    const before = responder.registered.length;
    const { status, err } = await provision("refused", ...FILES, ...SERIAL);
    expect(status).toBe(1);
    expect(err).toContain("for another key");
    expect(responder.registered).toHaveLength(before);
    expect(await certificateOf("refused")).toBeUndefined();
  });

  it("an answer that never comes, and one that is nothing, end in an error", async () => {
    responder.answerWith = "nothing";
    const late = await provision("refused", ...FILES, ...SERIAL, "--timeout", "2");
    expect([late.status, late.err]).toEqual([
      6,
      expect.stringContaining("no answer to $aws/certificates/create-from-csr"),
    ]);
    responder.answerWith = "no JSON";
    const odd = await provision("refused", ...FILES, ...SERIAL);
    expect([odd.status, odd.err]).toEqual([1, expect.stringContaining("is no JSON object")]);
  });

  it("a server that says nothing, one that is not there, and one that is not trusted", async () => {
    const at = (port: number, ...more: string[]) =>
      provision("refused", ...FILES, ...SERIAL, "--endpoint", `localhost:${port}`, "--timeout", "2", ...more);
    const silent = await at(ports.mute);
    expect([silent.status, silent.err]).toEqual([6, expect.stringContaining("not connected in time")]);
    const nobody = await at(await freePort());
    expect([nobody.status, nobody.err]).toEqual([1, expect.stringContaining("ECONNREFUSED")]);
    const strange = await at(ports.any, "--ca", "stranger.pem");
    expect([strange.status, strange.err]).toEqual([3, expect.stringContaining("is not accepted")]);
  });

  it("a connection that breaks is made again, with what was subscribed", async () => {
    const as = (id: string) => ["--client-id", id, "--endpoint", `localhost:${ports.any}`, "--ca", "ca.pem"];
    const listening = thornkey("aws", "connect", "--key", "claim", ...as("l"), "--subscribe", "again", "--count", "1");
    const subscribed = () => broker.said().includes("again (QoS 1)");
    await until(subscribed);
    await broker.stop("SIGKILL");
    await startBroker();
    await until(subscribed);
    const sent = await thornkey(
      ...["aws", "connect", "--key", "claim", ...as("s"), "--publish", "again", "--message", "back"],
    );
    expect(sent.status, sent.err).toBe(0);
    const { status, out, err } = await listening;
    expect([status, out], err).toEqual([0, "again back\n"]);
  });

  it("usage is checked before anything is sent", async () => {
    for (const [args, words] of [
      [[], "who is the claim?"],
      [[...FILES, "--claim", "claim"], "who is the claim?"],
      [[...FILES, "--parameter", "SerialNumber"], "is no parameter"],
      [[...FILES, ...SERIAL, "--template", "a b"], "is no name of a provisioning template"],
      [[...FILES, ...SERIAL, "--endpoint", "https://x"], "is no endpoint"],
      [["--claim", "other"], "no certificate is kept with the key"],
    ] as const) {
      const { status, err } = await provision("refused", ...args);
      expect([2, 4], err).toContain(status);
      expect(err).toContain(words);
    }
    const subscribing = ["aws", "connect", "--key", "claim", "--client-id", "c", "--subscribe", "t"];
    const where = ["--endpoint", `localhost:${ports.any}`];
    const strange = await thornkey(...subscribing, ...where, "--ca", "stranger.pem");
    expect([strange.status, strange.err]).toEqual([3, expect.stringContaining("--ca FILE")]);
    const unknown = await thornkey("aws", "connect", "--key", "claim");
    expect([unknown.status, unknown.err]).toEqual([2, expect.stringContaining("'thornkey aws provision' once")]);
  });
});

async function until(condition: () => boolean): Promise<void> {
  const deadline = Date.now() + 60_000;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error("it never came");
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
