import { DRIVER } from "./driver-mutants.ts";

/** Where defects are made, and the tests that ought to notice them. */
export const ROOMS = {
  emulator: { source: "src/emulators/atecc508a", tests: ["test/emulators"] },
  driver: { source: "src/roots/atecc", tests: ["test/roots", "test/faults"] },
} as const;

/**
 * Defects that somebody could make in the emulated chip or in its driver. Each has one rule wrong; a test that fails
 * shows that the rule is tested.
 */
export interface Mutant {
  readonly room: keyof typeof ROOMS;
  readonly name: string;
  readonly defect: string;
  readonly changes: readonly Change[];
}

/** One replacement of source text. `find` must be there exactly once. */
export interface Change {
  /** Under the source of the room. */
  readonly file: string;
  readonly find: string;
  readonly replace: string;
}

const change = (file: string, find: string, replace: string): Change => ({ file, find, replace });

const noReqRandom = change("gates.ts", "!policy.reqRandom ||", "true ||");
const noReqAuth = change("gates.ts", "!policy.reqAuth ||", "true ||");

/** The eleven defects that the tests were asked to find. */
const ASKED: readonly Omit<Mutant, "room">[] = [
  {
    name: "no-policy",
    defect: "no policy check is made at all",
    changes: [
      change("gates.ts", "return GATES[use].every(", "return true || GATES[use].every("),
      change("gates.ts", "const gates: readonly Gate[] = GATES[use];", "const gates: readonly Gate[] = [];"),
      change("commands/read.ts", "if (policy.private || policy.isSecret !== policy.encryptRead)", "if (false)"),
      change("commands/read.ts", "if (!policy.isSecret) return content;", "return content;"),
      change("commands/write.ts", "if (policy.private || policy.locked) return false;", "return true;"),
      change("commands/derive-key.ts", "if (target.private || target.locked)", "if (false)"),
    ],
  },
  {
    name: "secret-readable",
    defect: "secret slots can be read in clear",
    changes: [
      change(
        "commands/read.ts",
        "if (policy.private || policy.isSecret !== policy.encryptRead)",
        "if (policy.private)",
      ),
      change(
        "commands/read.ts",
        "if (!policy.isSecret) return content;",
        "if (!policy.isSecret || !isEncryptionKey(state, policy.readKey)) return content;",
      ),
    ],
  },
  {
    name: "auth-gates-ignored",
    defect: "ReqRandom and ReqAuth are ignored",
    changes: [noReqRandom, noReqAuth],
  },
  {
    name: "limited-use-ignored",
    defect: "LimitedUse does not count",
    changes: [change("gates.ts", "const gates: readonly Gate[] = GATES[use];", "const gates: readonly Gate[] = [];")],
  },
  {
    name: "slot-lock-ignored",
    defect: "a locked slot behaves as unlocked",
    changes: [change("config.ts", "locked: (u16(config, CONFIG.SLOT_LOCKED) & (1 << slot)) === 0,", "locked: false,")],
  },
  {
    name: "lock-summary-ignored",
    defect: "the summary of Lock is not checked",
    changes: [change("commands/lock.ts", "if (!(param1 & NO_SUMMARY) && param2 !== summary)", "if (false)")],
  },
  {
    name: "source-flag-always-random",
    defect: "SourceFlag is always 0",
    changes: [change("volatile-state.ts", "valid: true, sourceFlag };", "valid: true, sourceFlag: 0 };")],
  },
  {
    name: "gendig-flag-never-set",
    defect: "GenDigData is never set",
    changes: [change("commands/gen-dig.ts", "genDigData: policy !== undefined,", "genDigData: false,")],
  },
  {
    name: "tempkey-never-invalidated",
    defect: "Valid is never cleared",
    changes: ["chip.ts", "commands/check-mac.ts", "commands/sha.ts", "commands/write.ts", "commands/read.ts"].map(
      (file) => change(file, "tempKey.valid = false;", "tempKey.valid &&= true;"),
    ),
  },
  {
    name: "sleep-keeps-tempkey",
    defect: "sleep does not clear volatile state",
    changes: [change("chip.ts", "    unit.state = freshState();\n", "")],
  },
  {
    name: "mac-sn-wrong",
    defect: "mode b6 is taken as set: the whole serial number goes into MAC and HMAC",
    changes: [change("digests.ts", "const wholeSerial = (mode & 0x40) !== 0;", "const wholeSerial = true;")],
  },
];

/** One rule at a time, where the ones above break many at once. */
const FINER: readonly Omit<Mutant, "room">[] = [
  { name: "req-random-ignored", defect: "ReqRandom is ignored", changes: [noReqRandom] },
  { name: "req-auth-ignored", defect: "ReqAuth is ignored", changes: [noReqAuth] },
  one("req-random-any-message", "ReqRandom is content with a TempKey that is not in the message", [
    "gates.ts",
    "(tempKeyInMessage && tempKey.valid",
    "(tempKey.valid",
  ]),
  one("req-auth-any-key", "any authorisation opens every ReqAuth key", [
    "gates.ts",
    "state.authKeyId === policy.authKey",
    "state.authKeyId !== undefined",
  ]),
  one("no-mac-ignored", "NoMac is ignored", ["gates.ts", "noMac: (_, policy) => !policy.noMac,", "noMac: () => true,"]),
  one("private-key-as-secret", "MAC and GenDig take a private key for a secret", [
    "gates.ts",
    "noPrivateSlot: (_, policy) => !policy.private,",
    "noPrivateSlot: () => true,",
  ]),
  one("keys-before-lock", "keys may be used before the data zone is locked", [
    "gates.ts",
    'dataLocked: ({ memory }) => stage(memory) === "locked",',
    "dataLocked: () => true,",
  ]),
  one("limit-taken-by-refusal", "a refused MAC takes a use", [
    "commands/mac.ts",
    "(mayUse(unit, slot, use, secondIsTempKey) && takeUse(unit, slot, use))",
    "(takeUse(unit, slot, use) && mayUse(unit, slot, use, secondIsTempKey))",
  ]),
  one("limit-of-every-slot", "LimitedUse counts on every slot of the 508", [
    "gates.ts",
    "return slot !== 15 || takeLastKeyUse(memory);",
    "return takeLastKeyUse(memory);",
  ]),
  one("count-match-ignored", "the 608 counts uses without end", [
    "gates.ts",
    "return readCounter(memory, 0) < countMatch(memory) && incrementCounter",
    "return incrementCounter",
  ]),
  one("auth-from-fixed", "a CheckMac of a fixed TempKey authorises", [
    "commands/check-mac.ts",
    "if (showsKnowledge && state.tempKey.sourceFlag === 0)",
    "if (showsKnowledge)",
  ]),
  one("auth-survives-miscompare", "a wrong response leaves the authorisation", [
    "commands/check-mac.ts",
    "      state.authKeyId = undefined;\n",
    "",
  ]),
  one("copy-any-next-slot", "CheckMac copies whatever the next slot says", [
    "commands/check-mac.ts",
    "return target.readKey === 0 && !target.private;",
    "return true;",
  ]),
  one("source-bit-ignored", "the mode bit that names SourceFlag is not looked at", [
    "commands/mac.ts",
    "return state.tempKey.sourceFlag === wanted ?",
    "return wanted >= 0 ?",
  ]),
  one("encryption-with-any-key", "encrypted Read and Write take a TempKey of any slot", [
    "volatile-state.ts",
    "tempKey.genDigData && tempKey.keyId === keyId",
    "tempKey.genDigData && keyId >= 0",
  ]),
  one("encryption-with-no-mac-key", "encrypted Read and Write take a TempKey of a NoMac slot", [
    "volatile-state.ts",
    " && !tempKey.noMacFlag;",
    ";",
  ]),
  one("encrypted-read-fixed", "an encrypted Read takes a fixed TempKey", [
    "commands/read.ts",
    "!tempKey || state.tempKey.sourceFlag !== 0 ||",
    "!tempKey ||",
  ]),
  one("write-config-ignored", "WriteConfig is not looked at by Write", [
    "commands/write.ts",
    "if (policy.writeConfig & 0b0100) return data.length === 64;",
    "return true;",
  ]),
  one("write-mac-ignored", "the MAC of an encrypted Write is not checked", [
    "commands/write.ts",
    "return equal(mac, packet.data.subarray(32)) ? plain : undefined;",
    "return equal(mac, mac) ? plain : undefined;",
  ]),
  one("priv-write-mac-ignored", "the MAC of PrivWrite is not checked", [
    "commands/priv-write.ts",
    "return equal(mac, packet.data.subarray(36)) ? plain : undefined;",
    "return equal(mac, mac) ? plain : undefined;",
  ]),
  one("priv-write-any-scalar", "PrivWrite takes 0 and n for a key", [
    "commands/priv-write.ts",
    "if (!plain || !isScalar(plain.subarray(4)))",
    "if (!plain)",
  ]),
  one("derive-mac-ignored", "the MAC of DeriveKey is not checked", [
    "commands/derive-key.ts",
    "if (way.mac && !equal(",
    "if (false && !equal(",
  ]),
  one("derive-mac-optional", "DeriveKey goes without a MAC where WriteConfig wants one", [
    "commands/derive-key.ts",
    "way.mac !== (packet.data.length === 32)",
    "(!way.mac && packet.data.length === 32)",
  ]),
  one("lockable-ignored", "any slot can be locked", ["commands/lock.ts", "|| !lockable || locked)", "|| locked)"]),
  one("gen-key-write-config-ignored", "GenKey makes a new key though WriteConfig forbids it", [
    "commands/gen-key.ts",
    'if (stage(memory) === "locked" && !(policy.writeConfig & WRITE_CONFIG_GEN_KEY)) return undefined;',
    "",
  ]),
  one("pub-info-ignored", "the public key can be computed without PubInfo", [
    "commands/gen-key.ts",
    "const scalar = policy.pubInfo ? privateKey(memory, slot) : undefined;",
    "const scalar = privateKey(memory, slot);",
  ]),
  one("sign-permission-ignored", "Sign does not look at ReadKey", [
    "commands/sign.ts",
    "|| !(policy.readKey & permission) ||",
    "||",
  ]),
  one("ecdh-permission-ignored", "ECDH does not look at ReadKey", [
    "commands/ecdh.ts",
    "|| !(policy.readKey & MAY_ECDH) ||",
    "||",
  ]),
  one("point-not-checked", "Verify takes points off the curve", [
    "commands/verify.ts",
    "if (!isOnCurve(point)) return STATUS.ECC_FAULT;",
    "",
  ]),
  one("validation-ignored", "a public key that was never validated verifies", [
    "slots.ts",
    "return isPublic(policy) && (!policy.pubInfo || isMarkedValid(memory, policy.slot));",
    "return isPublic(policy);",
  ]),
  one("validation-survives-write", "a written public key stays valid", [
    "slots.ts",
    'if (stage(memory) === "locked" && isPublic(policy) && policy.pubInfo) {',
    "if (false) {",
  ]),
  one("otp-bits-rise", "OTP in consumption mode takes any value", [
    "commands/write.ts",
    "data.map((byte, i) => byte & (memory.otp[offset + i] ?? 0)),",
    "data,",
  ]),
  one("update-extra-overwrites", "UpdateExtra overwrites what was set", [
    "commands/update-extra.ts",
    'if (now !== "open" && memory.config[offset] !== 0)',
    "if (false)",
  ]),
  one("idle-loses-tempkey", "idle clears volatile state", [
    "chip.ts",
    '        case WORD_ADDRESS.IDLE:\n          power = "idle";',
    "        case WORD_ADDRESS.IDLE:\n          sleep();",
  ]),
  one("crc-not-checked", "a packet with a wrong CRC is obeyed", [
    "packet.ts",
    "if (crc !== crc16(bytes.subarray(0, end))) return undefined;",
    "",
  ]),
  one("sha-survives-commands", "other commands may come between the steps of SHA", [
    "chip.ts",
    'if (command.name !== "SHA" && command.name !== "Info") state.sha = undefined;',
    "",
  ]),
  one("buffer-not-used-up", "the 608 signs twice what is in the Message Digest Buffer", [
    "commands/sign.ts",
    "if (fromBuffer) state.messageDigestBuffer = undefined;",
    "",
  ]),
  one("fixed-nonce-random", "the 608 makes a random TempKey of a fixed one", [
    "commands/nonce.ts",
    "const source = param2 === TEMP_KEY_AS_RAND_OUT ? state.tempKey.sourceFlag : 0;",
    "const source = 0;",
  ]),
  one("busy-acknowledges", "the chip acknowledges while it works on a command", [
    "chip.ts",
    '(timing === "none" || clock.now() >= busyUntil);',
    "busyUntil >= 0;",
  ]),
  one("no-watchdog", "the chip never falls asleep by itself", [
    "chip.ts",
    "clock.now() >= wokenAt + watchdogTime(memory, timing)) sleep();",
    "false) sleep();",
  ]),
  one("watchdog-not-foreseen", "a command is begun that the watchdog will cut short", [
    "chip.ts",
    "if (end >= wokenAt + watchdogTime(memory, timing)) return STATUS.WATCHDOG;",
    "",
  ]),
  one("read-pointer-resets", "each read starts at the first byte of the answer", [
    "chip.ts",
    "position = Math.min(position + length, output.length);",
    "",
  ]),
  one("lock-not-stored", "a lock is in force, but not in the file", [
    "memory.ts",
    "const word = memory.config.slice(start, start + WORD);",
    "const word = memory.config.subarray(start, start + WORD);",
  ]),
];

function one(name: string, defect: string, [file, find, replace]: readonly [string, string, string]) {
  return { name, defect, changes: [change(file, find, replace)] };
}

export const MUTANTS: readonly Mutant[] = [
  ...[...ASKED, ...FINER].map((mutant) => ({ room: "emulator" as const, ...mutant })),
  ...DRIVER,
];
