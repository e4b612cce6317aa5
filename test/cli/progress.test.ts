import { expect, it } from "vitest";
import { progressLine, progressText } from "../../src/cli/progress.ts";

function terminal(isTTY: boolean) {
  const written: string[] = [];
  return { written, isTTY, columns: 60, write: (text: string) => written.push(text) };
}

it("says how far it is, how fast, and how long it will take", () => {
  expect(progressText("film", 0, 2 ** 30, 0)).toMatch(/^film {2}░{24} {4}0 % {2}0 B\/s$/);
  expect(progressText("film", 2 ** 29, 2 ** 30, 2)).toBe(
    "film  ████████████░░░░░░░░░░░░   50 %  256.0 MiB/s  2 s left",
  );
  expect(progressText("film", 2 ** 30, 2 ** 30, 4)).toMatch(/█{24} {2}100 % {2}256\.0 MiB\/s {2}0 s left$/);
  expect(progressText("-", 1536, undefined, 1)).toBe("-  1.5 KiB  1.5 KiB/s");
});

it("shows nothing where nobody looks, and nothing of what is quickly done", () => {
  let time = 0;
  const file = terminal(false);
  const quick = terminal(true);
  for (const to of [file, quick]) {
    time = 0;
    const line = progressLine("film", to, () => time);
    time = to === file ? 10_000 : 200;
    line.show(1, 2);
    line.end();
  }
  expect([...file.written, ...quick.written]).toEqual([]);
});

it("draws over itself, not too often, within the terminal, and is gone at the end", () => {
  let time = 0;
  const to = terminal(true);
  const line = progressLine("a film with a very long name indeed", to, () => time);
  for (time = 0; time < 1000; time += 10) line.show(time, 1000);
  line.end();
  expect(to.written.length).toBeLessThanOrEqual(9);
  expect(to.written.length).toBeGreaterThan(2);
  for (const text of to.written) expect(text.startsWith("\r\x1b[K") && text.length <= 63).toBe(true);
  expect(to.written.at(-1)).toBe("\r\x1b[K");
});
