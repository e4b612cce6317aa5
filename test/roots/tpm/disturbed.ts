/**
 * A TPM in this thread, with one bit of one command or answer changed on its way. No proxy and no thread stand between, so
 * thousands of bits take seconds.
 */
import { systemClock } from "../../../src/machine/clock.ts";
import type { TpmLocation } from "../../../src/roots/tpm/location.ts";
import { type OpenOptions, type Silicon, siliconOn } from "../../../src/roots/tpm/silicon.ts";
import { type Tpm, tpmOver } from "../../../src/roots/tpm/tpm.ts";
import { openTransport, type TpmTransport } from "../../../src/roots/tpm/transport.ts";
import { type Held, heldBy } from "./held.ts";
import { flipped } from "./wiretap.ts";

export type Direction = "request" | "response";

/** The `nth` command with this code from now on; `bit` is changed in it, if there is one. */
export interface Aim {
  readonly code: number;
  readonly nth: number;
  readonly direction: Direction;
  readonly bit?: number;
}

/** What came of it. */
export interface Aftermath {
  /** Bytes of what was aimed at, before it was changed; 0 when it did not come. */
  readonly length: number;
  /** How many commands with this code were sent. */
  readonly sent: number;
}

export interface DisturbedTpm {
  aim(at: Aim): void;
  /** From now on nothing is changed. */
  cease(): Aftermath;
  /** Codes of all commands that were ever sent. */
  readonly codes: Set<number>;
  tpm(): Tpm;
  silicon(options: OpenOptions): Silicon;
  /** What the TPM holds, asked on the connection that is open; or on one for the question alone. */
  held(): Promise<Held>;
}

export function disturbedTpm(location: TpmLocation): DisturbedTpm {
  const codes = new Set<number>();
  let line: TpmTransport | undefined;
  let target: Aim | undefined;
  let [length, sent] = [0, 0];

  function open(): TpmTransport {
    const inner = openTransport(location);
    line = inner;
    return {
      shared: inner.shared,
      close() {
        inner.close();
        if (line === inner) line = undefined;
      },
      transmit(command, ...rest) {
        const code = Buffer.from(command).readUInt32BE(6);
        codes.add(code);
        if (code === target?.code) sent += 1;
        const aimed = code === target?.code && sent === target.nth ? target : undefined;
        const { direction, bit } = aimed ?? {};
        if (direction === "request") length = command.length;
        const spoilt = direction === "request" && bit !== undefined && bit < 8 * command.length;
        const answer = inner.transmit(spoilt ? new Uint8Array(flipped(Buffer.from(command), bit)) : command, ...rest);
        if (direction === "response") length = answer.length;
        return direction === "response" && bit !== undefined && bit < 8 * answer.length
          ? new Uint8Array(flipped(Buffer.from(answer), bit))
          : answer;
      },
    };
  }

  const tpm = () => tpmOver(open, systemClock({ spinMilliseconds: 0 }));
  return {
    aim(at) {
      target = at;
      [length, sent] = [0, 0];
    },
    cease() {
      target = undefined;
      return { length, sent };
    },
    codes,
    tpm,
    silicon: (options) => siliconOn(tpm(), options),
    async held() {
      const there = line ?? openTransport(location);
      try {
        return await heldBy((command) => there.transmit(command, 10_000));
      } finally {
        if (there !== line) there.close();
      }
    },
  };
}
