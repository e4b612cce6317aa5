/** A key of the vault in Node's own TLS: by OpenSSL's PKCS#11 engine, which Debian has, and our token. */
import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import type { KeyInfo } from "../../client/index.ts";
import { ThornkeyError } from "../../errors.ts";
import { LIBRARIES, tokenIdOf } from "../programs/setting.ts";
import { TLS_TYPES } from "../programs/token.ts";

export interface KeyInTls {
  readonly privateKeyEngine: string;
  readonly privateKeyIdentifier: string;
}

/** The engine by its id: by a path it works for one connection of a process, and not for the next. */
const ENGINE = "pkcs11";

/**
 * Sets what OpenSSL, the engine and p11-kit take from the environment; they read it when the first key is loaded.
 *
 * @param run folder of the vault's sockets
 * @throws ThornkeyError `NOT_SUPPORTED` when the key cannot be used by TLS, or what it needs is not installed
 */
export function keyInTls({ name, type, publicKey }: KeyInfo, run: string): KeyInTls {
  if (publicKey === undefined || !TLS_TYPES.includes(type)) {
    throw new ThornkeyError("NOT_SUPPORTED", `${name} is a key of the type ${type}, which TLS does not use`, {
      hint: `it takes ${TLS_TYPES.join(", ")}`,
    });
  }
  const libraries = LIBRARIES[process.arch] ?? "/usr/lib";
  const [engines, module] = [join(libraries, "engines-3"), join(libraries, "pkcs11/p11-kit-client.so")];
  const missing = [
    ...(existsSync(join(engines, "pkcs11.so")) ? [] : ["libengine-pkcs11-openssl"]),
    ...(existsSync(module) ? [] : ["p11-kit-modules"]),
  ];
  if (missing.length > 0) {
    throw new ThornkeyError("NOT_SUPPORTED", "Node.js cannot use keys of a token here", {
      hint: `apt install ${missing.join(" ")}`,
    });
  }
  process.env.OPENSSL_ENGINES = engines;
  process.env.PKCS11_MODULE_PATH = module;
  process.env.P11_KIT_SERVER_ADDRESS = `unix:path=${join(resolve(run), "pkcs11.sock")}`;
  const id = tokenIdOf(publicKey).replaceAll(/../g, (byte) => `%${byte}`);
  return { privateKeyEngine: ENGINE, privateKeyIdentifier: `pkcs11:token=thornkey;id=${id};type=private` };
}
