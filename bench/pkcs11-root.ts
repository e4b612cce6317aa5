/**
 * Signatures by a PKCS#11 token as a root, 64 at a time and one after the other: beside the same C loop as elsewhere,
 * with the module in its own process and nothing checked, in turns.
 */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Secret } from "../src/bytes/secret.ts";
import { openPkcs11Root } from "../src/roots/pkcs11/index.ts";
import type { KeyHandle, Root } from "../src/roots/root.ts";
import { buildLoop, findModule, runLoop } from "./pkcs11.ts";
import { median } from "./product.ts";
import type { BenchRow } from "./rows.ts";

const ROUNDS = 5;
const SECONDS = 2;
const PIN = "1234";
/** Of a module in our own process. */
const TARGET = 0.7;

const CELLS = [
  { what: "64 in flight", inFlight: 64, target: TARGET },
  { what: "one after the other", inFlight: 1, target: undefined },
] as const;

export async function rowsOfPkcs11Root(): Promise<BenchRow[]> {
  const module = findModule("libsofthsm2.so");
  const missing = ["gcc", "softhsm2-util"].filter((program) => spawnSync("which", [program]).status !== 0);
  if (module === undefined || missing.length > 0) {
    process.stderr.write(
      `pkcs11-root: skipped, missing: ${[...(module ? [] : ["softhsm2"]), ...missing].join(", ")}\n`,
    );
    return [];
  }
  const folder = mkdtempSync(join(tmpdir(), "thornkey-bench-"));
  try {
    const env = makeToken(folder);
    process.env.SOFTHSM2_CONF = env.SOFTHSM2_CONF;
    const loop = buildLoop(folder);
    const pin = new Secret(new TextEncoder().encode(PIN));
    const root = await openPkcs11Root({ module, token: "bench" }, { pin, mayProvision: true });
    try {
      const { handle } = await root.generateKey({ algorithm: "p256", use: "sign", occupied: [] });
      await rate(root, handle, 64); // until both processes have compiled what they do often
      const peers: number[] = [];
      const ours = CELLS.map(() => [] as number[]);
      for (let round = 0; round < ROUNDS; round++) {
        const result = await runLoop(loop, [module, "ec", "thornkey-evidence", "1", `${SECONDS}`], { env, pin: PIN });
        peers.push(result.operations / result.seconds);
        for (const [index, { inFlight }] of CELLS.entries()) ours[index]?.push(await rate(root, handle, inFlight));
      }
      return CELLS.map(({ what, target }, index) => {
        const mine = ours[index] ?? [];
        // Neighbours in time shared the machine's mood.
        const ratio = median(mine.map((one, round) => one / (peers[round] ?? Number.NaN)));
        return {
          bench: "pkcs11-root",
          what: `P-256 sign, ${what}`,
          median: median(mine),
          unit: "/s",
          beside: { what: "C in one process, SoftHSM2, unchecked", value: median(peers) },
          ratio,
          within: target === undefined ? undefined : ratio >= target,
          note: target === undefined ? undefined : `target ${target}×, on two free cores; each is verified here`,
        };
      });
    } finally {
      await root.close();
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function makeToken(folder: string): { readonly SOFTHSM2_CONF: string } {
  const [tokens, config] = [join(folder, "tokens"), join(folder, "softhsm2.conf")];
  if (!existsSync(tokens)) mkdirSync(tokens);
  writeFileSync(config, `directories.tokendir = ${tokens}\nobjectstore.backend = file\nlog.level = ERROR\n`);
  const env = { SOFTHSM2_CONF: config };
  const args = ["--init-token", "--free", "--label", "bench", "--pin", PIN, "--so-pin", PIN];
  const { status, stderr } = spawnSync("softhsm2-util", args, { env: { ...process.env, ...env }, encoding: "utf8" });
  if (status !== 0) throw new Error(`softhsm2-util: ${stderr}`);
  return env;
}

/** Signatures a second. */
async function rate(root: Root, handle: KeyHandle, inFlight: number): Promise<number> {
  const from = performance.now();
  const end = from + SECONDS * 1000;
  let count = 0;
  const work = async (one: number) => {
    for (let n = 0; performance.now() < end; n++) {
      await root.sign(handle, new Uint8Array(createHash("sha256").update(`${one} ${n}`).digest()));
      count += 1;
    }
  };
  await Promise.all(Array.from({ length: inFlight }, (_, one) => work(one)));
  return (count * 1000) / (performance.now() - from);
}
