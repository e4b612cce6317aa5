import type { Recipe } from "./recipe.ts";
import { certificateOf, fileName, moduleFile, proxyModule, quoted, RSA_TYPES, TLS_TYPES, uriOf } from "./token.ts";

/** gnutls-cli, certtool, and whatever else takes PKCS#11 URIs with GnuTLS: wget, git over HTTPS. */
export const gnutls: Recipe = {
  about: "gnutls-cli, certtool, p11tool, wget: PKCS#11 URIs in the place of files",
  front: "pkcs11",
  types: TLS_TYPES,
  certificate: "optional",
  plan(setting) {
    const { certificate, key, uri, connect } = setting;
    const [host = "localhost", port = "443"] = connect.split(":");
    const publicUri = `${uriOf(key.label)};type=public`;
    const request = `certtool --generate-request --load-privkey ${quoted(uri)} --load-pubkey ${quoted(publicUri)}`;
    const client = (path: string) =>
      `gnutls-cli ${host} -p ${port} --x509certfile ${quoted(path)} --x509keyfile ${quoted(uri)}`;
    return {
      files: [moduleFile(setting), ...(certificate ? [certificate] : [])],
      steps: [`${request} --template request.template --outfile request.pem`],
      check: [`p11tool --batch --test-sign ${quoted(uri)}`, ...(certificate ? [client(certificate.path)] : [])],
    };
  },
};

/** The tool of OpenSC, and through it anything that takes the path of a PKCS#11 module. */
export const pkcs11Tool: Recipe = {
  about: "pkcs11-tool of OpenSC, and programs that take the path of a module",
  front: "pkcs11",
  types: TLS_TYPES,
  certificate: "none",
  plan(setting) {
    const tool = `pkcs11-tool --module ${proxyModule(setting)} --token-label thornkey`;
    const { key } = setting;
    // p11-kit 0.24 carries no ECDSA that hashes by itself.
    const sign = RSA_TYPES.includes(key.type)
      ? `${tool} --sign --mechanism SHA256-RSA-PKCS`
      : `openssl dgst -sha256 -binary | ${tool} --sign --mechanism ECDSA --signature-format openssl`;
    return {
      files: [moduleFile(setting)],
      steps: [`${tool} --list-objects`],
      check: [
        `echo hello | ${sign} --id ${key.tokenId} --output-file hello.sig`,
        "# the whole test signs with raw RSA, too, which a key of the vault does only when its policy says so",
        `${tool} --login --test`,
      ],
    };
  },
};

/** A program of its own that makes TLS of what cannot. */
export const stunnel: Recipe = {
  about: "TLS before and behind programs that have none",
  front: "pkcs11",
  types: TLS_TYPES,
  certificate: "needed",
  systemOnly: true,
  plan(setting) {
    const certificate = certificateOf(setting);
    const { key, uri, listen, connect, authority } = setting;
    const path = `${setting.etc}/stunnel/thornkey-${fileName(key.name)}.conf`;
    const lines = [
      "; stunnel as a client: takes plain connections here and makes them TLS ones to there",
      "foreground = yes",
      "pid =",
      "engine = pkcs11",
      "",
      `[thornkey-${key.label}]`,
      "client = yes",
      `accept = ${listen}`,
      `connect = ${connect}`,
      "engineId = pkcs11",
      `cert = ${certificate.path}`,
      `key = ${uri}`,
      `CAfile = ${authority}`,
      "verifyChain = yes",
      `checkHost = ${connect.split(":")[0]}`,
    ];
    return {
      files: [moduleFile(setting), certificate, { path, text: `${lines.join("\n")}\n` }],
      steps: [`stunnel ${path}    # or, with 'foreground' and 'pid' taken out: systemctl restart stunnel4`],
      check: [`curl http://${listen}/`],
    };
  },
};
