import { join } from "node:path";
import type { Plan, Recipe, Setting } from "./recipe.ts";
import { certificateOf, moduleFile, pointerFile, providerConfiguration, quoted, TLS_TYPES, text } from "./token.ts";

/** The command line of OpenSSL. */
export const openssl: Recipe = {
  about: "requests, certificates, signatures and TLS of the command openssl",
  front: "pkcs11",
  types: TLS_TYPES,
  certificate: "optional",
  plan: (setting) => (setting.way === "engine" ? opensslEngine(setting) : opensslProvider(setting)),
};

function opensslEngine(setting: Setting): Plan {
  const { certificate } = setting;
  const key = ["-engine pkcs11", "-keyform engine", "-key", quoted(setting.uri)].join(" ");
  return {
    files: [moduleFile(setting), ...(certificate ? [certificate] : [])],
    steps: [`openssl req -new ${key} -subj /CN=device -out request.pem`],
    check: [
      `openssl req -new ${key} -subj /CN=check | openssl req -verify -noout`,
      ...(certificate ? [`openssl s_client -connect ${setting.connect} -cert ${quoted(certificate.path)} ${key}`] : []),
    ],
  };
}

function opensslProvider(setting: Setting): Plan {
  const { certificate } = setting;
  const [configuration, pointer] = [providerConfiguration(setting), pointerFile(setting)];
  const openssl = `OPENSSL_CONF=${quoted(configuration.path)} openssl`;
  const key = `-key ${quoted(pointer.path)}`;
  return {
    files: [moduleFile(setting), configuration, pointer, ...(certificate ? [certificate] : [])],
    steps: [`${openssl} req -new ${key} -subj /CN=device -out request.pem`],
    check: [`${openssl} req -new ${key} -subj /CN=check | openssl req -verify -noout`],
  };
}

export const curl: Recipe = {
  about: "TLS with a client certificate",
  front: "pkcs11",
  types: TLS_TYPES,
  certificate: "needed",
  plan(setting) {
    const certificate = certificateOf(setting);
    const path = join(setting.folder, "curlrc");
    const check = [`curl -K ${quoted(path)} https://${setting.connect}/`];
    if (setting.way === "engine") {
      const lines = ["engine = pkcs11", "key-type = ENG", `key = "${setting.uri}"`, `cert = "${certificate.path}"`];
      return { files: [moduleFile(setting), certificate, { path, text: text(lines) }], steps: [], check };
    }
    const [configuration, pointer] = [providerConfiguration(setting), pointerFile(setting)];
    const lines = [`key = "${pointer.path}"`, `cert = "${certificate.path}"`];
    return {
      files: [moduleFile(setting), configuration, pointer, certificate, { path, text: text(lines) }],
      steps: [`export OPENSSL_CONF=${quoted(configuration.path)}`],
      check,
    };
  },
};
