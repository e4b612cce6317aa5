/** GET /metrics: the vault's figures and the gate's own, in the text format of Prometheus (version 0.0.4). */
import type { FastifyInstance } from "fastify";
import type { ReplyOf } from "../../operations/table.ts";
import { callerOf, type Desk, goneSignal } from "./operations.ts";

const MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8";

/** As much as a monitor waits for; Prometheus' own default is 10 s. */
const DEADLINE_MILLISECONDS = 8000;

export function addMetrics(app: FastifyInstance, desk: Desk): void {
  app.get("/metrics", async (request, reply) => {
    const { figures } = (await desk.link.call(
      callerOf(desk.callers, request),
      "figures",
      {},
      { signal: goneSignal(reply), deadline: DEADLINE_MILLISECONDS },
    )) as ReplyOf<"figures">;
    reply.header("content-type", MEDIA_TYPE).header("cache-control", "no-store");
    return reply.send(prometheusText([...figures, ...gateFigures(desk)]));
  });
}

interface Sample {
  readonly name: string;
  readonly labels: { readonly [name: string]: string | undefined };
  readonly value: number;
}

function gateFigures({ link, callers, tally }: Desk): Sample[] {
  const one = (name: string, value: number): Sample => ({ name, labels: {}, value });
  return [
    one("gate_connections", callers.connections),
    one("gate_requests_at_work", tally.atWork),
    one("gate_requests_waiting", link.load.waiting),
    one("gate_requests_at_vault", link.load.atVault),
    one("gate_vault_connected", link.connected ? 1 : 0),
    one("gate_resident_bytes", process.memoryUsage.rss()),
    ...[...tally.answers].map(([hundred, value]): Sample => {
      return { name: "gate_answers_total", labels: { status: `${hundred}xx` }, value };
    }),
  ];
}

/** Samples of one name stand together, as the format asks; each name begins with `thornkey_`. */
export function prometheusText(samples: readonly Sample[]): string {
  const families = Map.groupBy(samples, ({ name }) => `thornkey_${name.replaceAll(/[^a-zA-Z0-9_]/g, "_")}`);
  let text = "";
  for (const [name, members] of families) {
    text += `# TYPE ${name} ${name.endsWith("_total") ? "counter" : "gauge"}\n`;
    for (const { labels, value } of members) text += `${name}${labelText(labels)} ${value}\n`;
  }
  return text;
}

function labelText(labels: Sample["labels"]): string {
  const pairs = Object.entries(labels).flatMap(([name, value]) =>
    value === undefined
      ? []
      : [`${name}="${value.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n")}"`],
  );
  return pairs.length === 0 ? "" : `{${pairs.join(",")}}`;
}
