import { join } from "node:path";
import type { Recipe } from "./recipe.ts";
import {
  certificateOf,
  fileName,
  moduleFile,
  pointerFile,
  providerConfiguration,
  proxyModule,
  quoted,
  TLS_TYPES,
  text,
} from "./token.ts";

/** The broker; its clients take the configuration of `openssl` with the provider. */
export const mosquitto: Recipe = {
  about: "an MQTT broker's own key",
  front: "pkcs11",
  types: TLS_TYPES,
  certificate: "needed",
  account: "mosquitto",
  executable: "/usr/sbin/mosquitto",
  systemOnly: true,
  plan(setting) {
    const certificate = certificateOf(setting);
    const port = setting.listen.split(":").at(-1);
    const address = setting.listen.slice(0, -1 - `${port}`.length);
    const lines = [
      `listener ${port} ${address}`.trim(),
      "tls_engine pkcs11",
      "tls_keyform engine",
      `keyfile ${setting.uri}`,
      `certfile ${certificate.path}`,
      `cafile ${setting.authority}`,
      "require_certificate true",
      "use_identity_as_username true",
    ];
    const path = join(setting.etc, "mosquitto/conf.d", `thornkey-${fileName(setting.key.name)}.conf`);
    return {
      files: [moduleFile(setting), certificate, { path, text: text(lines) }],
      steps: ["systemctl restart mosquitto"],
      check: [`openssl s_client -connect ${setting.listen} </dev/null`],
    };
  },
};

/** Node's own TLS, and what passes its options on: https, undici's Agent, MQTT.js. */
export const node: Recipe = {
  about: "TLS of Node.js (tls, https), by the options of its secure contexts",
  front: "pkcs11",
  types: TLS_TYPES,
  certificate: "needed",
  plan(setting) {
    const certificate = certificateOf(setting);
    const path = join(setting.folder, "tls.mjs");
    const module = (key: readonly string[]) =>
      text([
        "// Options of tls.connect, https.request, mqtt.connect; of servers, too.",
        'import { readFileSync } from "node:fs";',
        "",
        "export const options = {",
        `  cert: readFileSync(${JSON.stringify(certificate.path)}),`,
        ...key.map((line) => `  ${line}`),
        "};",
      ]);
    const check = [
      `node --input-type=module -e 'import { createSecureContext } from "node:tls"; import { options } from "${path}"; createSecureContext(options)'`,
    ];
    if (setting.way === "engine") {
      const options = ['privateKeyEngine: "pkcs11",', `privateKeyIdentifier: ${JSON.stringify(setting.uri)},`];
      const engines = join(setting.libraries, "engines-3");
      return {
        files: [moduleFile(setting), certificate, { path, text: module(options) }],
        // Node's OpenSSL looks in its own folders; and an engine named by its path works only once in a process.
        steps: [
          `export OPENSSL_ENGINES=${engines} PKCS11_MODULE_PATH=${proxyModule(setting)}`,
          `# in the program: import { options } from ${JSON.stringify(path)}`,
        ],
        check,
      };
    }
    const [configuration, pointer] = [providerConfiguration(setting), pointerFile(setting)];
    const options = [`key: readFileSync(${JSON.stringify(pointer.path)}),`];
    return {
      files: [moduleFile(setting), configuration, pointer, certificate, { path, text: module(options) }],
      steps: [
        `export OPENSSL_CONF=${quoted(configuration.path)}`,
        `# in the program: import { options } from ${JSON.stringify(path)}`,
      ],
      check,
    };
  },
};

/** MQTT.js hands the options on to Node's TLS. */
export const mqttJs: Recipe = {
  ...node,
  about: "MQTT.js: mqtt.connect(url, options) with a client certificate",
  plan(setting) {
    const plan = node.plan(setting);
    const example = join(setting.folder, "broker.mjs");
    const lines = [
      "// mqtt.connect(url, options)",
      'import { readFileSync } from "node:fs";',
      'import * as tls from "./tls.mjs";',
      "",
      `export const url = ${JSON.stringify(`mqtts://${setting.connect}`)};`,
      `export const options = { ...tls.options, ca: readFileSync(${JSON.stringify(setting.authority)}) };`,
    ];
    return { ...plan, files: [...plan.files, { path: example, text: text(lines) }] };
  },
};

/** AWS IoT Device SDK v2 for JavaScript; its own TLS speaks 1.2 with keys of a token. */
export const awsIot: Recipe = {
  about: "AWS IoT Device SDK v2 for JavaScript (TLS 1.2: its TLS has no 1.3 with PKCS#11)",
  front: "pkcs11",
  types: ["p256", "p384", "rsa2048", "rsa3072", "rsa4096"],
  certificate: "needed",
  plan(setting) {
    const certificate = certificateOf(setting);
    const { key, authority } = setting;
    const [host = "", port = "8883"] = setting.connect.split(":");
    const path = join(setting.folder, "builder.mjs");
    const lines = [
      "// npm install aws-iot-device-sdk-v2",
      'import { io, iot } from "aws-iot-device-sdk-v2";',
      "",
      `const library = new io.Pkcs11Lib(${JSON.stringify(proxyModule(setting))}, io.Pkcs11Lib.InitializeFinalizeBehavior.STRICT);`,
      "export const builder = iot.AwsIotMqtt5ClientConfigBuilder.newDirectMqttBuilderWithMtlsFromPkcs11(",
      `  ${JSON.stringify(host)},`,
      "  {",
      "    pkcs11_lib: library,",
      '    user_pin: "any",',
      '    token_label: "thornkey",',
      `    private_key_object_label: ${JSON.stringify(key.label)},`,
      `    cert_file_path: ${JSON.stringify(certificate.path)},`,
      "  },",
      ");",
      `builder.withCertificateAuthorityFromPath(undefined, ${JSON.stringify(authority)});`,
      `builder.withPort(${Number(port)});`,
    ];
    return {
      files: [moduleFile(setting), certificate, { path, text: text(lines) }],
      steps: [`# in the program: import { builder } from ${JSON.stringify(path)}`],
      check: [],
    };
  },
};
