import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import type { Readable, Writable } from "node:stream";

export interface MachineOptions {
  readonly kernel: string;
  readonly initrd: string;
  /** File for what the kernel prints. */
  readonly console: string;
  /** QEMU's arguments for what is special to it. */
  readonly devices: readonly string[];
  /** Which of the guest's programs runs. */
  readonly part: string;
}

export interface Machine {
  /** What comes out of the second serial line. */
  readonly lines: AsyncIterable<string>;
  say(line: string): void;
  /** Settles when it has switched off; with what QEMU complained about. */
  readonly ended: Promise<string>;
  kill(): void;
}

export const QEMU = "qemu-system-x86_64";

/**
 * A PC without KVM, which is not everywhere where it seems to be. Five-level paging makes this kernel print its own
 * path names as x's under emulation, and the fast string operations stall; so both are off. With a host thread for each
 * processor Node, whose machine code comes and goes while it runs, crashed in 2 of 18 starts; so there is one for both.
 */
const PC = [
  ...["-accel", "tcg,thread=single", "-cpu", "max,svm=off,vmx=off,la57=off,erms=off,fsrm=off"],
  ...["-M", "q35", "-smp", "2", "-m", "1024"],
  ...["-nic", "none", "-display", "none", "-monitor", "none", "-no-reboot", "-device", "virtio-rng-pci"],
];
/** What the kernel does not know it puts into the environment of init. */
const KERNEL_ARGUMENTS = "console=ttyS0,115200 panic=-1 nowatchdog random.trust_cpu=on";

export function startMachine({ kernel, initrd, console, devices, part }: MachineOptions): Machine {
  const child: ChildProcess & { stdin: Writable; stdout: Readable; stderr: Readable } = spawn(
    QEMU,
    [
      ...PC,
      ...["-kernel", kernel, "-initrd", initrd, "-append", `${KERNEL_ARGUMENTS} PART=${part}`],
      ...["-serial", `file:${console}`, "-serial", "stdio"],
      ...devices,
    ],
    { stdio: ["pipe", "pipe", "pipe"] },
  );
  let complaints = "";
  child.stderr.on("data", (chunk: Buffer) => {
    complaints = (complaints + chunk).slice(-2000);
  });
  child.stdin.on("error", () => {}); // it may switch off while we talk
  return {
    lines: createInterface({ input: child.stdout }),
    say: (line) => child.stdin.write(`${line}\n`),
    ended: new Promise((resolve) => {
      child.once("error", (error) => resolve(error.message));
      child.once("close", () => resolve(complaints.trim()));
    }),
    kill: () => child.kill("SIGKILL"),
  };
}
