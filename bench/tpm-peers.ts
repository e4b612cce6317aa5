/** Others that sign with a TPM: tpm2-pkcs11 and tpm2_sign, each with a swtpm of its own. */
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { TpmLab } from "../test/roots/tpm/lab.ts";
import { findModule, runLoop } from "./pkcs11.ts";
import { median } from "./product.ts";
import { type AtEnd, loopIn, PERSISTENT, type Round } from "./tpm-paths.ts";

const PIN = "1234";
/** Milliseconds for a program of others. */
const PATIENCE = 60_000;

/**
 * tpm2-pkcs11 in the process of the program that signs, in one thread: a second one that signs with the same key gets
 * CKR_OPERATION_ACTIVE from it (1.9.0), and swtpm serves no second process.
 */
export async function theirModule(lab: TpmLab, atEnd: AtEnd): Promise<Round | string> {
  const module = findModule("libtpm2_pkcs11.so");
  const missing = [
    ...(module === undefined ? ["libtpm2-pkcs11-1"] : []),
    ...(spawnSync("which", ["tpm2_ptool"]).status === 0 ? [] : ["libtpm2-pkcs11-tools"]),
    ...(existsSync("/usr/share/doc/libtss2-tcti-swtpm0") ? [] : ["libtss2-tcti-swtpm0"]),
  ];
  if (module === undefined || missing.length > 0) return missing.join(", ");
  const tcti = await tcpTpm(join(lab.folder, "theirs"), atEnd);
  const store = join(lab.folder, "theirs-store");
  mkdirSync(store);
  const flush = "tpm2_flushcontext -t; tpm2_flushcontext -l";
  const env = {
    PATH: `${flushing(join(lab.folder, "flushing"))}:${process.env.PATH}`,
    TPM2_PKCS11_STORE: store,
    TPM2_PKCS11_TCTI: tcti,
    TPM2TOOLS_TCTI: tcti,
    TPM2_PKCS11_LOG_LEVEL: "0",
  };
  const must = (program: string, ...args: string[]) => {
    const { status, stderr } = spawnSync(program, args, { env, encoding: "utf8", timeout: PATIENCE });
    if (status !== 0) throw new Error(`${program} ${args.join(" ")}: ${stderr}`);
  };
  must("tpm2_startup", "-c");
  must("tpm2_ptool", "init");
  must("tpm2_ptool", "addtoken", "--pid=1", "--label=peer", `--sopin=${PIN}`, `--userpin=${PIN}`);
  const key = ["--label=peer", "--algorithm=ecc256", "--key-label=ec", `--userpin=${PIN}`];
  must("tpm2_ptool", "addkey", ...key);
  must("sh", "-c", flush);
  const loop = loopIn(lab.folder);
  return async (seconds) => {
    const result = await runLoop(loop, [module, "ec", "ec", "1", `${seconds}`], { env, pin: PIN });
    must("sh", "-c", flush);
    return result.operations / result.seconds;
  };
}

/** Signatures in one run of the shell that starts tpm2_sign. */
const BATCH = 10;

/** A process for each signature, started by a shell, whose own time is little. */
export async function signTool(lab: TpmLab, atEnd: AtEnd): Promise<Round | string> {
  if (spawnSync("tpm2_sign", ["--version"]).status !== 0) return "tpm2-tools";
  const tcti = await tcpTpm(join(lab.folder, "tool"), atEnd);
  const [digest, made, key] = [join(lab.folder, "digest"), join(lab.folder, "made"), join(lab.folder, "key")];
  writeFileSync(digest, new Uint8Array(32).fill(1));
  const env = { ...process.env, TPM2TOOLS_TCTI: tcti };
  const at = `0x${PERSISTENT.toString(16)}`;
  const attributes = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda|sign";
  const making = `tpm2_startup -c; tpm2_createprimary -Q -C o -G ecc256:ecdsa-sha256 -a "${attributes}" -c ${key} &&
    tpm2_evictcontrol -Q -C o -c ${key} ${at} && tpm2_flushcontext -t`;
  const { status, stderr } = spawnSync("sh", ["-c", making], { env, timeout: PATIENCE, encoding: "utf8" });
  if (status !== 0) throw new Error(`tpm2-tools: ${stderr}`);
  const signing = `for n in $(seq ${BATCH}); do tpm2_sign -c ${at} -g sha256 -d -o ${made} ${digest} || exit 1; done`;
  return async (seconds) => {
    const end = performance.now() + seconds * 1000;
    const times: number[] = [];
    for (let tries = 0; times.length === 0 || performance.now() < end; tries++) {
      if (tries > 20 && times.length === 0) throw new Error("tpm2_sign does not sign");
      const began = performance.now();
      const { status } = spawnSync("sh", ["-c", signing], { env, timeout: DEAF, stdio: "ignore" });
      if (status === 0) times.push((performance.now() - began) / BATCH);
    }
    return 1000 / median(times);
  };
}

/** Milliseconds after which swtpm has missed that somebody connected; such a batch is not counted against anybody. */
const DEAF = 5000;

/**
 * tpm2_ptool runs many programs of tpm2-tools, and without a resource manager what one leaves is in the way of the next.
 *
 * @returns a folder with programs of the same names that flush before
 */
function flushing(folder: string): string {
  mkdirSync(folder);
  const path = (name: string) => spawnSync("which", [name], { encoding: "utf8" }).stdout.trim();
  const flush = path("tpm2_flushcontext");
  for (const name of ["sign", "import", "load", "loadexternal", "create", "createprimary", "unseal", "evictcontrol"]) {
    const script = `#!/bin/sh\n${flush} -t; ${flush} -l\nexec ${path(`tpm2_${name}`)} "$@"\n`;
    writeFileSync(join(folder, `tpm2_${name}`), script, { mode: 0o755 });
  }
  return folder;
}

/**
 * swtpm by TCP, for programs on tpm2-tss: by its Unix socket it sometimes never hears one that connects right after
 * another has gone.
 *
 * @returns what tpm2-tss takes
 */
async function tcpTpm(folder: string, atEnd: (end: () => Promise<void>) => void): Promise<string> {
  mkdirSync(folder);
  const port = 20_000 + 2 * Math.floor(Math.random() * 6000);
  const listen = (at: number) => `type=tcp,port=${at},bindaddr=127.0.0.1`;
  const child = spawn(
    "swtpm",
    [
      ...["socket", "--tpm2", "--tpmstate", `dir=${folder}`, "--flags", "not-need-init"],
      ...["--server", listen(port), "--ctrl", listen(port + 1)],
    ],
    { stdio: "ignore" },
  );
  const gone = once(child, "exit");
  atEnd(async () => {
    child.kill();
    await gone;
  });
  await new Promise((resolve) => setTimeout(resolve, 300));
  if (child.exitCode !== null) throw new Error("swtpm ended");
  return `swtpm:host=127.0.0.1,port=${port}`;
}
