import { join } from "node:path";
import type { Recipe } from "./recipe.ts";
import {
  certificateOf,
  fileName,
  moduleFile,
  pointerFile,
  providerConfiguration,
  serviceEnvironment,
  TLS_TYPES,
  text,
} from "./token.ts";

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
