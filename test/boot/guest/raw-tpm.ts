/** A TPM's device file as another program uses it: commands as bytes, and what the kernel answers to each call. */
import { closeSync, openSync, readSync, writeSync } from "node:fs";
import { Reader } from "../../../src/bytes/reader.ts";
import { Writer } from "../../../src/bytes/writer.ts";
import { CAPABILITY, HANDLE, RANGE, ST } from "../../../src/roots/tpm/constants.ts";

const HEADER = 10;
const LARGEST = 4096;
const SHA256 = 0x0b;
const POLICY = 0x01;

/** TPM2_StartAuthSession of a policy session without a salt. */
export const START_POLICY = commandOf(
  0x176,
  new Writer(37)
    .u32be(HANDLE.null)
    .u32be(HANDLE.null)
    .u16be(16)
    .put(new Uint8Array(16).fill(1))
    .u16be(0)
    .u8(POLICY)
    .u16be(0x10) // TPM_ALG_NULL
    .u16be(SHA256)
    .done(),
);
export const RANDOM = commandOf(0x17b, Uint8Array.of(0, 8));
/** TPM2_HashSequenceStart: an object that needs nothing else. */
export const START_SEQUENCE = commandOf(0x186, new Writer(4).u16be(0).u16be(SHA256).done());
/** Takes a TPM long. */
export const SELF_TEST = commandOf(0x143, Uint8Array.of(1));
/** No command of any TPM. */
export const STRANGE = commandOf(0x1fff, new Uint8Array(0));

function commandOf(code: number, rest: Uint8Array): Uint8Array {
  const size = HEADER + rest.length;
  return new Writer(size).u16be(ST.noSessions).u32be(size).u32be(code).put(rest).done();
}

export interface RawTpm {
  /** @returns what the call gives, or the name of its error */
  write(bytes: Uint8Array): number | string;
  /** @returns the answer's code, `nothing`, or the name of the error */
  read(): number | string;
  /** @returns the answer's code and the handle after it, if there is one */
  run(command: Uint8Array): { code: number; handle: number };
  /** TPM2_PolicyGetDigest. @returns the answer's code */
  policyDigest(session: number): number;
  /** What the TPM says is in it, as far as this descriptor may know. */
  left(): { transient: number; loaded: number; saved: number };
  close(): void;
}

/** @throws what open(2) says */
export function openRaw(path: string): RawTpm {
  const fd = openSync(path, "r+");
  const answer = new Uint8Array(LARGEST);
  const said = (call: () => number | string): number | string => {
    try {
      return call();
    } catch (error) {
      return (error as NodeJS.ErrnoException).code ?? "?";
    }
  };
  function exchange(command: Uint8Array): Reader {
    writeSync(fd, command);
    return new Reader(answer.subarray(0, readSync(fd, answer)));
  }
  function run(command: Uint8Array): { code: number; handle: number } {
    const reader = exchange(command);
    reader.take(6);
    return { code: reader.u32be(), handle: reader.remaining >= 4 ? reader.u32be() : 0 };
  }
  function handles(first: number): number {
    const reader = exchange(commandOf(0x17a, new Writer(12).u32be(CAPABILITY.handles).u32be(first).u32be(254).done()));
    reader.take(HEADER + 1 + 4);
    return reader.u32be();
  }
  return {
    write: (bytes) => said(() => writeSync(fd, bytes)),
    read: () =>
      said(() => {
        const length = readSync(fd, answer);
        return length === 0 ? "nothing" : new Reader(answer.subarray(6, 10)).u32be();
      }),
    run,
    policyDigest: (session) => run(commandOf(0x189, new Writer(4).u32be(session).done())).code,
    left: () => ({
      transient: handles(RANGE.transient),
      loaded: handles(RANGE.loadedSession),
      saved: handles(RANGE.savedSession),
    }),
    close: () => closeSync(fd),
  };
}
