/** `thornkey doctor` about hardware: a TPM and its host, a token, the Pi's own key, several roots as one. */
import { spawnSync } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Finding } from "../../src/cli/checks/finding.ts";
import { examine } from "../../src/cli/doctor.ts";
import { freshKeyPair } from "../../src/emulators/atecc508a/p256.ts";
import { createFirmware } from "../../src/emulators/pi-firmware/firmware.ts";
import { otpInRam } from "../../src/emulators/pi-firmware/otp.ts";
import { serve } from "../../src/emulators/pi-firmware/server.ts";
import { formatPkcs11Location } from "../../src/roots/pkcs11/index.ts";
import { formatTpmLocation } from "../../src/roots/tpm/location.ts";
import { softHsmModule, softHsmTokens } from "../roots/pkcs11/softhsm.ts";
import { HAS_SWTPM, HAS_TPM2_TOOLS, openTpmLab, type SoftwareTpm, type TpmLab } from "../roots/tpm/lab.ts";
import { ready, thornkey } from "./lab.ts";

const folder = mkdtempSync(join(tmpdir(), "thornkey-doctor-test-"));
const at = (name: string) => join(folder, name);
let number = 0;
afterAll(() => rmSync(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 }));

const of = (findings: readonly Finding[], check: string) => findings.filter((finding) => finding.check === check);
const look = (options: Partial<Parameters<typeof examine>[0]>) =>
  examine({ state: at("nothing"), run: at("nowhere"), root: undefined, host: host(), ...options });

/** @param files by path; those with `->` before their text are links */
function host(files: { readonly [path: string]: string | Uint8Array } = {}): string {
  const path = at(`host-${++number}`);
  mkdirSync(path);
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(join(path, name, ".."), { recursive: true });
    if (typeof content === "string" && content.startsWith("->")) symlinkSync(content.slice(2), join(path, name));
    else writeFileSync(join(path, name), content);
  }
  return path;
}

const RELEASE = "6.12.25+rpt-rpi-v8";
const SPI = "sys/devices/platform/soc/fe204000.spi";
/** A Raspberry Pi with an SLB 9670, as its kernel shows it. */
const WITH_TPM = {
  "dev/tpm0": "",
  "dev/tpmrm0": "",
  "etc/passwd": "root:x:0:0::/root:/bin/sh\nthornkey:x:990:990::/:/usr/sbin/nologin\n",
  "etc/group": "root:x:0:\ntss:x:115:\nthornkey:x:990:\n",
  "proc/device-tree/model": "Raspberry Pi 5 Model B Rev 1.0\0",
  "proc/sys/kernel/osrelease": `${RELEASE}\n`,
  [`lib/modules/${RELEASE}/modules.builtin`]: "kernel/drivers/spi/spi.ko\n",
  [`${SPI}/spi_master/spi0/spi0.1/tpm/tpm0/pcr-sha256/0`]: `${"0".repeat(64)}\n`,
  ...Object.fromEntries(
    [1, 2, 3, 4, 5, 6, 7].map((n) => [`${SPI}/spi_master/spi0/spi0.1/tpm/tpm0/pcr-sha256/${n}`, `${"0".repeat(64)}\n`]),
  ),
  [`${SPI}/spi_master/spi0/spi0.1/tpm/tpm0/device`]: "->../..",
  "sys/module/tpm_tis_spi/refcnt": "0\n",
  "sys/module/spi_bcm2835/refcnt": "0\n",
  "sys/bus/spi/drivers/tpm_tis_spi/module": "->../../../../module/tpm_tis_spi",
  "sys/bus/platform/drivers/spi-bcm2835/module": "->../../../../module/spi_bcm2835",
  [`${SPI}/spi_master/spi0/spi0.1/driver`]: "->../../../../../../../bus/spi/drivers/tpm_tis_spi",
  [`${SPI}/driver`]: "->../../../../bus/platform/drivers/spi-bcm2835",
  "sys/class/tpm/tpm0": `->../../../${SPI}/spi_master/spi0/spi0.1/tpm/tpm0`,
} as const;
const ENCRYPTED = "cryptroot /dev/mmcblk0p2 none luks,tpm2-device=auto\n";
const DRIVERS = [
  `usr/lib/modules/${RELEASE}/kernel/drivers/char/tpm/tpm_tis_spi.ko.xz`,
  `usr/lib/modules/${RELEASE}/kernel/drivers/spi/spi-bcm2835.ko`,
];

/** An archive of empty files (cpio, "newc"). */
function initramfs(...names: string[]): Uint8Array {
  const entry = (name: string) => {
    const fields = [0, 0o100644, 0, 0, 1, 0, 0, 0, 0, 0, 0, name.length + 1, 0];
    const head = `070701${fields.map((field) => field.toString(16).padStart(8, "0")).join("")}${name}\0`;
    return head.padEnd((head.length + 3) & ~3, "\0");
  };
  return gzipSync(Buffer.from([...names, "TRAILER!!!"].map(entry).join(""), "latin1"));
}

describe("doctor, of a TPM's host", () => {
  const root = "tpm:/dev/tpmrm0";
  const host_ = (changes: { readonly [path: string]: string | Uint8Array | undefined }) =>
    host(
      Object.fromEntries(
        Object.entries({ ...WITH_TPM, ...changes }).filter(([, content]) => content !== undefined),
      ) as {
        [path: string]: string;
      },
    );
  /** A state whose owner is the vault's user. */
  function stateOf(uid: number): string {
    const state = at(`owned-${++number}`);
    mkdirSync(state, { mode: 0o700 });
    spawnSync("chown", [String(uid), state]);
    return state;
  }

  it("no TPM: says what makes it appear on a Raspberry Pi, and what to look at elsewhere", async () => {
    const nothing = { "dev/tpm0": undefined, "dev/tpmrm0": undefined };
    const [finding] = of(await look({ root, host: host_(nothing) }), "tpm-device");
    expect(finding).toMatchObject({ level: "fail", todo: expect.stringContaining("dtoverlay=tpm-slb9670") });
    const [other] = of(
      await look({ root, host: host_({ ...nothing, "proc/device-tree/model": "A board\0" }) }),
      "tpm-device",
    );
    expect(other).toMatchObject({ level: "fail", todo: expect.stringContaining("dmesg") });
  });

  it("only the device without a resource manager", async () => {
    expect(of(await look({ root, host: host_({ "dev/tpmrm0": undefined }) }), "tpm-device")).toMatchObject([
      { level: "fail", what: expect.stringContaining("no resource manager") },
    ]);
  });

  it.runIf(process.getuid?.() === 0)("a vault's user who may not open it, until he is in its group", async () => {
    const state = stateOf(990);
    const tss = (files: { readonly [path: string]: string } = {}) => {
      const path = host_(files);
      spawnSync("chgrp", ["115", join(path, "dev/tpmrm0")]);
      chmodSync(join(path, "dev/tpmrm0"), 0o660);
      return path;
    };
    expect(of(await look({ root, state, host: tss() }), "tpm-device")).toMatchObject([
      { level: "fail", todo: "put that user into the group tss" },
    ]);
    const group = "root:x:0:\ntss:x:115:pi,thornkey\n";
    expect(of(await look({ root, state, host: tss({ "etc/group": group }) }), "tpm-device")).toMatchObject([
      { level: "ok", what: "/dev/tpmrm0 is there, for the group tss" },
    ]);
    const all = tss({ "etc/group": group });
    chmodSync(join(all, "dev/tpmrm0"), 0o666);
    expect(of(await look({ root, state, host: all }), "tpm-device")).toMatchObject([
      { level: "warn", what: expect.stringContaining("everybody may use") },
    ]);
  });

  it("zero PCRs are told, and are no failure", async () => {
    expect(of(await look({ root, host: host_({}) }), "tpm-pcrs")).toMatchObject([
      { level: "ok", what: expect.stringMatching(/zero, as on every Raspberry Pi/) },
    ]);
    const measured = { [`${SPI}/spi_master/spi0/spi0.1/tpm/tpm0/pcr-sha256/4`]: "A5".repeat(32) };
    expect(of(await look({ root, host: host_(measured) }), "tpm-pcrs")).toMatchObject([
      { level: "ok", what: expect.stringContaining("something was measured") },
    ]);
  });

  const initrd = `boot/initrd.img-${RELEASE}`;
  it.each<[string, "ok" | "warn" | "fail", RegExp, { readonly [path: string]: string | Uint8Array }]>([
    ["no encrypted root", "ok", /may come later/, { [initrd]: initramfs("init") }],
    [
      "both drivers in it",
      "ok",
      /are in \/boot\/initrd\.img.*: tpm_tis_spi, spi_bcm2835/,
      { "etc/crypttab": ENCRYPTED, [initrd]: initramfs("init", ...DRIVERS) },
    ],
    [
      "no driver in it",
      "fail",
      /^tpm_tis_spi and spi_bcm2835 are not in/,
      { "etc/crypttab": ENCRYPTED, [initrd]: initramfs("init") },
    ],
    [
      "the bus missing",
      "fail",
      /^spi_bcm2835 is not in/,
      { "etc/crypttab": ENCRYPTED, [initrd]: initramfs(DRIVERS[0] ?? "") },
    ],
    [
      "the bus built into the kernel",
      "ok",
      /: tpm_tis_spi$/,
      {
        "etc/crypttab": ENCRYPTED,
        [initrd]: initramfs(DRIVERS[0] ?? ""),
        [`lib/modules/${RELEASE}/modules.builtin`]: "kernel/drivers/spi/spi-bcm2835.ko\n",
      },
    ],
    [
      "the one that the firmware loads",
      "fail",
      /not in \/boot\/firmware\/initramfs8/,
      { "etc/crypttab": ENCRYPTED, "boot/firmware/initramfs8": initramfs("init") },
    ],
    [
      "an encrypted root, opened by who knows what",
      "warn",
      /are not in/,
      {
        "etc/crypttab": "# nothing\n",
        "proc/mounts": "/dev/mapper/cryptroot / ext4 rw 0 0\n",
        "sys/class/block/dm-0/dm/name": "cryptroot\n",
        "sys/class/block/dm-0/dm/uuid": "CRYPT-LUKS2-0-cryptroot\n",
        [initrd]: initramfs("init"),
      },
    ],
    ["none at all", "warn", /no initramfs was found/, { "etc/crypttab": ENCRYPTED }],
    [
      "one that is damaged",
      "warn",
      /cannot be looked into/,
      { "etc/crypttab": ENCRYPTED, [initrd]: "this is no initramfs" },
    ],
  ])("the driver in the initramfs: %s", async (_, level, what, files) => {
    const found = of(await look({ root, host: host_(files) }), "tpm-initramfs");
    expect(found).toMatchObject([{ level, what: expect.stringMatching(what) }]);
    if (level !== "ok") expect(found[0]?.todo).toBeTruthy();
  });
});

describe.runIf(HAS_SWTPM)("doctor, of a TPM", { timeout: 180_000 }, () => {
  let lab: TpmLab;
  let tpm: SoftwareTpm;
  let root: string;
  let state: string;
  const ROOT_OK = ["ok", "ok", "ok", "ok"];

  beforeAll(async () => {
    lab = openTpmLab();
    tpm = await lab.tpm();
    root = formatTpmLocation(tpm.location);
    state = at("tpm-state");
    const vault = await ready(["--state", state, "--run", at("tpm-run"), "--root", root]);
    const running = await look({ state, run: at("tpm-run") });
    expect(of(running, "root")[0]).toMatchObject({
      level: "ok",
      what: expect.stringMatching(/^TPM 2\.0 IBM.* answers/),
    });
    vault.child.kill("SIGTERM");
    await vault.ended;
  });
  afterAll(() => lab?.close());

  it("that is well: four words about it, and nothing about a transport key", async () => {
    const findings = await look({ state, root });
    expect(findings.filter(({ level }) => level === "fail")).toEqual([]);
    expect(of(findings, "root").map(({ level }) => level)).toEqual(ROOT_OK);
    expect(of(findings, "root").map(({ what }) => what)).toEqual([
      expect.stringMatching(/^the TPM IBM SW TPM [0-9a-f]{20} answers/),
      expect.stringMatching(/storage key .* P-256, and counts no failures/),
      "its lockout authorisation is this vault's",
      expect.stringMatching(/PCRs 0 to 7 are zero/),
    ]);
    expect(of(findings, "transport-key")).toEqual([]);
    expect(of(findings, "tpm-file")).toMatchObject([{ level: "ok" }]);
    expect(of(findings, "tpm-device")).toEqual([]); // a socket is no device of this host
  });

  it("whose file is missing, or open to others", async () => {
    const [file = ""] = [...of(await look({ state, root }), "tpm-file")].map(
      ({ what }) => what.match(/[0-9a-f]{20}/)?.[0],
    );
    const path = join(state, "roots", `${file}.tpm`);
    chmodSync(path, 0o640);
    expect(of(await look({ state, root }), "tpm-file")).toMatchObject([{ level: "fail", todo: `chmod 600 ${path}` }]);
    chmodSync(path, 0o600);
    const copy = at("without");
    spawnSync("cp", ["-a", state, copy]);
    rmSync(join(copy, "roots", `${file}.tpm`));
    const findings = await look({ state: copy, root });
    expect(of(findings, "tpm-file")).toMatchObject([
      { level: "fail", todo: expect.stringContaining("put back a copy") },
    ]);
    expect(of(findings, "root")).toContainEqual(
      expect.objectContaining({ level: "warn", what: expect.stringContaining("is not this vault's") }),
    );
  });

  it("that is another one, or was cleared", async () => {
    const other = await lab.tpm();
    const said = of(await look({ state, root: formatTpmLocation(other.location) }), "root");
    expect(said.filter(({ level }) => level === "fail").map(({ what }) => what)).toEqual([
      expect.stringMatching(/^the state belongs to the TPM [0-9a-f]{20}/),
      expect.stringMatching(/storage key at 0x81000001 is gone/),
    ]);
  });

  it.runIf(HAS_TPM2_TOOLS).each([
    ["ecc256:ecdsa", "sign", "fail", /is no storage key: ECC P-256/],
    ["rsa2048", "restricted|decrypt", "warn", /\(RSA-2048\) counts failures/],
    ["rsa2048", "restricted|decrypt|noda", "warn", /is RSA-2048: key files/],
  ])("with a trap at 0x81000001: %s, %s", async (algorithm, attributes, level, what) => {
    const other = await lab.tpm();
    const all = `fixedtpm|fixedparent|sensitivedataorigin|userwithauth|${attributes}`;
    for (const line of [
      "tpm2_startup -c",
      `tpm2_createprimary -C o -G ${algorithm} -a '${all}' -c key.ctx -Q`,
      "tpm2_flushcontext -t",
      "tpm2_evictcontrol -C o -c key.ctx 0x81000001 -Q",
      "tpm2_flushcontext -t",
    ]) {
      const env = { ...process.env, TPM2TOOLS_TCTI: other.tcti };
      const { status, stderr } = spawnSync("sh", ["-c", line], { env, cwd: folder, encoding: "utf8", timeout: 30_000 });
      expect(status, `${line}: ${stderr}`).toBe(0);
    }
    const found = of(await look({ root: formatTpmLocation(other.location) }), "root").find((one) => one.level !== "ok");
    expect(found).toMatchObject({ level, what: expect.stringMatching(what), todo: expect.stringMatching(/./) });
  });

  it("as one of several, each of which is asked", async () => {
    const chip = at("chip.mem");
    const both = `emulated:${chip}+${root}`;
    const vault = await ready(["--state", at("both"), "--run", at("both-run"), "--root", `emulated:${chip}`]);
    vault.child.kill("SIGTERM");
    await vault.ended;
    const said = of(await look({ root: both }), "root");
    expect(said.map(({ what }) => what)).toEqual(
      expect.arrayContaining([
        expect.stringMatching(/^the secure element [0-9a-f]{18} answers/),
        expect.stringMatching(/^the TPM IBM/),
      ]),
    );
    expect(of(await look({ root: `2of(emulated:${chip},${root},pi:unix:/nowhere)` }), "root")).toContainEqual(
      expect.objectContaining({ level: "fail", what: expect.stringContaining("/nowhere") }),
    );
    expect(of(await look({ root: "nonsense" }), "root")).toMatchObject([{ level: "fail" }]);
  });

  it("and leaves it as it was", async () => {
    const permanent = join(tpm.socket, "../state/tpm2-00.permall");
    const before = statSync(permanent).mtimeMs;
    await look({ state, root });
    expect(statSync(permanent).mtimeMs).toBe(before);
    expect(thornkey(["doctor", "--state", state, "--run", at("tpm-run"), "--root", root])).toMatchObject({ status: 0 });
  });
});

describe("doctor, of the Pi's own key", () => {
  it.each([
    ["with one", otpInRam(freshKeyPair().scalar), "ok", /own key answers/],
    ["without", otpInRam(), "fail", /no key in its OTP memory/],
  ] as const)("%s", async (_, otp, level, what) => {
    const socket = at(`pi-${++number}.sock`);
    const server = await serve(createFirmware({ otp, mode: "normal" }), socket);
    try {
      const found = of(await look({ root: `pi:unix:${socket}` }), "root");
      expect(found[0]).toMatchObject({ level, what: expect.stringMatching(what) });
    } finally {
      await server.close();
    }
  });

  it("that nobody serves", async () => {
    expect(of(await look({ root: "pi:unix:/nowhere/pi.sock" }), "root")).toMatchObject([{ level: "fail" }]);
  });
});

const module = softHsmModule();
const HAS_TOOL = spawnSync("pkcs11-tool", ["--help"]).error === undefined;
describe.runIf(module !== undefined)("doctor, of a token", { timeout: 60_000 }, () => {
  const tokens = softHsmTokens(module ?? "");
  afterAll(() => tokens.close());

  it("that is there, without its PIN", async () => {
    const location = formatPkcs11Location(tokens.make("one"));
    const found = of(await look({ root: location }), "root");
    expect(found).toMatchObject([
      { level: "ok", what: expect.stringMatching(/^the token one is there: SoftHSM/) },
      { level: "ok", what: expect.stringContaining("has all its tries") },
    ]);
  });

  it.runIf(HAS_TOOL)("to which a wrong PIN was given", async () => {
    const location = tokens.make("two");
    spawnSync("pkcs11-tool", ["--module", location.module, "--token-label", "two", "--login", "--pin", "wrong", "-O"]);
    const found = of(await look({ root: formatPkcs11Location(location) }), "root");
    expect(found[1]).toMatchObject({ level: expect.stringMatching(/warn|fail/), what: expect.stringMatching(/PIN/) });
  });

  it("that is not there", async () => {
    const location = formatPkcs11Location({ module: tokens.module, token: "nobody" });
    expect(of(await look({ root: location }), "root")).toMatchObject([
      { level: "fail", what: expect.stringContaining("no token that fits") },
    ]);
  });
});
