/**
 * Random and mutated messages at a front of a running gate: no crash, no hang, the next good request served, and memory
 * and descriptors as they were.
 *
 *     node test/fuzz/run.ts http|ssh-agent|pkcs11… [--frames 100000] [--seed 1]
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { openProduct } from "../../bench/product.ts";
import { connect } from "../../src/client/index.ts";
import type { Campaign } from "./campaign.ts";
import { http } from "./http.ts";
import { fuzzPkcs11 } from "./pkcs11.ts";
import { fuzzRaw } from "./raw-front.ts";
import { sshAgent } from "./ssh-agent.ts";

type Fuzz = (path: string, frames: number, seed: number) => Promise<Campaign>;

const FRONTS: { readonly [name: string]: { readonly socket: string; readonly fuzz: Fuzz } } = {
  http: { socket: "api.sock", fuzz: (path, frames, seed) => fuzzRaw(path, http, frames, seed) },
  "ssh-agent": { socket: "ssh-agent.sock", fuzz: (path, frames, seed) => fuzzRaw(path, sshAgent, frames, seed) },
  pkcs11: { socket: "pkcs11.sock", fuzz: fuzzPkcs11 },
};

/** What a process may have more at the end than after a quarter of the messages: noise of its garbage. */
const GROWTH = { megabytes: 16, descriptors: 8 } as const;

const PIECE = 5000;

interface Footprint {
  readonly megabytes: number;
  readonly descriptors: number;
}

function footprint(pid: number): Footprint {
  const [, kibibytes = "0"] = /^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8")) ?? [];
  return { megabytes: Math.round(Number(kibibytes) / 1000), descriptors: readdirSync(`/proc/${pid}/fd`).length };
}

async function campaign(name: string, frames: number, seed: number): Promise<void> {
  const { socket, fuzz } = FRONTS[name] ?? {};
  if (socket === undefined || fuzz === undefined)
    throw new Error(`no front ${name}: ${Object.keys(FRONTS).join(", ")}`);
  const product = await openProduct();
  try {
    const pids = { vault: (await product.vault()).pid, gate: (await product.gate()).pid };
    await using thornkey = await connect({ run: product.run });
    const policy = { allow: [{ who: "any", rights: ["use" as const] }] };
    await thornkey.keys.create({ name: "fuzz", type: "p256", policy });
    const path = join(product.run, socket);
    /** In pieces: what the messages made is taken away again, or it would be counted as a leak. */
    const run = async (all: number, first: number) => {
      let answered = 0;
      for (let done = 0; done < all; done += PIECE) {
        answered += (await fuzz(path, Math.min(PIECE, all - done), first + done)).answered;
        for await (const { id, type, name: key } of thornkey.keys.list()) {
          if (type !== "storage" && !key.endsWith("/fuzz")) await thornkey.keys.delete(id);
        }
        for await (const { id } of thornkey.objects.list()) await thornkey.objects.delete(id);
      }
      return { answered };
    };
    const quarter = Math.ceil(frames / 4);
    const first = await run(quarter, seed * 10_000_000);
    const before = { gate: footprint(pids.gate), vault: footprint(pids.vault) };
    const rest = await run(frames - quarter, seed * 10_000_000 + quarter);
    const after = { gate: footprint(pids.gate), vault: footprint(pids.vault) };
    const answered = first.answered + rest.answered;
    process.stdout.write(`${JSON.stringify({ front: name, frames, seed, answered, before, after })}\n`);
    for (const half of ["gate", "vault"] as const) {
      for (const what of ["megabytes", "descriptors"] as const) {
        const grown = after[half][what] - before[half][what];
        if (grown > GROWTH[what]) throw new Error(`${name}: the ${half} has ${grown} ${what} more`);
      }
    }
  } finally {
    await product.close();
  }
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { frames: { type: "string", default: "100000" }, seed: { type: "string", default: "1" } },
});
for (const name of positionals.length > 0 ? positionals : Object.keys(FRONTS)) {
  await campaign(name, Number(values.frames), Number(values.seed));
}
