/**
 * What answers for AWS IoT in the tests: the topics of "Device provisioning MQTT API" as AWS documents them, behind
 * Debian's mosquitto, which demands client certificates. Certificates are signed by the tests' authority.
 */
import { randomUUID } from "node:crypto";
import { writeFileSync } from "node:fs";
import mqtt, { type MqttClient } from "mqtt";
import { type Device, run } from "./device.ts";

export interface Responder {
  /** What it says instead of signing the request. */
  answerWith: "certificate of the request" | "certificate of another key" | "nothing" | "no JSON";
  /** Serial numbers that were registered, in their order. */
  readonly registered: string[];
  close(): Promise<void>;
}

const CREATE = "$aws/certificates/create-from-csr/json";
const PROVISION = /^\$aws\/provisioning-templates\/([^/]+)\/provision\/json$/;
const TEMPLATE = "fleet";

/** @param options of its own client */
export async function openResponder(device: Device, url: string, options: mqtt.IClientOptions): Promise<Responder> {
  const client: MqttClient = await mqtt.connectAsync(url, { ...options, clientId: "responder" });
  /** Good once. */
  const tokens = new Set<string>();
  const responder: Responder = {
    answerWith: "certificate of the request",
    registered: [],
    close: () => client.endAsync(),
  };

  function reject(topic: string, statusCode: number, errorCode: string, errorMessage: string): void {
    client.publish(`${topic}/rejected`, JSON.stringify({ statusCode, errorCode, errorMessage }));
  }

  async function create(topic: string, body: { certificateSigningRequest?: unknown }): Promise<void> {
    if (responder.answerWith === "nothing") return;
    if (responder.answerWith === "no JSON") return void client.publish(`${topic}/accepted`, "hello");
    writeFileSync(device.path("asked.pem"), `${body.certificateSigningRequest}`);
    const other = responder.answerWith === "certificate of another key";
    if (other) await openssl(device, "req -new -newkey rsa:2048 -nodes -keyout o.key -subj /CN=other -out asked.pem");
    const signed = await openssl(
      device,
      "x509 -req -in asked.pem -CA ca.pem -CAkey ca.key -set_serial 77 -days 2 -out made.pem",
    );
    if (signed.status !== 0) {
      reject(topic, 400, "InvalidCertificateSigningRequest", "The certificate signing request is not valid.");
      return;
    }
    const { out: certificatePem } = await openssl(device, "x509 -in made.pem");
    const certificateOwnershipToken = randomUUID();
    tokens.add(certificateOwnershipToken);
    const certificateId = "c0ffee".padEnd(64, "0");
    client.publish(`${topic}/accepted`, JSON.stringify({ certificateId, certificatePem, certificateOwnershipToken }));
  }

  function register(topic: string, template: string, body: Registration): void {
    const { certificateOwnershipToken: token = "", parameters: { SerialNumber: serial } = {} } = body;
    if (template !== TEMPLATE) reject(topic, 404, "ResourceNotFound", `Template ${template} is not there.`);
    else if (serial === undefined) reject(topic, 400, "InvalidParameters", "SerialNumber is missing.");
    else if (!tokens.delete(token)) reject(topic, 400, "InvalidCertificateOwnershipToken", "Not a token of yours.");
    else {
      responder.registered.push(serial);
      const thingName = `thing-${serial}`;
      client.publish(`${topic}/accepted`, JSON.stringify({ thingName, deviceConfiguration: { place: "roof" } }));
    }
  }

  client.on("message", (topic, payload) => {
    const body = JSON.parse(String(payload)) as object;
    const [, template] = PROVISION.exec(topic) ?? [];
    if (topic === CREATE) void create(topic, body);
    else if (template !== undefined) register(topic, template, body);
  });
  await client.subscribeAsync([CREATE, "$aws/provisioning-templates/+/provision/json"], { qos: 1 });
  return responder;
}

interface Registration {
  readonly certificateOwnershipToken?: string;
  readonly parameters?: { readonly SerialNumber?: string };
}

/** @param line words without spaces in them */
export function openssl(device: Device, line: string) {
  return run("openssl", line.split(" "), { cwd: device.folder });
}
