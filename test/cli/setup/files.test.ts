import { spawnSync } from "node:child_process";
import { appendFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import { parseConfiguration } from "../../../src/cli/configuration.ts";
import { runSteps, type Step } from "../../../src/cli/setup/commands.ts";
import { filesFor, MANIFEST, RULES_FILE, SYSUSERS_FILE, UNIT_FOLDER } from "../../../src/cli/setup/files.ts";
import { rootPartsOf } from "../../../src/cli/setup/root-parts.ts";
import { deviceUnit, GATE_UNIT, VAULT_UNIT } from "../../../src/cli/setup/units.ts";
import { ThornkeyError } from "../../../src/errors.ts";
import { thornkey } from "../lab.ts";
import { digestOfTree, openSetupLab } from "./lab.ts";

const lab = openSetupLab();
afterAll(() => lab.close());

const PROGRAM = { node: "/usr/bin/node", main: "/usr/lib/node_modules/thornkey/dist/cli/main.js" };

function planned(root: string): ReadonlyMap<string, string> {
  const { parts, specification } = rootPartsOf(root);
  return new Map(filesFor(specification, parts, PROGRAM).map(({ path, text }) => [path, text]));
}
const vaultUnit = (root: string) => planned(root).get(`${UNIT_FOLDER}/${VAULT_UNIT}`) ?? "";
const rules = (root: string) => planned(root).get(RULES_FILE);

const OPENSC = "pkcs11:/usr/lib/x86_64-linux-gnu/opensc-pkcs11.so?token=mine&pin-source=file:/etc/thornkey/pin";
const ROOTS = [
  ...[
    "atecc:/dev/i2c-1",
    "atecc:/dev/i2c-3@0x35",
    "tpm:/dev/tpmrm0",
    "pi",
    OPENSC,
    "pkcs11:/opt/hsm/vendor.so?serial=1",
  ],
  ...[
    "atecc:/dev/i2c-1+pi",
    "2of(atecc:/dev/i2c-1,tpm:/dev/tpmrm0,pi)",
    "emulated:/srv/a b/%chip",
    "tpm:unix:/run/swtpm.sock",
  ],
] as const;

describe.each(ROOTS)("what is written for %s", (root) => {
  it("names the root, and is TOML", async () => {
    const text = planned(root).get("/etc/thornkey/thornkey.toml") ?? "";
    const said = await parseConfiguration(new TextEncoder().encode(text), "thornkey.toml");
    expect(said).toMatchObject({ root, state: "/var/lib/thornkey", "gate-user": "thornkey-gate" });
  });

  const analyze = spawnSync("systemd-analyze", ["--version"]).status === 0;
  it.skipIf(!analyze)("has units in which systemd finds no mistake", () => {
    const folder = lab.machine(`units-${ROOTS.indexOf(root)}`);
    const { parts, specification } = rootPartsOf(root);
    // What it starts must be there, or that is the mistake it finds.
    for (const { path, text } of filesFor(specification, parts, { node: process.execPath, main: PROGRAM.main })) {
      if (path.startsWith(UNIT_FOLDER)) writeFileSync(join(folder, path.slice(UNIT_FOLDER.length + 1)), text);
    }
    const units = [VAULT_UNIT, GATE_UNIT].map((unit) => join(folder, unit));
    const { status, stderr } = spawnSync("systemd-analyze", ["verify", "--man=no", ...units], { encoding: "utf8" });
    const ours = stderr.split("\n").filter((line) => /thornkey/.test(line));
    expect({ status, ours }).toEqual({ status: 0, ours: [] });
  });

  it("has rules of which each says which device, and whose it is; every key but the last ends with a comma", () => {
    const lines = (rules(root) ?? "").split("\n").filter((line) => line !== "" && !line.startsWith("#"));
    for (const line of lines) {
      expect(line).toMatch(
        /^(SUBSYSTEM=="[\w-]+", )?KERNEL=="[\w|-]+", (OWNER="\w+", )?GROUP="\w+", MODE="06[60]0", TAG\+="systemd"$/,
      );
    }
  });

  it("makes only the users it names", () => {
    const accounts = (planned(root).get(SYSUSERS_FILE) ?? "").split("\n").filter((line) => /^[ugm] /.test(line));
    expect(accounts).toContain('u thornkey - "Thornkey\'s vault" / /usr/sbin/nologin');
    expect(accounts.every((line) => /^(u thornkey(-gate)? - "[^"]+" \/ \S+|g \w+ -|m thornkey \w+)$/.test(line))).toBe(
      true,
    );
  });
});

describe("the vault's unit", () => {
  it("reaches the devices of its root, and no others", () => {
    const allowed = (root: string) => [...vaultUnit(root).matchAll(/^DeviceAllow=(\S+) rw$/gm)].map(([, path]) => path);
    expect(allowed("atecc:/dev/i2c-1")).toEqual(["/dev/i2c-1"]);
    expect(allowed("atecc:/dev/i2c-1+pi")).toEqual(["/dev/i2c-1", "/dev/vcio_crypto", "/dev/vcio"]);
    expect(allowed("tpm:/dev/tpmrm0")).toEqual(["/dev/tpmrm0"]);
    expect(vaultUnit(OPENSC)).toContain("\nPrivateDevices=yes\n");
  });

  it("has no network, unless the token may be behind one", () => {
    for (const root of ["atecc:/dev/i2c-1", "tpm:/dev/tpmrm0", "pi", OPENSC]) {
      expect(vaultUnit(root)).toContain("\nPrivateNetwork=yes\n");
    }
    expect(vaultUnit("pkcs11:/opt/hsm/vendor.so?serial=1")).toMatch(/^RestrictAddressFamilies=.*AF_INET /m);
  });

  it("waits for its device, by the name systemd gives it", () => {
    expect(vaultUnit("atecc:/dev/i2c-1")).toContain("After=dev-i2c\\x2d1.device\n");
    const escaped = spawnSync("systemd-escape", ["--path", "--suffix=device", "/dev/i2c-1"], { encoding: "utf8" });
    if (escaped.status === 0) expect(`${deviceUnit("/dev/i2c-1")}\n`).toBe(escaped.stdout);
  });

  it("puts nothing of memory on a disk", () => {
    for (const line of ["LimitCORE=0", "MemorySwapMax=0", "NoNewPrivileges=yes", "CapabilityBoundingSet="]) {
      expect(vaultUnit("pi").split("\n")).toContain(line);
    }
  });
});

describe("the rules for udev", () => {
  it("leave a bus to the others that use it", () => {
    expect(rules("atecc:/dev/i2c-1")).toContain('SUBSYSTEM=="i2c-dev", KERNEL=="i2c-1", GROUP="i2c", MODE="0660"');
  });

  it("take the processor's key from the group video, after the rule that gives it away", () => {
    expect(rules("pi")).toContain('KERNEL=="vcio_crypto|vcio", OWNER="thornkey", GROUP="thornkey", MODE="0600"');
    expect(RULES_FILE.split("/").pop()?.localeCompare("99-com.rules", "en")).toBe(1);
  });

  it("are none where none is needed, and then a card is opened by polkit", () => {
    expect(rules(OPENSC)).toBeUndefined();
    expect([...planned(OPENSC).keys()]).toContain("/etc/polkit-1/rules.d/50-thornkey.rules");
    expect([...planned("pi").keys()].join()).not.toContain("polkit");
  });
});

it("a root is read, or refused as one, whatever is written", () => {
  const piece = fc.oneof(
    fc.string(),
    fc.constantFrom("pi", "+", "atecc:/dev/i2c-1", "tpm:/dev/tpmrm0", "2of(", ",", ")"),
  );
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 6 }), (pieces) => {
      try {
        const { specification } = rootPartsOf(pieces.join(""));
        expect(rootPartsOf(specification).specification).toBe(specification);
      } catch (error) {
        if (!(error instanceof ThornkeyError) || error.code !== "USAGE") throw error;
      }
    }),
    { numRuns: 2000 },
  );
  for (const root of [
    "tpm:/dev/tpm0",
    "atecc:/etc/passwd",
    'atecc:/dev/i2c-1"',
    "tpm:/dev/shm/x\nUser=root",
    "nonsense",
  ]) {
    expect(() => rootPartsOf(root)).toThrow(expect.objectContaining({ code: "USAGE" }));
  }
});

describe("writing", { timeout: 120_000 }, () => {
  const setup = (to: string, ...args: string[]) => thornkey(["setup", "--to", to, "--json", ...args]);
  const PI = ["--root", "atecc:/dev/i2c-1+pi"];

  it("a dry run changes nothing", () => {
    const to = lab.machine("dry", { "etc/hostname": "pi" });
    const before = digestOfTree(to);
    const { status, stdout } = setup(to, "--dry-run", ...PI);
    expect(status).toBe(0);
    expect(JSON.parse(stdout).files.map(({ path }: { path: string }) => path)).toContain("/etc/thornkey/thornkey.toml");
    expect(digestOfTree(to)).toBe(before);
  });

  it("writes what the dry run showed; a second time there is nothing to change; undo leaves all as it was", () => {
    const to = lab.machine("whole", { "etc/hostname": "pi" });
    const before = digestOfTree(to);
    const shown = JSON.parse(setup(to, "--dry-run", ...PI).stdout);
    const first = setup(to, ...PI);
    expect(first.status).toBe(0);
    const { changed, steps } = JSON.parse(first.stdout);
    expect(changed).toEqual(shown.files.map(({ path }: { path: string }) => path));
    expect(steps.every(({ fate }: { fate: string }) => fate === "not run")).toBe(true); // it is an image
    for (const { path, text } of shown.files) expect(readFileSync(join(to, path), "utf8")).toBe(text);

    const after = digestOfTree(to);
    expect(JSON.parse(setup(to, ...PI).stdout).changed).toEqual([]);
    expect(thornkey(["setup", "--to", to, ...PI]).stderr).toContain("nothing to change");
    expect(digestOfTree(to)).toBe(after);

    expect(JSON.parse(setup(to, "--undo").stdout).undone).toHaveLength(shown.files.length);
    expect(digestOfTree(to)).toBe(before);
    expect(setup(to, "--undo").status).toBe(4);
  });

  it("stays on the hardware that is configured, until somebody says otherwise", () => {
    const to = lab.machine("stays");
    expect(setup(to, ...PI).status).toBe(0);
    const again = JSON.parse(setup(to, "--yes").stdout);
    expect(again).toMatchObject({ root: "atecc:/dev/i2c-1+pi", changed: [] });
    expect(JSON.parse(setup(to, "--root", "tpm:/dev/tpmrm0").stdout).root).toBe("tpm:/dev/tpmrm0");
  });

  it("another root takes away what only the one before needed", () => {
    const to = lab.machine("other");
    const before = digestOfTree(to);
    expect(setup(to, ...PI).status).toBe(0);
    expect(existsSync(join(to, RULES_FILE))).toBe(true);
    expect(JSON.parse(setup(to, "--root", OPENSC).stdout).changed).toContain(RULES_FILE);
    expect(existsSync(join(to, RULES_FILE))).toBe(false);
    expect(readFileSync(join(to, "etc/thornkey/thornkey.toml"), "utf8")).toContain(`root = "${OPENSC}"`);
    expect(setup(to, "--undo").status).toBe(0);
    expect(digestOfTree(to)).toBe(before);
  });

  it("refuses to write over what somebody else has there; forced, undo puts it back", () => {
    const path = "etc/systemd/system/thornkey-vault.service";
    const to = lab.machine("foreign", { [path]: "mine\n" });
    const before = digestOfTree(to);
    expect(setup(to, ...PI)).toMatchObject({ status: 1, stderr: expect.stringContaining(`/${path}`) });
    expect(digestOfTree(to)).toBe(before);
    expect(setup(to, "--force", ...PI).status).toBe(0);
    expect(setup(to, "--undo").status).toBe(0);
    expect(digestOfTree(to)).toBe(before);
  });

  it("does not lose what an administrator changed", () => {
    const to = lab.machine("changed");
    expect(setup(to, ...PI).status).toBe(0);
    appendFileSync(join(to, "etc/thornkey/thornkey.toml"), 'host = "/"\n');
    const edited = digestOfTree(to);
    for (const args of [PI, ["--undo"]]) {
      expect(setup(to, ...args)).toMatchObject({ status: 1, stderr: expect.stringContaining("thornkey.toml") });
      expect(digestOfTree(to)).toBe(edited);
    }
    expect(setup(to, "--undo", "--force").status).toBe(0);
  });

  it("what is not part of a setup stays: the state, and configurations of programs", () => {
    const to = lab.machine("kept");
    expect(setup(to, ...PI).status).toBe(0);
    for (const path of ["etc/thornkey/pin", "var/lib/thornkey/vault.db"]) {
      mkdirSync(dirname(join(to, path)), { recursive: true });
      writeFileSync(join(to, path), "x");
    }
    expect(setup(to, "--undo").status).toBe(0);
    expect(existsSync(join(to, "etc/thornkey/pin"))).toBe(true);
    expect(existsSync(join(to, "var/lib/thornkey/vault.db"))).toBe(true);
    expect(existsSync(join(to, MANIFEST))).toBe(false);
  });

  it("an emulated root is possible, and warned of; without one, and nobody to ask, nothing is done", () => {
    const to = lab.machine("emulated");
    const warned = setup(to, "--root", "emulated:chip");
    expect(JSON.parse(warned.stdout).warnings.join()).toContain("protects nothing");
    expect(thornkey(["setup", "--root", "nonsense", "--to", to]).status).toBe(2);
  });

  const sysusers = spawnSync("systemd-sysusers", ["--version"]).status === 0;
  it.skipIf(!sysusers)(
    "the users are made by systemd-sysusers as written, and found there already the second time",
    () => {
      const to = lab.machine("users", {
        "etc/passwd": "root:x:0:0::/:/bin/sh\n",
        "etc/group": "root:x:0:\ni2c:x:994:pi\n",
      });
      expect(setup(to, ...PI).status).toBe(0);
      for (let time = 0; time < 2; time++) {
        const { status, stderr } = spawnSync("systemd-sysusers", [`--root=${to}`], { encoding: "utf8" });
        expect({ status, stderr: time === 0 ? "" : stderr }).toEqual({ status: 0, stderr: "" });
        expect(readFileSync(join(to, "etc/passwd"), "utf8")).toMatch(/^thornkey:x:\d+:\d+:.*\nthornkey-gate:x:/m);
        expect(readFileSync(join(to, "etc/group"), "utf8")).toMatch(/^i2c:x:994:pi,thornkey$/m);
      }
    },
  );
});

describe("the commands after it", () => {
  const steps: readonly Step[] = [
    { command: ["systemd-sysusers", "f"], needs: "nothing" },
    { command: ["udevadm", "control", "--reload"], needs: "udev" },
    { command: ["systemctl", "daemon-reload"], needs: "systemd" },
    { command: ["systemctl", "disable", "x"], needs: "systemd", mayFail: true },
  ];

  it("are run where that makes sense, one after the other; a failure is told, and ends nothing", () => {
    const ran: string[] = [];
    const run = (command: readonly string[]) => {
      ran.push(command.join(" "));
      return command[0] === "udevadm"
        ? { status: 1, says: "no" }
        : { status: command[1] === "disable" ? 1 : 0, says: "" };
    };
    const done = runSteps(steps, { udev: true, systemd: true }, run);
    expect(done.map(({ fate, why }) => [fate, why])).toEqual([
      ["done", undefined],
      ["failed", "no"],
      ["done", undefined],
      ["done", undefined],
    ]);
    expect(ran).toHaveLength(4);
  });

  it("are not run in a container, which is said", () => {
    const done = runSteps(steps, { udev: false, systemd: false }, () => ({ status: 0, says: "" }));
    expect(done.map(({ fate }) => fate)).toEqual(["done", "not run", "not run", "not run"]);
    expect(done[1]?.why).toBe("udev does not run here");
  });
});
