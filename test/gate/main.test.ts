import { type ChildProcess, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { readFileSync, realpathSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { connect } from "../../src/client/index.ts";
import { operationOf } from "../../src/operations/table.ts";
import { until } from "./lab.ts";
import { openProcessLab, type ProcessLab } from "./process-lab.ts";
import { sample } from "./vault-double.ts";

let lab: ProcessLab;
let gate: ChildProcess | undefined;
beforeAll(async () => {
  lab = await openProcessLab();
});
afterAll(async () => {
  gate?.kill("SIGKILL");
  await lab.close();
});

it("the gate tells the vault who asks as the kernel knows him, and the digest of his program when asked", async () => {
  const main = join(import.meta.dirname, "../../src/gate/main.ts");
  const started = spawn(process.execPath, [main, "--run", lab.run], { stdio: ["ignore", "pipe", "inherit"] });
  gate = started;
  expect(String((await once(started.stdout, "data"))[0])).toBe("ready\n");
  const thornkey = await connect({ run: lab.run });
  let go = () => {};
  lab.vault.handlers.status = async () => {
    await new Promise<void>((resolve) => (go = resolve));
    return sample(operationOf("status").reply);
  };
  const status = thornkey.status();
  await until(() => lab.vault.requests.length > 0, "the vault is asked");
  const [[caller, facts] = [0, undefined]] = lab.vault.callers;
  expect(facts).toMatchObject({
    ...{ uid: process.getuid?.(), gid: process.getgid?.(), pid: process.pid, front: "http" },
    program: realpathSync(process.execPath),
  });
  // getgroups of Node has the group itself in it.
  expect(new Set([facts?.gid, ...(facts?.groups ?? [])])).toEqual(new Set(process.getgroups?.()));
  lab.vault.askProgram(caller);
  await until(() => lab.vault.programs.has(caller), "the digest is told");
  const digest = createHash("sha256").update(readFileSync(process.execPath)).digest("hex");
  expect(lab.vault.programs.get(caller)).toBe(digest);
  go();
  await status;
  await thornkey.close();
  started.kill("SIGTERM");
  expect((await once(started, "exit"))[0]).toBe(0);
});
