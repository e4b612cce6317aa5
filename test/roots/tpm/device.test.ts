/** The device path without a kernel's TPM: a FIFO answers each command with the command. `npm run test:boot` has the real one. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readlinkSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Worker } from "node:worker_threads";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { TpmRefusal } from "../../../src/roots/tpm/response-code.ts";
import { openTransport } from "../../../src/roots/tpm/transport.ts";

const COMMAND = Uint8Array.of(0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x7b, 0, 8);
const ANOTHER = Uint8Array.of(0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x7b, 0, 9);
const ENOUGH = 60_000;

describe("a TPM behind a device file", () => {
  let folder: string;
  let path: string;
  const location = () => ({ kind: "device", path }) as const;
  const descriptors = () => readdirSync("/proc/self/fd").filter((fd) => pointsTo(fd) === path).length;

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "thornkey-device-"));
    path = join(folder, "fifo");
    expect(spawnSync("mkfifo", [path]).status).toBe(0);
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it("gives one answer for one command", () => {
    const transport = openTransport(location());
    expect(transport.transmit(COMMAND, ENOUGH)).toEqual(COMMAND);
    expect(transport.transmit(ANOTHER, ENOUGH)).toEqual(ANOTHER);
    transport.close();
    transport.close();
    expect(descriptors()).toBe(0);
  });

  it("an answer that comes too late is never taken for another command's", () => {
    const transport = openTransport(location());
    expect(() => transport.transmit(COMMAND, 0)).toThrow(/does not answer in time/);
    expect(descriptors()).toBe(0);
    expect(() => transport.transmit(ANOTHER, ENOUGH)).toThrow(expect.objectContaining({ code: "ROOT_UNAVAILABLE" }));
  });

  it("a thread that is ended leaves no descriptor behind, and nothing in the TPM that hangs on it", async () => {
    const worker = new Worker(new URL("device-thread.ts", import.meta.url), { workerData: location() });
    await new Promise((resolve, reject) => worker.once("message", resolve).once("error", reject));
    expect(descriptors()).toBe(1);
    await worker.terminate();
    expect(descriptors()).toBe(0);
  });

  it("a refusal of the kernel's resource manager reads like one of the TPM, and says whose it is", () => {
    const { message, responseCode } = new TpmRefusal("ECDH_ZGen", 0xb0143);
    expect(responseCode).toBe(0xb0143);
    expect(message).toMatch(/0x143, COMMAND_CODE: the TPM does not have this command \(the kernel's resource manager/);
    expect(new TpmRefusal("Load", 0x1c4).message).not.toContain("resource manager");
  });

  it("says what to do where there is none", () => {
    const open = () => openTransport({ kind: "device", path: join(folder, "tpmrm0") });
    expect(open).toThrow(
      expect.objectContaining({
        code: "ROOT_UNAVAILABLE",
        message: expect.stringContaining("ENOENT"),
        hint: expect.stringContaining("driver"),
      }),
    );
  });
});

function pointsTo(fd: string): string | undefined {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`);
  } catch {
    return undefined; // the one that reads the folder
  }
}
