import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Secret } from "../../../src/client/index.ts";
import {
  type Led,
  type Sensors,
  type Zymkey,
  ZymkeyAccelAxisData,
  ZymkeyTimeoutError,
} from "../../../src/client/zymkey/index.ts";
import { codeOf, openZymkeyLab, type ZymkeyLab } from "./lab.ts";

let lab: ZymkeyLab;
/** Without and with what a device feels. */
let bare: Zymkey;
let zymkey: Zymkey;
beforeAll(async () => {
  lab = await openZymkeyLab();
  bare = lab.zymkey();
  zymkey = lab.zymkey({ sensors, led });
});
afterAll(() => lab.close());

/** What was asked of the device, the last one last. */
const asked: unknown[][] = [];
const note = async (...call: unknown[]): Promise<void> => void asked.push(call);
let happen = () => {};
let waiting = 0;
function event(signal: AbortSignal): Promise<void> {
  waiting++;
  signal.addEventListener("abort", () => waiting--);
  return new Promise((resolve) => {
    happen = resolve;
  });
}

const sensors: Sensors = {
  setTapSensitivity: (axis, percent) => note("tap", axis, percent),
  waitForTap: event,
  acceleration: async () => [
    { gForce: 0.1, tapDirection: 0 },
    { gForce: -0.2, tapDirection: 1 },
    { gForce: 1.01, tapDirection: -1 },
  ],
  setPerimeterActions: (channel, actions) => note("actions", channel, actions),
  setDigitalPerimeter: (settings) => note("digital", settings),
  waitForPerimeterEvent: event,
  perimeterBreaches: async () => [0, 4_294_967_296],
  clearPerimeterBreaches: () => note("clear"),
  cpuTemperature: async () => 41.5,
  auxiliaryTemperature: async (index) => 50 + index,
  clockDrift: async () => -0.25,
  batteryVoltage: async () => 3.01,
  setBatteryAction: (action) => note("battery", action),
  setBatteryThreshold: (volts) => note("volts", volts),
  setTemperatureAction: (action) => note("temperature", action),
  setTemperatureThreshold: (limit, celsius) => note("celsius", limit, celsius),
};
const led: Led = {
  on: () => note("on"),
  off: () => note("off"),
  flash: (on, off, times) => note("flash", on, off, times),
};

/** A call, what it answers, and what the device is asked for; 0 is what the API answers for done. */
type Row = readonly [name: string, act: (unit: Zymkey) => Promise<unknown>, answer: unknown, call?: readonly unknown[]];

const ROWS: readonly Row[] = [
  ["led_on", (unit) => unit.led_on(), undefined, ["on"]],
  ["led_off", (unit) => unit.led_off(), undefined, ["off"]],
  ["led_flash", (unit) => unit.led_flash(100), undefined, ["flash", 100, 100, 0]],
  ["led_flash", (unit) => unit.led_flash(100, 50, 3), undefined, ["flash", 100, 50, 3]],
  ["set_tap_sensitivity", (unit) => unit.set_tap_sensitivity(), 0, ["tap", "all", 50]],
  ["set_tap_sensitivity", (unit) => unit.set_tap_sensitivity("X", 0), 0, ["tap", "x", 0]],
  [
    "get_accelerometer_data",
    (unit) => unit.get_accelerometer_data(),
    [new ZymkeyAccelAxisData(0.1, 0), new ZymkeyAccelAxisData(-0.2, 1), new ZymkeyAccelAxisData(1.01, -1)],
  ],
  [
    "set_perimeter_event_actions",
    (unit) => unit.set_perimeter_event_actions(1),
    0,
    ["actions", 1, { notify: true, selfDestruct: false }],
  ],
  [
    "set_digital_perimeter_lp_period",
    (unit) => unit.set_digital_perimeter_lp_period(1000),
    0,
    ["digital", { lowPowerPeriod: 1000 }],
  ],
  [
    "set_digital_perimeter_lp_max_bits",
    (unit) => unit.set_digital_perimeter_lp_max_bits(8),
    0,
    ["digital", { lowPowerMaximumBits: 8 }],
  ],
  [
    "set_digital_perimeter_delays",
    (unit) => unit.set_digital_perimeter_delays(10, 20),
    0,
    ["digital", { delays: [10, 20] }],
  ],
  ["get_perimeter_detect_info", (unit) => unit.get_perimeter_detect_info(), [0, 4_294_967_296]],
  ["clear_perimeter_detect_info", (unit) => unit.clear_perimeter_detect_info(), 0, ["clear"]],
  ["get_cpu_temp", (unit) => unit.get_cpu_temp(), 41.5],
  ["get_aux_temp", (unit) => unit.get_aux_temp(1), 51],
  ["get_rtc_drift", (unit) => unit.get_rtc_drift(), -0.25],
  ["get_batt_volt", (unit) => unit.get_batt_volt(), 3.01],
  ["set_battery_voltage_action", (unit) => unit.set_battery_voltage_action(), 0, ["battery", "none"]],
  ["set_battery_voltage_action", (unit) => unit.set_battery_voltage_action(true), 0, ["battery", "sleep"]],
  [
    "set_battery_voltage_action",
    (unit) => unit.set_battery_voltage_action(false, true),
    0,
    ["battery", "self-destruct"],
  ],
  ["set_battery_voltage_threshold", (unit) => unit.set_battery_voltage_threshold(2.3), 0, ["volts", 2.3]],
  ["set_cpu_temp_action", (unit) => unit.set_cpu_temp_action(true), 0, ["temperature", "self-destruct"]],
  ["set_cpu_low_temp_threshold", (unit) => unit.set_cpu_low_temp_threshold(-10), 0, ["celsius", "low", -10]],
  ["set_cpu_high_temp_threshold", (unit) => unit.set_cpu_high_temp_threshold(65), 0, ["celsius", "high", 65]],
];

const NAMED = ROWS.map(([name, act, answer, call]) => ({ name, act, answer, call }));

describe("what a device feels and shows", () => {
  it.each(NAMED)("$name passes on", async ({ act, answer, call }) => {
    asked.length = 0;
    expect(await act(zymkey)).toEqual(answer);
    expect(asked).toEqual(call === undefined ? [] : [call]);
  });

  it.each(NAMED)("$name says that a vault alone does not", async ({ act }) => {
    expect(await codeOf(act(bare))).toBe("NOT_SUPPORTED");
  });

  it.each<readonly [string, (unit: Zymkey) => Promise<unknown>]>([
    ["led_flash(0)", (unit) => unit.led_flash(0)],
    ["led_flash(-1)", (unit) => unit.led_flash(5, -1)],
    ["axis w", (unit) => unit.set_tap_sensitivity("w")],
    ["101 %", (unit) => unit.set_tap_sensitivity("all", 101)],
    ["channel 2", (unit) => unit.set_perimeter_event_actions(2)],
    ["period 0", (unit) => unit.set_digital_perimeter_lp_period(0)],
    ["bits 1.5", (unit) => unit.set_digital_perimeter_lp_max_bits(1.5)],
    ["delays the wrong way", (unit) => unit.set_digital_perimeter_delays(20, 10)],
    ["both actions", (unit) => unit.set_battery_voltage_action(true, true)],
    ["2.5 V", (unit) => unit.set_battery_voltage_threshold(2.5)],
    ["no number", (unit) => unit.set_cpu_low_temp_threshold(Number.NaN)],
    ["no temperature", (unit) => unit.set_cpu_high_temp_threshold(-300)],
    ["timeout -2", (unit) => unit.wait_for_tap(-2)],
    ["address 0x20", (unit) => unit.set_i2c_address(0x20)],
    ["boot policy 3", (unit) => unit.set_supervised_boot_policy(3)],
    ["boot slot 16", (unit) => unit.add_or_update_supervised_boot_file("config.txt", 16)],
    ["boot file without a name", (unit) => unit.remove_supervised_boot_file()],
    ["boot file elsewhere", (unit) => unit.remove_supervised_boot_file("../etc/passwd")],
  ])("refuses arguments that make no sense: %s", async (_, act) => {
    expect(await codeOf(act(zymkey))).toBe("USAGE");
  });
});

describe.each(["wait_for_tap", "wait_for_perimeter_event"] as const)("%s", (name) => {
  it("ends with what it waits for", async () => {
    const waited = name === "wait_for_tap" ? zymkey.wait_for_tap() : zymkey.wait_for_perimeter_event();
    await delay(0);
    happen();
    expect(await waited).toBeUndefined();
    expect(waiting).toBe(0);
  });

  it("only looks, or waits for a time, and says that nothing came", async () => {
    for (const timeout of [0, 20]) await expect(zymkey[name](timeout)).rejects.toBeInstanceOf(ZymkeyTimeoutError);
    expect(waiting).toBe(0);
  });

  it("ends when its signal fires", async () => {
    const abort = new AbortController();
    const waited = zymkey[name](-1, abort.signal);
    abort.abort();
    expect(await codeOf(waited)).toBe("ABORTED");
    expect(await codeOf(zymkey[name](-1, abort.signal))).toBe("ABORTED");
    expect(await codeOf(bare[name](0))).toBe("NOT_SUPPORTED");
    expect(waiting).toBe(0);
  });
});

describe("the unit", () => {
  it("tells the time, and the beginning of a second", async () => {
    const before = Math.floor(Date.now() / 1000);
    const time = await zymkey.get_time();
    expect(time).toBeGreaterThanOrEqual(before);
    const next = await zymkey.get_time(true);
    expect(next).toBeGreaterThan(time);
    const abort = new AbortController();
    abort.abort();
    expect(await codeOf(zymkey.get_time(true, abort.signal))).toBe("ABORTED");
  });

  it("tells what root it has", async () => {
    const [root] = (await lab.thornkey.status()).roots;
    expect(await zymkey.get_model_number()).toBe(root?.model);
    expect(await zymkey.get_firmware_version()).toBe(root?.firmware);
    expect(await zymkey.get_serial_number()).toBe(root?.serial);
    expect(root?.serial).not.toBe("");
  });

  it("locks the binding only when somebody keeps the recovery key, and can be freed with it", async () => {
    expect(await zymkey.get_current_binding_info()).toEqual([false, true]);
    expect(await codeOf(zymkey.lock_binding())).toBe("USAGE");
    const careless = lab.zymkey({ keepRecoveryKey: () => Promise.reject(new Error("the printer is out of paper")) });
    await expect(careless.lock_binding()).rejects.toThrow("paper");
    expect(await zymkey.get_current_binding_info()).toEqual([false, true]);
    let kept: Secret | undefined;
    const careful = lab.zymkey({
      keepRecoveryKey: async (key) => {
        kept = key;
      },
    });
    expect(await careful.lock_binding()).toBeUndefined();
    expect(await zymkey.get_current_binding_info()).toEqual([true, true]);
    expect(kept).toBeInstanceOf(Secret);
    await lab.thornkey.binding.undo({ recovery: kept ?? new Secret(new Uint8Array(32)) });
    expect(await zymkey.get_current_binding_info()).toEqual([false, true]);
  });

  it("says why it has no address and does not supervise a boot", async () => {
    expect(await codeOf(zymkey.set_i2c_address(0x31))).toBe("NOT_SUPPORTED");
    expect(await codeOf(zymkey.set_supervised_boot_policy())).toBe("NOT_SUPPORTED");
    expect(await codeOf(zymkey.add_or_update_supervised_boot_file("config.txt"))).toBe("NOT_SUPPORTED");
    expect(await codeOf(zymkey.remove_supervised_boot_file("config.txt"))).toBe("NOT_SUPPORTED");
    expect(await codeOf(zymkey.get_supervised_boot_file_manifest())).toBe("NOT_SUPPORTED");
  });
});
