import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { errnoName, libc, O_CLOEXEC, O_RDWR } from "../../../src/machine/libc.ts";

/** Requests of <linux/i2c-dev.h>. */
export const I2C = { retries: 0x701, timeout: 0x702, slave: 0x703, functions: 0x705 } as const;

const ADAPTERS = "/sys/bus/i2c/devices";

/** The adapter's entry in sysfs; its number is not the same everywhere. */
export function adapterFolder(): string | undefined {
  return readdirSync(ADAPTERS)
    .filter((name) => name.startsWith("i2c-"))
    .map((name) => join(ADAPTERS, name))
    .find((folder) => readFileSync(join(folder, "name"), "utf8").startsWith("i2c-tiny-usb"));
}

/** @returns such as /dev/i2c-0, when the kernel has it */
export function deviceFile(): string | undefined {
  const folder = adapterFolder();
  const path = folder && join("/dev", basename(folder));
  return path && existsSync(path) ? path : undefined;
}

/** The device file without our driver: every call gives its result, or the name of its error number. */
export function rawDevice(path: string) {
  const c = libc();
  const fd = c.open(path, O_RDWR | O_CLOEXEC, 0);
  if (fd < 0) throw new Error(`${path}: ${errnoName(c.errno())}`);
  const said = (result: number) => (result < 0 ? errnoName(c.errno()) : result);
  return {
    ioctl: (request: number, argument: number) => said(c.ioctlNumber(fd, request, argument)),
    functions() {
      const bytes = new Uint8Array(8);
      const result = said(c.ioctlBytes(fd, I2C.functions, bytes));
      return result === 0 ? `0x${Buffer.from(bytes).readUInt32LE(0).toString(16)}` : result;
    },
    write: (...bytes: number[]) => said(c.write(fd, Uint8Array.from(bytes), bytes.length)),
    read: (length: number) => said(c.read(fd, new Uint8Array(length), length)),
    close: () => said(c.close(fd)),
  };
}

/** Lets a driver of the kernel, one that does nothing, claim an address. @returns what takes it away again */
export function claim(address: string): () => void {
  const folder = adapterFolder();
  writeFileSync(`${folder}/new_device`, `dummy ${address}`);
  return () => writeFileSync(`${folder}/delete_device`, address);
}
