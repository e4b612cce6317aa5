/**
 * Boots a Debian kernel under QEMU whose I2C bus leads to the emulated secure element, and runs our driver and command
 * line there. Not part of `npm test`: it needs QEMU, busybox and Debian's kernel package, and takes minutes.
 *
 *     node test/boot/run.ts [--timing none|typical|maximum]
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { openI2cSocket } from "../../src/machine/i2c-socket.ts";
import { startEmulatedChip } from "../../src/roots/atecc/emulated.ts";
import { debianKernel } from "./debian-kernel.ts";
import { writeGuestImage } from "./guest-image.ts";
import { offerAdapter } from "./i2c-tiny-usb.ts";
import { QEMU, startMachine } from "./machine.ts";
import { parseReport, type Result } from "./report.ts";

const MOST_MS = 900_000;
const BUSYBOX = "/bin/busybox";
const CACHE = join(tmpdir(), "thornkey-boot");

const { values } = parseArgs({ options: { timing: { type: "string", default: "typical" } } });
const timing = (["none", "typical", "maximum"] as const).find((known) => known === values.timing);
if (timing === undefined) throw new Error("--timing is none, typical or maximum");

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

const folder = mkdtempSync(join(tmpdir(), "tk-boot-"));
const start = performance.now();
const seconds = () => ((performance.now() - start) / 1000).toFixed(1);
const initrd = join(folder, "guest.cpio");
writeGuestImage(initrd, { kernel, node: process.execPath, busybox: BUSYBOX });
console.log(`Debian ${kernel.version}, emulated chip with ${timing} times`);

const emulator = await startEmulatedChip(join(folder, "chip.eeprom"), { timing });
const bus = openI2cSocket(emulator.location.bus.path);
const adapter = await offerAdapter(join(folder, "usb"), bus);
const consoleFile = join(folder, "console.txt");
const machine = startMachine({ kernel: kernel.image, initrd, console: consoleFile, usb: join(folder, "usb") });
const limit = setTimeout(() => machine.kill(), MOST_MS);
process.on("exit", () => machine.kill());
for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => process.exit(1));

const results: Result[] = [];
let finished = false;
for await (const line of machine.lines) {
  const report = parseReport(line);
  if (report?.kind === "result") {
    results.push(report);
    show(report);
  } else if (report?.kind === "ask") {
    adapter[report.what]();
    machine.say("done");
  } else if (report?.kind === "end") finished = true;
  else if (line.trim() !== "") console.log(`guest: ${line}`);
}
const complaints = await machine.ended;
clearTimeout(limit);
adapter.close();
bus.close();
await emulator.close();

const failed = results.filter(({ ok }) => !ok).length;
if (!finished) {
  console.log(`the guest did not come to its end. ${complaints}`);
  console.log(readFileSync(consoleFile, "latin1").split("\n").slice(-40).join("\n"));
}
if (finished && failed === 0) rmSync(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
else {
  rmSync(initrd);
  console.log(`what the kernel printed is in ${consoleFile}`);
}
console.log(
  `${results.length - failed} of ${results.length} steps, ${adapter.transactions} transactions, ${seconds()} s`,
);
process.exit(finished && failed === 0 ? 0 : 1);

function show({ step, ok, milliseconds, detail }: Result): void {
  console.log(`${ok ? "ok    " : "FAILED"} ${seconds().padStart(6)} s  ${step} (${milliseconds} ms)`);
  const lines = typeof detail === "string" ? detail : JSON.stringify(detail, null, 1).replace(/[{}"]/g, "");
  for (const line of lines.split("\n")) if (line.trim() !== "") console.log(`        ${line.trim()}`);
}

function skip(why: string): never {
  console.log(`skipped: ${why}`);
  process.exit(0);
}
