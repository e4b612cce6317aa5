/** The Raspberry Pi's own key. */
import { concernsAbout, describeFirmware } from "../../roots/pi/describe.ts";
import { parsePiLocation } from "../../roots/pi/location.ts";
import { groupName } from "./accounts.ts";
import { type Check, fail, ok, type Patient, type Said, warn } from "./finding.ts";
import type { Ask } from "./hardware.ts";

/** Without the vault: nothing is signed and nothing derived. */
export const askPi: Ask = async (specification) => {
  const report = await describeFirmware(parsePiLocation(specification));
  const said: Said[] = [];
  if (report.keys !== undefined) {
    const since = report.firmware === undefined ? "" : `, firmware of ${report.firmware}`;
    said.push(
      report.keyPresent === false
        ? fail("this Raspberry Pi has no key in its OTP memory", "docs/pi.md says how one is made, once and for ever")
        : ok(`the Raspberry Pi's own key answers${since}`),
    );
    if (report.locks !== undefined) {
      said.push(
        ok(report.locks.length > 0 ? `locked until the next reboot: ${report.locks.join(", ")}` : "not locked"),
      );
    }
  }
  const unreached = report.keys === undefined;
  for (const { says, hint = "docs/pi.md" } of report.concerns)
    said.push(unreached ? fail(says, hint) : warn(says, hint));
  return said;
};

const NODES = ["dev/vcio_crypto", "dev/vcio"] as const;

export const PI_CHECKS: readonly Check[] = [
  {
    // While the vault runs the firmware is its own; who else could ask it can be seen from the files.
    name: "pi-access",
    look({ status, host }: Patient) {
      if (!status?.roots.some(({ kind }) => kind === "pi" || kind === "composite")) return undefined;
      const found = NODES.find((path) => host.stat(path) !== undefined);
      const stat = found === undefined ? undefined : host.stat(found);
      if (found === undefined || stat === undefined) return undefined;
      const group = groupName(host, stat.gid);
      const concerns = concernsAbout(`/${found}`, { mode: stat.mode & 0o777, owner: stat.uid, group });
      return concerns.length > 0
        ? concerns.map(({ says, hint = "docs/pi.md" }) => warn(says, hint))
        : ok("only the vault's user and root open the firmware's node");
    },
  },
];
