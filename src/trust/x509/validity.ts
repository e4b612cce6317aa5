/** Times of certificates (RFC 5280, 4.1.2.5): UTCTime through 2049, GeneralizedTime from 2050 on; whole seconds, UTC. */
import { ThornkeyError } from "../../errors.ts";
import { type Fields, TYPE } from "./der.ts";

/** Milliseconds since 1970, whole seconds. */
export interface Validity {
  readonly notBefore: number;
  readonly notAfter: number;
}

/** The end of a certificate that has none (RFC 5280, 4.1.2.5): 9999-12-31T23:59:59Z. */
export const NO_END = Date.UTC(9999, 11, 31, 23, 59, 59);

export const DAY = 86_400_000;

/** @returns milliseconds since 1970. @throws ThornkeyError `MALFORMED` */
export function readTime(fields: Fields): number {
  const { tag, body } = fields.any();
  const text = Buffer.from(body).toString("latin1");
  const century = Number(text.slice(0, 2)) >= 50 ? "19" : "20";
  const full = tag === TYPE.utcTime ? `${century}${text}` : tag === TYPE.generalizedTime ? text : "";
  const [, year, ...parts] = /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/.exec(full) ?? [];
  const [month, day, hour, minute, second] = parts;
  const time = Date.parse(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`);
  if (Number.isNaN(time)) throw new ThornkeyError("MALFORMED", `'${text}' is no time`);
  return time;
}

/** @param fields those of Validity. @throws ThornkeyError `MALFORMED` */
export function readValidity(fields: Fields): Validity {
  const [notBefore, notAfter] = [readTime(fields), readTime(fields)];
  fields.end();
  return { notBefore, notAfter };
}

/** @param time milliseconds since 1970. @returns the second it is in */
export function secondOf(time: number): Date {
  return new Date(Math.floor(time / 1000) * 1000);
}
