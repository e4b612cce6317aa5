/** Lengths of time as people write them. */
import { ThornkeyError } from "../errors.ts";

const UNITS: { readonly [unit: string]: number } = { s: 1, m: 60, h: 3600, d: 86_400, w: 604_800 };

/**
 * @param text `30s`, `5m`, `12h`, `90d`, `2w`
 * @returns seconds, 1 or more
 * @throws ThornkeyError `USAGE`
 */
export function secondsOf(text: string): number {
  const [, number = "0", unit = ""] = /^(\d{1,6})([smhdw])$/.exec(text) ?? [];
  const seconds = Number(number) * (UNITS[unit] ?? 0);
  if (seconds > 0) return seconds;
  throw new ThornkeyError("USAGE", `'${text}' is no length of time`, { hint: "write 30s, 5m, 12h, 90d or 2w" });
}
