import { ThornkeyError } from "../../errors.ts";

/** Where a chip is. */
export interface ChipLocation {
  readonly bus: { readonly kind: "i2c-dev" | "socket"; readonly path: string };
  /** 7 bit */
  readonly address: number;
}

/** 7-bit address of a chip as it leaves the factory (config byte 16 = C0, the 8-bit form). */
export const DEFAULT_ADDRESS = 0x60;

/**
 * Reads a root specification of the kind `atecc` (interfaces: `atecc:/dev/i2c-1`, `atecc:/dev/i2c-1@0x60`,
 * `atecc:unix:/path.sock`).
 *
 * @throws ThornkeyError `USAGE`
 */
export function parseChipLocation(specification: string): ChipLocation {
  const match = /^atecc:(?<unix>unix:)?(?<path>\/[^@]*?)(?:@(?<address>[^@]*))?$/.exec(specification);
  const { unix, path, address } = match?.groups ?? {};
  if (path === undefined) {
    throw new ThornkeyError("USAGE", `'${specification}' is not where a chip is`, {
      hint: "say atecc:/dev/i2c-1, atecc:/dev/i2c-1@0x60 or atecc:unix:/path.sock",
    });
  }
  return {
    bus: { kind: unix === undefined ? "i2c-dev" : "socket", path },
    address: address === undefined ? DEFAULT_ADDRESS : parseAddress(address),
  };
}

/** The specification a location was read from, in its shortest form. */
export function formatChipLocation({ bus, address }: ChipLocation): string {
  const at = address === DEFAULT_ADDRESS ? "" : `@0x${address.toString(16)}`;
  return `atecc:${bus.kind === "socket" ? "unix:" : ""}${bus.path}${at}`;
}

function parseAddress(text: string): number {
  const address = /^(0x[0-9a-fA-F]{1,2}|\d{1,3})$/.test(text) ? Number(text) : Number.NaN;
  if (address >= 0x08 && address <= 0x77) return address;
  const sevenBit = address >> 1;
  throw new ThornkeyError("USAGE", `'${text}' is not a 7-bit I2C address (0x08 to 0x77)`, {
    hint:
      address <= 0xff && sevenBit >= 0x08
        ? `0x${address.toString(16)} looks like the 8-bit form of 0x${sevenBit.toString(16)}`
        : "a chip from the factory is at 0x60",
  });
}
