import { chmodSync, chownSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { processorOf } from "../../../src/roots/pi/board.ts";
import { accessTo, concernsAbout, describeOver } from "../../../src/roots/pi/describe.ts";
import { piRootOn } from "../../../src/roots/pi/root.ts";
import { folder, lab, tagOf, withWord } from "./lab.ts";

describe("what the doctor is told", () => {
  it("of firmware with a key", async () => {
    const pi = lab();
    await (await piRootOn(pi.link)).lock();
    expect(await describeOver(pi.link)).toEqual({
      node: "/dev/vcio",
      access: undefined,
      keys: 1,
      keyPresent: true,
      locks: ["READ", "GEN", "HMAC"],
      usage: 0,
      firmware: "2026-07-01",
      processor: "BCM2711",
      boardSerial: expect.stringMatching(/^10000000[0-9a-f]{8}$/),
      concerns: [],
    });
  });

  it("of what a restricted node does not let through", async () => {
    const { keys, usage, firmware, processor, boardSerial, concerns } = await describeOver(
      lab({ mode: "restricted" }).link,
    );
    expect({ keys, usage, firmware, processor, boardSerial, concerns }).toEqual({ keys: 1, concerns: [] });
  });

  it.each([
    ["2026-01-15", 1],
    ["2026-01-16", 0],
  ])("of firmware of %s, which may give the key out", async (date, count) => {
    const pi = lab();
    pi.meddle = (answer, question) =>
      typeof answer !== "number" && tagOf(question) === 1 ? withWord(answer, 20, Date.parse(date) / 1000) : answer;
    const { firmware, concerns } = await describeOver(pi.link);
    expect(firmware).toBe(date);
    expect(concerns).toHaveLength(count);
  });

  it("of OTP without a key", async () => {
    expect(await describeOver(lab({ key: false }).link)).toMatchObject({ keyPresent: false, concerns: [] });
  });

  it("of firmware without the service: one concern, with what to do", async () => {
    const { keys, concerns } = await describeOver(lab({ mode: "old" }).link);
    expect(keys).toBeUndefined();
    expect(concerns).toMatchObject([{ code: "NOT_SUPPORTED", hint: expect.stringContaining("EEPROM") }]);
  });

  it("of a firmware that answers nonsense: all that it could find out", async () => {
    const pi = lab();
    pi.meddle = (answer, question) => (question.length === 544 ? 5 : answer);
    const { keys, keyPresent, concerns } = await describeOver(pi.link);
    expect({ keys, keyPresent }).toEqual({ keys: 1 });
    expect(concerns).toMatchObject([{ code: "ROOT_UNAVAILABLE" }]);
  });
});

describe("who may open the node", () => {
  it.each([
    [0o600, 44, undefined],
    [0o660, 44, "group video"],
    [0o640, 44, "group video"],
    [0o660, 0, undefined],
    [0o666, 0, "everybody can"],
    [0o660, 54321, "group 54321"],
  ])("mode %o of group %i", (mode, gid, concern) => {
    const { path, remove } = folder();
    try {
      const [node, groups] = [join(path, "vcio_crypto"), join(path, "group")];
      writeFileSync(node, "");
      writeFileSync(groups, "root:x:0:\nvideo:x:44:pi\n");
      try {
        chownSync(node, process.getuid?.() ?? 0, gid);
      } catch {
        return; // only root may
      }
      chmodSync(node, mode);
      const access = accessTo(node, groups);
      expect(access?.mode).toBe(mode);
      const concerns = access === undefined ? [] : concernsAbout(node, access);
      expect(concerns.map(({ says }) => says).join()).toContain(concern ?? "");
      expect(concerns).toHaveLength(concern === undefined ? 0 : 1);
    } finally {
      remove();
    }
  });

  it("nobody, where there is none", () => {
    expect(accessTo("/nowhere/vcio")).toBeUndefined();
  });
});

it.each([
  [0x00c03114, "BCM2711"],
  [0x00d04170, "BCM2712"],
  [0x00a020d3, "BCM2837"],
  [0x00902120, "BCM2837"],
  [0x00f0f110, undefined],
  [0x000e, undefined],
])("revision %i is of a %s", (revision, processor) => {
  expect(processorOf(revision)).toBe(processor);
});
