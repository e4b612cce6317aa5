import type { Application } from "./application.ts";
import type { ArgumentsOf, CallName, ResultsOf, SizeOnly } from "./calls.ts";

/** What does a call, at once or later. What it throws becomes a CK_RV. Bytes it is given are gone when it is done. */
export type Handler<Name extends CallName> = (
  application: Application,
  ...args: ArgumentsOf<Name>
) => ResultsOf<Name> | Promise<ResultsOf<Name>>;

export type Handlers = { readonly [Name in CallName]?: Handler<Name> };

/** Of a call that answers nothing but that it was done. */
export const DONE: [] = [];

/**
 * @param room bytes the caller has
 * @returns the bytes, or only how many there are when they do not fit
 */
export function fitted(bytes: Uint8Array, room: number): Uint8Array | SizeOnly {
  return bytes.length > room || room === 0 ? { size: bytes.length } : bytes;
}
