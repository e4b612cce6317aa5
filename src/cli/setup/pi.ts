/** The Raspberry Pi's own key. */
import { describeFirmware, type FirmwareReport } from "../../roots/pi/describe.ts";
import type { Finder, Search } from "./finding.ts";

const KIND = "pi";

export const findPi: Finder = {
  kind: KIND,
  longest: 30_000,
  async look({ host }) {
    const isThere = host.names("dev").some((name) => name === "vcio" || name === "vcio_crypto");
    return isThere ? searchFrom(await describeFirmware()) : { found: [], troubles: [] };
  },
};

/** A key is made once in the life of a processor: that is the owner's to decide, and not taken here. */
const MAKE = "'rpi-fw-crypto genkey --key-id 1 --alg ec' makes one, once and for ever; docs/pi.md says what that means";

export function searchFrom(report: FirmwareReport): Search {
  const { node, keys, keyPresent, processor, boardSerial, firmware } = report;
  if (node === undefined || keys === undefined) {
    return {
      found: [],
      troubles: report.concerns.map(({ says, hint }) => ({ kind: KIND, says, todo: hint })),
    };
  }
  const name = `${processor ?? "Raspberry Pi"} ${boardSerial ?? ""}`.trim();
  // Who may open the node our own rule settles.
  const notes = report.concerns.map(({ says }) => says);
  return {
    found: [
      {
        ...{ kind: KIND, root: "pi", usable: keyPresent === true, hardware: true, first: [] },
        name: firmware === undefined ? name : `${name}, firmware ${firmware}`,
        notes: keyPresent === true ? notes : [`it has no key yet: ${MAKE}`, ...notes],
      },
    ],
    troubles: [],
  };
}
