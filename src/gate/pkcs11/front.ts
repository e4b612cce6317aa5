/**
 * The PKCS#11 front: p11-kit's RPC protocol on pkcs11.sock, so that `p11-kit-client.so`, which every Linux has, is a
 * PKCS#11 module whose token is the vault.
 */
import { createServer, type Socket } from "node:net";
import type { OperationName, ReplyOf } from "../../operations/table.ts";
import { type Callers, createRefused, REFUSED_AT_MOST } from "../callers.ts";
import type { Front } from "../gate.ts";
import { listenAt } from "../sockets.ts";
import type { VaultLink } from "../vault-link.ts";
import { createApplication } from "./application.ts";
import { serveClient } from "./connection.ts";
import { CKR } from "./constants.ts";
import { refuse } from "./refusals.ts";
import { createShared } from "./token.ts";

/** Names of the fronts, for policies: one where the kernel's word is enough, and one where a PIN is shown besides. */
const FRONTS = { open: "pkcs11", login: "pkcs11-login" } as const;
/** How long somebody may stay who is not served, in milliseconds. He is told, as he would wait for ever otherwise. */
const REFUSED_MILLISECONDS = 10_000;

/**
 * @param path of the socket
 * @param options.login whether programs have to log in with their user's PIN
 * @throws ThornkeyError `FAILED` when the socket cannot be had
 */
export async function servePkcs11(
  path: string,
  link: VaultLink,
  callers: Callers,
  { login = false }: { login?: boolean } = {},
): Promise<Front> {
  const sockets = new Set<Socket>();
  const shared = createShared();
  const refused = createRefused(REFUSED_MILLISECONDS);
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
    const caller = callers.admit(socket, login ? FRONTS.login : FRONTS.open);
    if (typeof caller === "string" && !refused.take(socket)) return;
    serveClient(socket, (dialect) => {
      if (typeof caller === "string") return refuse(CKR.DEVICE_ERROR);
      const ask = <Name extends OperationName>(name: Name, args: object) =>
        link.call(caller, name, args) as Promise<ReplyOf<Name>>;
      return createApplication(dialect, caller, ask, shared, login);
    });
  });
  server.maxConnections = callers.limits.all + REFUSED_AT_MOST;
  const remove = await listenAt(server, path);
  return {
    async close() {
      remove();
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}
