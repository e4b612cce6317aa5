/** `thornkey tpm`, with real TPMs in software and, where they are installed, tpm2-tools beside it. */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { chmodSync, cpSync, readdirSync, readFileSync, renameSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { systemClock } from "../../src/machine/clock.ts";
import { Load, Unseal } from "../../src/roots/tpm/commands.ts";
import { OBJECT } from "../../src/roots/tpm/constants.ts";
import { create } from "../../src/roots/tpm/keys.ts";
import { formatTpmLocation } from "../../src/roots/tpm/location.ts";
import { findParent } from "../../src/roots/tpm/parent.ts";
import { openTpmRoot } from "../../src/roots/tpm/root.ts";
import { readRootFile, writeRootFile } from "../../src/roots/tpm/root-file.ts";
import { SEALED_SECRET } from "../../src/roots/tpm/templates.ts";
import { tpmOver } from "../../src/roots/tpm/tpm.ts";
import { openTransport } from "../../src/roots/tpm/transport.ts";
import { visitTpm } from "../../src/roots/tpm/visit.ts";
import { HAS_SWTPM, HAS_TPM2_TOOLS, openTpmLab, type SoftwareTpm, type TpmLab } from "../roots/tpm/lab.ts";
import { ready, thornkey } from "./lab.ts";

describe.runIf(HAS_SWTPM)("thornkey tpm", { timeout: 120_000 }, () => {
  let lab: TpmLab;
  let tpm: SoftwareTpm;
  let state: string;
  let places: readonly string[];
  let number = 0;

  beforeAll(() => {
    lab = openTpmLab();
  });
  afterAll(() => lab?.close());
  beforeEach(async () => {
    tpm = await lab.tpm();
    state = join(lab.folder, `state-${++number}`);
    places = ["--root", formatTpmLocation(tpm.location), "--state", state, "--run", join(lab.folder, `run-${number}`)];
  });

  const root = () => ["--root", formatTpmLocation(tpm.location)];
  const own = async () => (await openTpmRoot(tpm.location, { folder: join(state, "roots") })).close();
  const json = (...args: string[]) => {
    const { status, stdout, stderr } = thornkey(["tpm", ...args, "--json"]);
    expect(status, stderr).toBe(0);
    return JSON.parse(stdout);
  };
  function tools(...lines: string[]): string {
    const env = { ...process.env, TPM2TOOLS_TCTI: tpm.tcti };
    return lines
      .map((line) => {
        const { status, stdout, stderr } = spawnSync("sh", ["-c", line], {
          ...{ env, cwd: lab.folder, encoding: "utf8", timeout: 30_000 },
        });
        if (status !== 0) throw new Error(`${line}: ${stderr}`);
        return stdout;
      })
      .join("");
  }
  /** What the TPM keeps without power. */
  function memory(): string {
    const folder = join(tpm.socket, "../state");
    const files = readdirSync(folder).filter((name) => name.endsWith(".permall"));
    const hash = createHash("sha256");
    for (const name of files) hash.update(name).update(readFileSync(join(folder, name)));
    return hash.digest("hex");
  }

  it("shows a TPM that nobody has used yet, and makes nothing in it", () => {
    const { status, stdout } = thornkey(["tpm", "info", ...root()]);
    expect(status).toBe(0);
    expect(stdout).toMatch(/^TPM +IBM SW TPM, firmware/m);
    expect(stdout).toMatch(/^storage key +none at 0x81000001/m);
    expect(json("info", ...root())).toMatchObject({
      permanent: { lockoutAuthSet: false, ownerAuthSet: false },
      curves: expect.arrayContaining(["P-256", "P-384"]),
      persistent: [],
      indices: [],
    });
  });

  it("shows what a vault made in it, and changes nothing: its memory is the same, byte for byte", async () => {
    await own();
    const before = memory();
    const info = json("info", ...root());
    expect(info).toMatchObject({
      serial: readdirSync(join(state, "roots"))[0]?.replace(".tpm", ""),
      storageKey: { handle: "0x81000001", type: "ECC P-256", storageKey: true, noDA: true },
      permanent: { lockoutAuthSet: true },
      indices: [{ index: "0x01800100", counter: true, written: true, bytes: 8 }],
    });
    json("pcrs", ...root());
    json("lockout", ...places);
    expect(memory()).toBe(before);
    expect(json("info", ...root())).toEqual(info);
    // And the vault opens with it as before.
    await own();
  });

  it.runIf(HAS_TPM2_TOOLS)("leaves alone what another program has loaded", async () => {
    await own();
    tools("tpm2_createprimary -C o -G rsa2048 -c primary.ctx -Q", "tpm2_startauthsession -S session.ctx");
    const before = tools("tpm2_getcap handles-transient", "tpm2_getcap handles-loaded-session");
    expect(before).toMatch(/0x80000000/i);
    const { transient } = json("info", ...root());
    expect(transient).toEqual(["0x80000000"]);
    json("pcrs", ...root());
    expect(tools("tpm2_getcap handles-transient", "tpm2_getcap handles-loaded-session")).toBe(before);
  });

  it.runIf(HAS_TPM2_TOOLS)("names what others put into it, and the certificates of its endorsement keys", () => {
    tools(
      "tpm2_startup -c",
      "tpm2_createprimary -C o -G rsa2048 -a 'fixedtpm|fixedparent|sensitivedataorigin|userwithauth|restricted|decrypt' -c p.ctx -Q",
      "tpm2_flushcontext -t",
      "tpm2_evictcontrol -C o -c p.ctx 0x81000001 -Q",
      "tpm2_flushcontext -t",
      "tpm2_createprimary -C o -G aes -c s.ctx -Q 2> /dev/null || true",
      "tpm2_flushcontext -t",
      "tpm2_nvdefine 0x01c0000a -C p -s 400 -a 'ppwrite|ppread|ownerread|authread|no_da|platformcreate' -Q",
    );
    const info = json("info", ...root());
    expect(info.storageKey).toMatchObject({ type: "RSA-2048", storageKey: true, noDA: false });
    expect(info.certificates).toEqual(["P-256"]);
    expect(thornkey(["tpm", "info", ...root()]).stdout).toMatch(
      /^storage key +RSA-2048, storage key, a wrong authorisation counts as a failure/m,
    );
  });

  it("says that PCRs which nobody extended protect nothing", () => {
    const { stdout } = thornkey(["tpm", "pcrs", ...root()]);
    expect(stdout.split("\n").filter((line) => /^ ?\d+ {2}[0-9a-f]{64}$/.test(line))).toHaveLength(24);
    expect(stdout).toMatch(/PCRs 0 to 7 are zero: .* protects nothing/);
    expect(json("pcrs", ...root())).toMatchObject({ bank: "sha256", measured: false });
  });

  it.runIf(HAS_TPM2_TOOLS)("says that something was measured when it was", () => {
    tools("tpm2_startup -c", `tpm2_pcrextend 4:sha256=${"5a".repeat(32)}`);
    const { pcrs, measured } = json("pcrs", ...root());
    const digest = createHash("sha256").update(Buffer.alloc(32)).update(Buffer.alloc(32, 0x5a)).digest("hex");
    expect(pcrs[4]).toEqual({ pcr: 4, value: digest });
    expect(measured).toBe(true);
  });

  it("tells whose the lockout authorisation is", async () => {
    expect(json("lockout", ...places)).toMatchObject({ owner: "nobody", locked: false });
    await own();
    expect(json("lockout", ...places)).toMatchObject({ owner: "vault", most: 32, interval: 600, recovery: 86_400 });
    expect(json("lockout", ...root(), "--state", join(lab.folder, "nowhere"))).toMatchObject({ owner: "other" });
  });

  it("a locked TPM: a vault's keys work, and a reset ends it", async () => {
    await own();
    const counted = guessing();
    const right = counted.unseal("right");
    expect(right).toBe("secret");
    for (let n = 0; n < 32; n++) expect(counted.unseal("wrong")).toMatch(/AUTH_FAIL/);
    expect(counted.unseal("right")).toMatch(/LOCKOUT/);
    counted.close();
    expect(json("lockout", ...places)).toMatchObject({ failures: 32, locked: true, owner: "vault" });
    expect(thornkey(["tpm", "lockout", ...places]).stdout).toMatch(/^locked +yes, for 10 min at most/m);
    const user = await openTpmRoot(tpm.location, { folder: join(state, "roots") });
    const { handle } = await user.generateKey({ algorithm: "p256", use: "sign", occupied: [] });
    expect(await user.sign(handle, new Uint8Array(32))).toHaveLength(64);
    await user.close();
    expect(json("lockout", "reset", ...places)).toMatchObject({ failures: 0, locked: false });
    const again = guessing();
    expect(again.unseal("right")).toBe("secret");
    again.close();
  });

  /** A sealed secret of another program, whose wrong authorisations count. */
  function guessing() {
    const line = tpmOver(() => openTransport(tpm.location), systemClock({ spinMilliseconds: 0 }));
    const parent = findParent(line);
    if (parent === undefined) throw new Error("no storage key");
    line.salt(parent.entity, parent.area);
    const text = (text: string) => new TextEncoder().encode(text);
    const template = {
      ...SEALED_SECRET,
      attributes: OBJECT.fixedTPM | OBJECT.fixedParent | OBJECT.userWithAuth,
      authPolicy: new Uint8Array(0),
    };
    const { area, privatePart } = create(line, parent.entity, template, text("right"), text("secret"));
    const { handle, name } = line.run(Load, [parent.entity], { inPrivate: privatePart, inPublic: area });
    return {
      unseal(auth: string): string {
        try {
          return new TextDecoder().decode(line.run(Unseal, [{ handle, name, auth: text(auth) }], {}).data);
        } catch (error) {
          return (error as Error).message;
        }
      },
      close() {
        line.flush(handle);
        line.close();
      },
    };
  }

  it("tries no authorisation of which it is not sure", async () => {
    await own();
    const [name = ""] = readdirSync(join(state, "roots"));
    const file = join(state, "roots", name);
    const refused = (why: RegExp) => {
      const { status, stderr } = thornkey(["tpm", "lockout", "reset", ...places]);
      expect(stderr).toMatch(why);
      expect(status).not.toBe(0);
    };
    // Of another TPM, under this one's name.
    const kept = readRootFile(file);
    if (kept === undefined) throw new Error("no file");
    writeRootFile(file, { ...kept, parentName: kept.parentName.map((byte) => byte ^ 1) });
    refused(/ROOT_REFUSED: .* none is guessed/);
    // Not known to have been set.
    writeRootFile(file, { ...kept, done: 1 });
    refused(/ROOT_REFUSED: .* none is guessed/);
    // Somebody may have changed it.
    writeRootFile(file, kept);
    chmodSync(file, 0o644);
    refused(/NOT_PERMITTED/);
    chmodSync(file, 0o600);
    renameSync(file, `${file}.away`);
    refused(/ROOT_REFUSED/);
    cpSync(`${file}.away`, file);
    // All of that was never tried: the right one would be refused, too, until tomorrow.
    expect(json("lockout", "reset", ...places)).toMatchObject({ owner: "vault", failures: 0 });
  });

  it("asks the vault while one runs, which journals a reset", async () => {
    const vault = await ready(places);
    try {
      expect(json("lockout", ...places)).toMatchObject({ owner: "vault", failures: 0 });
      expect(json("lockout", "reset", ...places)).toMatchObject({ owner: "vault", failures: 0 });
      const { stdout } = thornkey(["journal", "show", "--run", places.at(-1) ?? "", "--json"]);
      expect(stdout).toContain("forgot the failures");
      // The TPM is the vault's: swtpm serves nobody else meanwhile, and that is said.
      const info = thornkey(["tpm", "info", ...root()]);
      expect(info.stderr).toMatch(/ROOT_UNAVAILABLE.*\nhint: does another program have it open, such as the vault\?/);
      // Sockets elsewhere: it is not done behind the vault's back.
      const elsewhere = thornkey(["tpm", "lockout", "reset", ...places.slice(0, 4), "--run", lab.folder]);
      expect(elsewhere.stderr).toMatch(/VAULT_UNAVAILABLE: process \d+ has the state open/);
    } finally {
      vault.child.kill("SIGTERM");
      await vault.ended;
    }
  });

  it("finds the TPM among several roots, and says when there is none", async () => {
    const several = `emulated:${join(lab.folder, "x")}+${formatTpmLocation(tpm.location)}`;
    expect(thornkey(["tpm", "pcrs", "--root", several]).status).toBe(0);
    expect(thornkey(["tpm", "pcrs", "--root", "pi"])).toMatchObject({ status: 2 });
    expect(thornkey(["tpm", "info", "--root", "tpm:/dev/tpm0"]).stderr).toMatch(/use \/dev\/tpmrm0/);
    const nobody = thornkey(["tpm", "info", "--root", "tpm:unix:/nowhere/tpm.sock"]);
    expect(nobody).toMatchObject({ status: 6, stderr: expect.stringMatching(/ROOT_UNAVAILABLE: no TPM at/) });
  });

  it("ends within its deadline when the TPM hangs in the middle", async () => {
    await own();
    const visit = visitTpm(tpm.location);
    expect((await visit.survey()).serial).toMatch(/^[0-9a-f]{20}$/);
    await tpm.stop("SIGKILL");
    await expect(visit.survey()).rejects.toMatchObject({ code: "ROOT_UNAVAILABLE" });
    await tpm.start();
    expect((await visit.survey()).persistent).toHaveLength(1);
    await visit.close();
  });
});
