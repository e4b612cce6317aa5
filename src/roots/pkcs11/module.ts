import { accessSync } from "node:fs";
import { ThornkeyError } from "../../errors.ts";
import { loadKoffi } from "../../machine/libc.ts";
import { CKF_OS_LOCKING_OK, FUNCTION_COUNT, FUNCTIONS, type FunctionName } from "./constants.ts";
import { Memory, type Ulong } from "./memory.ts";
import { CKR, ReturnValue } from "./return-values.ts";

/** A module's functions, and the memory they read and fill. Everything blocks until the module returns. */
export interface Module {
  readonly memory: Memory;
  /** @throws ReturnValue unless it returns CKR_OK */
  call(name: FunctionName, ...args: readonly Ulong[]): void;
  /** @throws ReturnValue */
  initialize(): void;
  /** Whatever comes of it. */
  finalize(): void;
}

/** Enough for the longest call, and for any value that is believed. */
const MEMORY_BYTES = 256 * 1024;

const ARGUMENTS = { u: "unsigned long", p: "uintptr_t", b: "uint8_t" } as const;

/**
 * Loads a module into this process, where it then can do anything: only in a process of its own.
 *
 * Source: PKCS #11 v2.40, 3.6 (function list) and 5.4.
 *
 * @param path absolute
 * @throws ThornkeyError `FILE_NOT_FOUND`; `NOT_SUPPORTED` when it cannot be loaded, or is no such module
 */
export function loadModule(path: string): Module {
  const koffi = loadKoffi();
  try {
    accessSync(path);
  } catch (cause) {
    throw new ThornkeyError("FILE_NOT_FOUND", `there is no PKCS#11 module ${path} that can be read`, {
      hint: "install the vendor's package; 'p11-kit list-modules' shows those that are there",
      cause,
    });
  }
  const memory = new Memory(MEMORY_BYTES);
  const functions = new Map<FunctionName, (...args: readonly Ulong[]) => number>();
  try {
    const getFunctionList = koffi.load(path).func("unsigned long C_GetFunctionList(uintptr_t list)");
    const place = memory.words(0);
    const rv: number = getFunctionList(place);
    if (rv !== CKR.OK) throw new ReturnValue("C_GetFunctionList", rv);
    const list = BigInt(memory.ulong(place));
    // CK_VERSION, filled up to a word, and then the functions.
    const pointers = new DataView(koffi.view(list, (1 + FUNCTION_COUNT) * memory.word).slice(0));
    for (const [name, [index, args]] of Object.entries(FUNCTIONS)) {
      const at = (1 + index) * memory.word;
      const pointer = memory.word === 8 ? pointers.getBigUint64(at, LITTLE) : BigInt(pointers.getUint32(at, LITTLE));
      if (pointer === 0n) continue;
      const types = [...args].map((one) => ARGUMENTS[one as keyof typeof ARGUMENTS]);
      const type = koffi.proto(`unsigned long ${name}(${types.join(", ")})`);
      functions.set(name as FunctionName, koffi.decode(pointer, type) as (...args: readonly Ulong[]) => number);
    }
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new ThornkeyError("NOT_SUPPORTED", `${path} cannot be used as a PKCS#11 module: ${why}`, { cause });
  }
  const rvOf = (name: FunctionName, args: readonly Ulong[]) => functions.get(name)?.(...args) ?? NOT_THERE;
  const call = (name: FunctionName, ...args: readonly Ulong[]) => {
    const rv = rvOf(name, args);
    if (rv !== CKR.OK) throw new ReturnValue(name, rv);
  };
  return {
    memory,
    call,
    initialize() {
      try {
        // It may use locks of the system; it is called from one thread only.
        const rv = rvOf("C_Initialize", [memory.words(0, 0, 0, 0, CKF_OS_LOCKING_OK, 0)]);
        if (rv === CKR.CRYPTOKI_ALREADY_INITIALIZED) return;
        if (rv === CKR.CANT_LOCK || rv === CKR.ARGUMENTS_BAD) call("C_Initialize", 0);
        else if (rv !== CKR.OK) throw new ReturnValue("C_Initialize", rv);
      } finally {
        memory.clear();
      }
    },
    finalize: () => void rvOf("C_Finalize", [0]),
  };
}

/** CKR_FUNCTION_NOT_SUPPORTED */
const NOT_THERE = 0x54;
const LITTLE = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1;
