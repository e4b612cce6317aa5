/** What several recipes share: how programs find the token, and what they call it. */
import { join } from "node:path";
import { ThornkeyError } from "../../errors.ts";
import type { RecordType } from "../../operations/table.ts";
import { pointerPem } from "./pointer-pem.ts";
import type { PlannedFile, Setting } from "./recipe.ts";

/** What TLS, certificates and RSA cards know of ours. */
export const TLS_TYPES: readonly RecordType[] = ["p256", "p384", "p521", "rsa2048", "rsa3072", "rsa4096"];
export const RSA_TYPES: readonly RecordType[] = ["rsa2048", "rsa3072", "rsa4096"];

/**
 * Makes the token known to p11-kit, and with it to everything that loads `p11-kit-proxy.so`: GnuTLS, OpenSSL's engine,
 * OpenSC's tools. p11-kit takes the path percent-encoded.
 */
export function moduleFile({ etc, run }: Setting): PlannedFile {
  const path = join(run, "pkcs11.sock").split("/").map(encodeURIComponent).join("/");
  return { path: join(etc, "pkcs11/modules/thornkey.module"), text: `remote: unix:path=${path}\n` };
}

/** The module that shows every token p11-kit knows. */
export function proxyModule({ libraries }: Setting): string {
  return join(libraries, "p11-kit-proxy.so");
}

/** The token and one key, not yet whether its private part, its public part or its certificate is meant. */
export function uriOf(label: string): string {
  return `pkcs11:token=thornkey;object=${encodeURIComponent(label)}`;
}

/** @throws ThornkeyError `USAGE` */
export function certificateOf({ certificate, key }: Setting): PlannedFile {
  if (certificate !== undefined) return certificate;
  throw new ThornkeyError("USAGE", `there is no certificate for ${key.name}`, {
    hint: "--cert FILE names it; or attach it to the key in the vault",
  });
}

/** Has OpenSSL 3 load the provider; Node.js reads the section of its own name. */
export function providerConfiguration(setting: Setting): PlannedFile {
  const lines = [
    "openssl_conf = init",
    "nodejs_conf = init",
    "[init]",
    "providers = providers",
    "[providers]",
    "default = default_provider",
    "pkcs11 = pkcs11_provider",
    "[default_provider]",
    "activate = 1",
    "[pkcs11_provider]",
    `module = ${join(setting.libraries, "ossl-modules/pkcs11.so")}`,
    `pkcs11-module-path = ${proxyModule(setting)}`,
    "activate = 1",
  ];
  return { path: join(setting.folder, "openssl.cnf"), text: text(lines) };
}

/** Where a program that uses the provider is told a file, this is the file. */
export function pointerFile({ folder, key, uri }: Setting): PlannedFile {
  return { path: join(folder, `${fileName(key.name)}.uri.pem`), text: pointerPem(uri) };
}

/** Gives a service of systemd the environment that OpenSSL finds the provider by. */
export function serviceEnvironment(service: string, configuration: PlannedFile): PlannedFile {
  return {
    path: `/etc/systemd/system/${service}.service.d/thornkey.conf`,
    text: text(["[Service]", `Environment=OPENSSL_CONF=${configuration.path}`]),
  };
}

export function text(lines: readonly string[]): string {
  return `${lines.join("\n")}\n`;
}

/** @returns a key's name as part of a file's name: `acme/tls` is `acme-tls` */
export function fileName(keyName: string): string {
  return keyName.replace("~", "").replace("/", "-");
}

/** @returns the word as a shell takes it */
export function quoted(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}
