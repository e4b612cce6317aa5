import { blankConfig } from "../../../src/emulators/atecc508a/blank.ts";
import { createChip, type Chip as EmulatedSilicon, type Model } from "../../../src/emulators/atecc508a/chip.ts";
import { type Memory, memoryInRam } from "../../../src/emulators/atecc508a/memory.ts";
import type { I2cBus } from "../../../src/machine/i2c-bus.ts";
import { type Chip, chipOver, type DeviceLink } from "../../../src/roots/atecc/chip.ts";
import type { Step } from "../../../src/roots/atecc/command.ts";
import { AteccDevice } from "../../../src/roots/atecc/device.ts";
import { FakeClock } from "../../machine/fake-clock.ts";

/** One transaction as a bus analyser shows it. */
export interface Transaction {
  readonly kind: "write" | "read";
  readonly address: number;
  /** written, or asked for; empty when not acknowledged */
  readonly bytes: Uint8Array;
  readonly acknowledged: boolean;
  /** milliseconds on the fake clock, when it began */
  readonly at: number;
}

/** A chip and our driver in one thread, on a clock that only moves when somebody waits. */
export interface Laboratory {
  readonly silicon: EmulatedSilicon;
  readonly memory: Memory;
  readonly clock: FakeClock;
  readonly bus: I2cBus;
  readonly device: AteccDevice;
  readonly link: DeviceLink;
  readonly transactions: Transaction[];
  /** Opens the chip through the whole driver but its thread. */
  open(): Promise<Chip>;
}

export interface LaboratoryOptions {
  readonly model?: Model;
  readonly timing?: "none" | "typical" | "maximum";
  readonly memory?: Memory;
  readonly config?: Uint8Array;
  /** 7 bit; the factory's when there is none. */
  readonly address?: number;
  /** Stands between driver and chip. */
  readonly through?: (bus: I2cBus) => I2cBus;
}

export const ADDRESS = 0x60;

export function laboratory(options: LaboratoryOptions = {}): Laboratory {
  const model = options.model ?? "508a";
  const memory = options.memory ?? memoryInRam(model, { config: options.config ?? blankConfig(model) });
  const address = options.address ?? ADDRESS;
  const clock = new FakeClock();
  const silicon = createChip({ model, memory, timing: options.timing ?? "typical", clock });
  const transactions: Transaction[] = [];
  const wire: I2cBus = {
    write(address, bytes) {
      const at = clock.now();
      clock.advance((9 * (bytes.length + 1) + 2) / 100);
      const acknowledged = silicon.write(address, bytes);
      transactions.push({ kind: "write", address, bytes: bytes.slice(), acknowledged, at });
      return acknowledged;
    },
    read(address, length) {
      const at = clock.now();
      const bytes = silicon.read(address, length);
      clock.advance((9 * ((bytes?.length ?? 0) + 1) + 2) / 100);
      transactions.push({
        kind: "read",
        address,
        bytes: bytes ?? new Uint8Array(),
        acknowledged: bytes !== undefined,
        at,
      });
      return bytes;
    },
    close() {},
  };
  const bus = options.through?.(wire) ?? wire;
  const device = new AteccDevice({ open: () => bus, clock, address });
  const link: DeviceLink = {
    run: async (steps: readonly Step[], session) => device.run(steps, session),
    hold() {},
    release() {},
    close: async () => device.close(),
  };
  const location = { bus: { kind: "socket", path: "/in-process" }, address } as const;
  return { silicon, memory, clock, bus, device, link, transactions, open: () => chipOver(link, location) };
}

/** Opcodes of the commands that went over the bus, in order. */
export function opcodesOf(transactions: readonly Transaction[]): number[] {
  return transactions
    .filter(({ kind, bytes, acknowledged }) => kind === "write" && acknowledged && bytes[0] === 3)
    .map(({ bytes }) => bytes[2] ?? -1);
}

export function wakesOf(transactions: readonly Transaction[]): number {
  return transactions.filter(({ kind, address }) => kind === "write" && address === 0).length;
}
