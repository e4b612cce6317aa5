/** Counts, on the wire, how often each session is used. */
import { Reader } from "../../../src/bytes/reader.ts";
import * as commands from "../../../src/roots/tpm/commands.ts";
import { HANDLE, ST } from "../../../src/roots/tpm/constants.ts";
import type { Wiretap } from "./wiretap.ts";

const HANDLES = new Map<number, number>(Object.values(commands).map(({ code, handles }) => [code, handles]));

export interface SessionWatch {
  /** Sessions begun so far. */
  readonly begun: number;
  /** Uses of the one that was used most. */
  readonly mostUses: number;
}

/** @returns what is seen from now on */
export function watchSessions(wire: Wiretap): SessionWatch {
  const watch = { begun: 0, mostUses: 0 };
  const uses = new Map<number, number>();
  wire.onRequest = (bytes) => {
    for (const handle of sessionsIn(bytes)) {
      const count = (uses.get(handle) ?? 0) + 1;
      uses.set(handle, count);
      watch.mostUses = Math.max(watch.mostUses, count);
    }
    return bytes;
  };
  wire.onResponse = (bytes, request) => {
    if (request.readUInt32BE(6) === commands.StartAuthSession.code && bytes.readUInt32BE(6) === 0) {
      watch.begun += 1;
      uses.set(bytes.readUInt32BE(10), 0);
    }
    return bytes;
  };
  return watch;
}

/** @returns handles of the sessions in a command's authorisation area, without passwords */
function sessionsIn(command: Uint8Array): number[] {
  const reader = new Reader(command);
  if (reader.u16be() !== ST.sessions) return [];
  reader.u32be();
  reader.take(4 * (HANDLES.get(reader.u32be()) ?? 0));
  const area = new Reader(reader.take(reader.u32be()));
  const found: number[] = [];
  while (area.remaining > 0) {
    found.push(area.u32be());
    area.take(area.u16be() + 1);
    area.take(area.u16be());
  }
  return found.filter((handle) => handle !== HANDLE.password);
}
