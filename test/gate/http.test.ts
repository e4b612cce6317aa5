import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { ThornkeyError } from "../../src/errors.ts";
import { decodeStrictly, encodeStrictly } from "../../src/operations/protocol.ts";
import { check, type Fields, fromJson, holdsSecret, type Shape, toJson } from "../../src/operations/shape.ts";
import { OPERATION_NAMES, type OperationName, operationOf } from "../../src/operations/table.ts";
import { type Lab, openLab, until } from "./lab.ts";
import { sample } from "./vault-double.ts";

const CBOR = "application/cbor";
const JSON_TYPE = "application/json";
const OCTETS = "application/octet-stream";

const ORDINARY = OPERATION_NAMES.filter((name) => name !== "events.subscribe");

let lab: Lab;
beforeAll(async () => {
  lab = await openLab();
});
afterEach(() => {
  lab.vault.handlers = {};
  lab.vault.requests.length = 0;
});
afterAll(() => lab.close());

/** A request of an operation at its own path, with the least arguments. */
function requestOf(name: OperationName, type: string): { path: string; method: string; body?: Uint8Array | string } {
  const { args, http } = operationOf(name);
  const rest = { ...(sample(args) as Record<string, unknown>) };
  const path = http.path.replaceAll(/\{(\w+)\}/g, (_, field: string) => {
    const value = rest[field];
    delete rest[field];
    return encodeURIComponent(String(value));
  });
  if (http.method === "GET" || http.method === "DELETE") return { path, method: http.method };
  const shape: Shape = { kind: "record", fields: args.fields as Fields };
  return {
    ...{ path, method: http.method },
    body: type === CBOR ? encodeStrictly(rest) : JSON.stringify(toJson(shape, rest)),
  };
}

describe("every operation", () => {
  it.each(ORDINARY)("%s answers CBOR to CBOR at its own path and at the one door", async (name) => {
    const { path, method, body } = requestOf(name, CBOR);
    const headers = { accept: CBOR, ...(body !== undefined && { "content-type": CBOR }) };
    const own = await lab.ask(path, { method, headers, ...(body !== undefined && { body }) });
    expect({ status: own.status, type: own.type }).toEqual({ status: 200, type: CBOR });
    check(operationOf(name).reply, decodeStrictly(own.body));

    const args = encodeStrictly(sample(operationOf(name).args));
    const door = await lab.ask(`/v1/call/${name}`, {
      ...{ method: "POST", body: args },
      headers: { accept: CBOR, "content-type": CBOR },
    });
    expect(door.status).toBe(200);
    expect(decodeStrictly(door.body)).toEqual(decodeStrictly(own.body));
    expect(lab.vault.requests.map(({ operation }) => operation)).toEqual([name, name]);
    expect(lab.vault.requests[0]?.args).toEqual(lab.vault.requests[1]?.args);
  });

  it.each(ORDINARY)("%s speaks JSON, unless a secret is in it", async (name) => {
    const { args, reply } = operationOf(name);
    const required = Object.values(args.fields).filter((field) => field.kind !== "optional");
    const type = required.some(holdsSecret) ? CBOR : JSON_TYPE;
    const { path, method, body } = requestOf(name, type);
    const answer = await lab.ask(path, {
      ...{ method, headers: body === undefined ? {} : { "content-type": type } },
      ...(body !== undefined && { body }),
    });
    if (holdsSecret(reply)) {
      expect(answer.status).toBe(406);
      expect(answer.json()).toMatchObject({ code: "USAGE", hint: expect.stringContaining(OCTETS) });
      expect(lab.vault.requests).toEqual([]);
    } else {
      expect(answer.status).toBe(200);
      check(reply, fromJson(reply, answer.json()));
    }
  });
});

describe("plain bytes", () => {
  it("are the message of a signature, with the rest in the query", async () => {
    const answer = await lab.ask("/v1/keys/acme%2Ftls/sign?digest=sha256&digested=false", {
      ...{ method: "POST", body: "hello", headers: { "content-type": OCTETS, accept: OCTETS } },
    });
    expect(answer).toMatchObject({ status: 200, type: OCTETS });
    expect(lab.vault.requests[0]?.args).toEqual({
      ...{ key: "acme/tls", digest: "sha256", digested: false, data: new Uint8Array(Buffer.from("hello")) },
    });
  });

  it("are the secret of a reply", async () => {
    lab.vault.handlers.random = () => ({ random: Uint8Array.of(1, 2, 3) });
    const answer = await lab.ask("/v1/random?length=3", { method: "POST", headers: { accept: OCTETS } });
    expect([...answer.body]).toEqual([1, 2, 3]);
  });

  it("are a key that is imported", async () => {
    const answer = await lab.ask("/v1/keys/import?name=old&type=aes256", {
      ...{ method: "POST", body: new Uint8Array(32).fill(9), headers: { "content-type": OCTETS } },
    });
    expect(answer.status).toBe(200);
    expect(lab.vault.requests[0]?.args).toMatchObject({
      name: "old",
      type: "aes256",
      material: new Uint8Array(32).fill(9),
    });
  });
});

describe("a refusal", () => {
  it.each([
    ["KEY_NOT_FOUND", 404],
    ["NOT_PERMITTED", 403],
    ["KEY_EXISTS", 409],
    ["LIMIT_REACHED", 429],
    ["FROZEN", 423],
    ["ROOT_UNAVAILABLE", 503],
    ["TIMED_OUT", 504],
    ["FAILED", 500],
  ] as const)("of the vault, %s, is status %i with code, sentence and hint", async (code, status) => {
    lab.vault.handlers.sign = () => {
      throw new ThornkeyError(code, "a sentence", { hint: "a hint" });
    };
    const answer = await lab.ask("/v1/keys/tls/sign", {
      ...{ method: "POST", body: '{"data":"AA"}', headers: { "content-type": JSON_TYPE } },
    });
    expect(answer.status).toBe(status);
    expect(answer.json()).toEqual({ code, message: "a sentence", hint: "a hint" });
  });

  it.each([
    ["a field nobody knows", '{"data":"AA","x":1}', "USAGE"],
    ["something that is not JSON", "{", "MALFORMED"],
    ["a list", "[]", "USAGE"],
    ["a prototype", '{"data":"AA","__proto__":{"x":1}}', "USAGE"],
    ["a secret in JSON", '{"data":"AA","ingredient":"AAAAAAAAAAAAAAAAAAAAAAAA"}', "USAGE"],
    ["a field given twice", '{"data":"AA","key":"other"}', "USAGE"],
  ])("meets %s before the vault hears of it", async (_, body, code) => {
    const answer = await lab.ask("/v1/keys/tls/sign", { method: "POST", body, headers: { "content-type": JSON_TYPE } });
    expect(answer.status).toBe(400);
    expect(answer.json()).toMatchObject({ code });
    expect(lab.vault.requests).toEqual([]);
  });

  it("meets a path and an operation that are not there", async () => {
    expect((await lab.ask("/v2")).status).toBe(404);
    expect((await lab.ask("/v1/call/nothing", { method: "POST" })).json()).toMatchObject({ code: "USAGE" });
  });

  it("is CBOR for whoever speaks only CBOR", async () => {
    const answer = await lab.ask("/v1/call/sign", { method: "POST", headers: { accept: CBOR } });
    expect(decodeStrictly(answer.body)).toMatchObject({ code: "USAGE" });
  });
});

describe("whoever cannot be identified", () => {
  it("gets no connection, and the vault hears nothing", async () => {
    const strangers = await openLab(() => {
      throw new Error("the kernel does not tell");
    });
    await expect(strangers.ask("/alive")).rejects.toThrow();
    await expect(strangers.ask("/v1/status")).rejects.toThrow();
    expect(strangers.vault.callers.size).toBe(0);
    expect(strangers.gate.callers.connections).toBe(0);
    await strangers.close();
  });
});

describe("the vault hears", () => {
  it("who asks, by the front he came through", async () => {
    await lab.ask("/v1/status");
    expect([...lab.vault.callers.values()].at(-1)).toMatchObject({ uid: process.getuid?.(), front: "http" });
  });

  it("that a client has gone, and what of his to leave undone", async () => {
    const asked = new Promise<void>((resolve) => {
      lab.vault.handlers.status = () => {
        resolve();
        return new Promise(() => {});
      };
    });
    const abort = new AbortController();
    const answer = lab.ask("/v1/status", { signal: abort.signal });
    await asked;
    const { id, caller } = lab.vault.requests.at(-1) ?? {};
    abort.abort();
    await expect(answer).rejects.toThrow();
    await until(() => lab.vault.cancelled.includes(id ?? -1), "the request is cancelled");
    await until(() => lab.vault.gone.includes(caller ?? -1), "the caller is gone");
  });

  it("the request key of a client, and one for a client that has none", async () => {
    const own = "00112233445566778899aabbccddeeff";
    const ask = (headers: Record<string, string>) => lab.ask("/v1/keys/tls", { method: "DELETE", headers });
    expect((await ask({ "thornkey-request": own })).status).toBe(200);
    expect((await ask({})).status).toBe(200);
    expect((await ask({ "thornkey-request": "zz" })).status).toBe(400);
    const keys = lab.vault.requests.map(({ requestKey }) => Buffer.from(requestKey ?? []).toString("hex"));
    expect(keys[0]).toBe(own);
    expect(keys[1]).toMatch(/^[0-9a-f]{32}$/);
  });

  it("the digest of a caller's program when it asks", async () => {
    let ended = (_: unknown) => {};
    lab.vault.handlers.status = () => new Promise((resolve) => (ended = resolve));
    const answer = lab.ask("/v1/status");
    await until(() => lab.vault.requests.length > 0, "the request is there");
    const caller = lab.vault.requests[0]?.caller ?? -1;
    lab.vault.askProgram(caller);
    await until(() => lab.vault.programs.has(caller), "the digest is told");
    expect(lab.vault.programs.get(caller)).toBe("ab".repeat(32));
    ended(sample(operationOf("status").reply));
    expect((await answer).status).toBe(200);
  });
});

describe("monitors", () => {
  it("see whether the vault is ready, and the gate alive without it", async () => {
    expect((await lab.ask("/alive")).status).toBe(200);
    expect((await lab.ask("/ready")).status).toBe(200);
    expect((await lab.ask("/state")).json()).toMatchObject({ state: "operational", ready: true });
    await lab.vault.die();
    expect((await lab.ask("/alive")).status).toBe(200);
    expect((await lab.ask("/ready")).status).toBe(503);
    expect((await lab.ask("/state")).json()).toMatchObject({ state: "unavailable" });
    await lab.vault.rise();
  });

  it("read figures if they may", async () => {
    lab.vault.handlers.figures = () => ({
      figures: [{ name: "operations_total", labels: { operation: 'a"b\\' }, value: 3 }],
    });
    const { body, type } = await lab.ask("/metrics");
    expect(type).toContain("text/plain");
    expect(body.toString()).toContain('thornkey_operations_total{operation="a\\"b\\\\"} 3\n');
    expect(body.toString()).toContain("# TYPE thornkey_gate_connections gauge\n");
    lab.vault.handlers.figures = () => {
      throw new ThornkeyError("NOT_PERMITTED", "you are no observer");
    };
    expect((await lab.ask("/metrics")).status).toBe(403);
  });
});
