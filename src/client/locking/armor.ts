/** The ASCII armor of age files (`age -a`; RFC 7468, figure 3), strict: one text for one file. */
import { ThornkeyError } from "../../errors.ts";
import type { Puller } from "./puller.ts";

const BEGIN = "-----BEGIN AGE ENCRYPTED FILE-----";
const END = "-----END AGE ENCRYPTED FILE-----";
const COLUMNS = 64;
/** White space before and after that is passed over. */
const MAXIMUM_AROUND = 1024;
const BLANK = /^[ \t\r\n]*$/;
const BASE64 = /^[A-Za-z0-9+/]+={0,2}$/;

/** @param bytes the beginning of a file, at least one */
export function beginsArmored(bytes: Uint8Array): boolean {
  return "- \t\r\n".includes(String.fromCharCode(bytes[0] ?? 0));
}

/** @returns whether what comes begins as armored files do, and binary ones do not; takes nothing away */
export async function isArmored(puller: Puller): Promise<boolean> {
  const bytes = await puller.next();
  if (bytes === undefined) return false;
  puller.unread(bytes);
  return beginsArmored(bytes);
}

/** @throws ThornkeyError `MALFORMED`, at the latest when the text ends without its last line */
export async function* dearmored(puller: Puller): AsyncGenerator<Uint8Array, void> {
  let state: "before" | "inside" | "after" = "before";
  let around = 0;
  let short = false;
  let carried = "";
  for (let over = false; !over; ) {
    const piece = await puller.next();
    over = piece === undefined;
    const lines = (carried + Buffer.from(piece ?? []).toString("latin1")).split("\n");
    // The last line has no end yet, except when nothing more comes.
    carried = over ? "" : (lines.pop() ?? "");
    const body: string[] = [];
    for (const ended of lines) {
      const line = ended.endsWith("\r") ? ended.slice(0, -1) : ended;
      if (state === "inside") {
        if (line === END) state = "after";
        else if (short || line.length === 0 || line.length > COLUMNS) throw malformed();
        else {
          short = line.length < COLUMNS || line.endsWith("=");
          body.push(line);
        }
      } else if (state === "before" && line.trimStart() === BEGIN) {
        state = "inside";
      } else {
        if (!BLANK.test(line)) throw malformed();
        around += line.length + 1;
      }
    }
    const limit = state === "inside" ? COLUMNS + 1 : MAXIMUM_AROUND;
    if (around > MAXIMUM_AROUND || carried.length > limit) throw malformed();
    if (body.length > 0) yield decoded(body.join(""));
  }
  if (state !== "after") throw malformed();
}

function decoded(text: string): Uint8Array {
  const bytes = Buffer.from(text, "base64");
  if (!BASE64.test(text) || bytes.toString("base64") !== text) throw malformed();
  return bytes;
}

function malformed(): ThornkeyError {
  return new ThornkeyError("MALFORMED", "broken ASCII armor");
}
