import { spawnSync } from "node:child_process";
import { chmodSync, existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type EmulatedChip, startEmulatedChip } from "../../src/roots/atecc/emulated.ts";
import { formatChipLocation } from "../../src/roots/atecc/location.ts";

const MAIN = join(import.meta.dirname, "../../src/cli/main.ts");

function thornkey(...args: string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [MAIN, ...args], {
    encoding: "utf8",
    timeout: 100_000,
    env: { ...process.env, THORNKEY_ROOT: undefined, NODE_OPTIONS: "" },
  });
  return { status, stdout, stderr };
}

describe("thornkey chip", () => {
  const folder = mkdtempSync(join(tmpdir(), "thornkey-test-"));
  const key = join(folder, "transport.key");
  let emulator: EmulatedChip;
  let at: readonly string[];

  beforeAll(async () => {
    emulator = await startEmulatedChip(join(folder, "chip.eeprom"));
    at = ["--root", formatChipLocation(emulator.location)];
  });

  afterAll(async () => {
    await emulator.close();
    rmSync(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
  });

  it("shows a blank chip for a person and for a script", () => {
    const { status, stdout } = thornkey("chip", "info", ...at);
    expect(status).toBe(0);
    expect(stdout).toMatch(/^profile +none: the chip is blank/m);
    const json = JSON.parse(thornkey("chip", "info", "--json", ...at).stdout);
    expect(json).toMatchObject({ model: "ATECC508A", configLocked: false, dataLocked: false, i2cAddress: "0x60" });
    expect(json.slots).toHaveLength(16);
    expect(json.slots[0].abilities[0]).toEqual({
      ability: expect.any(String),
      possible: expect.any(Boolean),
      why: expect.any(String),
    });
  });

  it("does not lock a chip when nobody says yes, and changes nothing", () => {
    const before = thornkey("chip", "dump", "--json", ...at).stdout;
    const refused = thornkey("chip", "provision", "--transport-key", key, ...at);
    expect(refused.status).toBe(2);
    expect(refused.stderr).toContain("cannot be undone");
    expect(refused.stderr).toContain("hint: add --yes");
    const dry = thornkey("chip", "provision", "--transport-key", key, "--dry-run", "--json", ...at);
    expect(JSON.parse(dry.stdout)).toMatchObject({
      stage: "blank",
      fixedForEver: expect.arrayContaining([expect.any(String)]),
    });
    expect(existsSync(key)).toBe(false);
    expect(thornkey("chip", "dump", "--json", ...at).stdout).toBe(before);
  });

  it("provisions, keeps the transport key to its owner, and says the same a second time", () => {
    const first = thornkey("chip", "provision", "--transport-key", key, "--yes", ...at);
    expect(first).toMatchObject({ status: 0, stdout: expect.stringContaining("has the profile thornkey-1") });
    expect(statSync(key).mode & 0o777).toBe(0o600);
    expect(statSync(key).size).toBe(32);
    expect(thornkey("chip", "provision", "--transport-key", key, ...at).status).toBe(0);
    expect(JSON.parse(thornkey("chip", "info", "--json", ...at).stdout)).toMatchObject({
      profile: "thornkey-1",
      dataLocked: true,
    });
  });

  it("refuses a transport key file that is not one, or that others may read", () => {
    const [short, open, missing] = ["short", "open", "missing"].map((name) => join(folder, name));
    writeFileSync(short!, "short", { mode: 0o600 });
    writeFileSync(open!, Buffer.alloc(32), { mode: 0o600 });
    chmodSync(open!, 0o644);
    const say = (file: string) => thornkey("chip", "provision", "--transport-key", file, ...at);
    expect(say(short!)).toMatchObject({ status: 1, stderr: expect.stringContaining("MALFORMED") });
    expect(say(open!)).toMatchObject({ status: 3, stderr: expect.stringContaining("hint: chmod 600") });
    expect(say(missing!)).toMatchObject({ status: 4, stderr: expect.stringContaining("FILE_NOT_FOUND") });
    expect(existsSync(missing!)).toBe(false);
  });

  it("tests a chip, and names what it could not try", () => {
    const { status, stdout } = thornkey("chip", "test", ...at);
    expect(status).toBe(0);
    expect(stdout).toMatch(/^ok +slot 0: sign digest +verified here and by the chip$/m);
    expect(stdout).toMatch(/^skipped +slot 1: sign digest +ReadKey bit 0 is clear$/m);
    expect(stdout).not.toContain("FAILED");
  });

  it("dumps what can be read, and no more", () => {
    const dump = JSON.parse(thornkey("chip", "dump", "--json", ...at).stdout);
    expect(dump.config).toMatch(/^0123[0-9a-f]{252}$/);
    expect(dump["slot 0"]).toBeNull();
    expect(dump["slot 6"]).toBeNull();
    expect(dump["slot 8"]).toHaveLength(832);
    expect(Buffer.from(dump.otp, "hex").toString()).toContain("thornkey-1");
  });

  it("says what is wrong, what to do, and ends with the status scripts rely on", () => {
    const cases: [number, string, string[]][] = [
      [6, "ROOT_UNAVAILABLE", ["chip", "info", "--root", "atecc:unix:/nowhere/chip.sock"]],
      [6, "hint: Enable I2C", ["chip", "info", "--root", "atecc:/dev/i2c-99"]],
      [2, "8-bit form of 0x60", ["chip", "info", "--root", "atecc:/dev/i2c-1@0xC0"]],
      [2, "USAGE", ["chip", "info", "--root", "tpm:/dev/tpmrm0"]],
      [2, "--transport-key", ["chip", "provision"]],
      [2, "unknown command", ["chip", "melt"]],
      [2, "unknown option", ["chip", "info", "--colour"]],
    ];
    for (const [status, text, args] of cases) {
      const result = thornkey(...args);
      expect(result.status, args.join(" ")).toBe(status);
      expect(result.stderr).toContain(text);
      expect(result.stdout).toBe("");
    }
  });

  it("ends quietly when the reader of its output has seen enough", () => {
    const command = `"${process.execPath}" "${MAIN}" chip dump ${at.join(" ")} | head -n 1`;
    const { stdout, stderr } = spawnSync("bash", ["-c", command], { encoding: "utf8", timeout: 100_000 });
    expect(stdout.trim().split("\n")).toHaveLength(1);
    expect(stderr).toBe("");
  });

  it("answers --help and --version with success", () => {
    expect(thornkey("--help")).toMatchObject({ status: 0, stdout: expect.stringContaining("chip") });
    expect(thornkey("chip", "provision", "--help").stdout).toContain("irreversible");
    expect(thornkey("--version")).toMatchObject({ status: 0, stdout: expect.stringMatching(/^\d+\.\d+\.\d+\n$/) });
  });
});
