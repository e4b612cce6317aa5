import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { MAIN, thornkey } from "../lab.ts";
import { buildConfined } from "./confined.ts";
import { openSetupLab } from "./lab.ts";

const lab = openSetupLab();
afterAll(() => lab.close());

const PROJECT = join(import.meta.dirname, "../../..");
const NAMESPACES = ["--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--net"];
const possible =
  process.getuid?.() === 0 &&
  spawnSync("unshare", [...NAMESPACES, "setpriv", "--version"]).status === 0 &&
  spawnSync("systemd-sysusers", ["--version"]).status === 0;
if (!possible)
  process.stderr.write("not root, or no namespaces, or no systemd-sysusers: the start of the services is skipped\n");

it.skipIf(!possible)(
  "the services start as written: two users, and each reaches only what is his",
  { timeout: 120_000 },
  () => {
    const image = lab.machine("image");
    mkdirSync(join(image, "etc"));
    for (const name of ["passwd", "group", "nsswitch.conf"]) cpSync(join("/etc", name), join(image, "etc", name));
    expect(thornkey(["setup", "--to", image, "--root", "emulated:/var/lib/chip/memory"]).status).toBe(0);
    expect(spawnSync("systemd-sysusers", [`--root=${image}`]).status).toBe(0);
    const confined = join(lab.folder, "confined");
    const built = ["vault", "gate"].map((half) => {
      const unit = readFileSync(join(image, `etc/systemd/system/thornkey-${half}.service`), "utf8");
      return buildConfined(lab.folder, `confined-${half}`, unit);
    });
    if (built.includes(undefined)) process.stderr.write("no compiler: the units' system calls are not tried\n");
    const script = join(import.meta.dirname, "start-as-systemd.sh");
    const { status, stdout, stderr } = spawnSync(
      "unshare",
      [
        ...NAMESPACES,
        "bash",
        script,
        image,
        process.execPath,
        MAIN,
        PROJECT,
        built.includes(undefined) ? "" : confined,
      ],
      { encoding: "utf8", timeout: 100_000, killSignal: "SIGKILL", env: { PATH: process.env.PATH } },
    );
    expect(stdout.trim().split("\n"), stderr).toEqual([
      "thornkey: processes 2", // the vault, and its emulated chip
      "thornkey-gate: processes 1",
      "vault: thornkey 666 in thornkey 750",
      "gate: thornkey-gate 666 in thornkey-gate 755",
      "state: thornkey 700",
      "a stranger: 1 key",
      "a stranger does not reach the vault",
      "the gate does not reach the state",
      '"sockets in /run/thornkey"',
      "the rest can only be read",
    ]);
    expect(status).toBe(0);
  },
);
