import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { readBootId, readHost, readUptime } from "../../src/machine/host.ts";

let host: string;

beforeEach(() => {
  host = mkdtempSync(join(tmpdir(), "thornkey-host-"));
});

afterEach(() => rmSync(host, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 }));

function put(path: string, content: string | Uint8Array): void {
  mkdirSync(dirname(join(host, path)), { recursive: true });
  writeFileSync(join(host, path), content);
}

function link(path: string, target: string): void {
  mkdirSync(dirname(join(host, path)), { recursive: true });
  symlinkSync(target, join(host, path));
}

async function read(): Promise<Record<string, string>> {
  const components = await readHost(host);
  return Object.fromEntries(components.map(({ name, value }) => [name, new TextDecoder().decode(value)]));
}

const CID = "035344534e3332478031a2b3c4014500";
const OTHER_CID = "150100424a54443452064bbd1c2f7300";
const EMMC = "sys/devices/platform/axi/1001100000.mmc/mmc_host/mmc0/mmc0:0001";
const ETHERNET = "sys/devices/platform/axi/1000120000.pcie/1f00100000.ethernet";

/** A disk with one partition, as sysfs shows it. */
function putDisk(name: string, device: string, number: string, cid?: string): void {
  const disk = `${device}/block/${name}`;
  mkdirSync(join(host, disk, "slaves"), { recursive: true });
  put(`${disk}/${name}p2/partition`, "2\n");
  link(`${disk}/device`, `../../../${device.split("/").at(-1)}`);
  if (cid !== undefined) put(`${device}/cid`, `${cid}\n`);
  link(`sys/block/${name}`, `../../${disk}`);
  link(`sys/dev/block/${number}`, `../../../${disk}/${name}p2`);
}

function putInterface(name: string, device: string, address: string, more: Record<string, string> = {}): void {
  const folder = `${device}/net/${name}`;
  put(`${folder}/address`, `${address}\n`);
  for (const [file, text] of Object.entries(more)) put(`${folder}/${file}`, `${text}\n`);
  link(`${folder}/device`, `../../../${device.split("/").at(-1)}`);
  link(`sys/class/net/${name}`, `../../../${folder}`);
}

const root = (device: string, source: string, type = "ext4") =>
  `26 1 ${device} / / rw,relatime shared:1 - ${type} ${source} rw\n27 26 0:5 / /dev rw - devtmpfs udev rw\n`;

function putRaspberryPi(): void {
  put("proc/device-tree/serial-number", "10000000a1b2c3d4\0");
  put("proc/device-tree/model", "Raspberry Pi 5 Model B Rev 1.0\0");
  put("proc/device-tree/system/linux,revision", Uint8Array.of(0x00, 0xc0, 0x41, 0x20));
  put("proc/device-tree/chosen/rpi-machine-id", "5d0f5ab7b7b54b1c8a5f7f3f0a1b2c3d\0");
  put("proc/device-tree/chosen/bootloader/version", "868506f6a2bcd6cdeb03ea4e0f1bbaf3e4bd6b9e\0");
  put("etc/machine-id", "0123456789abcdef0123456789abcdee\n");
  putDisk("mmcblk0", EMMC, "179:2", CID);
  put("proc/self/mountinfo", root("179:2", "/dev/mmcblk0p2"));
  putInterface("eth0", ETHERNET, "2c:cf:67:01:02:03", { addr_assign_type: "0" });
}

describe("a host", () => {
  it("is told by its board, its card, its network interface and what is installed", async () => {
    putRaspberryPi();
    expect(await read()).toEqual({
      "soc-serial": "10000000a1b2c3d4",
      "boot-medium": CID,
      model: "Raspberry Pi 5 Model B Rev 1.0",
      revision: "c04120",
      network: "2c:cf:67:01:02:03",
      "firmware-id": "5d0f5ab7b7b54b1c8a5f7f3f0a1b2c3d",
      "machine-id": "0123456789abcdef0123456789abcdee",
      bootloader: "868506f6a2bcd6cdeb03ea4e0f1bbaf3e4bd6b9e",
    });
    const hard = (await readHost(host)).filter((component) => component.default === "hard");
    expect(hard.map(({ name }) => name)).toEqual(["soc-serial", "boot-medium"]);
  });

  it("is the same whether the device tree or /proc/cpuinfo tells of it", async () => {
    putRaspberryPi();
    const before = await read();
    rmSync(join(host, "proc/device-tree"), { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
    const cores = "processor\t: 0\nmodel name\t: none\n\n".repeat(200);
    put("proc/cpuinfo", `${cores}Revision\t: c04120\nSerial\t\t: 10000000a1b2c3d4\nModel\t\t: ${before.model}\n`);
    const { "firmware-id": _, bootloader: __, ...rest } = before;
    expect(await read()).toEqual(rest);
  });

  it("is found through the kernel's own link to the device tree, also in a copy where the link leads out", async () => {
    put("sys/firmware/devicetree/base/serial-number", "10000000a1b2c3d4\0");
    link("proc/device-tree", "/sys/firmware/devicetree/base");
    expect(await read()).toEqual({ "soc-serial": "10000000a1b2c3d4" });
  });

  it("on a PC is told by its firmware", async () => {
    put("sys/class/dmi/id/product_uuid", "4C4C4544-0042-3510-8052-B7C04F463232\n");
    put("sys/class/dmi/id/board_serial", "/ABC1234/CN7016366P00AB/\n");
    put("sys/class/dmi/id/product_name", "OptiPlex 7050\n");
    expect(await read()).toEqual({
      "board-uuid": "4c4c4544-0042-3510-8052-b7c04f463232",
      "board-serial": "/ABC1234/CN7016366P00AB/",
      model: "OptiPlex 7050",
    });
  });

  it.each(["To be filled by O.E.M.", "Default string", "0000000000000000", "Not Specified", "0123456789", "None", " "])(
    "is not told by what thousands of hosts share: %s",
    async (text) => {
      put("sys/class/dmi/id/board_serial", `${text}\n`);
      put("proc/device-tree/serial-number", `${text}\0`);
      put("sys/class/dmi/id/product_uuid", "03000200-0400-0500-0006-000700080009\n");
      expect(await read()).toEqual({});
    },
  );

  it("says which boot this is, and since when", () => {
    put("proc/sys/kernel/random/boot_id", "9a1b2c3d-1234-4abc-8def-0123456789ab\n");
    put("proc/uptime", "12345.67 45678.90\n");
    expect(readBootId(host)).toBe("9a1b2c3d-1234-4abc-8def-0123456789ab");
    expect(readUptime(host)).toBe(12345.67);
  });

  it("that does not say since when it runs is not taken for one that has just started", () => {
    for (const text of ["", "garbage", "-1 2", "NaN 1", "1e9 2"]) {
      put("proc/uptime", text);
      expect(readUptime(host)).toBe(Number.POSITIVE_INFINITY);
    }
  });

  it("that is this machine is read the same twice, and its uptime grows", async () => {
    expect(await readHost()).toEqual(await readHost("/"));
    expect(readBootId()).toMatch(/^[0-9a-f-]{36}$/);
    expect(readUptime()).toBeGreaterThan(0);
    expect(readUptime()).toBeLessThan(Number.POSITIVE_INFINITY);
  });
});

describe("the boot medium", () => {
  const medium = async () => (await read())["boot-medium"];
  const SECOND = "sys/devices/platform/soc/fe340000.mmc/mmc_host/mmc1/mmc1:aaaa";
  const NVME = "sys/devices/pci0000:00/0000:01:00.0/nvme/nvme0";

  it("is the card below the root file system, not the other one", async () => {
    putDisk("mmcblk0", EMMC, "179:2", OTHER_CID);
    putDisk("mmcblk1", SECOND, "179:34", CID);
    put("proc/self/mountinfo", root("179:34", "/dev/root"));
    expect(await medium()).toBe(CID);
  });

  it("is the card below what was mounted last", async () => {
    putDisk("mmcblk0", EMMC, "179:2", OTHER_CID);
    putDisk("mmcblk1", SECOND, "179:34", CID);
    put("proc/self/mountinfo", root("179:2", "/dev/mmcblk0p2") + root("179:34", "/dev/mmcblk1p2"));
    expect(await medium()).toBe(CID);
  });

  it("is found below an encrypted root, through every layer", async () => {
    putDisk("mmcblk0", EMMC, "179:2", CID);
    putDisk("mmcblk1", SECOND, "179:34", OTHER_CID);
    link("sys/devices/virtual/block/dm-0/slaves/mmcblk0p2", `../../../../../../${EMMC}/block/mmcblk0/mmcblk0p2`);
    link("sys/devices/virtual/block/dm-1/slaves/dm-0", "../../dm-0");
    link("sys/dev/block/254:1", "../../devices/virtual/block/dm-1");
    put("proc/self/mountinfo", root("254:1", "/dev/mapper/root"));
    expect(await medium()).toBe(CID);
  });

  it("is found below btrfs, and below an overlay by where the firmware's files lie", async () => {
    putDisk("mmcblk0", EMMC, "179:2", OTHER_CID);
    putDisk("mmcblk1", SECOND, "179:34", CID);
    put("proc/self/mountinfo", root("0:31", "/dev/mmcblk1p2", "btrfs"));
    expect(await medium()).toBe(CID);
    put("proc/self/mountinfo", `${root("0:31", "overlay", "overlay")}40 26 179:34 / /boot/firmware rw - vfat x rw\n`);
    expect(await medium()).toBe(CID);
  });

  it("is the only card when no disk is mounted yet", async () => {
    putDisk("mmcblk0", EMMC, "179:2", CID);
    put("proc/self/mountinfo", root("0:2", "none", "rootfs"));
    expect(await medium()).toBe(CID);
    putDisk("mmcblk1", SECOND, "179:34", OTHER_CID);
    expect(await medium()).toBeUndefined();
  });

  it("is no card that happens to be there while the system runs from another disk, or from two", async () => {
    putDisk("mmcblk0", EMMC, "179:2", CID);
    put(`${NVME}/nvme0n1/nvme0n1p2/partition`, "2\n");
    link("sys/dev/block/259:2", `../../../${NVME}/nvme0n1/nvme0n1p2`);
    put("proc/self/mountinfo", root("259:2", "/dev/nvme0n1p2"));
    expect(await medium()).toBeUndefined();
    link("sys/devices/virtual/block/md0/slaves/nvme0n1p2", `../../../../../../${NVME}/nvme0n1/nvme0n1p2`);
    link("sys/devices/virtual/block/md0/slaves/mmcblk0p2", `../../../../../../${EMMC}/block/mmcblk0/mmcblk0p2`);
    link("sys/dev/block/9:0", "../../devices/virtual/block/md0");
    put("proc/self/mountinfo", root("9:0", "/dev/md0"));
    expect(await medium()).toBeUndefined();
  });
});

describe("the network interface", () => {
  const address = async () => (await read()).network;
  const WIFI = "sys/devices/platform/soc/fe300000.mmcnr/mmc_host/mmc1/mmc1:0001/mmc1:0001:1";
  const USB = "sys/devices/platform/soc/fe980000.usb/usb1/1-1/1-1.1/1-1.1:1.0";

  it("is a wired one of the board before a wireless one, in the order of their numbers", async () => {
    putInterface("a0", WIFI, "dc:a6:32:00:00:09");
    mkdirSync(join(host, WIFI, "net/a0/phy80211"));
    expect(await address()).toBe("dc:a6:32:00:00:09");
    putInterface("eth10", `${ETHERNET}10`, "dc:a6:32:00:00:10");
    expect(await address()).toBe("dc:a6:32:00:00:10");
    putInterface("eth2", `${ETHERNET}2`, "dc:a6:32:00:00:02");
    expect(await address()).toBe("dc:a6:32:00:00:02");
  });

  it("is nothing made of software, and no adapter that somebody plugged in", async () => {
    put("sys/devices/virtual/net/docker0/address", "02:42:00:00:00:01\n");
    link("sys/class/net/docker0", "../../../sys/devices/virtual/net/docker0");
    putInterface("eth0", USB, "00:e0:4c:00:00:01");
    expect(await address()).toBeUndefined();
  });

  it("may lie on USB when the device tree describes it, as on a Raspberry Pi 3", async () => {
    putInterface("eth0", USB, "b8:27:eb:00:00:01");
    mkdirSync(join(host, "sys/firmware/devicetree/base/soc/usb/ethernet"), { recursive: true });
    link(
      `${dirname(USB)}/of_node`,
      `${"../".repeat(dirname(USB).split("/").length)}sys/firmware/devicetree/base/soc/usb/ethernet`,
    );
    expect(await address()).toBe("b8:27:eb:00:00:01");
  });

  it("tells nothing while it carries an address that somebody gave it", async () => {
    putInterface("eth0", ETHERNET, "2c:cf:67:01:02:03", { addr_assign_type: "3" });
    putInterface("eth1", `${ETHERNET}1`, "2c:cf:67:01:02:04", { addr_assign_type: "0" });
    expect(await address()).toBeUndefined();
  });
});

describe("a broken host", () => {
  const FACTS = [
    "proc/device-tree/serial-number",
    "proc/device-tree/system/linux,revision",
    "proc/device-tree/model",
    "proc/cpuinfo",
    "proc/self/mountinfo",
    "proc/uptime",
    "proc/sys/kernel/random/boot_id",
    "sys/class/dmi/id/product_uuid",
    "sys/class/net/eth0/address",
    "sys/class/net/eth0/device",
    `${EMMC}/cid`,
    "sys/dev/block/179:2",
    "sys/block/mmcblk0",
    "etc/machine-id",
  ];

  const spoil: Record<string, (path: string) => void> = {
    nothing: () => {},
    directory: (path) => mkdirSync(path),
    "a link to itself": (path) => symlinkSync(path, path),
    "a link up": (path) => symlinkSync("..", path),
    "a link out": (path) => symlinkSync("/etc/hostname", path),
    "an endless device": (path) => symlinkSync("/dev/zero", path),
    "a pipe nobody writes to": (path) => spawnSync("mkfifo", [path]),
    "a huge file": (path) => writeFileSync(path, "1".repeat((1 << 20) + 1)),
    "an empty file": (path) => writeFileSync(path, ""),
  };

  it.each(FACTS.flatMap((fact) => Object.keys(spoil).map((how) => [fact, how])))(
    "%s as %s is only absent",
    async (fact, how) => {
      putRaspberryPi();
      const before = await read();
      mkdirSync(dirname(join(host, fact)), { recursive: true });
      rmSync(join(host, fact), { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
      spoil[how]?.(join(host, fact));
      const after = await read();
      for (const [name, value] of Object.entries(after)) expect(value).toBe(before[name]);
      expect(typeof readUptime(host)).toBe("number");
      expect(readBootId(host)).toBe("unknown");
    },
  );

  it("never fails and never tells more than 4 KiB, whatever its files hold", async () => {
    const anything = fc.oneof(
      fc.uint8Array({ maxLength: 5000 }),
      fc.string({ unit: "binary" }).map((text) => Buffer.from(text)),
      fc
        .constantFrom(root("179:2", "/dev/mmcblk0p2"), "Serial : 10000000a1b2c3d4\n", `${CID}\n`)
        .map((text) => Buffer.from(text)),
    );
    putRaspberryPi();
    const files = FACTS.filter((fact) => !/eth0\/device|179:2|sys\/block/.test(fact));
    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(fc.constantFrom(...files), anything), { maxLength: 8 }), async (spoiled) => {
        for (const [path, content] of spoiled) put(path, content);
        for (const { value } of await readHost(host)) {
          expect(value.length).toBeGreaterThan(0);
          expect(value.length).toBeLessThanOrEqual(4096);
          expect(new TextDecoder().decode(value)).toMatch(/^[\x20-\x7e]+$/);
        }
        readBootId(host);
        readUptime(host);
      }),
      { numRuns: 200 },
    );
  });

  it("whose root is not there tells nothing", async () => {
    expect(await readHost(join(host, "nowhere"))).toEqual([]);
  });
});
