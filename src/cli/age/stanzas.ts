/** The lines age and its plugins exchange (C2SP, age-plugin): stanzas as in the header of an age file. */
import { ThornkeyError } from "../../errors.ts";

export interface PluginStanza {
  /** The command and its arguments. */
  readonly args: readonly string[];
  readonly body: Uint8Array;
}

const COLUMNS = 64;
const BEGINNING = /^-> [\x21-\x7e]+(?: [\x21-\x7e]+)*$/;
const BASE64 = /^[A-Za-z0-9+/]*$/;
/** Longer lines than a recipient of 2000 characters makes are not age's. */
const MAXIMUM_LINE = 16_384;
const MAXIMUM_BODY = 65_536;

/**
 * @returns the next stanza, or undefined at the end of input
 * @throws ThornkeyError `MALFORMED`
 */
export async function readStanza(lines: AsyncIterator<string>): Promise<PluginStanza | undefined> {
  const first = await lines.next();
  if (first.done) return undefined;
  if (first.value.length > MAXIMUM_LINE || !BEGINNING.test(first.value)) throw malformed();
  let body = "";
  for (;;) {
    const { value, done } = await lines.next();
    if (done || value.length > COLUMNS || !BASE64.test(value) || body.length > MAXIMUM_BODY) throw malformed();
    body += value;
    if (value.length < COLUMNS) break;
  }
  return { args: first.value.slice(3).split(" "), body: new Uint8Array(Buffer.from(body, "base64")) };
}

export function writeStanza({ args, body }: PluginStanza): string {
  const text = Buffer.from(body).toString("base64").replaceAll("=", "");
  const lines = [`-> ${args.join(" ")}`];
  for (let at = 0; at <= text.length; at += COLUMNS) lines.push(text.slice(at, at + COLUMNS));
  return `${lines.join("\n")}\n`;
}

function malformed(): ThornkeyError {
  return new ThornkeyError("MALFORMED", "age said what is no stanza");
}
