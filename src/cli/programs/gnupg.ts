import { join } from "node:path";
import type { Recipe } from "./recipe.ts";
import { certificateOf, fileName, moduleFile, proxyModule, quoted, RSA_TYPES, text } from "./token.ts";

/**
 * GnuPG asks its smart-card daemon for keys; gnupg-pkcs11-scd is one for tokens. It looks for certificates, and knows
 * those of RSA keys only (0.10.0).
 */
export const gnupg: Recipe = {
  about: "gpg and gpgsm, and with them libgcrypt, through gnupg-pkcs11-scd (RSA keys)",
  front: "pkcs11",
  types: RSA_TYPES,
  certificate: "in token",
  plan(setting) {
    const { folder, key, home } = setting;
    const certificate = certificateOf(setting);
    const [options, daemon, parameters] = ["scd.conf", "scdaemon", "key.parameters"].map((name) => join(folder, name));
    const der = `${fileName(key.name)}.der`;
    const card = "gpg-connect-agent 'SCD LEARN --force' /bye";
    return {
      files: [
        moduleFile(setting),
        certificate,
        {
          path: options ?? "",
          text: text(["providers thornkey", `provider-thornkey-library ${proxyModule(setting)}`]),
        },
        {
          path: daemon ?? "",
          text: text(["#!/bin/sh", `exec gnupg-pkcs11-scd --options ${quoted(options ?? "")} "$@"`]),
          mode: 0o755,
        },
        {
          path: parameters ?? "",
          text: text([
            "%no-protection",
            "Key-Type: RSA",
            "Key-Grip: GRIP",
            "Key-Usage: sign",
            "Name-Real: NAME",
            "Name-Email: MAIL",
            "Expire-Date: 0",
            "%commit",
          ]),
        },
      ],
      steps: [
        ...(setting.attached
          ? []
          : [
              `openssl x509 -in ${quoted(certificate.path)} -outform DER -out ${quoted(der)}`,
              `pkcs11-tool --module ${proxyModule(setting)} --token-label thornkey --login --write-object ${quoted(der)} --type cert --label ${quoted(key.label)} --id ${key.tokenId}`,
            ]),
        `mkdir -p -m 700 ${quoted(join(home, ".gnupg"))}`,
        `echo 'scdaemon-program ${daemon}' >> ${quoted(join(home, ".gnupg/gpg-agent.conf"))}`,
        "gpgconf --kill gpg-agent",
        "gpg-connect-agent 'LEARN --force' /bye",
        `grip=$(${card} | awk 'toupper($0) ~ /KEYPAIRINFO.*${key.tokenId.toUpperCase()}/ {print $3; exit}')`,
        `sed "s/GRIP/$grip/; s/NAME/Device/; s/MAIL/device@example.org/" ${quoted(parameters ?? "")} | gpg --batch --generate-key`,
      ],
      check: ["echo hello | gpg --clearsign | gpg --verify"],
    };
  },
};
