/** What a TPM says of itself. */
import { Writer } from "../../bytes/writer.ts";
import type { Lockout } from "../root.ts";
import { GetCapability } from "./commands.ts";
import { CAPABILITY, CURVE, CURVE_NAMES, PERMANENT, PROPERTY } from "./constants.ts";
import type { Tpm } from "./tpm.ts";

export interface TpmFacts {
  readonly manufacturer: string;
  readonly vendor: string;
  readonly firmware: string;
  readonly p384: boolean;
  /** Names of the curves it has. */
  readonly curves: readonly string[];
  readonly permanent: {
    readonly ownerAuthSet: boolean;
    readonly endorsementAuthSet: boolean;
    readonly lockoutAuthSet: boolean;
    readonly disableClear: boolean;
    readonly inLockout: boolean;
  };
  readonly lockout: Omit<Lockout, "locked" | "owner">;
}

export function factsOf(tpm: Tpm): TpmFacts {
  const fixed = properties(tpm, PROPERTY.manufacturer, 8);
  const variable = properties(tpm, PROPERTY.permanent, 32);
  const flags = variable.get(PROPERTY.permanent) ?? 0;
  const flag = (bit: number) => (flags & bit) !== 0;
  const number = (property: number) => variable.get(property) ?? 0;
  const vendor = Array.from({ length: 4 }, (_, n) => textOf(fixed.get(PROPERTY.vendorString1 + n) ?? 0)).join("");
  const versions = [PROPERTY.firmwareVersion1, PROPERTY.firmwareVersion2].map((one) => fixed.get(one) ?? 0);
  const curves = curvesOf(tpm);
  return {
    manufacturer: textOf(fixed.get(PROPERTY.manufacturer) ?? 0).trim(),
    vendor: vendor.trim().replace(/ +/g, " "),
    firmware: versions.map((version) => `${version >>> 16}.${version & 0xffff}`).join("."),
    p384: curves.includes(CURVE.p384),
    curves: curves.map((curve) => CURVE_NAMES.get(curve) ?? `0x${curve.toString(16)}`),
    permanent: {
      ownerAuthSet: flag(PERMANENT.ownerAuthSet),
      endorsementAuthSet: flag(PERMANENT.endorsementAuthSet),
      lockoutAuthSet: flag(PERMANENT.lockoutAuthSet),
      disableClear: flag(PERMANENT.disableClear),
      inLockout: flag(PERMANENT.inLockout),
    },
    lockout: {
      failures: number(PROPERTY.lockoutCounter),
      most: number(PROPERTY.maxAuthFail),
      interval: number(PROPERTY.lockoutInterval),
      recovery: number(PROPERTY.lockoutRecovery),
    },
  };
}

function properties(tpm: Tpm, property: number, count: number): Map<number, number> {
  const { data } = tpm.run(GetCapability, [], { capability: CAPABILITY.properties, property, count });
  if (data.type !== CAPABILITY.properties) return new Map();
  return new Map(data.properties.map(({ property, value }) => [property, value]));
}

function curvesOf(tpm: Tpm): readonly number[] {
  const { data } = tpm.run(GetCapability, [], { capability: CAPABILITY.curves, property: 0, count: 64 });
  return data.type === CAPABILITY.curves ? data.curves : [];
}

/** Four characters in a number. */
function textOf(value: number): string {
  const bytes = new Writer(4).u32be(value).done();
  return String.fromCharCode(...bytes.filter((byte) => byte >= 0x20 && byte < 0x7f));
}
