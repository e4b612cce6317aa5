/** What every bench gives, and how it is shown. */
import { table } from "../src/cli/output.ts";

export interface BenchRow {
  readonly bench: string;
  readonly what: string;
  /** Median. */
  readonly median: number;
  readonly unit: string;
  /** A peer measured in the same run, a limit of nature, or a target; in the unit of the median. */
  readonly beside?: { readonly what: string; readonly value: number } | undefined;
  /** How near we come to what it is beside: 1 is as good, more is better. */
  readonly ratio?: number | undefined;
  /** Whether a target is kept; undefined where there is none. */
  readonly within?: boolean | undefined;
  readonly note?: string | undefined;
}

export interface BenchOptions {
  /** How often what is short is repeated. */
  readonly repetitions: number;
}

const digits = (value: number) => (value >= 1000 ? 0 : value >= 100 ? 1 : value >= 1 ? 2 : 3);
const number = (value: number) => value.toFixed(digits(Math.abs(value)));

export function shown(rows: readonly BenchRow[]): string[] {
  return table(
    ["bench", "what", "median", "", "beside", "ratio", "kept", ""],
    rows.map(({ bench, what, median, unit, beside, ratio, within, note }) => [
      ...[bench, what, number(median), unit],
      beside === undefined ? "–" : `${number(beside.value)} (${beside.what})`,
      ratio === undefined ? "–" : ratio.toFixed(2),
      within === undefined ? "–" : within ? "yes" : "NO",
      note ?? "",
    ]),
  );
}
