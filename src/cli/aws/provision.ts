import { createHash, X509Certificate } from "node:crypto";
import type { KeyInfo, Thornkey } from "../../client/index.ts";
import { provision } from "../../cloud/aws/provisioning.ts";
import { type MqttOptions, openMqtt } from "../../cloud/mqtt.ts";
import { ThornkeyError } from "../../errors.ts";
import { attach, certificateOf, createRequest, pem, signerOf } from "../../trust/index.ts";
import { type AskOptions, readInput, readSecret, show, withVault } from "../ask.ts";
import { parametersOf } from "../aws.ts";
import { note } from "../output.ts";
import { endpointOf } from "./endpoint.ts";
import { remember } from "./joined.ts";
import { keyInTls } from "./key-in-tls.ts";

export interface ProvisionOptions extends AskOptions {
  readonly key: string;
  readonly endpoint: string;
  readonly template: string;
  readonly claim?: string;
  readonly claimCert?: string;
  readonly claimKey?: string;
  readonly parameter?: readonly string[];
  readonly subject?: string;
  readonly ca?: string;
  readonly clientId?: string;
  /** Seconds. */
  readonly timeout: number;
}

/** `thornkey aws provision`. The certificate is attached when everything has succeeded, and not before. */
export async function provisionCommand(options: ProvisionOptions): Promise<void> {
  const parameters = parametersOf(options.parameter);
  const { host, port, alpn } = endpointOf(options.endpoint);
  const ca = options.ca === undefined ? undefined : new TextDecoder().decode(readInput(options.ca));
  const timeout = options.timeout * 1000;
  await withVault(options, async (vault) => {
    const key = await vault.keys.show(options.key);
    const { device } = await vault.status();
    const clientId = options.clientId ?? `thornkey-${device.slice(0, 16)}`;
    const subject = options.subject ?? `CN=${clientId}`;
    const request = pem("CERTIFICATE REQUEST", await createRequest(await signerOf(vault, key.id), { subject }));
    const claim = await claimOf(vault, options);
    try {
      const tls = { ...claim.tls, ...(ca !== undefined && { ca }) };
      const session = await openMqtt({ host, port, alpn, tls, clientId, timeout });
      try {
        const check = (certificate: string) => mustBeOf(key, certificate);
        const progress = (step: string) => options.json || note(`${step} …`);
        const { template } = options;
        const made = await provision(session, { template, request, parameters, check, timeout, progress });
        const { thingName, certificateId, certificatePem, deviceConfiguration } = made;
        await attach(vault, key.id, new TextEncoder().encode(certificatePem));
        await remember(vault, key, { endpoint: options.endpoint, thingName, certificateId, ca });
        const result = { thingName, certificateId, key: key.name, endpoint: options.endpoint, deviceConfiguration };
        show(options, result, () => [
          `thing        ${thingName}`,
          `certificate  ${certificateId}, attached to ${key.name}`,
          ...Object.entries(deviceConfiguration).map(([name, value]) => `${name}  ${textOf(value)}`),
        ]);
        if (!options.json) note(`now: thornkey aws connect --key ${options.key}`);
      } finally {
        await session.close();
      }
    } finally {
      claim.forget();
    }
  });
}

function textOf(value: unknown): string {
  return typeof value === "string" ? value : JSON.stringify(value);
}

interface Claim {
  readonly tls: MqttOptions["tls"];
  /** Zeroes what was read of a key. */
  forget(): void;
}

/** @throws ThornkeyError `USAGE` */
async function claimOf(vault: Thornkey, options: ProvisionOptions): Promise<Claim> {
  const { claim: name, claimCert, claimKey } = options;
  if (name !== undefined && claimCert === undefined && claimKey === undefined) {
    const key = await vault.keys.show(name);
    const { value, chain } = await certificateOf(vault, key);
    const cert = [value, ...chain].map((der) => pem("CERTIFICATE", der)).join("");
    return { tls: { cert, ...keyInTls(key, options.run) }, forget() {} };
  }
  if (name === undefined && claimCert !== undefined && claimKey !== undefined) {
    const [cert, key] = [Buffer.from(readInput(claimCert)), readSecret(claimKey)];
    return { tls: { cert, key }, forget: () => void key.fill(0) };
  }
  throw new ThornkeyError("USAGE", "who is the claim?", {
    hint: "--claim NAME for a key of the vault, or --claim-cert FILE and --claim-key FILE",
  });
}

/** @throws ThornkeyError `MALFORMED` when AWS sent a certificate for another key than the one it was asked for */
function mustBeOf({ name, publicKey }: KeyInfo, certificate: string): void {
  let spki: Buffer | undefined;
  try {
    spki = new X509Certificate(certificate).publicKey.export({ format: "der", type: "spki" });
  } catch {
    spki = undefined; // the sentence below is true of it
  }
  if (spki !== undefined && publicKey !== undefined && spki.equals(publicKey)) return;
  const whose = spki === undefined ? "no certificate" : `for another key (SHA-256 ${digestOf(spki)})`;
  throw new ThornkeyError("MALFORMED", `what AWS IoT sent is ${whose}, and not for ${name}: nothing was attached`, {
    hint: "who is at the other end? --ca FILE names the authorities you trust",
  });
}

function digestOf(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex").slice(0, 16);
}
