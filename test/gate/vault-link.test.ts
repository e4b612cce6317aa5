import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createVaultLink, type VaultLink } from "../../src/gate/vault-link.ts";
import { operationOf } from "../../src/operations/table.ts";
import { until } from "./lab.ts";
import { sample, startVaultDouble, type VaultDouble } from "./vault-double.ts";

const FACTS = { uid: 1000, gid: 1000, groups: [4], pid: 7, front: "test" };

let folder: string;
let vault: VaultDouble;
let link: VaultLink;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "thornkey-link-"));
  vault = await startVaultDouble(join(folder, "vault.sock"));
  link = createVaultLink(join(folder, "vault.sock"));
});
afterEach(async () => {
  await link.close();
  await vault.close();
  rmSync(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
});

const never = () => new Promise(() => {});

describe("the link to the vault", () => {
  it("tells of a caller before his first request, once, and of his end", async () => {
    const caller = link.openCaller(FACTS);
    const silent = link.openCaller(FACTS);
    await Promise.all([link.call(caller, "status", {}), link.call(caller, "status", {})]);
    expect([...vault.callers]).toEqual([[caller.number, FACTS]]);
    silent.close();
    caller.close();
    await until(() => vault.gone.length > 0, "the vault hears of the end");
    expect(vault.gone).toEqual([caller.number]);
    await expect(link.call(caller, "status", {})).rejects.toMatchObject({ code: "ABORTED" });
  });

  it("has at most 64 requests of one caller at the vault, and a thousand of his delay nobody else", async () => {
    vault.handlers.status = never;
    const [greedy, modest] = [link.openCaller(FACTS), link.openCaller(FACTS)];
    const waiting = Array.from({ length: 1000 }, () => link.call(greedy, "status", {}).catch(() => {}));
    await until(() => vault.requests.length === 64, "his share is at the vault");
    await link.call(modest, "random", { length: 1 });
    expect(vault.requests.length).toBe(65);
    expect(link.load).toEqual({ waiting: 936, atVault: 64 });
    greedy.close();
    await Promise.all(waiting);
    expect(link.load).toEqual({ waiting: 0, atVault: 0 });
  });

  it("takes callers in turn", async () => {
    await vault.die();
    const callers = [1, 2, 3].map(() => link.openCaller(FACTS));
    const [first, second, third] = callers;
    const all = [first, first, first, first, second, second, third].map((c) => link.call(c!, "random", { length: 1 }));
    await vault.rise();
    await Promise.all(all);
    const order = vault.requests.map(({ caller }) => caller - (first?.number ?? 0));
    expect(order).toEqual([0, 1, 2, 0, 1, 0, 0]);
  });

  it("refuses more than a caller's share of waiting requests", async () => {
    vault.handlers.status = never;
    const caller = link.openCaller(FACTS);
    await link.call(caller, "random", { length: 1 });
    const answers = Array.from({ length: 1024 + 1 }, () => link.call(caller, "status", {}));
    await expect(answers.at(-1)).rejects.toMatchObject({ code: "LIMIT_REACHED" });
    caller.close();
    await Promise.allSettled(answers);
  });

  it("asks again with the same request key, and in the same order, when the vault comes back", async () => {
    let hold = true;
    vault.handlers.freeze = () => (hold ? never() : {});
    const caller = link.openCaller(FACTS);
    const requestKey = new Uint8Array(16).fill(3);
    const answers = [
      link.call(caller, "freeze", { reason: "a" }, { requestKey }),
      link.call(caller, "freeze", { reason: "b" }),
    ];
    await until(() => vault.requests.length === 2, "both are at the vault");
    const before = vault.requests.splice(0);
    await vault.die();
    hold = false;
    vault.forget();
    await vault.rise();
    await Promise.all(answers);
    expect(vault.requests).toEqual(before);
    expect(before[0]?.requestKey).toEqual(requestKey);
  });

  it("gives up at the deadline: the vault too slow, or not there", async () => {
    vault.handlers.status = never;
    const caller = link.openCaller(FACTS);
    await expect(link.call(caller, "status", {}, { deadline: 50 })).rejects.toMatchObject({ code: "TIMED_OUT" });
    await until(() => vault.cancelled.length === 1, "the vault hears of it");
    await vault.die();
    await until(() => !link.connected, "the link is down");
    await expect(link.call(caller, "status", {}, { deadline: 50 })).rejects.toMatchObject({
      ...{ code: "VAULT_UNAVAILABLE", hint: expect.stringContaining("thornkey up") },
    });
  });

  it("does not ask for ever what ends the vault each time", async () => {
    let deaths = 0;
    vault.handlers.status = async () => {
      deaths++;
      await vault.die();
      await vault.rise();
    };
    const caller = link.openCaller(FACTS);
    await expect(link.call(caller, "status", {})).rejects.toMatchObject({ code: "VAULT_UNAVAILABLE" });
    expect(deaths).toBe(8);
  });

  it("begins anew after bytes that are no frames", async () => {
    const caller = link.openCaller(FACTS);
    await link.call(caller, "random", { length: 1 });
    vault.babble(Uint8Array.of(0xff, 0xff, 0xff, 0xff, 1, 2, 3));
    await until(() => vault.connections() === 0, "the connection is given up");
    expect(await link.call(caller, "status", {})).toEqual(sample(operationOf("status").reply));
  });
});
