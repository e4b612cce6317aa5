import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { holdsSecret } from "../../src/operations/shape.ts";
import { OPERATION_NAMES, operationOf } from "../../src/operations/table.ts";
import { type Lab, openLab } from "./lab.ts";

type Schema = { readonly [keyword: string]: unknown };
interface OperationObject {
  readonly operationId: string;
  readonly parameters?: readonly { name: string; in: string; required: boolean; schema: Schema }[];
  readonly requestBody?: { content: Record<string, { schema: Schema }> };
  readonly responses: Record<string, { content?: Record<string, { schema: Schema }>; $ref?: string }>;
}
interface Document {
  readonly openapi: string;
  readonly info: { title: string; version: string };
  readonly paths: Record<string, Record<string, OperationObject>>;
  readonly components: { schemas: object; responses: object };
}

let lab: Lab;
let document: Document;
beforeAll(async () => {
  lab = await openLab();
  document = (await lab.ask("/openapi.json")).json() as unknown as Document;
});
afterAll(() => lab.close());

/** Every operation object with its path and method. */
const all = () =>
  Object.entries(document.paths).flatMap(([path, item]) =>
    Object.entries(item).map(([method, operation]) => ({ path, method, operation })),
  );

describe("the OpenAPI document", () => {
  it("is of version 3.1, with a title and a version", () => {
    expect(document.openapi).toMatch(/^3\.1\.\d+$/);
    expect(document.info).toMatchObject({ title: "Thornkey", version: "0.0.0" });
  });

  it("has every operation, under an id of its own", () => {
    const ids = all().map(({ operation }) => operation.operationId);
    expect(new Set(ids).size).toBe(ids.length);
    expect(ids).toEqual(expect.arrayContaining(OPERATION_NAMES));
  });

  it("declares each parameter of each path, and no other", () => {
    for (const { path, operation } of all()) {
      const inPath = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name);
      const declared = (operation.parameters ?? []).filter((parameter) => parameter.in === "path");
      expect(declared.map(({ name }) => name)).toEqual(inPath);
      expect(declared.every(({ required }) => required)).toBe(true);
    }
  });

  it("gives no body to GET and DELETE, and an answer to all", () => {
    for (const { method, operation } of all()) {
      if (method === "get" || method === "delete") expect(operation.requestBody).toBeUndefined();
      expect(operation.responses["200"]).toBeDefined();
      expect(operation.responses.default).toEqual({ $ref: "#/components/responses/Failure" });
    }
  });

  it("refers to nothing that is not there", () => {
    for (const [, reference = ""] of JSON.stringify(document).matchAll(/"\$ref":"#([^"]+)"/g)) {
      const target = reference
        .split("/")
        .slice(1)
        .reduce<unknown>((at, name) => (at as Record<string, unknown> | undefined)?.[name], document);
      expect(target, reference).toBeDefined();
    }
  });

  it("offers JSON for no answer that holds a secret", () => {
    for (const name of OPERATION_NAMES.filter((name) => holdsSecret(operationOf(name).reply))) {
      const { operation } = all().find(({ operation }) => operation.operationId === name) ?? {};
      expect(Object.keys(operation?.responses["200"]?.content ?? {})).toEqual([
        "application/cbor",
        "application/octet-stream",
      ]);
    }
  });

  it("has schemas in which every keyword has its type, and every pattern is one", () => {
    let schemas = 0;
    const look = (schema: Schema): void => {
      schemas++;
      if (schema.type !== undefined) expect(["string", "integer", "boolean", "array", "object"]).toContain(schema.type);
      if (schema.pattern !== undefined) expect(() => new RegExp(schema.pattern as string, "u")).not.toThrow();
      if (schema.enum !== undefined) expect(Array.isArray(schema.enum)).toBe(true);
      if (schema.items !== undefined) look(schema.items as Schema);
      const properties = (schema.properties ?? {}) as Record<string, Schema>;
      for (const inner of Object.values(properties)) look(inner);
      for (const name of (schema.required ?? []) as string[]) expect(properties).toHaveProperty([name]);
    };
    for (const { operation } of all()) {
      for (const { schema } of operation.parameters ?? []) look(schema);
      for (const { schema } of Object.values(operation.requestBody?.content ?? {})) look(schema);
      for (const { schema } of Object.values(operation.responses["200"]?.content ?? {})) look(schema);
    }
    expect(schemas).toBeGreaterThan(OPERATION_NAMES.length);
  });
});
