/** Requests for api.sock that are right, and what is made of them. */
import { get } from "node:http";
import { encodeStrictly } from "../../src/operations/protocol.ts";
import type { RawProtocol } from "./raw-front.ts";

function request(method: string, path: string, body?: Uint8Array | string, type = "application/json"): Uint8Array {
  const bytes = Buffer.from(body ?? "");
  const head = [`${method} ${path} HTTP/1.1`, "Host: x", ...(body === undefined ? [] : [`Content-Type: ${type}`])];
  const lines = [...head, ...(bytes.length > 0 ? [`Content-Length: ${bytes.length}`] : []), "", ""].join("\r\n");
  return new Uint8Array(Buffer.concat([Buffer.from(lines), bytes]));
}

const cbor = (value: unknown) => encodeStrictly(value);

export const http: RawProtocol = {
  good: [
    request("GET", "/alive"),
    request("GET", "/v1/status"),
    request("GET", "/v1/keys?limit=3"),
    request("GET", "/v1/keys/fuzz"),
    request("GET", "/v1/keys/none/public"),
    request("GET", "/metrics"),
    request("GET", "/v1/openapi.json"),
    request("POST", "/v1/keys/fuzz/sign", '{"data":"aGVsbG8","digest":"sha256"}'),
    request("POST", "/v1/keys/fuzz/sign", cbor({ data: new Uint8Array(32), digest: "sha256" }), "application/cbor"),
    request("POST", "/v1/keys/fuzz/sign?digest=sha256", "the message itself", "application/octet-stream"),
    request("POST", "/v1/keys/fuzz/verify", '{"data":"aGVsbG8","signature":"AAAA"}'),
    request("POST", "/v1/random", '{"length":16}'),
    request("POST", "/v1/keys", '{"name":"fuzz","type":"p256"}'),
    request("DELETE", "/v1/keys/none"),
    new Uint8Array(
      Buffer.from(
        'POST /v1/random HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nd\r\n{"length":16}\r\n0\r\n\r\n',
      ),
    ),
  ],
  check: (path) =>
    new Promise((resolve, reject) => {
      get({ socketPath: path, path: "/v1/status", agent: false, timeout: 60_000 }, (response) => {
        response.resume();
        if (response.statusCode === 200) response.once("end", () => resolve());
        else reject(new Error(`status is answered with ${response.statusCode}`));
      }).once("error", reject);
    }),
};
