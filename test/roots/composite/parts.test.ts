import { describe, expect, it } from "vitest";
import { Secret } from "../../../src/bytes/secret.ts";
import { ThornkeyError } from "../../../src/errors.ts";
import { type Composition, compose } from "../../../src/roots/composite/composition.ts";
import { openComposite } from "../../../src/roots/composite/root.ts";
import type { Root } from "../../../src/roots/root.ts";
import { hexOf } from "../contract.ts";

/** A part in memory that can be taken away, put back to another time, or replaced. */
interface Toy {
  readonly root: Root;
  serial: string;
  secret: number;
  count: number;
  gone: boolean;
  /** Throws at the next increment. */
  fails: boolean;
}

function toy(serial: string, secret: number): Toy {
  const cannot = async (): Promise<never> => {
    throw new ThornkeyError("NOT_SUPPORTED", "a toy cannot");
  };
  const state: Toy = { serial, secret, count: secret * 10, gone: false, fails: false, root: undefined as never };
  const root: Root = {
    describe: async () => ({
      ...{ kind: "tpm", model: `toy ${state.serial}`, serial: state.serial, firmware: "1", state: "ready" },
      capabilities: {
        ...{ makes: [], keys: [], destroys: false, random: true, derive: true, certify: false, counter: true },
        ...{ wireProtected: true, limits: [] },
      },
    }),
    random: async (length) => new Uint8Array(length).fill(state.secret),
    derive: async (label, salt) => {
      const bytes = new Uint8Array(32).fill(state.secret);
      for (const [index, byte] of Buffer.from(`${label}${Buffer.from(salt).toString("hex")}`).entries()) {
        bytes[index % 32] = ((bytes[index % 32] ?? 0) * 31 + byte) & 0xff;
      }
      return new Secret(bytes);
    },
    counter: async () => ({
      maximum: 1_000_000,
      read: async () => state.count,
      async increment() {
        if (state.fails) throw new ThornkeyError("ROOT_UNAVAILABLE", "the toy does not answer");
        return ++state.count;
      },
    }),
    ...{ generateKey: cannot, publicKey: cannot, sign: cannot, agree: cannot, certify: cannot, destroyKey: cannot },
    zeroize: async () => ({ destroyed: ["all"], kept: [] }),
    close: async () => {},
  };
  return Object.assign(state, { root });
}

async function put(
  toys: readonly Toy[],
  needed = toys.length,
): Promise<{ composition: Composition; open(): ReturnType<typeof openComposite> }> {
  const composition = await compose(
    toys.map(({ root, serial }) => ({ specification: `toy:${serial}`, root })),
    needed,
  );
  return {
    composition,
    open: () =>
      openComposite(composition, async (specification, serial) => {
        const found = toys.find(
          (one, index) => composition.parts[index]?.specification === specification && one,
        ) as Toy;
        if (found.gone) throw new ThornkeyError("ROOT_UNAVAILABLE", "nobody answers");
        if (found.serial !== serial) throw new ThornkeyError("NOT_BOUND", `here is ${found.serial}`);
        return { root: found.root, close: async () => {} };
      }),
  };
}

describe("a root of two parts, both needed", () => {
  it("derives the same every time, and nothing of it from one part alone", async () => {
    const { open, composition } = await put([toy("a", 1), toy("b", 2)]);
    const root = await open();
    const one = hexOf(await root.derive("x", Uint8Array.of(1)));
    expect(hexOf(await (await open()).derive("x", Uint8Array.of(1)))).toBe(one);
    const again = await put([toy("a", 1), toy("b", 2)]);
    expect(hexOf(await (await again.open()).derive("x", Uint8Array.of(1)))).not.toBe(one); // the secret is random
    expect(JSON.stringify(composition)).not.toContain(one);
  });

  it("with a part missing opens nothing, and says which", async () => {
    const toys = [toy("a", 1), toy("b", 2)];
    const { open } = await put(toys);
    (toys[1] as Toy).gone = true;
    await expect(open()).rejects.toMatchObject({
      code: "ROOT_UNAVAILABLE",
      message: "this root needs all 2 parts: part 2 (toy b, toy:b) is missing: nobody answers",
    });
  });

  it("with a part replaced opens nothing, and says which: by its serial number, and by what it derives", async () => {
    const toys = [toy("a", 1), toy("b", 2)];
    const { open } = await put(toys);
    Object.assign(toys[0] as Toy, { serial: "c" });
    await expect(open()).rejects.toMatchObject({ code: "NOT_BOUND", message: expect.stringContaining("part 1") });
    Object.assign(toys[0] as Toy, { serial: "a", secret: 9 });
    const root = await open();
    await expect(root.derive("x", new Uint8Array())).rejects.toMatchObject({
      code: "NOT_BOUND",
      message: expect.stringContaining("part 1 (toy a, toy:a) is not the one"),
    });
  });

  it("counts both, and says which part was put back to an earlier time", async () => {
    const toys = [toy("a", 1), toy("b", 2)];
    const { open } = await put(toys);
    const counter = await (await open()).counter();
    for (let n = 1; n <= 5; n++) expect(await counter.increment()).toBe(n);
    (toys[1] as Toy).count -= 2;
    await expect(counter.read()).rejects.toMatchObject({
      code: "ROLLED_BACK",
      message: expect.stringContaining("part 2 (toy b, toy:b) counts 3 changes and the others 5"),
    });
  });

  it("finishes a count that was interrupted between the parts", async () => {
    const toys = [toy("a", 1), toy("b", 2)];
    const { open } = await put(toys);
    const counter = await (await open()).counter();
    expect(await counter.increment()).toBe(1);
    (toys[1] as Toy).fails = true;
    await expect(counter.increment()).rejects.toMatchObject({ code: "ROOT_UNAVAILABLE" });
    (toys[1] as Toy).fails = false;
    expect(await (await (await open()).counter()).read()).toBe(2);
    expect(await counter.increment()).toBe(3);
    expect(toys.map(({ count }) => count)).toEqual([13, 23]);
  });
});

describe("a root of which two of three parts are enough", () => {
  const three = () => [toy("a", 1), toy("b", 2), toy("c", 3)];

  it.each([[0], [1], [2]])("opens without part %i, and says that it is missing", async (index) => {
    const toys = three();
    const { open } = await put(toys, 2);
    const all = hexOf(await (await open()).derive("x", new Uint8Array()));
    (toys[index] as Toy).gone = true;
    const root = await open();
    expect(hexOf(await root.derive("x", new Uint8Array()))).toBe(all);
    expect(root.missing).toHaveLength(1);
    expect((await root.describe()).capabilities.limits.join()).toContain("is missing: nobody answers");
    // Another part in its place would be another evidence key.
    await expect(root.certify(new Uint8Array(32))).rejects.toMatchObject({
      code: "ROOT_UNAVAILABLE",
      message: expect.stringContaining(`toy ${"abc"[index]} (toy:${"abc"[index]}), which is missing`),
    });
  });

  it("opens with a part replaced by another of the same name, from the two that are right", async () => {
    const toys = three();
    const { open } = await put(toys, 2);
    const all = hexOf(await (await open()).derive("x", new Uint8Array()));
    (toys[0] as Toy).secret = 77;
    expect(hexOf(await (await open()).derive("x", new Uint8Array()))).toBe(all);
    (toys[1] as Toy).secret = 78;
    await expect((await open()).derive("x", new Uint8Array())).rejects.toMatchObject({
      code: "NOT_BOUND",
      message: expect.stringMatching(/2 of 3 parts: part 1 .* part 2 /),
    });
  });

  it("with two missing opens nothing, and names both", async () => {
    const toys = three();
    const { open } = await put(toys, 2);
    for (const one of toys.slice(1)) one.gone = true;
    await expect(open()).rejects.toMatchObject({ message: expect.stringMatching(/part 2 .* part 3 /) });
  });

  it("counts on without one, and notices an old state by the others when it is back", async () => {
    const toys = three();
    const { open } = await put(toys, 2);
    (toys[2] as Toy).gone = true;
    const counter = await (await open()).counter();
    for (let n = 1; n <= 4; n++) await counter.increment();
    (toys[2] as Toy).gone = false;
    (toys[0] as Toy).gone = true;
    expect(await (await (await open()).counter()).read()).toBe(4);
  });
});

describe("what cannot be put together", () => {
  it.each([
    [1, 1],
    [2, 0],
    [2, 3],
    [9, 2],
  ])("%i parts, %i needed", async (count, needed) => {
    const toys = Array.from({ length: count }, (_, n) => toy(`${n}`, n + 1));
    await expect(put(toys, needed)).rejects.toMatchObject({ code: "USAGE" });
  });

  it("the same root twice", async () => {
    await expect(put([toy("a", 1), toy("a", 1)])).rejects.toMatchObject({ code: "USAGE" });
  });
});
