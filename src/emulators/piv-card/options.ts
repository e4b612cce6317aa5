import { parseArgs } from "node:util";
import { ALGORITHM_NAMES, type Algorithm, SLOTS } from "./slots.ts";

export interface RunOptions {
  /** HOST:PORT where the virtual reader listens. */
  readonly vpcd: string;
  /** Path of the card's memory. */
  readonly card: string;
  /** Files with the PIN and the PUK of a new card; a line end after it does not count. */
  readonly pinFile?: string;
  readonly pukFile?: string;
  /** SLOT=ALGORITHM for keys of a new card that are not to be P-256. */
  readonly key?: readonly string[];
  /** Slots of a new card whose key wants a finger at every use. */
  readonly touch?: readonly string[];
  /** Path of a file that is there while a finger is on the card. */
  readonly finger?: string;
  /** Milliseconds a key waits for the finger. */
  readonly fingerWithin?: number;
  /** For a parent process whose end must be the emulator's end. */
  readonly untilStdinCloses?: boolean;
}

export const USAGE =
  "usage: --vpcd HOST:PORT --card FILE [--pin-file FILE] [--puk-file FILE] [--key SLOT=ALGORITHM]... [--touch SLOT]... " +
  "[--finger FILE [--finger-within MS]] [--until-stdin-closes]\n";

/** @throws TypeError when the arguments are not what {@link USAGE} says */
export function optionsFrom(args: readonly string[]): RunOptions {
  const { values } = parseArgs({
    args: [...args],
    options: {
      vpcd: { type: "string" },
      card: { type: "string" },
      "pin-file": { type: "string" },
      "puk-file": { type: "string" },
      key: { type: "string", multiple: true },
      touch: { type: "string", multiple: true },
      finger: { type: "string" },
      "finger-within": { type: "string" },
      "until-stdin-closes": { type: "boolean", default: false },
    },
  });
  const { vpcd, card, key, touch, finger, "pin-file": pinFile, "puk-file": pukFile } = values;
  if (vpcd === undefined || card === undefined) throw new TypeError("arguments");
  const within = values["finger-within"];
  return {
    vpcd,
    card,
    ...(pinFile !== undefined && { pinFile }),
    ...(pukFile !== undefined && { pukFile }),
    ...(key && { key }),
    ...(touch && { touch }),
    ...(finger !== undefined && { finger }),
    ...(within !== undefined && { fingerWithin: milliseconds(within) }),
    untilStdinCloses: values["until-stdin-closes"],
  };
}

/** @param text HOST:PORT, with brackets around an IPv6 host. @throws TypeError for anything else */
export function addressFrom(text: string): { host: string; port: number } {
  const [, host, digits] = /^(?:\[([0-9a-fA-F:]+)\]|([^:\s]+)):(\d{1,5})$/.exec(text)?.filter(Boolean) ?? [];
  const port = Number(digits);
  if (host === undefined || !(port >= 1 && port <= 65535)) throw new TypeError(`${text} is not HOST:PORT`);
  return { host, port };
}

/** @param items SLOT=ALGORITHM. @throws TypeError */
export function algorithmsFrom(items: readonly string[]): Map<number, Algorithm> {
  return new Map(
    items.map((item) => {
      const [slot = "", wanted] = item.split("=");
      const algorithm = ALGORITHM_NAMES.find((name) => name === wanted);
      if (!algorithm) throw new TypeError(`${item}: the algorithm is one of ${ALGORITHM_NAMES.join(", ")}`);
      return [slotFrom(slot), algorithm];
    }),
  );
}

/** @throws TypeError when the card has no such slot */
export function slotFrom(text: string): number {
  const slot = /^[0-9a-fA-F]{2}$/.test(text) ? Number.parseInt(text, 16) : 0;
  if (!SLOTS.has(slot)) throw new TypeError(`${text} is not one of the slots 9A, 9C, 9D, 9E`);
  return slot;
}

function milliseconds(text: string): number {
  if (!/^\d{1,6}$/.test(text)) throw new TypeError(`${text} is not a number of milliseconds`);
  return Number(text);
}
