/** The gate put together: one link to the vault, one table of callers, and the fronts. */
import { join } from "node:path";
import { type Callers, createCallers, type Identify } from "./callers.ts";
import { createVaultLink, type VaultLink } from "./vault-link.ts";

/** One protocol that is served. */
export interface Front {
  close(): Promise<void>;
}

export interface Gate {
  readonly link: VaultLink;
  readonly callers: Callers;
  close(): Promise<void>;
}

/**
 * @param options.run folder of the sockets
 * @param options.vault the vault's socket; `vault.sock` in the same folder
 * @returns when every front serves; the vault need not be there yet
 * @throws ThornkeyError `FAILED` when a socket cannot be had
 */
export async function startGate(options: {
  readonly run: string;
  readonly vault?: string | undefined;
  readonly identify: Identify;
  readonly version: string;
}): Promise<Gate> {
  const link = createVaultLink(options.vault ?? join(options.run, "vault.sock"));
  const callers = createCallers(link, options.identify);
  const fronts: Front[] = [];
  const close = async () => {
    await Promise.all(fronts.map((front) => front.close()));
    await link.close();
  };
  try {
    const { serveHttp } = await import("./http/front.ts");
    fronts.push(await serveHttp(join(options.run, "api.sock"), link, callers, options.version));
    const { serveSshAgent } = await import("./ssh-agent/front.ts");
    fronts.push(await serveSshAgent(join(options.run, "ssh-agent.sock"), link, callers));
    const { servePkcs11 } = await import("./pkcs11/front.ts");
    fronts.push(await servePkcs11(join(options.run, "pkcs11.sock"), link, callers));
    fronts.push(await servePkcs11(join(options.run, "pkcs11-login.sock"), link, callers, { login: true }));
  } catch (error) {
    await close();
    throw error;
  }
  return { link, callers, close };
}
