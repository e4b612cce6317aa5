import { basename, dirname } from "node:path";
import { type HostFiles, LISTING_BYTES } from "./host-files.ts";

/** Where the system that runs may lie, the first that lies on a disk counts: an overlay or an initramfs does not. */
const MOUNT_POINTS = ["/", "/boot/firmware", "/boot"];

/** So many layers (encryption, volumes, RAID) may lie between a file system and its disk. */
const LAYERS = 8;

/**
 * Card identification register of the card or eMMC that this host runs from (SD Physical Layer 5.2; JESD84 7.2).
 *
 * The disk is followed through the layers that lie on it, such as LUKS. When the file systems lie on no disk at all
 * (an initramfs), the only card there is counts. When they lie on another kind of disk, or on two cards, there is none.
 *
 * @returns 32 hexadecimal digits as the kernel gives them, not checked
 */
export function bootMediumCid(files: HostFiles): string | undefined {
  const disks = disksOfSystem(files) ?? new Set(cardsIn(files));
  const [disk] = disks;
  return disks.size === 1 ? files.text(`sys/block/${disk}/device/cid`) : undefined;
}

/** @returns names of the disks below the file system; undefined when no mount point lies on any */
function disksOfSystem(files: HostFiles): ReadonlySet<string> | undefined {
  const mounts = mountsOf(files.text("proc/self/mountinfo", LISTING_BYTES) ?? "");
  for (const point of MOUNT_POINTS) {
    // What was mounted last lies on top.
    const mount = mounts.findLast((mount) => mount.point === point);
    if (mount === undefined) continue;
    const disks = new Set(disksBelow(files, `sys/dev/block/${mount.device}`, LAYERS));
    // btrfs and others have numbers of their own and name the device only as their source.
    const source = /^\/dev\/(mmcblk\d+)(?:p\d+)?$/.exec(mount.source)?.[1];
    if (disks.size === 0 && source !== undefined) disks.add(source);
    if (disks.size > 0) return disks;
  }
  return undefined;
}

/** The lines of proc_pid_mountinfo(5): id, parent, major:minor, root, mount point, options, …, "-", type, source. */
function mountsOf(mountinfo: string) {
  return mountinfo.split("\n").flatMap((line) => {
    const match = /^\d+ \d+ (\d+:\d+) \S+ (\S+) .*? - \S+ (\S+)/.exec(line);
    const [, device = "", point = "", source = ""] = match ?? [];
    return match === null ? [] : [{ device, point, source }];
  });
}

/** @param path of a block device in sysfs: a disk, a partition of one, or a layer on others */
function disksBelow(files: HostFiles, path: string, layers: number): readonly string[] {
  const device = files.resolve(path);
  if (device === undefined || layers === 0) return [];
  const below = files.names(`${device}/slaves`);
  if (below.length > 0) return below.flatMap((name) => disksBelow(files, `${device}/slaves/${name}`, layers - 1));
  const disk = files.text(`${device}/partition`) === undefined ? device : dirname(device);
  return [basename(disk)];
}

function cardsIn(files: HostFiles): readonly string[] {
  return files.names("sys/block").filter((name) => /^mmcblk\d+$/.test(name));
}
