import { connect, type Socket } from "node:net";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ERROR_CODES } from "../../src/errors.ts";
import { connectionLimits } from "../../src/gate/callers.ts";
import { decodeStrictly, encodeStrictly } from "../../src/operations/protocol.ts";
import { OPERATION_NAMES, operationOf } from "../../src/operations/table.ts";
import { askAt } from "./lab.ts";
import { connectPatiently } from "./patiently.ts";
import { type GateProcess, openProcessLab, type ProcessLab, spawnGate } from "./process-lab.ts";
import { sample } from "./vault-double.ts";

let lab: ProcessLab;
let gate: GateProcess;
let api: string;
beforeAll(async () => {
  lab = await openProcessLab();
  gate = await spawnGate(lab.run);
  api = `${lab.run}/api.sock`;
});
afterAll(async () => {
  // The same process as at the start, which ends as it should, and had nothing to say.
  expect(gate.child.exitCode).toBe(null);
  expect(await gate.end("SIGTERM")).toBe(0);
  expect(gate.stderr()).toBe("");
  await lab.close();
});

const alive = async () => expect((await askAt(api, "/alive")).status).toBe(200);

/** Sends bytes, and waits until the other side has ended or answers no more; the gate ends what it cannot read. */
function send(bytes: Uint8Array): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect({ path: api, allowHalfOpen: false });
    let heard = "";
    socket.on("data", (chunk) => (heard += chunk.toString("latin1")));
    socket.on("error", () => {});
    socket.on("close", () => resolve(heard));
    socket.end(bytes);
  });
}

/** Whatever is answered is an answer of ours: JSON with a code, or a success. */
function isAnswer(status: number, type: string, body: Buffer): boolean {
  if (status === 200) return true;
  const value = type.startsWith("application/cbor") ? decodeStrictly(body) : JSON.parse(body.toString());
  return Object.hasOwn(ERROR_CODES, (value as { code: string }).code);
}

describe("whatever comes at api.sock, the gate answers with an error code and goes on", () => {
  const names = fc.constantFrom(...OPERATION_NAMES.filter((name) => name !== "events.subscribe"));
  const types = fc.constantFrom("application/json", "application/cbor", "application/octet-stream", "text/x", "");
  const accepts = fc.constantFrom("application/json", "application/cbor", "application/octet-stream", "*/*", "x", ",;");

  it("bodies that are anything", async () => {
    const anything = fc.oneof(
      fc.uint8Array({ maxLength: 3000 }),
      fc.json().map((text) => new TextEncoder().encode(text)),
      fc.anything({ withNullPrototype: false }).map((value) => {
        try {
          return encodeStrictly(value);
        } catch {
          return Uint8Array.of(0xf7);
        }
      }),
    );
    await fc.assert(
      fc.asyncProperty(names, types, accepts, anything, async (name, type, accept, body) => {
        const headers = { accept, ...(type !== "" && { "content-type": type }) };
        const answer = await askAt(api, `/v1/call/${name}`, { method: "POST", headers, body });
        expect(isAnswer(answer.status, answer.type, answer.body)).toBe(true);
      }),
      { numRuns: 600 },
    );
    await alive();
  });

  it("arguments that are nearly right", async () => {
    await fc.assert(
      fc.asyncProperty(names, fc.string(), fc.anything(), async (name, field, value) => {
        const args = sample(operationOf(name).args) as Record<string, unknown>;
        const fields = Object.keys(args);
        const spoilt = { ...args, [fields[field.length % (fields.length + 1)] ?? field]: value };
        let body: Uint8Array;
        try {
          body = encodeStrictly(spoilt);
        } catch {
          return;
        }
        const headers = { "content-type": "application/cbor", accept: "application/cbor" };
        const answer = await askAt(api, `/v1/call/${name}`, { method: "POST", headers, body });
        expect(isAnswer(answer.status, answer.type, answer.body)).toBe(true);
      }),
      { numRuns: 400 },
    );
    await alive();
  });

  it("paths, queries and methods", async () => {
    const piece = fc.oneof(
      fc.string({ maxLength: 40 }).map(encodeURIComponentSafely),
      fc.constantFrom("keys", "v1", "..", "%2F", "%00", "%", "%zz", "call", "sign", "~1", "__proto__", "constructor"),
    );
    await fc.assert(
      fc.asyncProperty(
        fc.array(piece, { maxLength: 6 }),
        fc.string({ maxLength: 60 }).map(encodeURIComponentSafely),
        fc.constantFrom("GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "TRACE"),
        async (pieces, query, method) => {
          const path = `/${pieces.join("/")}?${query}`;
          if (path.startsWith("/v1/events")) return;
          const answer = await askAt(api, path, { method });
          expect(answer.status).toBeLessThan(500);
        },
      ),
      { numRuns: 600 },
    );
    await alive();
  });

  it("headers", async () => {
    const token = fc.stringMatching(/^[A-Za-z0-9!#$&'*+.^_`|~-]{1,30}$/);
    const value = fc.stringMatching(/^[\x20-\x7e]{0,200}$/);
    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(token, value), { maxLength: 80 }), value, async (headers, own) => {
        const lines = headers.map(([name, text]) => `${name}: ${text}\r\n`).join("");
        const request = `DELETE /v1/keys/tls HTTP/1.1\r\nhost: x\r\nconnection: close\r\nthornkey-request: ${own}\r\n${lines}\r\n`;
        await send(Buffer.from(request, "latin1"));
      }),
      { numRuns: 200 },
    );
    await alive();
  });

  it("bytes that are not HTTP, alone and after requests", async () => {
    const good = Buffer.from("GET /alive HTTP/1.1\r\nhost: x\r\n\r\n");
    await fc.assert(
      fc.asyncProperty(fc.nat(200), fc.uint8Array({ maxLength: 2000 }), async (requests, garbage) => {
        await send(Buffer.concat([...Array(requests).fill(good), garbage]));
      }),
      { numRuns: 200 },
    );
    await alive();
  });

  it("a request cut off anywhere", async () => {
    const body = encodeStrictly({ length: 8 });
    const head = `POST /v1/call/random HTTP/1.1\r\nhost: x\r\naccept: application/cbor\r\ncontent-type: application/cbor\r\ncontent-length: ${body.length}\r\n\r\n`;
    const whole = Buffer.concat([Buffer.from(head), body]);
    for (let length = 0; length < whole.length; length++) await send(whole.subarray(0, length));
    await alive();
  });

  it("a body that is too long, declared or not", async () => {
    const type = { "content-type": "application/cbor" };
    const declared = await askAt(api, "/v1/call/sign", {
      ...{ method: "POST", headers: { ...type, "content-length": "99999999999" } },
    }).catch(() => undefined);
    if (declared !== undefined) expect(declared.status).toBe(413);
    const endless = Buffer.concat([
      Buffer.from(
        "POST /v1/call/sign HTTP/1.1\r\nhost: x\r\ncontent-type: application/cbor\r\ntransfer-encoding: chunked\r\n\r\n",
      ),
      ...Array.from({ length: 40 }, () =>
        Buffer.concat([Buffer.from("4000\r\n"), Buffer.alloc(0x4000), Buffer.from("\r\n")]),
      ),
    ]);
    await send(endless);
    await alive();
  });

  it("headers without end", async () => {
    expect(await send(Buffer.from(`GET / HTTP/1.1\r\nx: ${"a".repeat(100_000)}`))).toContain("431");
    await alive();
  });

  it("connections that say nothing, and requests that do not end", async () => {
    const slow = ["", "GET /alive HT", "GET /alive HTTP/1.1\r\nhost: x\r\n"].map(
      (start) =>
        new Promise<string>((resolve) => {
          const socket = connect(api);
          let heard = "";
          if (start !== "") socket.write(start);
          socket.on("data", (chunk) => (heard += chunk));
          socket.on("error", () => {});
          socket.on("close", () => resolve(heard));
        }),
    );
    await alive();
    for (const heard of await Promise.all(slow)) expect(heard).toContain("408");
    await alive();
  });

  it("more requests at once than anybody reads answers to", async () => {
    const good = Buffer.from("GET /v1/status HTTP/1.1\r\nhost: x\r\n\r\n");
    await send(Buffer.concat(Array(5000).fill(good)));
    await alive();
  });

  it("more connections of one user than his share", async () => {
    const sockets: Socket[] = [];
    const refused = await new Promise<string>((resolve, reject) => {
      const more = async () => {
        for (let each = 0; each < connectionLimits().ofOneUser + 50; each++) {
          const socket = await connectPatiently(api);
          sockets.push(socket.once("data", (chunk) => resolve(chunk.toString())));
        }
      };
      more().catch(reject);
    });
    expect(refused).toContain("429");
    expect(refused).toContain("LIMIT_REACHED");
    for (const socket of sockets) socket.destroy();
    await expect
      .poll(
        () =>
          askAt(api, "/alive").then(
            (answer) => answer.status,
            () => 0,
          ),
        { timeout: 60_000 },
      )
      .toBe(200);
  });
});

function encodeURIComponentSafely(text: string): string {
  return encodeURIComponent(text.toWellFormed());
}
