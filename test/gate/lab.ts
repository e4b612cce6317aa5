/** A gate and a vault double in one folder, and a plain HTTP client for its socket. */
import { mkdtempSync, rmSync } from "node:fs";
import { request as httpRequest } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Identify } from "../../src/gate/callers.ts";
import { type Gate, startGate } from "../../src/gate/gate.ts";
import { startVaultDouble, type VaultDouble } from "./vault-double.ts";

/** Takes everybody for the user this test runs as. */
export const identifyAsMyself: Identify = (_socket, front) => ({
  facts: { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0, groups: [], pid: process.pid, front },
  programSha256: async () => "ab".repeat(32),
  close: () => {},
});

export interface Answer {
  readonly status: number;
  readonly type: string;
  readonly body: Buffer;
  json(): Record<string, unknown>;
}

export interface Ask {
  readonly method?: string;
  readonly headers?: Record<string, string>;
  readonly body?: Uint8Array | string;
  readonly signal?: AbortSignal;
}

export interface Lab {
  readonly run: string;
  readonly api: string;
  readonly vault: VaultDouble;
  readonly gate: Gate;
  ask(path: string, options?: Ask): Promise<Answer>;
  restartGate(): Promise<void>;
  close(): Promise<void>;
}

export async function openLab(identify: Identify = identifyAsMyself): Promise<Lab> {
  const run = mkdtempSync(join(tmpdir(), "thornkey-gate-"));
  const vault = await startVaultDouble(join(run, "vault.sock"));
  const start = () => startGate({ run, identify, version: "0.0.0" });
  let gate = await start();
  const api = join(run, "api.sock");
  return {
    ...{ run, api, vault },
    get gate() {
      return gate;
    },
    ask: (path, options) => askAt(api, path, options),
    async restartGate() {
      await gate.close();
      gate = await start();
    },
    async close() {
      await gate.close();
      await vault.close();
      rmSync(run, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
    },
  };
}

export function askAt(socketPath: string, path: string, options: Ask = {}): Promise<Answer> {
  const { method = "GET", headers = {}, body, signal } = options;
  return new Promise((resolve, reject) => {
    const request = httpRequest({ socketPath, path, method, headers, agent: false, ...(signal && { signal }) });
    request.once("error", reject);
    request.once("response", async (response) => {
      try {
        const chunks: Buffer[] = [];
        for await (const chunk of response) chunks.push(chunk as Buffer);
        const all = Buffer.concat(chunks);
        const type = response.headers["content-type"] ?? "";
        resolve({ status: response.statusCode ?? 0, type, body: all, json: () => JSON.parse(all.toString()) });
      } catch (error) {
        reject(error);
      }
    });
    request.end(body);
  });
}

/** Waits for a condition, with a generous deadline. */
export async function until(condition: () => boolean, what: string): Promise<void> {
  const end = Date.now() + 60_000;
  while (!condition()) {
    if (Date.now() > end) throw new Error(`waited in vain until ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
