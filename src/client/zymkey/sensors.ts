/**
 * What a Zymkey feels and shows, and a vault alone does not. A program gives what its device has; each part may be
 * missing, and what needs it then fails with `NOT_SUPPORTED`.
 */
import { ThornkeyError } from "../../errors.ts";

export type Axis = "x" | "y" | "z" | "all";

export interface Acceleration {
  /** In g. */
  readonly gForce: number;
  /** Direction of the last tap along the axis. */
  readonly tapDirection: -1 | 0 | 1;
}

export interface DigitalPerimeter {
  /** Microseconds between two samples in low power. */
  readonly lowPowerPeriod?: number;
  readonly lowPowerMaximumBits?: number;
  /** Nanoseconds, shortest and longest. */
  readonly delays?: readonly [number, number];
}

export interface Sensors {
  /** @param percent 0 to 100; 0 is off */
  setTapSensitivity(axis: Axis, percent: number): Promise<void>;
  /** Ends with the next tap. @param signal fires when nobody waits any more */
  waitForTap(signal: AbortSignal): Promise<void>;
  /** In the order x, y, z. */
  acceleration(): Promise<readonly [Acceleration, Acceleration, Acceleration]>;
  setPerimeterActions(channel: 0 | 1, actions: { notify: boolean; selfDestruct: boolean }): Promise<void>;
  setDigitalPerimeter(settings: DigitalPerimeter): Promise<void>;
  waitForPerimeterEvent(signal: AbortSignal): Promise<void>;
  /** @returns for each channel seconds since 1970 of its first breach, 0 for none */
  perimeterBreaches(): Promise<readonly number[]>;
  clearPerimeterBreaches(): Promise<void>;
  /** °C. */
  cpuTemperature(): Promise<number>;
  /** °C of a further processor. */
  auxiliaryTemperature(index: number): Promise<number>;
  /** Drift of the real-time clock, as the hardware tells it. */
  clockDrift(): Promise<number>;
  /** Volts. */
  batteryVoltage(): Promise<number>;
  setBatteryAction(action: "none" | "sleep" | "self-destruct"): Promise<void>;
  /** @param volts below 2.5 */
  setBatteryThreshold(volts: number): Promise<void>;
  setTemperatureAction(action: "none" | "self-destruct"): Promise<void>;
  /** @param celsius beyond which the action is taken */
  setTemperatureThreshold(limit: "low" | "high", celsius: number): Promise<void>;
}

export interface Led {
  on(): Promise<void>;
  off(): Promise<void>;
  /** @param times 0: for ever. Times in milliseconds */
  flash(on: number, off: number, times: number): Promise<void>;
}

/**
 * @returns the part, bound to what it belongs to
 * @throws ThornkeyError `NOT_SUPPORTED` when the program gave none
 */
export function partOf<Device extends object, Name extends keyof Device>(
  device: Device | undefined,
  name: Name,
  words: string,
): NonNullable<Device[Name]> {
  const part = device?.[name];
  if (typeof part === "function") return part.bind(device) as NonNullable<Device[Name]>;
  throw new ThornkeyError("NOT_SUPPORTED", `this vault has no ${words}`, {
    hint: "give the device's own: new Zymkey({ sensors, led })",
  });
}
