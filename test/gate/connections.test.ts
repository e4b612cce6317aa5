/** How many may be connected, and what happens to one more. */
import { EventEmitter } from "node:events";
import type { Socket } from "node:net";
import { expect, it } from "vitest";
import { connectionLimits, createCallers, type Identify } from "../../src/gate/callers.ts";
import type { CallerHandle, VaultLink } from "../../src/gate/vault-link.ts";
import { openFilesAtMost } from "../../src/machine/open-files.ts";

const socket = () => new EventEmitter() as Socket;
const link = { openCaller: (facts: object) => ({ number: 1, facts, close() {} }) } as unknown as VaultLink;
const identify =
  (uid: number): Identify =>
  () => ({ facts: { uid } as CallerHandle["facts"], programSha256: async () => undefined, close() {} });

it("one user has half of the connections, and all together have all", () => {
  let uid = 0;
  const callers = createCallers(link, (...args) => identify(uid)(...args), { all: 6, ofOneUser: 3 });
  const first = socket();
  expect(typeof callers.admit(first, "x")).toBe("object");
  for (let each = 1; each < 3; each++) expect(typeof callers.admit(socket(), "x")).toBe("object");
  expect(callers.admit(socket(), "x")).toBe("too many");
  uid = 1;
  for (let each = 0; each < 3; each++) expect(typeof callers.admit(socket(), "x")).toBe("object");
  uid = 2;
  expect(callers.admit(socket(), "x")).toBe("too many");
  first.emit("close");
  expect(typeof callers.admit(socket(), "x")).toBe("object");
  expect(callers.connections).toBe(6);
});

it("the limits leave descriptors for everything else, and are those of a device that has few", () => {
  expect(connectionLimits(524_288)).toEqual({ all: 4096, ofOneUser: 2048 });
  expect(connectionLimits(1024)).toEqual({ all: 384, ofOneUser: 192 });
  expect(connectionLimits(Number.POSITIVE_INFINITY).all).toBe(4096);
  expect(connectionLimits(10).all).toBe(2);
});

it("reads the limit as the kernel tells it", () => {
  const limits = (soft: string) =>
    `Limit  Soft Limit  Hard Limit  Units\nMax open files            ${soft}     524288     files\n`;
  expect(openFilesAtMost(limits("1024"))).toBe(1024);
  expect(openFilesAtMost(limits("unlimited"))).toBe(Number.POSITIVE_INFINITY);
  expect(openFilesAtMost("")).toBe(1024);
  expect(openFilesAtMost()).toBeGreaterThanOrEqual(1024);
});
