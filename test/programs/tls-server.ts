/** A server that lets in only who shows a certificate of the test's authority, and says who it saw. */
import { readFileSync } from "node:fs";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import type { TLSSocket } from "node:tls";
import type { Device } from "./device.ts";
import type { World } from "./world.ts";

export interface TlsServer {
  readonly port: number;
  close(): void;
}

/** @returns a server that answers `TLSv1.3 device`; its own certificate is `server.pem`, for localhost */
export async function openTlsServer(device: Device, world: World): Promise<TlsServer> {
  const { status, err } = await world.shell(
    "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout server.key -out server.pem " +
      "-subj /CN=localhost -addext subjectAltName=DNS:localhost -days 2",
  );
  if (status !== 0) throw new Error(err);
  const read = (file: string) => readFileSync(device.path(file));
  const tls = { key: read("server.key"), cert: read("server.pem"), ca: read("ca.pem"), requestCert: true };
  const server = createServer({ ...tls, rejectUnauthorized: true }, ({ socket }, response) => {
    const { subject } = (socket as TLSSocket).getPeerCertificate();
    response.setHeader("Connection", "close");
    response.end(`${(socket as TLSSocket).getProtocol()} ${subject.CN}`);
  });
  server.on("tlsClientError", () => {}); // who shows no certificate
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { port: (server.address() as AddressInfo).port, close: () => server.close() };
}
