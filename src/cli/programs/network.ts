import { join } from "node:path";
import type { Recipe } from "./recipe.ts";
import { certificateOf, fileName, moduleFile, proxyModule, quoted, TLS_TYPES, text } from "./token.ts";

/** It looks for the certificate in the token, by an id made of the token's strings. */
export const openvpn: Recipe = {
  about: "a VPN client's key",
  front: "pkcs11",
  types: TLS_TYPES,
  certificate: "in token",
  plan(setting) {
    const certificate = certificateOf(setting);
    const { key, serial } = setting;
    const der = `${fileName(key.name)}.der`;
    const lines = [
      `pkcs11-providers ${proxyModule(setting)}`,
      `pkcs11-id 'Thornkey/Thornkey/${serial}/thornkey/${key.tokenId.toUpperCase()}'`,
    ];
    const file = { path: join(setting.folder, "client.conf"), text: text(lines) };
    const attach = [
      `openssl x509 -in ${quoted(certificate.path)} -outform DER -out ${quoted(der)}`,
      `pkcs11-tool --module ${proxyModule(setting)} --token-label thornkey --login --write-object ${quoted(der)} --type cert --label ${quoted(key.label)} --id ${key.tokenId}`,
    ];
    return {
      files: [moduleFile(setting), certificate, file],
      steps: [
        ...(setting.attached ? [] : attach),
        `# in the client's configuration, in the place of cert and key: config ${file.path}`,
      ],
      check: [`openvpn --show-pkcs11-ids ${proxyModule(setting)}`],
    };
  },
};

/** EAP-TLS in a wireless or a wired network. */
export const wpaSupplicant: Recipe = {
  about: "EAP-TLS: Wi-Fi and wired 802.1X",
  front: "pkcs11",
  types: TLS_TYPES,
  certificate: "needed",
  systemOnly: true,
  plan(setting) {
    const certificate = certificateOf(setting);
    const { key, uri, libraries, authority } = setting;
    const path = join(setting.folder, `${fileName(key.name)}.network.conf`);
    const lines = [
      `pkcs11_engine_path=${join(libraries, "engines-3/pkcs11.so")}`,
      `pkcs11_module_path=${proxyModule(setting)}`,
      "network={",
      '  ssid="NETWORK"',
      "  key_mgmt=WPA-EAP",
      "  eap=TLS",
      '  identity="IDENTITY"',
      `  ca_cert="${authority}"`,
      `  client_cert="${certificate.path}"`,
      `  private_key="${uri}"`,
      "}",
    ];
    return {
      files: [moduleFile(setting), certificate, { path, text: text(lines) }],
      steps: [
        `# NETWORK and IDENTITY: yours; then into /etc/wpa_supplicant/wpa_supplicant.conf`,
        `cat ${quoted(path)} >> /etc/wpa_supplicant/wpa_supplicant.conf`,
        "wpa_cli reconfigure",
      ],
      check: ["wpa_cli status"],
    };
  },
};
