import type { Thornkey } from "../../client/index.ts";
import { type MqttMessage, type MqttOptions, openMqtt } from "../../cloud/mqtt.ts";
import { ThornkeyError } from "../../errors.ts";
import { certificateOf, pem } from "../../trust/index.ts";
import { type AskOptions, readInput, withVault } from "../ask.ts";
import { note, print } from "../output.ts";
import { endpointOf } from "./endpoint.ts";
import { recall } from "./joined.ts";
import { keyInTls } from "./key-in-tls.ts";

export interface ConnectOptions extends AskOptions {
  readonly key: string;
  readonly endpoint?: string;
  readonly ca?: string;
  readonly clientId?: string;
  readonly subscribe?: readonly string[];
  readonly publish?: string;
  readonly message?: string;
  readonly qos: "0" | "1";
  readonly count?: number;
  readonly mqtt: "3" | "5";
  /** Seconds. */
  readonly timeout: number;
}

const VERSIONS = { 3: 4, 5: 5 } as const;

/** `thornkey aws connect`. */
export async function connectCommand(options: ConnectOptions): Promise<void> {
  if (options.message !== undefined && options.publish === undefined) {
    throw new ThornkeyError("USAGE", "a message to nobody", { hint: "--publish TOPIC says where it goes" });
  }
  const { publish, subscribe = [] } = options;
  const payload = publish === undefined ? undefined : payloadOf(options);
  const qos = options.qos === "0" ? 0 : 1;
  const mqtt = await withVault(options, (vault) => mqttOptions(vault, options));
  const session = await openMqtt(mqtt);
  if (!options.json) note(`connected with ${mqtt.host} as ${mqtt.clientId}`);
  const stopped = untilStopped();
  try {
    const counted = untilCounted(options, session.onMessage);
    if (subscribe.length > 0) await session.subscribe(subscribe, qos);
    if (publish !== undefined && payload !== undefined) await session.publish(publish, payload, qos);
    if (subscribe.length > 0) await Promise.race([counted, stopped.promise, session.ended]);
  } finally {
    stopped.forget();
    await session.close();
  }
}

async function mqttOptions(vault: Thornkey, options: ConnectOptions): Promise<MqttOptions> {
  const key = await vault.keys.show(options.key);
  const joined = await recall(vault, key);
  const endpoint = options.endpoint ?? joined?.endpoint;
  const clientId = options.clientId ?? joined?.thingName;
  if (endpoint === undefined || clientId === undefined) {
    throw new ThornkeyError("USAGE", `it is not known where ${options.key} connects to, and as whom`, {
      hint: "say --endpoint HOST and --client-id ID, or 'thornkey aws provision' once",
    });
  }
  const ca = options.ca === undefined ? joined?.ca : new TextDecoder().decode(readInput(options.ca));
  const { value, chain } = await certificateOf(vault, key);
  const cert = [value, ...chain].map((der) => pem("CERTIFICATE", der)).join("");
  return {
    ...endpointOf(endpoint),
    tls: { cert, ...keyInTls(key, options.run), ...(ca !== undefined && { ca }) },
    ...{ clientId, version: VERSIONS[options.mqtt], timeout: options.timeout * 1000 },
    reconnect: options.subscribe !== undefined,
  };
}

function payloadOf({ message }: ConnectOptions): Uint8Array {
  return message === undefined || message === "-" ? readInput("-") : new TextEncoder().encode(message);
}

/** Prints what comes, and ends after as many as are wanted. */
function untilCounted(
  { json, count = Number.POSITIVE_INFINITY }: ConnectOptions,
  onMessage: (listener: (message: MqttMessage) => void) => () => void,
): Promise<void> {
  let seen = 0;
  return new Promise((resolve) => {
    const stop = onMessage(({ topic, payload }) => {
      print(json ? JSON.stringify({ topic, ...asJson(payload) }) : `${topic} ${Buffer.from(payload).toString()}`);
      if (++seen < count) return;
      stop();
      resolve();
    });
  });
}

/** Text as text, and what is none in base64url, as everywhere. */
function asJson(payload: Uint8Array): { message: string } | { bytes: string } {
  try {
    return { message: new TextDecoder("utf-8", { fatal: true }).decode(payload) };
  } catch {
    return { bytes: Buffer.from(payload).toString("base64url") };
  }
}

/** Somebody who ends it is no error. */
function untilStopped(): { promise: Promise<void>; forget(): void } {
  let stop = () => {};
  const promise = new Promise<void>((resolve) => {
    stop = resolve;
  });
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, stop);
  return {
    promise,
    forget() {
      for (const signal of ["SIGINT", "SIGTERM"] as const) process.off(signal, stop);
    },
  };
}
