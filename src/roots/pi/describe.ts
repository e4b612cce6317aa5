/** What there is of the firmware's service on this device, for a person. */
import { readFileSync, statSync } from "node:fs";
import { ThornkeyError } from "../../errors.ts";
import { processorOf } from "./board.ts";
import { OLD_FIRMWARE_HINT } from "./errors.ts";
import { type Firmware, firmwareOver } from "./firmware.ts";
import { type FirmwareLink, type LinkOptions, threadLink } from "./link.ts";
import { type LockName, locksIn } from "./status.ts";

/** Who may open the node. */
export interface NodeAccess {
  /** Permission bits, such as 0o660. */
  readonly mode: number;
  readonly owner: number;
  /** Its name, or its number where it has none. */
  readonly group: string;
}

/** What is not known is undefined: the node does not let the question through, or the firmware does not answer it. */
export interface FirmwareReport {
  readonly node: string | undefined;
  readonly access: NodeAccess | undefined;
  readonly keys: number | undefined;
  readonly keyPresent: boolean | undefined;
  readonly locks: readonly LockName[] | undefined;
  readonly usage: number | undefined;
  /** When the firmware was built, as 2026-07-01. */
  readonly firmware: string | undefined;
  readonly processor: string | undefined;
  readonly boardSerial: string | undefined;
  /** What somebody should look at. */
  readonly concerns: readonly Concern[];
}

export interface Concern {
  readonly code: ThornkeyError["code"];
  readonly says: string;
  readonly hint?: string | undefined;
}

/** Seconds since 1970. Before, locks left a second way to the key open: GET_USER_OTP (release notes of the firmware). */
const SEALED_SINCE = Date.UTC(2026, 0, 16) / 1000;
const LEAKS: Concern = {
  code: "NOT_PERMITTED",
  says: "this firmware gives the key out even when it is locked",
  hint: OLD_FIRMWARE_HINT,
};

/** Looks at everything, and fails for nothing of it. */
export async function describeFirmware(options: LinkOptions = {}): Promise<FirmwareReport> {
  return describeOver(threadLink(options));
}

/** The same over a link that is there already, which is closed. */
export async function describeOver(link: FirmwareLink): Promise<FirmwareReport> {
  const firmware = firmwareOver(link);
  const concerns: Concern[] = [];
  const attempt = async <T>(ask: (firmware: Firmware) => Promise<T>): Promise<T | undefined> => {
    try {
      return await ask(firmware);
    } catch (error) {
      if (!(error instanceof ThornkeyError)) throw error;
      const { code, message, hint } = error;
      if (!concerns.some(({ says }) => says === message)) concerns.push({ code, says: message, hint });
      return undefined;
    }
  };
  try {
    const node = await attempt(({ node }) => node());
    const access = node === undefined ? undefined : accessTo(node);
    if (node !== undefined && access !== undefined) concerns.push(...concernsAbout(node, access));
    const served = node !== undefined && (await attempt(async ({ mustServe }) => mustServe().then(() => true)));
    const whenServed = <T>(ask: (firmware: Firmware) => Promise<T>) => (served ? attempt(ask) : undefined);
    const keys = await whenServed(({ numberOfKeys }) => numberOfKeys());
    const status = await whenServed(({ keyStatus }) => keyStatus());
    const keyPresent = await whenServed(async ({ publicKey }) => (await publicKey()) !== undefined);
    const usage = await whenServed(({ usage }) => usage());
    const revision = await whenServed(({ firmwareRevision }) => firmwareRevision());
    const board = await whenServed(({ boardRevision }) => boardRevision());
    if (revision !== undefined && revision < SEALED_SINCE) concerns.push(LEAKS);
    return {
      ...{ node, access, keys, keyPresent, usage, concerns },
      locks: status === undefined ? undefined : locksIn(status),
      firmware: revision === undefined ? undefined : new Date(revision * 1000).toISOString().slice(0, 10),
      processor: board === undefined ? undefined : processorOf(board),
      boardSerial: await whenServed(({ boardSerial }) => boardSerial()),
    };
  } finally {
    await firmware.close();
  }
}

/**
 * @param groups where the names of groups are
 * @returns undefined when there is no such file
 */
export function accessTo(node: string, groups = "/etc/group"): NodeAccess | undefined {
  const stat = statSync(node, { throwIfNoEntry: false });
  if (stat === undefined) return undefined;
  return { mode: stat.mode & 0o777, owner: stat.uid, group: nameOf(stat.gid, groups) };
}

/** Whoever opens the node can sign and derive with the device's key. */
export function concernsAbout(node: string, { mode, group }: NodeAccess): Concern[] {
  const hint = "give it to the vault's user alone, by the udev rule in docs/pi.md";
  const concern = (says: string): Concern => ({ code: "NOT_PERMITTED", says, hint });
  if ((mode & 0o007) !== 0)
    return [concern(`everybody can use the device's key: ${node} has mode 0${mode.toString(8)}`)];
  if ((mode & 0o070) !== 0 && group !== "root") {
    return [concern(`everybody in the group ${group} can use the device's key: ${node} is theirs`)];
  }
  return [];
}

function nameOf(gid: number, groups: string): string {
  try {
    const lines = readFileSync(groups, "utf8").split("\n");
    const found = lines.map((line) => line.split(":")).find(([, , number]) => number === String(gid));
    return found?.[0] ?? String(gid);
  } catch {
    return String(gid);
  }
}
