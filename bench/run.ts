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
  for (const line of table(["operation", "limit ms", "median ms", "per second", "of the limit"], rows.map(cells))) {
    console.log(line);
  }
}

function cells({ what, limit, median, perSecond, share }: Row): string[] {
  return [
    what,
    limit === undefined ? "–" : limit.toFixed(2),
    median.toFixed(2),
    perSecond.toFixed(perSecond > 100 ? 0 : 1),
    share === undefined ? "–" : `${(share * 100).toFixed(1)} %`,
  ];
}
