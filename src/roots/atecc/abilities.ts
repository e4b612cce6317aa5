/** What each slot of a chip can do, and which bit says so. Source: ATECC508A data sheet, "SlotConfig", "KeyConfig". */
import { type ChipConfig, KEY_TYPE, type Slot } from "./config.ts";
import type { Model } from "./times.ts";

/** What lies in a slot, by its configuration. */
export type Holding = "private key" | "public key" | "AES key" | "secret" | "data";

export type Ability =
  | "sign digest"
  | "sign internal"
  | "ECDH"
  | "public key"
  | "new key"
  | "import key"
  | "verify"
  | "read"
  | "write"
  | "MAC"
  | "encrypt bus"
  | "derive"
  | "AES";

export interface Finding {
  readonly ability: Ability;
  readonly possible: boolean;
  /** How, under which condition, or why not: in the words of the data sheet. */
  readonly why: string;
}

/** @returns what the slot holds, as its configuration was meant */
export function holdingOf({ keyConfig, slotConfig, size }: Slot): Holding {
  if (keyConfig.keyType === KEY_TYPE.p256) {
    if (keyConfig.private) return "private key";
    return size >= PUBLIC_KEY_SIZE ? "public key" : "secret";
  }
  if (keyConfig.keyType === KEY_TYPE.aes) return "AES key";
  return slotConfig.isSecret ? "secret" : "data";
}

/** @returns the abilities that make sense for what the slot holds, possible or not */
export function abilitiesOf(slot: Slot, config: ChipConfig, model: Model): Finding[] {
  const findings = FINDERS[holdingOf(slot)].map((find) => find(slot, config, model));
  const gates = gatesOf(slot);
  return findings.map((finding) =>
    gates !== "" && finding.possible && GATED.has(finding.ability)
      ? { ...finding, why: `${finding.why}; ${gates}` }
      : finding,
  );
}

type Finder = (slot: Slot, config: ChipConfig, model: Model) => Finding;

const PUBLIC_KEY_SIZE = 72;
const GATED: ReadonlySet<Ability> = new Set([
  "sign digest",
  "sign internal",
  "ECDH",
  "MAC",
  "encrypt bus",
  "derive",
  "AES",
]);

function gatesOf({ keyConfig, slotConfig, number }: Slot): string {
  const gates: string[] = [];
  if (keyConfig.reqRandom) gates.push("only after a random nonce (ReqRandom)");
  if (keyConfig.reqAuth) gates.push(`only after authorisation with slot ${keyConfig.authKey} (ReqAuth)`);
  if (slotConfig.limitedUse) gates.push(number === 15 ? "128 uses (LimitedUse)" : "limited uses (LimitedUse)");
  return gates.join("; ");
}

function bit(ability: Ability, set: boolean, yes: string, no: string): Finding {
  return { ability, possible: set, why: set ? yes : no };
}

const signDigest: Finder = ({ slotConfig }) =>
  bit("sign digest", (slotConfig.readKey & 1) !== 0, "ReadKey bit 0", "ReadKey bit 0 is clear");

const signInternal: Finder = ({ slotConfig }) =>
  bit("sign internal", (slotConfig.readKey & 2) !== 0, "ReadKey bit 1", "ReadKey bit 1 is clear");

/** 608, ChipOptions bits 9:8: whether an ECDH result may be answered in clear. */
function isEcdhProtected({ bytes }: ChipConfig, model: Model): boolean {
  return model === "608" && ((bytes[91] ?? 0) & 0x03) !== 0;
}

const ecdh: Finder = ({ slotConfig, number }, config, model) => {
  if (slotConfig.readKey & 4 && !(slotConfig.readKey & 8) && isEcdhProtected(config, model)) {
    return {
      ability: "ECDH",
      possible: false,
      why: "ChipOptions: no result in clear, and encrypted output is not used",
    };
  }
  return bit(
    "ECDH",
    (slotConfig.readKey & 4) !== 0,
    slotConfig.readKey & 8
      ? `ReadKey bits 2, 3: result into slot ${number | 1}`
      : "ReadKey bit 2: result on the bus in clear",
    "ReadKey bit 2 is clear",
  );
};

const publicKey: Finder = ({ keyConfig }) => bit("public key", keyConfig.pubInfo, "PubInfo", "PubInfo is clear");

const newKey: Finder = ({ slotConfig, locked }, { dataLocked }) =>
  change("new key", locked, dataLocked, (slotConfig.writeConfig & 2) !== 0, "WriteConfig bit 1");

const importKey: Finder = ({ slotConfig, locked }, { dataLocked }) =>
  dataLocked
    ? change(
        "import key",
        locked,
        true,
        (slotConfig.writeConfig & 4) !== 0,
        `encrypted with slot ${slotConfig.writeKey}`,
      )
    : change("import key", locked, false, true, "in clear");

function change(ability: Ability, locked: boolean, dataLocked: boolean, allowed: boolean, how: string): Finding {
  if (locked) return { ability, possible: false, why: "the slot is locked" };
  if (!dataLocked) return { ability, possible: true, why: "the data zone is not locked yet" };
  return { ability, possible: allowed, why: allowed ? how : "WriteConfig does not allow it" };
}

const verify: Finder = ({ keyConfig, slotConfig }) => ({
  ability: "verify",
  possible: true,
  why: keyConfig.pubInfo ? `once slot ${slotConfig.readKey} has validated it (PubInfo)` : "stored public key",
});

const read: Finder = ({ slotConfig, keyConfig }, { dataLocked }) => {
  const no = (why: string): Finding => ({ ability: "read", possible: false, why });
  if (keyConfig.private) return no("private keys are never read");
  if (!dataLocked) return no("the data zone is not locked yet");
  if (slotConfig.isSecret) {
    return slotConfig.encryptRead
      ? { ability: "read", possible: true, why: `encrypted with slot ${slotConfig.readKey}` }
      : no("IsSecret without EncryptRead");
  }
  return slotConfig.encryptRead
    ? no("EncryptRead without IsSecret")
    : { ability: "read", possible: true, why: "in clear" };
};

const write: Finder = ({ slotConfig, locked }, { dataLocked }) => {
  const { writeConfig, writeKey } = slotConfig;
  if (writeConfig & 4) return change("write", locked, dataLocked, true, `encrypted with slot ${writeKey}`);
  if (writeConfig === 0) return change("write", locked, dataLocked, true, "in clear");
  if (writeConfig === 1) return change("write", locked, dataLocked, true, "in clear while it is invalid");
  return change("write", locked, dataLocked, false, "");
};

const mac: Finder = ({ slotConfig }) => bit("MAC", !slotConfig.noMac, "MAC, HMAC, CheckMac", "NoMac");

const encryptBus: Finder = ({ slotConfig }) => bit("encrypt bus", !slotConfig.noMac, "GenDig", "NoMac");

const derive: Finder = ({ slotConfig, locked }) => {
  const how = DERIVATIONS.get(slotConfig.writeConfig & 0b1011);
  if (locked) return { ability: "derive", possible: false, why: "the slot is locked" };
  return bit("derive", how !== undefined, how?.(slotConfig.writeKey) ?? "", "WriteConfig does not allow DeriveKey");
};

/** WriteConfig as DeriveKey sees it (mask 1011). */
const DERIVATIONS = new Map<number, (parent: number) => string>([
  [0b0010, () => "from itself"],
  [0b1010, () => "from itself, with a MAC"],
  [0b0011, (parent) => `from slot ${parent}`],
  [0b1011, (parent) => `from slot ${parent}, with a MAC`],
]);

const aes: Finder = (_slot, { bytes }, model) =>
  bit("AES", model === "608" && ((bytes[13] ?? 0) & 1) !== 0, "AES-128", "AES is not enabled");

const FINDERS: Readonly<Record<Holding, readonly Finder[]>> = {
  "private key": [signDigest, signInternal, ecdh, publicKey, newKey, importKey],
  "public key": [verify, read, write],
  "AES key": [aes, read, write],
  secret: [mac, encryptBus, derive, read, write],
  data: [read, write],
};
