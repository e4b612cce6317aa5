import { Secret } from "../../../src/bytes/secret.ts";
import { ThornkeyError } from "../../../src/errors.ts";

/** A copy. */
export function bytesOf(secret: Secret | undefined): Uint8Array {
  if (secret === undefined) throw new Error("there is no secret");
  return secret.use((bytes) => new Uint8Array(bytes));
}

export const textOf = (secret: Secret) => Buffer.from(bytesOf(secret)).toString("latin1");
export const secretOf = (content: string | Uint8Array) => new Secret(new Uint8Array(Buffer.from(content)));
export const none = () => secretOf("");

/** @returns the code of the house's error; undefined when there was none. Any other error is thrown on */
export function code(act: () => unknown): string | undefined {
  try {
    act();
    return undefined;
  } catch (error) {
    if (!(error instanceof ThornkeyError)) throw error;
    return error.code;
  }
}

/** {@link code} of what ends later. */
export async function codeLater(act: () => Promise<unknown>): Promise<string | undefined> {
  try {
    await act();
    return undefined;
  } catch (error) {
    if (!(error instanceof ThornkeyError)) throw error;
    return error.code;
  }
}
