import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { createWalletSessions, SESSION_LIMITS, type SessionRequest } from "../../../src/vault/wallets/sessions.ts";
import { codeLater } from "./secrets.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** A connection of a process. */
function connection(pid: number) {
  const gone: (() => void)[] = [];
  const caller = {
    facts: { uid: 1000, gid: 1000, groups: [], pid, front: "http" },
    programSha256: async () => undefined,
  };
  return {
    request: (requestKey?: Uint8Array): SessionRequest => ({
      ...{ caller, requestKey },
      onGone: (body) => void gone.push(body),
    }),
    end: () => gone.forEach((body) => void body()),
  };
}

function work() {
  const state = {
    kind: "sharing" as const,
    closed: false,
    close() {
      state.closed = true;
    },
  };
  return state;
}

async function begun(pid = 1) {
  const sessions = createWalletSessions<ReturnType<typeof work>>();
  const [own, mine] = [work(), connection(pid)];
  await sessions.begin(mine.request(), async () => own);
  return { sessions, own, mine };
}

const step = async () => ({});

describe("a session", () => {
  it("ends by itself after minutes without a request, and is zeroed", async () => {
    const { sessions, own, mine } = await begun();
    vi.advanceTimersByTime(SESSION_LIMITS.idle - 1);
    await sessions.step(mine.request(), "sharing", step);
    vi.advanceTimersByTime(SESSION_LIMITS.idle - 1);
    expect(own.closed).toBe(false);
    vi.advanceTimersByTime(1);
    expect(own.closed).toBe(true);
    expect(await codeLater(() => sessions.step(mine.request(), "sharing", step))).toBe("USAGE");
    sessions.mustBeFree();
  });

  it("goes with its process, whose connections may come and go", async () => {
    const { sessions, own, mine } = await begun();
    const second = connection(1);
    await sessions.step(second.request(), "sharing", step);
    mine.end();
    vi.advanceTimersByTime(SESSION_LIMITS.alone);
    expect(own.closed).toBe(false);
    second.end();
    vi.advanceTimersByTime(SESSION_LIMITS.alone - 1);
    expect(own.closed).toBe(false);
    const third = connection(1);
    await sessions.step(third.request(), "sharing", step);
    third.end();
    vi.advanceTimersByTime(SESSION_LIMITS.alone);
    expect(own.closed).toBe(true);
  });

  it("does not go on for ever, however busy it is", async () => {
    const { sessions, own, mine } = await begun();
    for (let at = 0; at < SESSION_LIMITS.longest && !own.closed; at += SESSION_LIMITS.idle / 2) {
      await sessions.step(mine.request(), "sharing", step);
      vi.advanceTimersByTime(SESSION_LIMITS.idle / 2);
    }
    expect(own.closed).toBe(true);
  });

  it("answers a request that is sent again as before, and does not do it twice", async () => {
    const { sessions, mine } = await begun();
    let done = 0;
    const share = async () => ({ share: Uint8Array.of(++done) });
    const key = new Uint8Array(20).fill(1);
    expect(await sessions.step(mine.request(key), "sharing", share)).toEqual({ share: Uint8Array.of(1) });
    expect(await sessions.step(mine.request(key), "sharing", share)).toEqual({ share: Uint8Array.of(1) });
    expect(await sessions.step(mine.request(new Uint8Array(20)), "sharing", share)).toEqual({
      share: Uint8Array.of(2),
    });
  });

  it("belongs to its process alone, from the moment it begins", async () => {
    const sessions = createWalletSessions<ReturnType<typeof work>>();
    const [own, mine, other] = [work(), connection(1), connection(2)];
    let open = (_: typeof own): void => {};
    const beginning = sessions.begin(
      mine.request(),
      () =>
        new Promise((resolve) => {
          open = resolve;
        }),
    );
    expect(await codeLater(() => sessions.begin(other.request(), async () => work()))).toBe("LIMIT_REACHED");
    expect(await codeLater(() => sessions.step(mine.request(), "sharing", step))).toBe("USAGE");
    sessions.cancel(mine.request());
    open(own);
    expect(await codeLater(() => beginning)).toBe("ABORTED");
    expect(own.closed).toBe(true);
    expect(await sessions.begin(other.request(), async () => work())).toBe(true);
  });

  it("that could not begin leaves room for the next", async () => {
    const sessions = createWalletSessions<ReturnType<typeof work>>();
    const failing = sessions.begin(connection(1).request(), () => Promise.reject(new Error("no")));
    await expect(failing).rejects.toThrow("no");
    sessions.mustBeFree();
  });
});
