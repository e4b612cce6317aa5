/** Whether the TPM's driver is where a root file system is opened from. */
import { spawnSync } from "node:child_process";
import { basename, dirname } from "node:path";
import { type HostFiles, LISTING_BYTES } from "../../machine/host-files.ts";
import { namesInInitramfs, UnknownCompression } from "../../machine/initramfs.ts";
import { fail, ok, type Patient, type Said, warn } from "./finding.ts";

/** What opens a disk with a TPM writes one of these into the options of its line in /etc/crypttab. */
const OPENED_BY_TPM = /\btpm2-device=|\bthornkey\b|\bclevis\b/;

/** Initramfs files of Raspberry Pi OS by how the kernel's release ends. */
const OF_FIRMWARE: readonly (readonly [ending: RegExp, name: string])[] = [
  [/2712$/, "initramfs_2712"],
  [/v8$/, "initramfs8"],
  [/v7l$/, "initramfs7l"],
  [/v7$/, "initramfs7"],
  [/(?:v6|\+)$/, "initramfs"],
];

export function lookIntoInitramfs({ host }: Patient): Said | readonly Said[] | undefined {
  const lines = (host.text("etc/crypttab", LISTING_BYTES) ?? "").split("\n").filter((line) => /^\s*[^#\s]/.test(line));
  const sure = lines.some((line) => OPENED_BY_TPM.test(line));
  if (!sure && !rootIsEncrypted(host)) return ok("no encrypted root is opened by the TPM: its driver may come later");
  const modules = modulesOf(host);
  if (modules === undefined) return undefined;
  if (modules.length === 0) return ok("the drivers of the TPM are built into the kernel");
  const images = imagesOf(host);
  if (images.length === 0) {
    return warn("no initramfs was found for the kernel that runs", "does the root need the TPM? Then make one");
  }
  return images.map((image) => lookInto(host, image, modules, sure));
}

function lookInto(host: HostFiles, image: string, modules: readonly string[], sure: boolean): Said {
  let names: readonly string[];
  try {
    names = namesIn(host, image);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    return warn(`/${image} cannot be looked into: ${why}`, `look yourself: lsinitramfs /${image} | grep ${modules[0]}`);
  }
  const there = new Set(names.flatMap((name) => /([^/]+)\.ko(?:\.[a-z0-9]+)?$/.exec(name)?.[1] ?? []).map(plain));
  const missing = modules.filter((module) => !there.has(module));
  if (missing.length === 0) return ok(`the TPM's drivers are in /${image}: ${modules.join(", ")}`);
  return (sure ? fail : warn)(
    `${missing.join(" and ")} ${missing.length > 1 ? "are" : "is"} not in /${image}: the TPM opens no root from there`,
    `add ${missing.length > 1 ? "them" : "it"} to /etc/initramfs-tools/modules, then: update-initramfs -u`,
  );
}

function namesIn(host: HostFiles, image: string): readonly string[] {
  const size = host.stat(image)?.size ?? 0;
  const bytes = host.bytes(image, size);
  if (bytes === undefined) throw new Error("it may not be read; run this as root");
  try {
    return namesInInitramfs(bytes);
  } catch (error) {
    if (!(error instanceof UnknownCompression)) throw error;
    const listed = spawnSync("lsinitramfs", ["/dev/stdin"], {
      ...{ input: bytes, encoding: "utf8", timeout: 60_000, maxBuffer: 1 << 28 },
    });
    if (listed.status !== 0) throw error;
    return listed.stdout.split("\n");
  }
}

/** The file system of / lies on a device that dm-crypt made. */
function rootIsEncrypted(host: HostFiles): boolean {
  const mounts = (host.text("proc/mounts", LISTING_BYTES) ?? "").split("\n").map((line) => line.split(" "));
  const device = mounts.find(([, where]) => where === "/")?.[0] ?? "";
  const name = basename(device);
  return host
    .names("sys/class/block")
    .filter((block) => block === name || host.text(`sys/class/block/${block}/dm/name`) === name)
    .some((block) => host.text(`sys/class/block/${block}/dm/uuid`)?.startsWith("CRYPT-"));
}

/**
 * Modules of the TPM's driver and of the buses it is behind, without those that are built in.
 *
 * @returns undefined when no driver has the TPM
 */
function modulesOf(host: HostFiles): readonly string[] | undefined {
  const device = host.resolve("sys/class/tpm/tpm0/device");
  if (device === undefined) return undefined;
  const found: string[] = [];
  for (let at = device; at.startsWith("sys/devices/"); at = dirname(at)) {
    const module = host.resolve(`${at}/driver/module`);
    if (module !== undefined) found.push(plain(basename(module)));
  }
  const release = host.text("proc/sys/kernel/osrelease") ?? "";
  const builtIn = (host.text(`lib/modules/${release}/modules.builtin`, LISTING_BYTES) ?? "").split("\n");
  const inKernel = new Set(builtIn.map((line) => plain(basename(line.trim()).replace(/\.ko$/, ""))));
  return [...new Set(found)].filter((module) => !inKernel.has(module));
}

/** Modules are written with both. */
function plain(module: string): string {
  return module.replaceAll("-", "_");
}

/** Those of the kernel that runs. */
function imagesOf(host: HostFiles): readonly string[] {
  const release = host.text("proc/sys/kernel/osrelease") ?? "";
  const ofFirmware = OF_FIRMWARE.find(([ending]) => ending.test(release))?.[1];
  const candidates = [
    `boot/initrd.img-${release}`,
    `boot/initramfs-${release}.img`,
    ...(ofFirmware === undefined ? [] : [`boot/firmware/${ofFirmware}`]),
  ];
  return candidates.filter((path) => host.stat(path) !== undefined);
}
