import { aes } from "./aes.ts";
import { checkMac } from "./check-mac.ts";
import type { Command } from "./command.ts";
import { counter } from "./counter.ts";
import { deriveKey } from "./derive-key.ts";
import { ecdh } from "./ecdh.ts";
import { genDig } from "./gen-dig.ts";
import { genKey } from "./gen-key.ts";
import { info } from "./info.ts";
import { kdf } from "./kdf.ts";
import { lock } from "./lock.ts";
import { hmac, mac } from "./mac.ts";
import { nonce } from "./nonce.ts";
import { pause } from "./pause.ts";
import { privWrite } from "./priv-write.ts";
import { random } from "./random.ts";
import { read } from "./read.ts";
import { secureBoot } from "./secure-boot.ts";
import { selfTest } from "./self-test.ts";
import { sha } from "./sha.ts";
import { sign } from "./sign.ts";
import { updateExtra } from "./update-extra.ts";
import { verify } from "./verify.ts";
import { write } from "./write.ts";

/** Every command of both models; the forms of each say which of them has it. */
export const COMMANDS: ReadonlyMap<number, Command> = new Map(
  [
    aes,
    checkMac,
    counter,
    deriveKey,
    ecdh,
    genDig,
    genKey,
    hmac,
    info,
    kdf,
    lock,
    mac,
    nonce,
    pause,
    privWrite,
    random,
    read,
    secureBoot,
    selfTest,
    sha,
    sign,
    updateExtra,
    verify,
    write,
  ].map((command) => [command.opcode, command]),
);
