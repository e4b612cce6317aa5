import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync, zstdCompressSync } from "node:zlib";
import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import { namesInInitramfs, UnknownCompression } from "../../src/machine/initramfs.ts";

const HAS_CPIO = spawnSync("cpio", ["--version"]).status === 0;
if (!HAS_CPIO) process.stderr.write("cpio is not installed: the tests of initramfs files are skipped\n");

describe.runIf(HAS_CPIO)("an initramfs", () => {
  const folder = mkdtempSync(join(tmpdir(), "thornkey-initramfs-"));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  /** As cpio itself makes it. */
  function archive(...paths: string[]): Uint8Array {
    for (const path of paths) {
      mkdirSync(join(folder, path, ".."), { recursive: true });
      writeFileSync(join(folder, path), path.repeat(7));
    }
    const { stdout, status } = spawnSync("cpio", ["-o", "-H", "newc"], { cwd: folder, input: `${paths.join("\n")}\n` });
    expect(status).toBe(0);
    return new Uint8Array(stdout);
  }

  const DRIVER = "usr/lib/modules/6.12/kernel/drivers/char/tpm/tpm_tis_spi.ko.xz";
  const early = archive("kernel/x86/microcode/AuthenticAMD.bin");
  const main = archive("init", DRIVER, "etc/fstab");

  it.each([
    ["plain", main],
    ["gzip", gzipSync(main)],
    ["zstd", zstdCompressSync(main)],
    ["gzip with padding", Buffer.concat([gzipSync(main)])],
  ])("tells its files when it is %s", (_, bytes) => {
    expect(namesInInitramfs(new Uint8Array(bytes))).toEqual(["init", DRIVER, "etc/fstab"]);
  });

  it("tells also those of the archive before the compressed one", () => {
    const whole = Buffer.concat([early, new Uint8Array(512), zstdCompressSync(main)]);
    expect(namesInInitramfs(new Uint8Array(whole))).toEqual([
      "kernel/x86/microcode/AuthenticAMD.bin",
      "init",
      DRIVER,
      "etc/fstab",
    ]);
  });

  it("says which compression it does not know", () => {
    const xz = Uint8Array.of(0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00, 1, 2, 3);
    expect(() => namesInInitramfs(xz)).toThrow(UnknownCompression);
    expect(() => namesInInitramfs(xz)).toThrow(/xz/);
  });

  it("fails for what is none, and for one that was cut, and never hangs", () => {
    fc.assert(
      fc.property(fc.nat(main.length - 1), fc.nat(255), (at, byte) => {
        const changed = main.slice();
        changed[at] = byte;
        for (const bytes of [main.slice(0, at), changed]) {
          try {
            namesInInitramfs(bytes);
          } catch (error) {
            expect(error).toBeInstanceOf(Error);
          }
        }
      }),
    );
    expect(() => namesInInitramfs(new TextEncoder().encode("no initramfs at all"))).toThrow(/no initramfs/);
    expect(() => namesInInitramfs(main.slice(0, 300))).toThrow(/too early/);
  });
});
