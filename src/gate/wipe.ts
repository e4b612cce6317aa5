import type { Fields, Shape } from "../operations/shape.ts";

/** Zeroes the secret bytes in a value of this shape. What is not as the shape says is left alone. */
export function wipe(shape: Shape, value: unknown): void {
  if (typeof value !== "object" || value === null) return;
  switch (shape.kind) {
    case "bytes":
      if (shape.secret && value instanceof Uint8Array) value.fill(0);
      return;
    case "list":
      if (Array.isArray(value)) for (const item of value) wipe(shape.item, item);
      return;
    case "record":
      for (const [name, field] of Object.entries(shape.fields as Fields)) {
        wipe(field.kind === "optional" ? field.shape : field, (value as Record<string, unknown>)[name]);
      }
  }
}
