import { createServer } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { choicesFrom } from "../../../src/cli/setup/choice.ts";
import { type Finder, type Found, search } from "../../../src/cli/setup/finding.ts";
import { modulesOf } from "../../../src/cli/setup/tokens.ts";
import { factsAt, findTpms, foundFrom } from "../../../src/cli/setup/tpms.ts";
import { hostFiles } from "../../../src/machine/host-files.ts";
import { FACTORY_ADDRESSES } from "../../../src/roots/atecc/presence.ts";
import { softHsmModule, softHsmTokens } from "../../roots/pkcs11/softhsm.ts";
import { HAS_SWTPM, openTpmLab } from "../../roots/tpm/lab.ts";
import { buildShim, Missing } from "../../shim/build.ts";
import { digestOfTree, openSetupLab } from "./lab.ts";
import { type SharedBus, startSharedBus } from "./shared-bus.ts";

const lab = openSetupLab();
afterAll(() => lab.close());

function shims(): { i2c: string; pi: string } | undefined {
  try {
    return { i2c: buildShim("i2c-shim"), pi: buildShim("pi-shim") };
  } catch (error) {
    if (!(error instanceof Missing)) throw error;
    process.stderr.write(`skipped: ${error.message}\n`);
    return undefined;
  }
}
const library = shims();

/** What answers on the bus beside the chip: an EEPROM, a clock, and a converter at a secure element's address. */
const OTHERS = new Map([
  [0x50, new Uint8Array(256).fill(0x5a)],
  [0x68, new Uint8Array(64).fill(0x12)],
  [0x35, Uint8Array.of(0x07, 0x42)],
]);

const PI_BUS = { "sys/class/i2c-dev/i2c-1/name": "bcm2835 (i2c@7e804000)\n", "dev/i2c-1": "" };

describe.skipIf(library === undefined)("the hardware of a Raspberry Pi", { timeout: 120_000 }, () => {
  const at = (name: string) => join(lab.folder, name);
  const environment = {
    LD_PRELOAD: `${library?.i2c} ${library?.pi}`,
    ATECC_SOCK: at("bus.sock"),
    PI_FIRMWARE_SOCK: at("pi.sock"),
    PI_FIRMWARE_NODE: "/dev/vcio_crypto",
  };
  let bus: SharedBus;

  beforeAll(async () => {
    await lab.emulator("atecc508a", "--socket", at("chip.sock"), "--memory", at("chip.memory"));
    await lab.emulator("pi-firmware", "--socket", at("pi.sock"), "--otp", at("otp"), "--key");
    bus = await startSharedBus(at("bus.sock"), at("chip.sock"), OTHERS);
  }, 60_000);
  afterAll(() => bus?.close());

  const setup = (host: string, ...args: string[]) =>
    lab.setup(["--host", host, "--dry-run", "--json", ...args], environment);

  it("is found, explained, and disturbs no other device on the bus", async () => {
    bus.seen.splice(0);
    const host = lab.machine("pi", { ...PI_BUS, "dev/vcio_crypto": "" });
    const before = digestOfTree(host);
    const { status, stdout, stderr } = await setup(host);
    expect({ status, stderr }).toMatchObject({ status: 0 });
    const said = JSON.parse(stdout);
    expect(said.found).toMatchObject([
      {
        kind: "atecc",
        root: "atecc:/dev/i2c-1",
        name: expect.stringMatching(/^ATECC508A 0123[0-9a-f]{12}ee/i),
        usable: true,
      },
      { kind: "pi", root: "pi", usable: true },
    ]);
    expect(said.found[0].notes.join()).toContain("blank");
    expect(said.next.join()).toContain("thornkey chip provision --root atecc:/dev/i2c-1");
    expect(said.troubles).toMatchObject([
      { kind: "atecc", says: expect.stringContaining("0x35 on /dev/i2c-1 is something else") },
      { kind: "tpm", says: "there is no TPM" },
    ]);
    expect(said.recommended).toMatchObject({ root: "atecc:/dev/i2c-1+pi" });
    expect(digestOfTree(host)).toBe(before);

    const beside = bus.seen.filter(({ address }) => OTHERS.has(address));
    expect(beside).toEqual([{ op: "read", address: 0x35, bytes: 1 }]);
    expect(new Set(bus.seen.map(({ address }) => address))).toEqual(new Set([0, ...FACTORY_ADDRESSES]));
    const calls = bus.seen.filter(({ address }) => address === 0);
    expect(calls.every(({ op, bytes }) => op === "write" && `${bytes}` === "1")).toBe(true);
  });

  it("shows the same to a person as a table", async () => {
    const { stdout } = await lab.setup(
      ["--host", lab.machine("pi", { ...PI_BUS, "dev/vcio_crypto": "" }), "--dry-run"],
      environment,
    );
    expect(stdout).toMatch(/^ +atecc:\/dev\/i2c-1 +pi$/m);
    expect(stdout).toMatch(/^device stolen +keys stay inside +no$/m);
    expect(stdout).toMatch(/^recommended: atecc:\/dev\/i2c-1\+pi$/m);
    expect(stdout).toMatch(/^KERNEL=="vcio_crypto\|vcio", OWNER="thornkey"/m);
  });

  it("leaves alone what a driver of the kernel has, and says so", async () => {
    bus.seen.splice(0);
    const drivers = {
      "sys/bus/i2c/devices/1-0060/name": "atecc508a\n",
      "sys/bus/i2c/devices/1-0035/name": "tps65217\n",
    };
    const { status, stdout, stderr } = await setup(lab.machine("claimed", { ...PI_BUS, ...drivers }));
    expect(status).toBe(6);
    expect(stderr).toContain("there is no hardware here");
    expect(stderr).toContain("a driver of the kernel has the secure element 0x60 on /dev/i2c-1");
    expect(stderr).toContain("0x35 on /dev/i2c-1 is the kernel's tps65217, and was not asked");
    expect(stdout).toBe("");
    expect(new Set(bus.seen.map(({ address }) => address))).toEqual(new Set([0, 0x36]));
  });

  it("hears from the kernel itself that an address is taken", async () => {
    const host = lab.machine("busy", PI_BUS);
    const { status, stderr } = await lab.setup(["--host", host, "--dry-run", "--json"], {
      ...environment,
      ATECC_CLAIMED: "0x60",
    });
    expect(status).toBe(6);
    expect(stderr).toMatch(/0x60 on the I2C bus \/dev\/i2c-1 cannot be used \(EBUSY\)/);
  });

  it("does not look at the buses of monitors, unless told to", async () => {
    bus.seen.splice(0);
    const host = lab.machine("monitor", { "sys/class/i2c-dev/i2c-20/name": "fef04500.i2c\n", "dev/i2c-20": "" });
    const { stderr } = await setup(host);
    expect(stderr).toContain("/dev/i2c-20 was not looked at: it is for monitors");
    expect(bus.seen).toEqual([]);
    expect(JSON.parse((await setup(host, "--bus", "/dev/i2c-20")).stdout).recommended.root).toBe("atecc:/dev/i2c-20");
  });

  it("says when a bus is too fast to wake a chip, and when there is none behind its device", async () => {
    const clock = { "sys/class/i2c-dev/i2c-1/device/of_node/clock-frequency": "\0\x06\x1a\x80" }; // 400,000
    const host = lab.machine("fast", { ...PI_BUS, ...clock });
    const empty = await startSharedBus(at("empty.sock"), at("asleep.sock"), new Map());
    const deaf = createServer((client) => client.on("data", () => client.write(Buffer.of(1, 0, 0)))); // acknowledges nothing
    await new Promise<void>((resolve) => deaf.listen(at("asleep.sock"), resolve));
    const args = ["--host", host, "--dry-run", "--json"];
    try {
      const silent = await lab.setup(args, { ...environment, ATECC_SOCK: at("empty.sock") });
      expect(silent.stderr).toContain("no secure element answers on /dev/i2c-1");
      expect(silent.stderr).toContain("runs at 400 kHz");
      const gone = await lab.setup(args, { ...environment, ATECC_SOCK: at("nobody.sock") });
      expect(gone).toMatchObject({ status: 6, stderr: expect.stringContaining("/dev/i2c-1 cannot be opened") });
    } finally {
      await empty.close();
      await new Promise((resolve) => deaf.close(resolve));
    }
  });
});

describe("hardware of other kinds", { timeout: 120_000 }, () => {
  it("a bare /dev/tpm0 is a trap, and explained", async () => {
    const host = hostFiles(lab.machine("bare", { "dev/tpm0": "" }));
    const { found, troubles } = await findTpms.look({ host, vault: undefined, buses: [] });
    expect(found).toEqual([]);
    expect(troubles).toMatchObject([
      { says: "there is /dev/tpm0, and no /dev/tpmrm0", todo: expect.stringContaining("1.2") },
    ]);
  });

  it.skipIf(!HAS_SWTPM)("a TPM is asked who it is, and nothing in it changes", async () => {
    const tpms = openTpmLab();
    try {
      const { location } = await tpms.tpm("tpm");
      await factsAt(location); // its first start is written down
      const before = digestOfTree(join(tpms.folder, "tpm/state"));
      const facts = await factsAt(location);
      expect(digestOfTree(join(tpms.folder, "tpm/state"))).toBe(before);
      expect(foundFrom("/dev/tpmrm0", facts)).toMatchObject({
        root: "tpm:/dev/tpmrm0",
        name: expect.stringMatching(/^TPM 2\.0 IBM SW.*, firmware \d+\.\d+/),
      });
    } finally {
      await tpms.close();
    }
  });

  const module = softHsmModule();
  it.skipIf(module === undefined)("a token is found by its module; one in software is never recommended", async () => {
    const tokens = softHsmTokens(module ?? "");
    try {
      tokens.make("mine");
      const host = lab.machine("tokens", { [module?.slice(1) ?? ""]: "", "usr/lib/x/none.txt": "" });
      const environment = { SOFTHSM2_CONF: process.env.SOFTHSM2_CONF };
      const { status, stderr } = await lab.setup(["--host", host, "--dry-run", "--json", "--yes"], environment);
      expect(status).toBe(6);
      expect(stderr).toContain("protects nothing");
      const root = `pkcs11:${module}?token=mine`;
      const named = await lab.setup(["--host", host, "--dry-run", "--json", "--root", root], environment);
      expect(JSON.parse(named.stdout).found).toMatchObject([
        { kind: "pkcs11", root: expect.stringContaining("token=mine&serial="), hardware: false },
      ]);
    } finally {
      tokens.close();
    }
  });

  it("modules are found where Debian and p11-kit have them, each once; our own front and tracers are not", () => {
    const host = hostFiles(
      lab.machine("modules", {
        "usr/lib/aarch64-linux-gnu/opensc-pkcs11.so": "",
        "usr/lib/aarch64-linux-gnu/pkcs11/vendor.so": "",
        "usr/lib/aarch64-linux-gnu/pkcs11/p11-kit-client.so": "",
        "usr/lib/aarch64-linux-gnu/pkcs11/libtpm2_pkcs11.so": "",
        "usr/lib/libckteec.so": "",
        "opt/hsm/module.so": "",
        "usr/share/p11-kit/modules/vendor.module": "module: vendor.so\n",
        "usr/share/p11-kit/modules/own.module": "module: p11-kit-client.so\n",
        "usr/share/p11-kit/modules/tpm2.module": "# x\nmodule: libtpm2_pkcs11.so\n",
        "etc/pkcs11/modules/hsm.module": "priority: 1\nmodule: /opt/hsm/module.so\n",
        "etc/pkcs11/modules/gone.module": "module: /opt/gone.so\n",
      }),
    );
    expect([...modulesOf(host)].sort()).toEqual([
      "/opt/hsm/module.so",
      "/usr/lib/aarch64-linux-gnu/opensc-pkcs11.so",
      "/usr/lib/aarch64-linux-gnu/pkcs11/vendor.so",
      "/usr/lib/libckteec.so",
    ]);
  });
});

describe("a search", () => {
  const found = (kind: Found["kind"], root: string, more: Partial<Found> = {}): Found => ({
    ...{ kind, root, name: root, usable: true, hardware: true, first: [], notes: [] },
    ...more,
  });
  const finder = (kind: Finder["kind"], look: Finder["look"], longest = 60_000): Finder => ({ kind, longest, look });
  const place = { host: hostFiles("/nowhere"), vault: undefined, buses: [] };

  it("shows what was found whatever becomes of the other finders", async () => {
    const never = new Promise<never>(() => {});
    const result = await search(
      [
        finder("atecc", () => never, 1),
        finder("tpm", async () => ({ found: [found("tpm", "tpm:/dev/tpmrm0")], troubles: [] })),
        finder("pi", () => Promise.reject(new Error("broken"))),
      ],
      place,
    );
    expect(result.found.map(({ root }) => root)).toEqual(["tpm:/dev/tpmrm0"]);
    expect(result.troubles).toMatchObject([
      { kind: "atecc", says: expect.stringContaining("did not answer") },
      { kind: "pi", says: "broken" },
    ]);
  });

  it("leaves buses alone while a vault runs", async () => {
    const { findSecureElements } = await import("../../../src/cli/setup/secure-elements.ts");
    const host = hostFiles(lab.machine("running", PI_BUS));
    const { found, troubles } = await findSecureElements.look({ host, vault: 4711, buses: [] });
    expect({ found, troubles }).toMatchObject({ found: [], troubles: [{ says: expect.stringContaining("4711") }] });
  });

  it("recommends hardware, with the processor's key where there is one; never what is not hardware or not ready", () => {
    const [chip, tpm, pi] = [found("atecc", "atecc:/dev/i2c-1"), found("tpm", "tpm:/dev/tpmrm0"), found("pi", "pi")];
    const soft = found("pkcs11", "pkcs11:/soft.so", { hardware: false });
    const roots = (...all: Found[]) => choicesFrom({ found: all, troubles: [] }).map(({ root }) => root);
    expect(roots(chip, pi)).toEqual(["atecc:/dev/i2c-1+pi", "atecc:/dev/i2c-1", "pi"]);
    expect(roots(tpm)).toEqual(["tpm:/dev/tpmrm0"]);
    expect(roots(tpm, { ...pi, usable: false })).toEqual(["tpm:/dev/tpmrm0"]);
    expect(roots(pi)).toEqual(["pi"]);
    expect(roots(soft)).toEqual([]);
  });
});

it("nothing there: says what to do, and ends with 6", { timeout: 60_000 }, async () => {
  const { status, stderr, stdout } = await lab.setup(["--host", lab.machine("bare-machine"), "--yes"]);
  expect(status).toBe(6);
  expect(stderr).toMatch(/^thornkey: ROOT_UNAVAILABLE: .*\nhint: .*dtparam=i2c_arm=on.*dtoverlay=tpm-slb9670/m);
  expect(stdout).toContain("there is no I2C bus");
});
