/** Debian's programs that speak PKCS#11. One that is not on this machine is skipped with its tests, and the run says so. */
import { accessSync, constants, existsSync, globSync } from "node:fs";
import { delimiter, join } from "node:path";

/** The module that carries calls over a socket, as Debian installs it. */
export const CLIENT_MODULE = firstOf("/usr/lib/*/pkcs11/p11-kit-client.so");
/** OpenSSL's engine for PKCS#11. */
export const ENGINE = firstOf("/usr/lib/*/engines-3/pkcs11.so");

const PEERS = {
  "pkcs11-tool": { package: "opensc", there: has("pkcs11-tool") },
  p11tool: { package: "gnutls-bin", there: has("p11tool") },
  engine: { package: "libengine-pkcs11-openssl", there: ENGINE !== undefined && has("openssl") },
} as const;

export type PeerName = keyof typeof PEERS;

/** @returns whether a peer is there, and p11-kit's module with it; says so if not */
export function peerIsThere(name: PeerName): boolean {
  const missing = [
    ...(CLIENT_MODULE === undefined ? ["p11-kit-modules"] : []),
    ...(PEERS[name].there ? [] : [PEERS[name].package]),
  ];
  if (missing.length > 0) console.warn(`skipped peer: ${name} (${missing.join(", ")} of Debian is not installed)`);
  return missing.length === 0;
}

function firstOf(pattern: string): string | undefined {
  return globSync(pattern)[0];
}

function has(command: string): boolean {
  const directories = [...(process.env.PATH ?? "").split(delimiter), "/usr/bin", "/usr/sbin"];
  return directories.some((directory) => {
    try {
      accessSync(join(directory, command), constants.X_OK);
      return existsSync(join(directory, command));
    } catch {
      return false;
    }
  });
}
