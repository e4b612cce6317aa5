import { randomBytes } from "node:crypto";
import { closeSync, fdatasyncSync, openSync, readFileSync, writeSync } from "node:fs";
import { concat, equal } from "../../bytes/bytes.ts";
import { ThornkeyError } from "../../errors.ts";
import { takeFileLock } from "../file-lock.ts";
import { writeWholeFile } from "../whole-file.ts";
import type { Model } from "./chip.ts";
import { CONFIG, UNLOCKED } from "./config.ts";
import { blankImage, IMAGE_SIZE, type Memory, memoryOver } from "./memory.ts";

/**
 * The EEPROM as a file: a header of 32 bytes (magic, version, model, zeros), then the config zone, the OTP zone and
 * slots 0 to 15. Words are written in place and synchronised once per command, so an answered command is in the file
 * whenever the process dies.
 *
 * @param path is created, as a blank chip with a random serial number, if there is nothing
 * @param options.model of a new file; of an old one it must be the file's
 * @throws ThornkeyError `MALFORMED` when the file is not such a file, or of another model; `FAILED` when another
 * emulator has it open
 */
export function openMemoryFile(path: string, options: { model?: Model } = {}): Memory & { close(): void } {
  const lock = takeFileLock(path);
  let file: number | undefined;
  try {
    if (!exists(path)) create(path, options.model ?? "508a");
    file = openSync(path, "r+");
    const { model, image } = parse(path, readFileSync(file), options.model);
    return storedIn(file, model, image, lock.release);
  } catch (error) {
    if (file !== undefined) closeSync(file);
    lock.release();
    throw error;
  }
}

const MAGIC = new TextEncoder().encode("thornkey atecc");
const VERSION = 1;
const MODELS: Record<Model, number> = { "508a": 0x50, "608a": 0x60 };
const VERSION_AT = 16;
const MODEL_AT = 17;
const HEADER_SIZE = 32;

function storedIn(file: number, model: Model, image: Uint8Array, release: () => void): Memory & { close(): void } {
  let changed = false;
  const memory = memoryOver(model, image, (offset, word) => {
    writeSync(file, word, 0, word.length, HEADER_SIZE + offset);
    changed = true;
  });
  const commit = () => {
    if (changed) fdatasyncSync(file);
    changed = false;
  };
  return {
    ...memory,
    commit,
    close() {
      commit();
      closeSync(file);
      release();
    },
  };
}

/** A creation that was cut short leaves nothing at `path`. */
function create(path: string, model: Model): void {
  const serial = concat(Uint8Array.of(0x01, 0x23), randomBytes(6), Uint8Array.of(0xee));
  writeWholeFile(path, concat(header(model), blankImage(model, serial)));
}

function header(model: Model): Uint8Array {
  const bytes = new Uint8Array(HEADER_SIZE);
  bytes.set(MAGIC);
  bytes[VERSION_AT] = VERSION;
  bytes[MODEL_AT] = MODELS[model];
  return bytes;
}

function parse(path: string, bytes: Uint8Array, wanted: Model | undefined): { model: Model; image: Uint8Array } {
  const refuse = (
    what: string,
    hint = "Name another file, or move this one away to start with a blank chip.",
  ): never => {
    throw new ThornkeyError("MALFORMED", `${path} ${what}.`, { hint });
  };
  if (!equal(bytes.subarray(0, MAGIC.length), MAGIC)) return refuse("is not the memory of an emulated chip");
  if (bytes[VERSION_AT] !== VERSION)
    return refuse(`is of version ${bytes[VERSION_AT]}, and this emulator reads ${VERSION}`);
  if (bytes.length !== HEADER_SIZE + IMAGE_SIZE) {
    return refuse(`is ${bytes.length} bytes long instead of ${HEADER_SIZE + IMAGE_SIZE}`);
  }
  const model = bytes[MODEL_AT] === MODELS["508a"] ? "508a" : "608a";
  if (!equal(bytes.subarray(0, HEADER_SIZE), header(model))) return refuse("has a header that is not right");
  if (wanted && wanted !== model)
    return refuse(`is the memory of a ${model}, not of a ${wanted}`, `Use --model ${model}.`);
  const image = new Uint8Array(bytes.subarray(HEADER_SIZE)); // a copy, and no Buffer: the slice of a Buffer is a view
  const fault = faultOf(image);
  return fault ? refuse(fault) : { model, image };
}

/** What no command could have made of the config zone. */
function faultOf(config: Uint8Array): string | undefined {
  if (config[0] !== 0x01 || config[1] !== 0x23 || config[12] !== 0xee) return "has a serial number that is not right";
  for (const offset of [CONFIG.LOCK_VALUE, CONFIG.LOCK_CONFIG]) {
    if (config[offset] !== UNLOCKED && config[offset] !== 0) return "has a lock byte that is neither 55 nor 00";
  }
  if (config[CONFIG.LOCK_VALUE] === 0 && config[CONFIG.LOCK_CONFIG] === UNLOCKED) {
    return "has its data zone locked and its config zone unlocked, which no chip can have";
  }
  return undefined;
}

function exists(path: string): boolean {
  try {
    closeSync(openSync(path, "r"));
    return true;
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return false;
    throw error;
  }
}
