import { describe, expect, it } from "vitest";
import { systemClock } from "../../src/machine/clock.ts";

describe("the clock of the machine", () => {
  it("never goes back", () => {
    const clock = systemClock();
    let last = clock.now();
    for (let i = 0; i < 10_000; i++) {
      const now = clock.now();
      expect(now).toBeGreaterThanOrEqual(last);
      last = now;
    }
  });

  it.each([0.15, 0, 5])("never sleeps less than it was asked, spinning %s ms", (spinMilliseconds) => {
    const clock = systemClock({ spinMilliseconds });
    for (const milliseconds of [0.01, 0.1, 0.5, 1.5, 3]) {
      for (let i = 0; i < 20; i++) {
        const start = clock.now();
        clock.sleep(milliseconds);
        expect(clock.now() - start).toBeGreaterThanOrEqual(milliseconds);
      }
    }
  });

  it("resolves fractions of a millisecond", () => {
    const clock = systemClock();
    // The best of many: the machine may be busy, but it is not busy every time.
    const best = Math.min(...Array.from({ length: 200 }, () => duration(clock, 0.3)));
    expect(best).toBeLessThan(0.9);
  });

  it("does not sleep for nothing", () => {
    const clock = systemClock();
    const best = Math.min(...Array.from({ length: 50 }, () => Math.max(duration(clock, 0), duration(clock, -5))));
    expect(best).toBeLessThan(0.1);
  });
});

function duration(clock: ReturnType<typeof systemClock>, milliseconds: number): number {
  const start = clock.now();
  clock.sleep(milliseconds);
  return clock.now() - start;
}
