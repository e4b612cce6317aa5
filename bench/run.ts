/** `npm run bench -- [NAME…] [--json] [--repetitions N]`: figures, each beside a limit, a peer or a target in the same run. */
import { parseArgs } from "node:util";
import { type BenchOptions, type BenchRow, shown } from "./rows.ts";

/** Loaded one by one: what one of them has in memory must not be in the way of the next. */
const BENCHES: { readonly [name: string]: (options: BenchOptions) => Promise<readonly BenchRow[]> } = {
  atecc: async (options) => (await import("./atecc.ts")).rowsOfAtecc(options),
  start: async () => (await import("./start.ts")).rowsOfStart(),
  vault: async () => (await import("./vault.ts")).rowsOfVault(),
  gate: async () => (await import("./gate.ts")).rowsOfGate(),
  neighbours: async () => (await import("./neighbours.ts")).rowsOfNeighbours(),
  pkcs11: async () => (await import("./pkcs11.ts")).rowsOfPkcs11(),
  "pkcs11-root": async () => (await import("./pkcs11-root.ts")).rowsOfPkcs11Root(),
  tpm: async () => (await import("./tpm.ts")).rowsOfTpm(),
  connections: async () => (await import("./connections.ts")).rowsOfConnections(),
  locking: async () => (await import("./locking.ts")).rowsOfLocking(),
};

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { json: { type: "boolean", default: false }, repetitions: { type: "string", default: "100" } },
});
const names = positionals.length > 0 ? positionals : Object.keys(BENCHES);
const unknown = names.filter((name) => !Object.hasOwn(BENCHES, name));
if (unknown.length > 0 || !(Number(values.repetitions) > 0)) {
  process.stderr.write(`usage: npm run bench -- [${Object.keys(BENCHES).join(" | ")}]… [--json] [--repetitions N]\n`);
  process.exit(2);
}
const rows: BenchRow[] = [];
for (const name of names) {
  process.stderr.write(`${name} …\n`);
  rows.push(...((await BENCHES[name]?.({ repetitions: Number(values.repetitions) })) ?? []));
}
if (values.json) console.log(JSON.stringify(rows, undefined, 2));
else for (const line of shown(rows)) console.log(line);
