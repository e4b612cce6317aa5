/** MQTT over TLS with a client certificate: what a cloud's protocols need of it, every wait with a deadline. */
import { isIP } from "node:net";
import type { SecureContextOptions } from "node:tls";
import type { IClientOptions, MqttClient } from "mqtt";
import { ThornkeyError } from "../errors.ts";

export interface MqttOptions {
  readonly host: string;
  readonly port: number;
  /** Certificate and key of the client, and whom it trusts; without `ca` the authorities Node.js brings. */
  readonly tls: Pick<SecureContextOptions, "cert" | "key" | "ca" | "privateKeyEngine" | "privateKeyIdentifier">;
  /** Where MQTT shares a port with HTTPS: the protocol's name there. */
  readonly alpn?: string | undefined;
  readonly clientId: string;
  /** 4 is MQTT 3.1.1. */
  readonly version?: 4 | 5 | undefined;
  /** Whether a connection that ends is made again. */
  readonly reconnect?: boolean | undefined;
  /** Milliseconds for the connection, and for each answer. */
  readonly timeout: number;
}

export interface MqttMessage {
  readonly topic: string;
  readonly payload: Uint8Array;
}

export interface MqttSession {
  /** @throws ThornkeyError `NOT_PERMITTED` when the broker refuses one of them */
  subscribe(topics: readonly string[], qos?: 0 | 1): Promise<void>;
  /** @returns when the broker has it (QoS 1), or it has left (QoS 0) */
  publish(topic: string, payload: Uint8Array, qos?: 0 | 1): Promise<void>;
  /** @returns what removes the listener */
  onMessage(listener: (message: MqttMessage) => void): () => void;
  /** Fails when the connection ends for good. */
  readonly ended: Promise<never>;
  close(): Promise<void>;
}

const RECONNECT_MILLISECONDS = 1000;
const KEEPALIVE_SECONDS = 30;
const GRACE_MILLISECONDS = 1000;
/** What the broker answers instead of a quality of service (MQTT 3.1.1, 3.9.3). */
const REFUSED = 0x80;

/**
 * @throws ThornkeyError `TIMED_OUT`; `NOT_PERMITTED` when one side does not accept the other; `FAILED`
 */
export async function openMqtt(options: MqttOptions): Promise<MqttSession> {
  const { connect } = await import("mqtt");
  const { timeout } = options;
  const where = `${options.host}:${options.port}`;
  let client: MqttClient;
  try {
    client = connect(`mqtts://${hostInUrl(options.host)}:${options.port}`, clientOptions(options));
  } catch (cause) {
    throw keyError(cause);
  }
  let endWith: (error: ThornkeyError) => void = () => {};
  const ended = new Promise<never>((_, reject) => {
    endWith = reject;
  });
  ended.catch(() => {}); // whoever is interested waits for it
  let last: unknown;
  let established = false;
  let closing = false;
  client.on("error", (error) => {
    last = error;
    // One that never was, and one that was refused, will not be there the next time.
    if (!options.reconnect || !established || isRefusal(error)) endWith(connectionError(where, error));
  });
  client.on("close", () => {
    if (!closing && (!options.reconnect || !established)) endWith(connectionError(where, last));
  });
  const soon = <T>(what: string, promise: Promise<T>) =>
    within(timeout, () => timedOut(what, where, last), [promise, ended]);

  try {
    await soon("connected", new Promise<void>((resolve) => client.once("connect", () => resolve())));
    established = true;
  } catch (error) {
    closing = true;
    client.end(true);
    throw error;
  }
  return {
    ended,
    async subscribe(topics, qos = 1) {
      const granted = await soon("subscribed", client.subscribeAsync([...topics], { qos })).catch(subscribeError);
      const refused = granted.filter((one) => one.qos >= REFUSED).map(({ topic }) => topic);
      if (refused.length > 0) throw notAllowed(`to subscribe to ${refused.join(", ")}`);
    },
    async publish(topic, payload, qos = 1) {
      await soon("published", client.publishAsync(topic, Buffer.from(payload), { qos }));
    },
    onMessage(listener) {
      const take = (topic: string, payload: Buffer) => listener({ topic, payload });
      client.on("message", take);
      return () => void client.off("message", take);
    },
    async close() {
      closing = true;
      await within(timeout, () => timedOut("closed", where, last), [client.endAsync()]).catch(() => client.end(true));
    },
  };
}

function clientOptions({ host, tls, alpn, clientId, version = 4, reconnect, timeout }: MqttOptions): IClientOptions {
  return {
    ...(tls as object),
    // Brokers that serve many names choose by it; it is never an address (RFC 6066, 3).
    ...(isIP(host) === 0 && { servername: host }),
    ...(alpn !== undefined && { ALPNProtocols: [alpn] }),
    ...{ rejectUnauthorized: true, clientId, protocolVersion: version, clean: true, keepalive: KEEPALIVE_SECONDS },
    // Ours is the first to run out, and says what was waited for.
    ...{ connectTimeout: timeout + GRACE_MILLISECONDS, reconnectPeriod: reconnect ? RECONNECT_MILLISECONDS : 0 },
  };
}

function hostInUrl(host: string): string {
  return isIP(host) === 6 ? `[${host}]` : host;
}

async function within<T>(milliseconds: number, error: () => ThornkeyError, promises: Promise<T>[]): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(error()), milliseconds);
  });
  try {
    return await Promise.race([...promises, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** What MQTT.js makes of a refusal, in its own words. */
function subscribeError(error: unknown): never {
  if (error instanceof ThornkeyError) throw error;
  throw notAllowed(`to subscribe: ${(error as Error).message}`);
}

function notAllowed(what: string): ThornkeyError {
  return new ThornkeyError("NOT_PERMITTED", `the broker does not allow this client ${what}`, {
    hint: "the policy of its certificate must allow Subscribe, Receive and Publish on these topics",
  });
}

function timedOut(what: string, where: string, last: unknown): ThornkeyError {
  const why = last instanceof Error ? `; the last error was: ${sentenceOf(last)}` : "";
  return new ThornkeyError("TIMED_OUT", `not ${what} in time with ${where}${why}`, {
    hint: "--timeout waits longer; is the address right, and the network there?",
  });
}

/** Refusals of TLS by their code (Node.js, and OpenSSL's X509_V_ERR_). */
const SERVER_NOT_TRUSTED = new Set([
  ...["UNABLE_TO_VERIFY_LEAF_SIGNATURE", "SELF_SIGNED_CERT_IN_CHAIN", "DEPTH_ZERO_SELF_SIGNED_CERT"],
  ...["UNABLE_TO_GET_ISSUER_CERT", "UNABLE_TO_GET_ISSUER_CERT_LOCALLY", "CERT_HAS_EXPIRED", "CERT_NOT_YET_VALID"],
  ...["CERT_SIGNATURE_FAILURE", "INVALID_CA", "CERT_UNTRUSTED", "ERR_TLS_CERT_ALTNAME_INVALID"],
]);

/** Whether one side does not accept the other in TLS. */
function isRefusal(error: unknown): boolean {
  const { code = "" } = (error ?? {}) as { code?: unknown };
  return SERVER_NOT_TRUSTED.has(`${code}`) || /^ERR_(SSL|OSSL)_/.test(`${code}`);
}

function connectionError(where: string, error: unknown): ThornkeyError {
  if (error instanceof ThornkeyError) return error;
  const { code = "" } = (error ?? {}) as { code?: unknown };
  if (SERVER_NOT_TRUSTED.has(`${code}`)) {
    return new ThornkeyError("NOT_PERMITTED", `the certificate of ${where} is not accepted: ${sentenceOf(error)}`, {
      hint: "--ca FILE names the authorities that are trusted; AWS IoT's is AmazonRootCA1.pem",
      cause: error,
    });
  }
  if (isRefusal(error)) {
    return new ThornkeyError("NOT_PERMITTED", `${where} and this client do not agree on TLS: ${sentenceOf(error)}`, {
      hint: "is the certificate active at the broker, and the key the one it was made for?",
      cause: error,
    });
  }
  const why = error instanceof Error ? sentenceOf(error) : "it ended the connection";
  return new ThornkeyError("FAILED", `no connection with ${where}: ${why}`, {
    hint: "may this certificate connect with this client id? A broker that forbids it says nothing and hangs up",
    cause: error,
  });
}

/** The key, or its certificate, could not even be loaded. */
function keyError(cause: unknown): ThornkeyError {
  return new ThornkeyError("FAILED", `key and certificate cannot be used: ${sentenceOf(cause)}`, {
    hint: "does the certificate belong to the key, and may you use it? 'thornkey key show NAME' tells",
    cause,
  });
}

function sentenceOf(error: unknown): string {
  const { message, code } = error as { message?: string; code?: unknown };
  return message || `${code}`;
}
