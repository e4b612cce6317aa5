/** A vault and a gate as processes, and Zymkeys over them. */
import { connect, type Thornkey } from "../../../src/client/index.ts";
import { Zymkey, type ZymkeyOptions } from "../../../src/client/zymkey/index.ts";
import { type LabProcess, type LabVault, openLab, spawnProgram } from "../../vault/lab.ts";

export interface ZymkeyLab {
  readonly run: string;
  readonly thornkey: Thornkey;
  path(name: string): string;
  /** A unit of its own, closed with the lab. */
  zymkey(options?: ZymkeyOptions): Zymkey;
  close(): Promise<void>;
}

export async function openZymkeyLab(): Promise<ZymkeyLab> {
  const lab = openLab();
  const vault: LabVault = await lab.vault();
  if (vault.said !== "ready") throw new Error(vault.stderr());
  const gate: LabProcess = await spawnProgram("gate", ["--run", vault.run]);
  const thornkey = await connect({ run: vault.run });
  const open = new Set<Zymkey>();
  return {
    run: vault.run,
    thornkey,
    path: lab.path,
    zymkey(options = {}) {
      const made = new Zymkey({ run: vault.run, ...options });
      open.add(made);
      return made;
    },
    async close() {
      for (const one of open) await one.close();
      await thornkey.close();
      await gate.end();
      await lab.close();
    },
  };
}

/** @returns the code of the error that comes, or `done` */
export function codeOf(act: Promise<unknown>): Promise<string> {
  return act.then(
    () => "done",
    (error) => (error as { code?: string }).code ?? String(error),
  );
}
