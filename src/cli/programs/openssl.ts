import { join } from "node:path";
import type { Plan, Recipe, Setting } from "./recipe.ts";
import {
  certificateOf,
  fileName,
  moduleFile,
  pointerFile,
  providerConfiguration,
  quoted,
  serviceEnvironment,
  TLS_TYPES,
  text,
} from "./token.ts";

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

export const nginx: Recipe = {
  about: "the key of a TLS server",
  front: "pkcs11",
  types: TLS_TYPES,
  certificate: "needed",
  account: "www-data",
  executable: "/usr/sbin/nginx",
  systemOnly: true,
  plan(setting) {
    const certificate = certificateOf(setting);
    const snippet = join(setting.etc, "nginx/snippets", `thornkey-${fileName(setting.key.name)}.conf`);
    const main = join(setting.etc, "nginx/modules-enabled/60-thornkey.conf");
    const steps = [
      `# in the server block of the site: include snippets/thornkey-${fileName(setting.key.name)}.conf;`,
      "nginx -t",
      "systemctl reload nginx",
    ];
    const check = [`openssl s_client -connect ${setting.listen} </dev/null`];
    const server = (key: string) => text([`ssl_certificate "${certificate.path}";`, `ssl_certificate_key "${key}";`]);
    if (setting.way === "engine") {
      const files = [
        moduleFile(setting),
        certificate,
        { path: main, text: text(["ssl_engine pkcs11;"]) },
        { path: snippet, text: server(`engine:pkcs11:${setting.uri}`) },
      ];
      return { files, steps, check };
    }
    const [configuration, pointer] = [providerConfiguration(setting), pointerFile(setting)];
    const files = [
      ...[moduleFile(setting), configuration, pointer, certificate, serviceEnvironment("nginx", configuration)],
      { path: main, text: text(["env OPENSSL_CONF;"]) },
      { path: snippet, text: server(pointer.path) },
    ];
    // Only a start gives it another environment.
    return { files, steps: [...steps.slice(0, 2), "systemctl daemon-reload", "systemctl restart nginx"], check };
  },
};

export const apache: Recipe = {
  about: "the key of a TLS server (mod_ssl)",
  front: "pkcs11",
  types: TLS_TYPES,
  certificate: "needed",
  account: "www-data",
  executable: "/usr/sbin/apache2",
  systemOnly: true,
  plan(setting) {
    const certificate = certificateOf(setting);
    const host = join(setting.etc, "apache2", `thornkey-${fileName(setting.key.name)}.conf`);
    const check = ["apache2ctl configtest", `openssl s_client -connect ${setting.listen} </dev/null`];
    const include = `# in the VirtualHost of the site, after 'SSLEngine on': Include ${host}`;
    const site = (key: string) => text([`SSLCertificateFile "${certificate.path}"`, `SSLCertificateKeyFile "${key}"`]);
    if (setting.way === "engine") {
      const files = [
        moduleFile(setting),
        certificate,
        { path: join(setting.etc, "apache2/conf-available/thornkey.conf"), text: text(["SSLCryptoDevice pkcs11"]) },
        { path: host, text: site(setting.uri) },
      ];
      return { files, steps: ["a2enmod ssl", "a2enconf thornkey", include, "systemctl restart apache2"], check };
    }
    const [configuration, pointer] = [providerConfiguration(setting), pointerFile(setting)];
    const files = [
      ...[moduleFile(setting), configuration, pointer, certificate, serviceEnvironment("apache2", configuration)],
      { path: host, text: site(pointer.path) },
    ];
    return { files, steps: ["a2enmod ssl", include, "systemctl daemon-reload", "systemctl restart apache2"], check };
  },
};
