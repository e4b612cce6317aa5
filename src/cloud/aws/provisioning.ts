/**
 * Fleet provisioning by claim with a key of one's own: "Device provisioning MQTT API", AWS IoT Core developer guide. The
 * private key never travels: AWS gets a request for a certificate (CreateCertificateFromCsr) and then registers the thing
 * by a template (RegisterThing).
 */
import { ThornkeyError } from "../../errors.ts";
import type { MqttSession } from "../mqtt.ts";

export interface ProvisioningOptions {
  /** Name of the provisioning template: letters, digits, `_` and `-`, up to 36. */
  readonly template: string;
  /** CertificationRequest, PEM. */
  readonly request: string;
  /** What the template's parameters are; often `SerialNumber`. */
  readonly parameters: { readonly [name: string]: string };
  /** @throws ThornkeyError when the certificate is not one for our key; then nothing is registered */
  readonly check: (certificatePem: string) => void;
  /** Milliseconds for each answer. */
  readonly timeout: number;
  /** Told before each step. */
  readonly progress?: (step: string) => void;
}

export interface Provisioned {
  readonly thingName: string;
  readonly certificateId: string;
  readonly certificatePem: string;
  /** What the template hands to the device; empty without it. */
  readonly deviceConfiguration: { readonly [name: string]: unknown };
}

const CREATE_FROM_CSR = "$aws/certificates/create-from-csr/json";
const TEMPLATE = /^[0-9A-Za-z_-]{1,36}$/;
/** Bytes of a payload AWS IoT takes or sends. */
const MOST_PAYLOAD = 128 * 1024;

/**
 * A certificate that was made and is not registered is deleted by AWS itself, and its ownership token is good for an
 * hour; so after a failure in between, the whole is simply done again.
 *
 * @throws ThornkeyError `NOT_PERMITTED` and `FAILED` with AWS's own words when it refuses; `TIMED_OUT`; `MALFORMED` for
 *   an answer that is none; what `check` throws
 */
export async function provision(session: MqttSession, options: ProvisioningOptions): Promise<Provisioned> {
  const { template, request, parameters, check, timeout, progress = () => {} } = options;
  if (!TEMPLATE.test(template)) {
    throw new ThornkeyError("USAGE", `'${template}' is no name of a provisioning template`, {
      hint: "letters, digits, _ and -, 36 at the most",
    });
  }
  progress("asking for a certificate");
  const made = await ask(session, CREATE_FROM_CSR, { certificateSigningRequest: request }, timeout);
  const certificatePem = textIn(made, "certificatePem");
  const certificateId = textIn(made, "certificateId");
  const certificateOwnershipToken = textIn(made, "certificateOwnershipToken");
  check(certificatePem);
  progress("registering the thing");
  const register = `$aws/provisioning-templates/${template}/provision/json`;
  const registered = await ask(session, register, { certificateOwnershipToken, parameters }, timeout);
  const { deviceConfiguration } = registered;
  return {
    ...{ thingName: textIn(registered, "thingName"), certificateId, certificatePem },
    deviceConfiguration: isRecord(deviceConfiguration) ? deviceConfiguration : {},
  };
}

type JsonRecord = { readonly [name: string]: unknown };

/** Subscribes to both answers before it asks, as AWS does not keep them. */
async function ask(session: MqttSession, topic: string, body: JsonRecord, timeout: number): Promise<JsonRecord> {
  const [accepted, rejected] = [`${topic}/accepted`, `${topic}/rejected`];
  await session.subscribe([accepted, rejected]);
  let stop = () => {};
  let timer: NodeJS.Timeout | undefined;
  const answer = new Promise<JsonRecord>((resolve, reject) => {
    timer = setTimeout(() => reject(noAnswer(topic)), timeout);
    stop = session.onMessage((message) => {
      if (message.topic !== accepted && message.topic !== rejected) return;
      try {
        const said = readJson(topic, message.payload);
        if (message.topic === accepted) resolve(said);
        else reject(refusal(topic, said));
      } catch (error) {
        reject(error);
      }
    });
  });
  answer.catch(() => {}); // it may come while the request is still being published
  try {
    await session.publish(topic, new TextEncoder().encode(JSON.stringify(body)));
    return await Promise.race([answer, session.ended]);
  } finally {
    clearTimeout(timer);
    stop();
  }
}

function noAnswer(topic: string): ThornkeyError {
  return new ThornkeyError("TIMED_OUT", `no answer to ${topic}`, {
    hint: "does the claim's policy allow Receive on the topics of the answers?",
  });
}

function readJson(topic: string, payload: Uint8Array): JsonRecord {
  let value: unknown;
  if (payload.length <= MOST_PAYLOAD) {
    try {
      value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(payload));
    } catch {
      value = undefined;
    }
  }
  if (isRecord(value)) return value;
  throw new ThornkeyError("MALFORMED", `the answer to ${topic} is no JSON object`);
}

function isRecord(value: unknown): value is JsonRecord {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function textIn(record: JsonRecord, name: string): string {
  const { [name]: value } = record;
  if (typeof value === "string" && value !== "") return value;
  throw new ThornkeyError("MALFORMED", `AWS IoT's answer has no ${name}`);
}

/** What to look at, by AWS's error codes. */
const HINTS: { readonly [errorCode: string]: string } = {
  AccessDenied: "the claim's policy must allow Publish on this topic",
  InvalidCertificateSigningRequest: "AWS IoT takes keys of the types p256, p384, rsa2048 and longer",
  InvalidCertificateOwnershipToken: "the token is good once, and for an hour: run the command again",
  InvalidParameters: "the template says which parameters it needs: --parameter NAME=VALUE",
  ResourceNotFound: "is the template's name right, and in this region, and enabled?",
  Throttled: "too many at once: run the command again in a while",
  TooManyRequests: "too many at once: run the command again in a while",
};

function refusal(topic: string, said: JsonRecord): ThornkeyError {
  const word = (name: string) => (said[name] === undefined ? "" : `${said[name]}`.slice(0, 500));
  const { statusCode } = said;
  const [code, message] = [word("errorCode"), word("errorMessage")];
  const sentence = `AWS IoT refuses ${topic}: ${[code, statusCode && `(${word("statusCode")})`].filter(Boolean).join(" ")}`;
  const hint = HINTS[code];
  return new ThornkeyError(
    statusCode === 401 || statusCode === 403 ? "NOT_PERMITTED" : "FAILED",
    message === "" ? sentence : `${sentence}: ${message}`,
    hint === undefined ? {} : { hint },
  );
}
