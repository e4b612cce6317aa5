import { afterEach, describe, expect, it } from "vitest";
import { type Owner, ownerOf, type StartOwner } from "../../src/roots/owner.ts";
import { threadOwner } from "../../src/roots/owner-thread.ts";
import type { BodyCalls } from "./owner-body.ts";

const SOON = { longest: 5_000, repeatable: true } as const;
const ONCE = { longest: 5_000, repeatable: false } as const;
/** Longer than a test may take: who waits for it fails. */
const FOR_EVER = 12_000;
/** Of an owner that is given up soon, but not before it was started. */
const SLACK = 3_000;
const BRIEF = { longest: 100, repeatable: true } as const;

const body = threadOwner(new URL("./owner-body.ts", import.meta.url), { bus: 7 });
const owners: Owner<BodyCalls>[] = [];

function owner(start: StartOwner = body, slack = 15_000): Owner<BodyCalls> {
  const mine = ownerOf<BodyCalls>("the silicon", start, slack);
  owners.push(mine);
  return mine;
}

afterEach(async () => {
  for (const mine of owners.splice(0)) await mine.close();
});

describe("an owner", () => {
  it("does what it is asked in its thread, one after the other", async () => {
    const mine = owner();
    const sums = Array.from({ length: 50 }, (_, n) => mine.call("add", [n, 1], SOON));
    const late = mine.call("later", [77], SOON);
    const after = mine.call("add", [100, 1], SOON);
    expect(await Promise.all(sums)).toEqual(Array.from({ length: 50 }, (_, n) => n + 1));
    expect([await late, await after]).toEqual([77, 101]);
    expect(await mine.call("seen", [], SOON)).toEqual([...Array.from({ length: 50 }, (_, n) => n), 100]);
    expect((await mine.call("who", [], SOON)).data).toEqual({ bus: 7 });
  });

  it("finishes an answer while the hardware has the next command", async () => {
    const mine = owner();
    await mine.call("add", [0, 0], SOON);
    const [half, , last] = [mine.call("half", [1], SOON), mine.call("busy", [2], SOON), mine.call("seen", [], SOON)];
    expect(await half).toEqual([0, 1, 2]);
    expect(await last).toEqual([0, 1, 2, 3]);
  });

  it("finishes an answer at once when nothing else waits, or when something else answers", async () => {
    const mine = owner();
    expect(await mine.call("half", [1], SOON)).toEqual([1]);
    const [half, sum, broken, late] = [
      mine.call("half", [2], SOON),
      mine.call("add", [3, 4], SOON),
      mine.call("halfBroken", [], SOON),
      mine.call("later", [5], SOON),
    ];
    expect(await half).toEqual([1, 2, 3]); // finished before the sum was sent
    expect(await sum).toBe(7);
    await expect(broken).rejects.toMatchObject({ code: "ROOT_UNAVAILABLE", message: "the rest went wrong" });
    expect(await late).toBe(5);
    await mine.call("half", [6], SOON);
    await mine.close();
  });

  it("gives its errors back as they are", async () => {
    const mine = owner();
    await expect(mine.call("refuse", [], SOON)).rejects.toMatchObject({
      code: "ROOT_REFUSED",
      message: "no",
      hint: "ask another",
    });
    await expect(mine.call("fail", [], SOON)).rejects.toThrow("broken");
    expect(await mine.call("add", [1, 2], SOON)).toBe(3);
  });

  it("that dies is replaced; what had not begun goes to the next", async () => {
    const mine = owner();
    const before = await mine.call("who", [], SOON);
    const [dead, sum] = [mine.call("die", [], SOON), mine.call("add", [1, 2], SOON)];
    await expect(dead).rejects.toMatchObject({ code: "ROOT_UNAVAILABLE" });
    expect(await sum).toBe(3);
    expect((await mine.call("who", [], SOON)).thread).not.toBe(before.thread);
  });

  it("that dies over what must not be repeated leaves it open what happened", async () => {
    await expect(owner().call("die", [], ONCE)).rejects.toMatchObject({ code: "OUTCOME_UNKNOWN" });
  });

  it("that cannot be started fails what is asked, and is tried again with the next", async () => {
    const mine = owner(threadOwner(new URL("./no-such-file.ts", import.meta.url), {}));
    for (let count = 0; count < 2; count++) {
      await expect(mine.call("add", [1, 2], SOON)).rejects.toMatchObject({ code: "ROOT_UNAVAILABLE" });
    }
  });

  it("of which no thread can be had says so in the words of the house", async () => {
    const mine = owner(() => {
      throw new Error("no more threads");
    });
    await expect(mine.call("add", [1, 2], SOON)).rejects.toMatchObject({
      code: "ROOT_UNAVAILABLE",
      message: expect.stringContaining("no more threads"),
    });
  });

  it("goes on after it was given what cannot go to a thread", async () => {
    const mine = owner();
    await expect(mine.call("anything", [() => {}], SOON)).rejects.toThrow();
    expect(await mine.call("add", [1, 2], SOON)).toBe(3);
  });

  it("that does not return is given up, and the next one goes on", async () => {
    const mine = owner(body, SLACK);
    await mine.call("add", [0, 0], SOON);
    const [stuck, sum] = [mine.call("block", [FOR_EVER], BRIEF), mine.call("add", [1, 2], SOON)];
    await expect(stuck).rejects.toMatchObject({ code: "ROOT_UNAVAILABLE", message: expect.stringContaining("0.1 s") });
    expect(await sum).toBe(3);
  });
});

describe("closing an owner", () => {
  it("waits for what was asked, and takes nothing more", async () => {
    const mine = owner();
    const sum = mine.call("add", [1, 2], SOON);
    await mine.close();
    expect(await sum).toBe(3);
    await expect(mine.call("add", [1, 2], SOON)).rejects.toMatchObject({ code: "ROOT_UNAVAILABLE" });
    await mine.close();
  });

  it("does not wait for a thread that is stuck in the kernel", async () => {
    const mine = owner(body, SLACK);
    await mine.call("add", [0, 0], SOON);
    const outcome = mine.call("block", [FOR_EVER], BRIEF).then(
      () => "returned",
      (error: { code: string }) => error.code,
    );
    const first = await Promise.race([mine.close().then(() => "closed"), returned()]);
    expect(first).toBe("closed");
    expect(await Promise.race([outcome, returned()])).toBe("ROOT_UNAVAILABLE");
  });

  it("ends at once when it was never used", async () => {
    await owner(() => expect.fail()).close();
  });
});

/** When the kernel gives the thread back. */
function returned(): Promise<string> {
  return new Promise((resolve) => setTimeout(() => resolve("returned"), FOR_EVER - 1_000).unref());
}
