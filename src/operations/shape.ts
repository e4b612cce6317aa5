/**
 * What a value must look like. One description serves four readers: the vault checks what it is asked with it, the HTTP
 * front reads and writes JSON with it, the OpenAPI document is printed from it, and TypeScript knows the type from it.
 */
import { ThornkeyError } from "../errors.ts";

export type Shape =
  | BytesShape
  | TextShape
  | IntegerShape
  | FlagShape
  | OneOfShape<string>
  | ListShape<AnyShape>
  | RecordShape<Fields>;

/** Only for inference: a shape whose parts are not looked at. */
// biome-ignore lint/suspicious/noExplicitAny: a recursive type cannot name itself in its own bound
type AnyShape = any;

interface Described {
  /** One sentence for the OpenAPI document. */
  readonly about?: string;
}

export interface BytesShape extends Described {
  readonly kind: "bytes";
  readonly minimum: number;
  readonly maximum: number;
  /** Never as text: no JSON, no log. */
  readonly secret: boolean;
}

export interface TextShape extends Described {
  readonly kind: "text";
  /** In UTF-16 units. */
  readonly maximum: number;
  readonly pattern?: RegExp;
}

export interface IntegerShape extends Described {
  readonly kind: "integer";
  readonly minimum: number;
  readonly maximum: number;
}

export interface FlagShape extends Described {
  readonly kind: "flag";
}

export interface OneOfShape<Name extends string> extends Described {
  readonly kind: "one of";
  readonly names: readonly Name[];
}

export interface ListShape<Item> extends Described {
  readonly kind: "list";
  readonly item: Item;
  readonly maximum: number;
}

export interface RecordShape<F extends Fields> extends Described {
  readonly kind: "record";
  readonly fields: F;
}

/** A field that may be missing. */
export interface Optional<S> {
  readonly kind: "optional";
  readonly shape: S;
}

export type Fields = { readonly [name: string]: Shape | Optional<AnyShape> };

/** The TypeScript type of what has this shape. */
export type Infer<S> = S extends BytesShape
  ? Uint8Array
  : S extends TextShape
    ? string
    : S extends IntegerShape
      ? number
      : S extends FlagShape
        ? boolean
        : S extends OneOfShape<infer Name>
          ? Name
          : S extends ListShape<infer Item>
            ? readonly Infer<Item>[]
            : S extends RecordShape<infer F>
              ? InferFields<F>
              : never;

type InferFields<F extends Fields> = {
  readonly [Name in keyof F as F[Name] extends Optional<AnyShape> ? never : Name]: Infer<F[Name]>;
} & {
  readonly [Name in keyof F as F[Name] extends Optional<AnyShape> ? Name : never]?: F[Name] extends Optional<infer S>
    ? Infer<S> | undefined
    : never;
};

const MEBIBYTE = 1 << 20;

export function bytes(
  minimum: number,
  maximum: number,
  options: { secret?: boolean; about?: string } = {},
): BytesShape {
  return { kind: "bytes", minimum, maximum, secret: options.secret ?? false, ...about(options.about) };
}

/** Bytes that must not be seen: only CBOR and raw bodies carry them. */
export function secretBytes(minimum: number, maximum: number, sentence?: string): BytesShape {
  return bytes(minimum, maximum, { secret: true, ...about(sentence) });
}

export function text(maximum: number, pattern?: RegExp, sentence?: string): TextShape {
  return { kind: "text", maximum, ...(pattern && { pattern }), ...about(sentence) };
}

export function integer(minimum: number, maximum: number, sentence?: string): IntegerShape {
  return { kind: "integer", minimum, maximum, ...about(sentence) };
}

export function flag(sentence?: string): FlagShape {
  return { kind: "flag", ...about(sentence) };
}

export function oneOf<const Name extends string>(names: readonly Name[], sentence?: string): OneOfShape<Name> {
  return { kind: "one of", names, ...about(sentence) };
}

export function list<S extends Shape>(item: S, maximum: number, sentence?: string): ListShape<S> {
  return { kind: "list", item, maximum, ...about(sentence) };
}

export function record<const F extends Fields>(fields: F, sentence?: string): RecordShape<F> {
  return { kind: "record", fields, ...about(sentence) };
}

export function optional<S extends Shape>(shape: S): Optional<S> {
  return { kind: "optional", shape };
}

function about(sentence: string | undefined): Described {
  return sentence === undefined ? {} : { about: sentence };
}

/**
 * @param path where the value was found, for the message
 * @returns the value, known to have the shape
 * @throws ThornkeyError `USAGE` that names the place and never the value
 */
export function check<S extends Shape>(shape: S, value: unknown, path = "arguments"): Infer<S> {
  checkValue(shape, value, path);
  return value as Infer<S>;
}

function checkValue(shape: Shape, value: unknown, path: string): void {
  switch (shape.kind) {
    case "bytes":
      if (!(value instanceof Uint8Array)) throw wrong(path, "must be bytes");
      if (value.length < shape.minimum || value.length > shape.maximum) {
        throw wrong(path, `must be ${between(shape.minimum, shape.maximum)} bytes, and is ${value.length}`);
      }
      return;
    case "text":
      if (typeof value !== "string") throw wrong(path, "must be text");
      if (value.length > shape.maximum) throw wrong(path, `must be at most ${shape.maximum} characters`);
      if (shape.pattern && !shape.pattern.test(value)) throw wrong(path, `must match ${shape.pattern.source}`);
      return;
    case "integer":
      if (typeof value !== "number" || !Number.isSafeInteger(value)) throw wrong(path, "must be a whole number");
      if (value < shape.minimum || value > shape.maximum) {
        throw wrong(path, `must be ${between(shape.minimum, shape.maximum)}`);
      }
      return;
    case "flag":
      if (typeof value !== "boolean") throw wrong(path, "must be true or false");
      return;
    case "one of":
      if (typeof value !== "string" || !shape.names.includes(value)) {
        throw wrong(path, `must be one of ${shape.names.join(", ")}`);
      }
      return;
    case "list":
      if (!Array.isArray(value)) throw wrong(path, "must be a list");
      if (value.length > shape.maximum) throw wrong(path, `must have at most ${shape.maximum} entries`);
      for (let index = 0; index < value.length; index++) checkValue(shape.item, value[index], `${path}[${index}]`);
      return;
    case "record":
      checkRecord(shape.fields, value, path);
  }
}

function checkRecord(fields: Fields, value: unknown, path: string): void {
  if (!isRecord(value)) throw wrong(path, "must be an object");
  for (const name in value) {
    if (!Object.hasOwn(fields, name)) throw wrong(path, `has no field '${shown(name)}'`);
  }
  for (const name in fields) {
    const field = fields[name] as Fields[string];
    const inner = Object.hasOwn(value, name) ? value[name] : undefined;
    if (inner === undefined) {
      if (field.kind !== "optional") throw wrong(path, `lacks '${name}'`);
    } else checkValue(field.kind === "optional" ? field.shape : field, inner, `${path}.${name}`);
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof Uint8Array);
}

function wrong(path: string, what: string): ThornkeyError {
  return new ThornkeyError("USAGE", `${path} ${what}`);
}

/** A name somebody sent, fit for a message. */
function shown(name: string): string {
  return name.slice(0, 40).replaceAll(/[^\x20-\x7e]/g, "?");
}

function between(minimum: number, maximum: number): string {
  if (minimum === maximum) return `${minimum}`;
  return maximum === Number.MAX_SAFE_INTEGER ? `at least ${minimum}` : `${minimum} to ${maximum}`;
}

/** @returns whether any part of the shape is secret */
export function holdsSecret(shape: Shape | Optional<Shape>): boolean {
  switch (shape.kind) {
    case "bytes":
      return shape.secret;
    case "list":
      return holdsSecret(shape.item);
    case "optional":
      return holdsSecret(shape.shape);
    case "record":
      return Object.values(shape.fields).some(holdsSecret);
    default:
      return false;
  }
}

/**
 * JSON into what {@link check} takes: base64url text becomes bytes. Anything else is left as it is, for check to judge.
 *
 * @throws ThornkeyError `USAGE` for text that is not base64url, and for a secret, which JSON must not carry
 */
export function fromJson(shape: Shape, value: unknown, path = "body"): unknown {
  switch (shape.kind) {
    case "bytes":
      if (typeof value !== "string") return value;
      if (shape.secret) {
        throw new ThornkeyError("USAGE", `${path} is a secret, and JSON is no place for one`, {
          hint: "send the body as application/cbor, or as application/octet-stream where the operation takes it",
        });
      }
      if (!/^[A-Za-z0-9_-]*={0,2}$/.test(value)) throw wrong(path, "must be base64url");
      return new Uint8Array(Buffer.from(value, "base64url"));
    case "list":
      return Array.isArray(value) ? value.map((item, index) => fromJson(shape.item, item, `${path}[${index}]`)) : value;
    case "record":
      if (!isRecord(value)) return value;
      return Object.fromEntries(
        Object.entries(value).map(([name, inner]) => {
          const field = Object.hasOwn(shape.fields, name) ? shape.fields[name] : undefined;
          if (field === undefined) return [name, inner];
          return [name, fromJson(field.kind === "optional" ? field.shape : field, inner, `${path}.${name}`)];
        }),
      );
    default:
      return value;
  }
}

/** @returns the value with bytes as base64url; secret bytes are refused by whoever asks {@link holdsSecret} first */
export function toJson(shape: Shape, value: unknown): unknown {
  switch (shape.kind) {
    case "bytes":
      if (shape.secret) throw new Error("a secret was about to become JSON");
      return value instanceof Uint8Array
        ? Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString("base64url")
        : value;
    case "list":
      return Array.isArray(value) ? value.map((item) => toJson(shape.item, item)) : value;
    case "record":
      if (!isRecord(value)) return value;
      return Object.fromEntries(
        Object.entries(shape.fields)
          .filter(([name]) => value[name] !== undefined)
          .map(([name, field]) => [name, toJson(field.kind === "optional" ? field.shape : field, value[name])]),
      );
    default:
      return value;
  }
}

/** A JSON Schema, as far as we need one (draft 2020-12, which OpenAPI 3.1 uses). */
export type JsonSchema = { readonly [keyword: string]: unknown };

export function jsonSchema(shape: Shape): JsonSchema {
  const description = shape.about === undefined ? {} : { description: shape.about };
  switch (shape.kind) {
    case "bytes":
      return {
        type: "string",
        contentEncoding: "base64url",
        ...(shape.secret && { "x-secret": true }),
        "x-minimum-bytes": shape.minimum,
        "x-maximum-bytes": shape.maximum,
        ...description,
      };
    case "text":
      return {
        type: "string",
        maxLength: shape.maximum,
        ...(shape.pattern && { pattern: shape.pattern.source }),
        ...description,
      };
    case "integer":
      return { type: "integer", minimum: shape.minimum, maximum: shape.maximum, ...description };
    case "flag":
      return { type: "boolean", ...description };
    case "one of":
      return { type: "string", enum: [...shape.names], ...description };
    case "list":
      return { type: "array", items: jsonSchema(shape.item), maxItems: shape.maximum, ...description };
    case "record": {
      const entries = Object.entries(shape.fields);
      return {
        type: "object",
        properties: Object.fromEntries(
          entries.map(([name, field]) => [name, jsonSchema(field.kind === "optional" ? field.shape : field)]),
        ),
        required: entries.filter(([, field]) => field.kind !== "optional").map(([name]) => name),
        additionalProperties: false,
        ...description,
      };
    }
  }
}

/** The most a message of an application, or its answer, may carry: bulk data never crosses to the vault. */
export const MAXIMUM_MESSAGE = MEBIBYTE / 16;
