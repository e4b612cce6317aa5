import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { connect } from "../../src/client/index.ts";
import { operationOf } from "../../src/operations/table.ts";
import { until } from "./lab.ts";
import { openProcessLab, type ProcessLab, spawnGate } from "./process-lab.ts";
import { sample } from "./vault-double.ts";

let lab: ProcessLab;
beforeAll(async () => {
  lab = await openProcessLab();
});
afterEach(() => {
  lab.vault.handlers = {};
  lab.vault.requests.length = 0;
});
afterAll(() => lab.close());

describe("the gate as a process", () => {
  it("serves before the vault is there, and ends cleanly", async () => {
    await lab.vault.die();
    const gate = await spawnGate(lab.run);
    const socket = join(lab.run, "api.sock");
    expect(statSync(socket).mode & 0o777).toBe(0o666);
    const thornkey = await connect({ run: lab.run });
    const status = thornkey.status();
    await lab.vault.rise();
    expect(await status).toMatchObject({ ready: true });
    await thornkey.close();
    expect(await gate.end("SIGTERM")).toBe(0);
    expect(existsSync(socket)).toBe(false);
  });

  it("that is killed and started again is only a delay, and a key is created once", async () => {
    let made = 0;
    let go = () => {};
    lab.vault.handlers["key.create"] = async () => {
      made++;
      await new Promise<void>((resolve) => (go = resolve));
      return sample(operationOf("key.create").reply);
    };
    const first = await spawnGate(lab.run);
    const thornkey = await connect({ run: lab.run });
    const created = thornkey.keys.create({ name: "once", type: "p256" });
    await until(() => made === 1, "the vault is at work");
    expect(await first.end("SIGKILL")).toBe("SIGKILL");
    const others = [thornkey.random(8), thornkey.random(8)];
    const second = await spawnGate(lab.run); // over the socket that the first one left
    go();
    expect(await created).toMatchObject({ type: "p256" });
    await Promise.all(others);
    expect(made).toBe(1);
    await thornkey.close();
    expect(await second.end("SIGTERM")).toBe(0);
  });

  it("does not take the place of one that serves, nor of a file that is no socket", async () => {
    const gate = await spawnGate(lab.run);
    await expect(spawnGate(lab.run)).rejects.toThrow("another gate serves");
    expect((await connect({ run: lab.run })) !== undefined).toBe(true);
    expect(await gate.end("SIGTERM")).toBe(0);
    writeFileSync(join(lab.run, "api.sock"), "precious");
    await expect(spawnGate(lab.run)).rejects.toThrow("is no socket");
    await expect(spawnGate(join(lab.run, "nowhere"))).rejects.toThrow("no socket can be made");
  });

  it("says how it is used", async () => {
    const program = join(import.meta.dirname, "gate-process.ts");
    const child = spawn(process.execPath, [program, "--state", "x"], { stdio: ["ignore", "ignore", "pipe"] });
    const [text] = await once(child.stderr, "data");
    expect(String(text)).toMatch(/^thornkey: USAGE: /);
    const [status] = child.exitCode === null ? await once(child, "exit") : [child.exitCode];
    expect(status).toBe(2);
  });
});
