import type { Result } from "./report.ts";

/** One machine of the boot test: what is in its guest, and what the host puts behind its devices. */
export interface Part {
  /** Its program is guest/NAME.ts. */
  readonly name: string;
  /** @returns a sentence that says what is not there, or undefined when it can run */
  readonly missing: () => string | undefined;
  /** Drivers of the kernel, in the order in which they are loaded. */
  readonly modules: readonly string[];
  /** Packages that the guest's program imports besides what our sources import. */
  readonly packages?: readonly string[];
  /** Files of the project besides our sources and guest/. */
  readonly files?: readonly string[];
  /** Programs of this machine that run in the guest as well. */
  readonly programs?: readonly string[];
  /** Milliseconds until it must have switched itself off. */
  readonly longest: number;
  /** @param folder for sockets and files; its path is short */
  start(folder: string): Promise<Behind>;
}

/** What stands behind the machine's devices while it runs. */
export interface Behind {
  /** QEMU's arguments for the devices. */
  readonly devices: readonly string[];
  /** What the guest may ask for, by name. */
  readonly asks: { readonly [what: string]: () => void };
  /** @returns what is wrong with the results as a whole */
  complaint?(results: readonly Result[]): string | undefined;
  /** A few words for the last line. */
  summary(): string;
  close(): Promise<void>;
}
