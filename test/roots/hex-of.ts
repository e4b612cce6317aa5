import type { Secret } from "../../src/bytes/secret.ts";

export function hexOf(secret: Secret): string {
  const hex = secret.use((bytes) => Buffer.from(bytes).toString("hex"));
  secret.destroy();
  return hex;
}
