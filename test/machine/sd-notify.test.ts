import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { randomUUID } from "node:crypto";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import fc from "fast-check";
import { afterAll, afterEach, describe, expect, it } from "vitest";
import { notifySystemd, watchdogInterval } from "../../src/machine/sd-notify.ts";

/** A stranger that receives as systemd does: one line of JSON for each datagram. */
const LISTENER = `
import json, socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
name = sys.argv[1]
s.bind("\\0" + name[1:] if name.startswith("@") else name)
print(json.dumps("ready"), flush=True)
while True:
    print(json.dumps(s.recv(65536).decode()), flush=True)
`;

const folder = mkdtempSync(join(tmpdir(), "thornkey-notify-"));
const python = spawnSync("python3", ["-c", "import socket"]).status === 0;
let listener: ChildProcess | undefined;

afterEach(() => {
  listener?.kill("SIGKILL");
  listener = undefined;
});

afterAll(() => rmSync(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 }));

async function listen(name: string): Promise<() => Promise<string>> {
  const child = spawn("python3", ["-c", LISTENER, name], { stdio: ["ignore", "pipe", "inherit"] });
  listener = child;
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
  const next = async () => JSON.parse((await lines.next()).value ?? "null") as string;
  expect(await next()).toBe("ready");
  return next;
}

describe("systemd", () => {
  it.skipIf(!python).each([
    ["by a path", join(folder, "notify")],
    ["by an abstract name", `@thornkey/${randomUUID()}`],
  ])("is told what it asked for, %s", async (_, name) => {
    const next = await listen(name);
    const environment = { NOTIFY_SOCKET: name };
    const before = readdirSync("/proc/self/fd").length;
    expect(notifySystemd({ READY: 1, STATUS: "3 keys" }, environment)).toBe(true);
    expect(await next()).toBe("READY=1\nSTATUS=3 keys\n");
    expect(notifySystemd({ WATCHDOG: 1 }, environment)).toBe(true);
    expect(await next()).toBe("WATCHDOG=1\n");
    expect(notifySystemd({ STATUS: "one\nREADY=1" }, environment)).toBe(true);
    expect(await next()).toBe("STATUS=one READY=1\n");
    expect(notifySystemd({ STOPPING: 1 }, environment)).toBe(true);
    expect(await next()).toBe("STOPPING=1\n");
    expect(readdirSync("/proc/self/fd").length).toBe(before);
  });

  it("is not told when it does not ask, cannot be reached, or names no socket", () => {
    for (const name of [
      undefined,
      "",
      "/",
      "@",
      "relative",
      "vsock:2:1234",
      "/nowhere/notify",
      "@nobody",
      "/dev/null",
    ]) {
      expect(notifySystemd({ READY: 1 }, { NOTIFY_SOCKET: name })).toBe(false);
    }
    expect(notifySystemd({}, { NOTIFY_SOCKET: "/nowhere" })).toBe(false);
    fc.assert(
      fc.property(
        fc.string({ unit: "binary", maxLength: 200 }),
        fc.constantFrom("", "/nowhere/", "@nobody-"),
        (name, prefix) => {
          expect(notifySystemd({ READY: 1 }, { NOTIFY_SOCKET: prefix + name })).toBe(false);
        },
      ),
    );
  });

  it("hears from a service twice in the time after which it would end it", () => {
    expect(watchdogInterval({ WATCHDOG_USEC: "30000000" })).toBe(15_000);
    expect(watchdogInterval({ WATCHDOG_USEC: "30000000", WATCHDOG_PID: String(process.pid) })).toBe(15_000);
    expect(watchdogInterval({ WATCHDOG_USEC: "30000000", WATCHDOG_PID: "1" })).toBeUndefined();
    for (const time of [undefined, "", "0", "-5", "x", "1e9"]) {
      expect(watchdogInterval({ WATCHDOG_USEC: time })).toBeUndefined();
    }
  });
});
