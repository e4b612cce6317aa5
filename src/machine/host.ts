/**
 * What tells this host from others. Nothing of it is secret, and most of it can be cloned by somebody who has the board;
 * it ties a vault to where it belongs, and a root proves the rest.
 */
import { readdirSync, readFileSync, readlinkSync, statSync } from "node:fs";
import { join } from "node:path";

/** One thing that tells this host from others. */
export interface HostComponent {
  readonly name: string;
  /** For a person. */
  readonly title: string;
  readonly value: Uint8Array;
  /** What it is taken for when nobody decides otherwise. */
  readonly default: "hard" | "soft";
}

interface Line {
  readonly name: string;
  readonly title: string;
  readonly default: "hard" | "soft";
  /** @param at gives the text of a file below the host's root, trimmed; undefined when it is not there or empty */
  read(at: (path: string) => string | undefined, root: string): string | undefined;
}

const TABLE: readonly Line[] = [
  {
    name: "soc-serial",
    title: "serial number of the processor",
    default: "hard",
    read: (at) => at("proc/device-tree/serial-number") ?? /^Serial\s*:\s*(\S+)$/m.exec(at("proc/cpuinfo") ?? "")?.[1],
  },
  {
    name: "board-uuid",
    title: "UUID of the board (SMBIOS)",
    default: "hard",
    read: (at) => at("sys/class/dmi/id/product_uuid"),
  },
  { name: "boot-medium", title: "CID of the boot medium", default: "hard", read: bootMedium },
  { name: "model", title: "model of the board", default: "soft", read: (at) => at("proc/device-tree/model") },
  {
    name: "revision",
    title: "revision of the board",
    default: "soft",
    read: (at) => at("proc/device-tree/system/linux,revision"),
  },
  { name: "network", title: "address of the network interface", default: "soft", read: networkAddress },
  { name: "machine-id", title: "machine id of the installation", default: "soft", read: (at) => at("etc/machine-id") },
  {
    name: "bootloader",
    title: "version of the boot EEPROM",
    default: "soft",
    read: (at) => at("proc/device-tree/chosen/bootloader/version"),
  },
];

/** No fact of a host is longer. */
const MAXIMUM_BYTES = 4096;

/**
 * @param root the directory that is `/`; a test, or `--host DIR`, gives another
 * @returns what there is to know; what is missing or unreadable is left out
 */
export function readHost(root = "/"): readonly HostComponent[] {
  const at = (path: string) => textOf(join(root, path));
  return TABLE.flatMap((line) => {
    let value: string | undefined;
    try {
      value = line.read(at, root);
    } catch {
      return []; // a file system that answers oddly: the component is absent
    }
    if (value === undefined || value === "") return [];
    return [{ name: line.name, title: line.title, default: line.default, value: new TextEncoder().encode(value) }];
  });
}

/** @returns id of this boot of the kernel; the same until the next start */
export function readBootId(root = "/"): string {
  return textOf(join(root, "proc/sys/kernel/random/boot_id")) ?? "unknown";
}

/** @returns seconds since the kernel started */
export function readUptime(root = "/"): number {
  return Number.parseFloat(textOf(join(root, "proc/uptime")) ?? "") || 0;
}

function textOf(path: string): string | undefined {
  try {
    const stats = statSync(path);
    if (!stats.isFile()) return undefined;
    const bytes = readFileSync(path);
    if (bytes.length === 0 || bytes.length > (/(?:cpuinfo|mountinfo)$/.test(path) ? 1 << 20 : MAXIMUM_BYTES))
      return undefined;
    // Device tree strings end with NUL; binary cells are kept as they are.
    const text = bytes.toString("latin1").replace(/\0+$/, "").trim();
    return text === "" ? undefined : text;
  } catch {
    return undefined;
  }
}

/** The card that the root file system is on, or the only one there is. */
function bootMedium(at: (path: string) => string | undefined, root: string): string | undefined {
  const mounted = /^\S+ \S+ \S+ \S+ \/ .* - \S+ \/dev\/(mmcblk\d+)/m.exec(at("proc/self/mountinfo") ?? "")?.[1];
  const cards = namesIn(join(root, "sys/block")).filter((name) => /^mmcblk\d+$/.test(name));
  const card = mounted ?? (cards.length === 1 ? cards[0] : undefined);
  return card === undefined ? undefined : at(`sys/block/${card}/device/cid`);
}

/** The first interface with a device of its own, wired ones before others. */
function networkAddress(at: (path: string) => string | undefined, root: string): string | undefined {
  const physical = namesIn(join(root, "sys/class/net")).filter((name) => {
    try {
      readlinkSync(join(root, "sys/class/net", name, "device"));
      return true;
    } catch {
      return at(`sys/class/net/${name}/device/uevent`) !== undefined;
    }
  });
  physical.sort((a, b) => Number(b.startsWith("e")) - Number(a.startsWith("e")) || (a < b ? -1 : 1));
  for (const name of physical) {
    const address = at(`sys/class/net/${name}/address`);
    if (address !== undefined && address !== "00:00:00:00:00:00") return address;
  }
  return undefined;
}

function namesIn(path: string): string[] {
  try {
    return readdirSync(path).sort();
  } catch {
    return [];
  }
}
