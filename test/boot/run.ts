/**
 * Boots a Debian kernel under QEMU and runs our drivers there, on devices that the kernel offers: once with an I2C bus that
 * leads to the emulated secure element, once with a TPM in software. Not part of `npm test`: it needs QEMU, busybox and
 * Debian's kernel package, and takes minutes.
 *
 *     node test/boot/run.ts [--only i2c|tpm] [--timing none|typical|maximum]
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { debianKernel, type Kernel } from "./debian-kernel.ts";
import { writeGuestImage } from "./guest-image.ts";
import { i2cPart } from "./i2c.ts";
import { QEMU, startMachine } from "./machine.ts";
import type { Part } from "./part.ts";
import { parseReport, type Result } from "./report.ts";
import { tpmPart } from "./tpm.ts";

const BUSYBOX = "/bin/busybox";
const CACHE = join(tmpdir(), "thornkey-boot");

const { values } = parseArgs({ options: { only: { type: "string" }, timing: { type: "string", default: "typical" } } });
const timing = (["none", "typical", "maximum"] as const).find((known) => known === values.timing);
if (timing === undefined) throw new Error("--timing is none, typical or maximum");
const parts = [i2cPart(timing), tpmPart].filter(({ name }) => values.only === undefined || values.only === name);
if (parts.length === 0) throw new Error("--only is i2c or tpm");

if (process.arch !== "x64") skip("this is not an x86-64 machine, and Node and koffi go into the guest as they are");
if (spawnSync(QEMU, ["--version"], { timeout: 30_000 }).status !== 0) {
  skip(`${QEMU} is not there (apt install qemu-system-x86)`);
}
if (!existsSync(BUSYBOX)) {
  skip(`${BUSYBOX} is not there (apt install busybox-static)`);
}
mkdirSync(CACHE, { recursive: true });
const kernel = debianKernel(CACHE);
if (typeof kernel === "string") skip(kernel);

for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => process.exit(1));
let well = true;
for (const part of parts) well = (await run(part, kernel)) && well;
process.exit(well ? 0 : 1);

/** Boots one machine. @returns whether all went well, or it was skipped */
async function run(part: Part, kernel: Kernel): Promise<boolean> {
  const missing = part.missing();
  if (missing !== undefined) {
    console.log(`${part.name} skipped: ${missing}`);
    return true;
  }
  const folder = mkdtempSync(join(tmpdir(), "tk-boot-"));
  const start = performance.now();
  const seconds = () => ((performance.now() - start) / 1000).toFixed(1);
  const initrd = join(folder, "guest.cpio");
  writeGuestImage(initrd, { kernel, node: process.execPath, busybox: BUSYBOX, part });
  console.log(`${part.name} on Debian ${kernel.version}`);

  const behind = await part.start(folder);
  const consoleFile = join(folder, "console.txt");
  const { devices, asks } = behind;
  const machine = startMachine({ kernel: kernel.image, initrd, console: consoleFile, devices, part: part.name });
  let late = false;
  const limit = setTimeout(() => {
    late = true;
    machine.kill();
  }, part.longest);
  process.on("exit", machine.kill);

  const results: Result[] = [];
  let finished = false;
  for await (const line of machine.lines) {
    const report = parseReport(line);
    if (report?.kind === "result") {
      results.push(report);
      show(report, seconds());
    } else if (report?.kind === "ask") {
      const wanted = asks[report.what];
      if (wanted === undefined) throw new Error(`the guest asks for '${report.what}'`);
      wanted();
      machine.say("done");
    } else if (report?.kind === "end") finished = true;
    else if (line.trim() !== "") console.log(`guest: ${line}`);
  }
  const complaints = await machine.ended;
  clearTimeout(limit);
  await behind.close();

  const failed = results.filter(({ ok }) => !ok).length;
  const complaint = finished ? behind.complaint?.(results) : undefined;
  if (complaint !== undefined) console.log(complaint);
  if (!finished) {
    const within = late ? ` in ${part.longest / 1000} s` : "";
    console.log(`the guest did not come to its end${within}. ${complaints}`);
    console.log(readFileSync(consoleFile, "latin1").split("\n").slice(-40).join("\n"));
  }
  const well = finished && failed === 0 && complaint === undefined;
  if (well) rmSync(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
  else {
    rmSync(initrd);
    console.log(`what the kernel printed is in ${consoleFile}`);
  }
  console.log(`${results.length - failed} of ${results.length} steps, ${behind.summary()}, ${seconds()} s`);
  return well;
}

function show({ step, ok, milliseconds, detail }: Result, at: string): void {
  console.log(`${ok ? "ok    " : "FAILED"} ${at.padStart(6)} s  ${step} (${milliseconds} ms)`);
  const lines = typeof detail === "string" ? detail : JSON.stringify(detail, null, 1).replace(/[{}"]/g, "");
  for (const line of lines.split("\n")) if (line.trim() !== "") console.log(`        ${line.trim()}`);
}

function skip(why: string): never {
  console.log(`skipped: ${why}`);
  process.exit(0);
}
