import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  type CardReader,
  MODULE,
  openCardReader,
  PIN,
  type PluggedCard,
  whyNoCardReader,
} from "../emulators/piv-card/lab.ts";
import { MAIN, ready, type Up } from "./lab.ts";

const reason = whyNoCardReader();
if (reason !== undefined) process.stderr.write(`people with cards cannot be tried: ${reason}\n`);

// A real card reader's daemon, OpenSC's module, and an emulated card in it.
describe.skipIf(reason !== undefined)("thornkey user, with a PIV card", { timeout: 180_000 }, () => {
  const folder = mkdtempSync(join(tmpdir(), "thornkey-user-"));
  let reader: CardReader;
  let card: PluggedCard;
  let both: Up;
  const TOKEN = `pkcs11:${MODULE}`;

  beforeAll(async () => {
    reader = await openCardReader();
    card = await reader.plug({ card: "alice" });
    writeFileSync(join(folder, "pin"), PIN, { mode: 0o600 });
    writeFileSync(join(folder, "wrong"), "999999", { mode: 0o600 });
    const place = ["--state", join(folder, "state"), "--run", join(folder, "run")];
    both = await ready([...place, "--root", `emulated:${join(folder, "chip")}`]);
  }, 120_000);
  afterAll(async () => {
    both?.child.kill("SIGTERM");
    await both?.ended;
    await reader?.close();
    rmSync(folder, { recursive: true, force: true });
  }, 60_000);

  function thornkey(...args: string[]) {
    const env = { ...process.env, ...reader.env, THORNKEY_RUN: join(folder, "run"), NODE_OPTIONS: "" };
    const { status, stdout, stderr } = spawnSync(process.execPath, [MAIN, ...args], {
      env,
      encoding: "utf8",
      timeout: 60_000,
    });
    return { status, stdout, stderr };
  }
  const prove = (pin: string) => thornkey("user", "prove", "alice", "--token", TOKEN, "--pin-file", join(folder, pin));
  const sign = () => {
    writeFileSync(join(folder, "file"), "pay");
    return thornkey("sign", "payments", join(folder, "file"), "-o", join(folder, "signature"));
  };

  it("enrols by slot 9A, and a key is used only while she is there", () => {
    const enrolled = thornkey("user", "enroll", "alice", "--token", TOKEN, "--pin-file", join(folder, "pin"));
    expect(enrolled, enrolled.stderr).toMatchObject({ status: 0 });
    expect(thornkey("user", "list").stdout).toContain("alice");
    const made = thornkey("key", "new", "payments", "--person", "alice", "--allow", "me");
    expect(made, made.stderr).toMatchObject({ status: 0 });
    expect(thornkey("key", "show", "payments").stdout).toContain("only while alice is there");
    expect(sign()).toMatchObject({ status: 3, stderr: expect.stringContaining("thornkey user prove alice") });
    const proved = prove("pin");
    expect(proved, proved.stderr).toMatchObject({ status: 0 });
    expect(proved.stdout).toContain("alice is there until");
    expect(sign()).toMatchObject({ status: 0 });
  });

  it("a wrong PIN costs one try, and is said without being shown", async () => {
    const { status, stderr } = prove("wrong");
    expect(status).not.toBe(0);
    expect(stderr).toMatch(/PIN/);
    expect(stderr).not.toContain("999999");
    expect(prove("pin")).toMatchObject({ status: 0 });
  });

  it("another card is not she, and no card is nobody", async () => {
    await card.unplug();
    expect(prove("pin").status).toBe(6);
    const other = await reader.plug({ card: "eve" });
    expect(prove("pin")).toMatchObject({
      status: 3,
      stderr: expect.stringContaining("not signed with the key of alice"),
    });
    await other.unplug();
    card = await reader.plug({ card: "alice" });
    expect(prove("pin")).toMatchObject({ status: 0 });
  });

  it("the device demands her for what ties it to its host", () => {
    const changed = thornkey("device", "change", "--demand", "bind=alice");
    expect(changed, changed.stderr).toMatchObject({ status: 0 });
    expect(changed.stdout).toContain("alice must be there");
    expect(prove("pin")).toMatchObject({ status: 0 });
    expect(thornkey("bind", "now")).toMatchObject({ status: 0 });
    expect(thornkey("device", "change", "--demand", "bind=")).toMatchObject({ status: 0 });
  });
});
