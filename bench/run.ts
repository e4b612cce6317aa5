/** `npm run bench [-- --json] [--repetitions N]`: figures, beside a limit or a peer in the same run. */
import { parseArgs } from "node:util";
import { table } from "../src/cli/output.ts";
import { benchAtecc, type Row } from "./atecc.ts";

const { values } = parseArgs({
  options: { json: { type: "boolean", default: false }, repetitions: { type: "string", default: "100" } },
});
const rows = await benchAtecc(Number(values.repetitions));
if (values.json) console.log(JSON.stringify(rows, undefined, 2));
else {
  console.log("Secure element, emulated; ATECC508A at its typical times, 100 kHz bus, unless said otherwise\n");
  for (const line of table(
    ["operation", "limit ms", "median ms", "of the limit", "per second", "whole run"],
    rows.map(cells),
  )) {
    console.log(line);
  }
}

function cells({ what, limit, median, perSecond, share, shareOfRun }: Row): string[] {
  const percent = (part: number | undefined) => (part === undefined ? "–" : `${(part * 100).toFixed(1)} %`);
  return [
    what,
    limit === undefined ? "–" : limit.toFixed(2),
    median.toFixed(2),
    percent(share),
    perSecond.toFixed(perSecond > 100 ? 0 : 1),
    percent(shareOfRun),
  ];
}
