/** A short campaign at each front spoken to in bytes; the long ones are `node test/fuzz/run.ts`. */
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type Device, openDevice } from "../programs/device.ts";
import { http } from "./http.ts";
import { fuzzRaw } from "./raw-front.ts";
import { sshAgent } from "./ssh-agent.ts";

let device: Device;
beforeAll(async () => {
  device = await openDevice();
  await device.makeKey("fuzz", "p256");
});
afterAll(async () => {
  expect(device.gate().alive()).toBe(true);
  await device?.close();
});

it.each([
  ["http", "api.sock", http],
  ["ssh-agent", "ssh-agent.sock", sshAgent],
] as const)("%s answers or ends, whatever it is told, and serves the next one", async (_, socket, protocol) => {
  const { answered, ended } = await fuzzRaw(join(device.run, socket), protocol, 500, 3);
  expect(answered + ended).toBe(500);
  expect(answered).toBeGreaterThan(0);
});
