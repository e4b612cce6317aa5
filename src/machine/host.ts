/**
 * What tells this host from others. Nothing of it is secret, and most of it can be cloned by somebody who has the board;
 * it ties a vault to where it belongs, and a root proves the rest.
 */
import { bootMediumCid } from "./boot-medium.ts";
import { type HostFiles, hostFiles, LISTING_BYTES } from "./host-files.ts";
import { onboardNetworkAddress } from "./onboard-network.ts";

/** One thing that tells this host from others. */
export interface HostComponent {
  readonly name: string;
  /** For a person. */
  readonly title: string;
  /** 1 to 4096 bytes; the same for as long as the thing itself is the same. */
  readonly value: Uint8Array;
  /** What it is taken for when nobody decides otherwise. Firmware, and what an installation makes up, may change. */
  readonly default: "hard" | "soft";
}

type Source = (files: HostFiles) => string | undefined;

interface Line {
  readonly name: string;
  readonly title: string;
  readonly default: "hard" | "soft";
  /** What a value looks like; everything else is as good as absent. */
  readonly form: RegExp;
  /** Where it is told; the first that tells something of this form counts. */
  readonly from: readonly Source[];
}

/** /proc/device-tree is a link to the second place, and leads nowhere in a copy of a host. */
const DEVICE_TREES = ["proc/device-tree", "sys/firmware/devicetree/base"];

const HEX_32 = /^[0-9a-f]{32}$/i;
const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
const MAC = /^[0-9a-f]{2}(?::[0-9a-f]{2}){5}$/i;
const SERIAL = /^[\x21-\x7e]{4,64}$/;
const TEXT = /^[\x20-\x7e]{1,256}$/;

/**
 * The version of the kernel is not here: it changes with every update, and would count for nothing after the first.
 * The serial number of the root is not here either: the root itself tells it.
 */
const TABLE: readonly Line[] = [
  {
    name: "soc-serial",
    title: "serial number of the processor",
    default: "hard",
    form: SERIAL,
    from: [...deviceTree("serial-number"), cpuinfo("Serial")],
  },
  { name: "boot-medium", title: "CID of the boot medium", default: "hard", form: HEX_32, from: [bootMediumCid] },
  { name: "board-uuid", title: "UUID of the board", default: "hard", form: UUID, from: [dmi("product_uuid")] },
  {
    name: "board-serial",
    title: "serial number of the board",
    default: "soft",
    form: TEXT,
    from: [dmi("board_serial")],
  },
  {
    name: "model",
    title: "model of the board",
    default: "soft",
    form: TEXT,
    from: [...deviceTree("model"), cpuinfo("Model"), dmi("product_name")],
  },
  {
    name: "revision",
    title: "revision of the board",
    default: "soft",
    form: /^[0-9a-f]{4,8}$/i,
    from: [...deviceTreeCell("system/linux,revision"), cpuinfo("Revision")],
  },
  {
    name: "network",
    title: "address of the network interface on the board",
    default: "soft",
    form: MAC,
    from: [onboardNetworkAddress],
  },
  {
    name: "firmware-id",
    title: "machine id that the firmware gives",
    default: "soft",
    form: SERIAL,
    from: deviceTree("chosen/rpi-machine-id"),
  },
  {
    name: "machine-id",
    title: "machine id of the installation",
    default: "soft",
    form: HEX_32,
    from: [(files) => files.text("etc/machine-id")],
  },
  {
    name: "bootloader",
    title: "version of the boot EEPROM",
    default: "soft",
    form: TEXT,
    from: deviceTree("chosen/bootloader/version"),
  },
];

/** What makers leave in place of a number: the same on thousands of boards. */
const PLACEHOLDER =
  /^(?:[0.:\s-]+|[f:-]+|none|not (?:applicable|specified|available|present)|unknown|default string|to be filled by o\.?e\.?m\.?|system (?:serial number|product name)|base ?board serial number|serial number|chassis serial number|o\.?e\.?m\.?|n\/?a|0?123456789(?:abcdef)?|03000200-0400-0500-0006-000700080009)$/i;

/**
 * @param root the directory that is `/`; a test, or `--host DIR`, gives another, and nothing outside it is read
 * @returns what there is to know, in the order of the table; what is missing, unreadable or nonsense is left out. It
 *   never fails. (A promise, because what the firmware's mailbox tells will have to be waited for.)
 */
export async function readHost(root = "/"): Promise<HostComponent[]> {
  const files = hostFiles(root);
  return TABLE.flatMap(({ name, title, default: usual, form, from }) => {
    for (const source of from) {
      const told = source(files);
      // Kernels have changed how they write hexadecimal digits.
      const text = form.ignoreCase ? told?.toLowerCase() : told;
      if (text !== undefined && form.test(text) && !PLACEHOLDER.test(text)) {
        return [{ name, title, default: usual, value: new TextEncoder().encode(text) }];
      }
    }
    return [];
  });
}

/** @returns the id of this boot of the kernel, or `unknown`, which then is the same after every boot */
export function readBootId(root = "/"): string {
  const id = hostFiles(root).text("proc/sys/kernel/random/boot_id");
  return id !== undefined && UUID.test(id) ? id : "unknown";
}

/** @returns seconds since the kernel started; infinite when it cannot be told, so that nobody takes it for early */
export function readUptime(root = "/"): number {
  const match = /^\d+(?:\.\d+)?(?= )/.exec(hostFiles(root).text("proc/uptime") ?? "");
  return match === null ? Number.POSITIVE_INFINITY : Number(match[0]);
}

/** A property that is text. */
function deviceTree(property: string): readonly Source[] {
  return DEVICE_TREES.map((tree) => (files) => files.text(`${tree}/${property}`));
}

/** A property that is one number of 32 bits, big-endian, as hexadecimal digits without zeros before them. */
function deviceTreeCell(property: string): readonly Source[] {
  return DEVICE_TREES.map((tree) => (files) => {
    const bytes = files.bytes(`${tree}/${property}`);
    return bytes?.length === 4 ? new DataView(bytes.buffer).getUint32(0).toString(16) : undefined;
  });
}

function cpuinfo(field: string): Source {
  const line = new RegExp(`^${field}\\s*: *(.+)$`, "m");
  return (files) => line.exec(files.text("proc/cpuinfo", LISTING_BYTES) ?? "")?.[1]?.trim();
}

/** What the firmware of a PC tells (SMBIOS); the numbers are readable for root only. */
function dmi(field: string): Source {
  return (files) => files.text(`sys/class/dmi/id/${field}`);
}
