/** One scarce thing and several who want it. */
import { describe, expect, it } from "vitest";
import { createFairRunner } from "../../src/vault/fair-queue.ts";

const [ANN, BEN] = [1000, 1001];
/** Lets everything go on that can. */
const settled = () => new Promise((resolve) => setImmediate(resolve));

describe("a runner", () => {
  it.each([1, 3])("of %d at once does no more than that, and all of it", async (atOnce) => {
    const runner = createFairRunner(100, atOnce);
    const begun: (() => void)[] = [];
    const all = Array.from({ length: 10 }, () =>
      runner.run(ANN, () => new Promise<void>((resolve) => begun.push(resolve))),
    );
    for (let i = 0; i < 10; i++) {
      await settled();
      expect(begun).toHaveLength(Math.min(10, i + atOnce));
      begun[i]?.();
    }
    await Promise.all(all);
    expect(runner.waiting).toBe(0);
  });

  it("takes turns between users, however much one of them has waiting", async () => {
    const runner = createFairRunner(100, 2);
    const done: string[] = [];
    const work = (name: string) => async () => {
      await settled();
      done.push(name);
    };
    const all = Array.from({ length: 50 }, (_, i) => runner.run(ANN, work(`ann ${i}`)));
    all.push(runner.run(BEN, work("ben")));
    await Promise.all(all);
    expect(done).toHaveLength(51);
    expect(done.indexOf("ben")).toBeLessThan(5);
  });

  it("goes on after work that failed, and refuses more than one may have waiting", async () => {
    const runner = createFairRunner(2);
    const failing = runner.run(ANN, async () => {
      throw new Error("no");
    });
    await expect(failing).rejects.toThrow("no");
    const all = [1, 2, 3].map((n) => runner.run(ANN, async () => n));
    await expect(runner.run(ANN, async () => 4)).rejects.toMatchObject({ code: "LIMIT_REACHED" });
    expect(await runner.run(BEN, async () => 5)).toBe(5);
    expect(await Promise.all(all)).toEqual([1, 2, 3]);
  });
});
