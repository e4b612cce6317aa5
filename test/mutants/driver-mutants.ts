import type { Mutant } from "./mutants.ts";

/** Defects of the driver, the profile and the root: each would cost a user a wrong answer, a key or a truck drive. */
export const DRIVER: readonly Mutant[] = [
  one("answer-before-believed", "an answer is believed although it may be the one before", [
    "wire.ts",
    "if (equal(raw, this.#previous)) {",
    "if (raw.length === 0) {",
  ]),
  one("status-before-believed", "a status is believed although it may be the one before", [
    "wire.ts",
    "if (answer === 1) return this.#previous.length === 1 + ANSWER_FRAME &&",
    "if (answer === 1) return this.#previous.length === 0 &&",
  ]),
  one("count-made-twice", "a command that must run once is sent again when its answer looks like the one before", [
    "wire.ts",
    "return repeatable !== true && this.#previous.length === answer + ANSWER_FRAME;",
    "return false;",
  ]),
  one("crc-ignored", "the CRC of an answer is not checked", [
    "packet.ts",
    "return reader.u16le() === crc16(bytes.subarray(0, count - 2)) ? payload : undefined;",
    "return payload;",
  ]),
  one("lost-answer-repeated", "whatever lost its answer is sent again", [
    "device.ts",
    "if (!canBeginAgain(begun, session !== undefined)) throw outcomeUnknown(begun, error);",
    "",
  ]),
  one("lost-state-ignored", "a conversation goes on although the chip lost its state", [
    "device.ts",
    "if (index === 0 && epoch !== undefined && epoch !== wire.epoch) throw new StateLost();",
    "",
  ]),
  one("refusal-repeated", "what the chip refused is sent again", [
    "wire.ts",
    "else if (status !== STATUS.communication && status !== STATUS.ok) throw refusal(step.name, status);",
    "else if (status === STATUS.parse) throw refusal(step.name, status);",
  ]),
  one("refusal-after-fault-believed", "a refusal is believed although TempKey may have been lost", [
    "wire.ts",
    "if (status === STATUS.execution && this.#disturbed)",
    "if (status === STATUS.execution && this.#disturbed && index < 0)",
  ]),
  one("watchdog-not-minded", "the chip is not woken anew before its watchdog ends a command", [
    "wire.ts",
    "if (this.#now() + maximum > (this.#awakeSince ?? 0) + TIMING.watchdog) this.#refresh(index);",
    "",
  ]),
  one("wakes-for-every-list", "the chip is put to sleep between lists", [
    "wire.ts",
    "    if (this.#awakeSince === undefined) {",
    "    this.sleep();\n    if (this.#awakeSince === undefined) {",
  ]),
  one("never-late", "nothing is given up at its deadline", [
    "wire.ts",
    "return this.#now() > this.#deadline;",
    "return this.#now() < 0;",
  ]),
  one("deadline-too-generous", "a chip that never answers is waited for a hundred times as long", [
    "wire.ts",
    "if (asked > maximum + PATIENCE || this.isLate) break;",
    "if (asked > 100 * (maximum + PATIENCE)) break;",
  ]),
  one("never-learns", "the time a command takes is not learnt", [
    "estimate.ts",
    "    this.#enough = this.#next;\n    this.#choose();",
    "",
  ]),
  one("bus-not-opened-again", "a bus that was lost stays lost", ["wire.ts", "    this.#bus = undefined;\n", ""]),
  one("idle-bus-stays-open", "the bus of a chip that sleeps is held open, and with it an adapter that was unplugged", [
    "wire.ts",
    "      // the bus is gone\n    }\n    this.lose();",
    "      // the bus is gone\n    }\n    this.#forgetState();\n    this.#awakeSince = undefined;",
  ]),
  one("dead-bus-stays-open", "a bus over which nothing works is held open", [
    "device.ts",
    "          this.#wire.sleep(); // closes the bus, as the adapter may be gone\n",
    "",
  ]),
  one("signature-not-checked", "the root gives out a signature it has not checked", [
    "root.ts",
    "if (verifyP256Digest(point, digest, signature)) return signature;",
    "if (signature.length !== verifyP256Digest.length) return signature.fill(1, 0, 1);",
  ]),
  one("agreement-in-two-lists", "somebody else's agreement may come between an agreement and its reading", [
    "root.ts",
    "return readEncrypted(this.#chip, result, 0, this.#transportKey(), ECDHIntoSlot(slot, peer.slice()));",
    "await this.#chip.run(ECDHIntoSlot(slot, peer.slice()));\n    return readEncrypted(this.#chip, result, 0, this.#transportKey());",
  ]),
  one("derived-in-clear", "the storage key answers on the bus in clear", [
    "profile.ts",
    "ecdhIntoNext: 0b1100",
    "ecdhIntoNext: 0b0100",
  ]),
  one("evidence-signs-anything", "the evidence key signs what it is given", [
    "profile.ts",
    "signInternal: 0b0010",
    "signInternal: 0b0011",
  ]),
  one("salt-not-in-point", "the point a secret is derived with depends on the label alone", [
    "../curve-point.ts",
    "      .update(salt)\n",
    "",
  ]),
  one("locks-unread", "the configuration is locked without reading it back", [
    "provision.ts",
    "if (!equal(written.bytes, wanted)) {",
    "if (written.bytes.length !== wanted.length) {",
  ]),
  one("foreign-keys-kept", "provisioning keeps private keys that are there already", [
    "provision.ts",
    "      await chip.run(GenKeyCreate(slot));\n",
    "      await chip.run(GenKeyCreate(slot)).catch(() => {});\n      break;\n",
  ]),
  one("results-left-behind", "zeroize leaves in the chip what was agreed last", [
    "root.ts",
    "...(result === undefined ? [] : [ECDHIntoSlot(slot, nobody)])",
    "...(result === undefined || nobody ? [] : [ECDHIntoSlot(slot, nobody)])",
  ]),
  one("any-transport-key", "a transport key of another chip is taken", [
    "root.ts",
    'if (plan.profile === "thornkey-1" && transport) await mustShare(chip, transport);',
    "",
  ]),
  one("acknowledgement-trusted", "a count is sent again when only its acknowledgement was lost", [
    "wire.ts",
    "      if (repeatable !== true) return;\n",
    "",
  ]),
  {
    room: "driver",
    name: "old-key-remembered",
    defect: "the public key of a key that was destroyed is still given out",
    changes: [
      {
        file: "root.ts",
        find: "    this.#publicKeys.delete(slot);\n    await this.#chip.run(",
        replace: "    await this.#chip.run(",
      },
      {
        file: "root.ts",
        find: "    this.#publicKeys.delete(slot); // somebody may have asked meanwhile\n",
        replace: "",
      },
    ],
  },
];

function one(name: string, defect: string, [file, find, replace]: readonly [string, string, string]): Mutant {
  return { room: "driver", name, defect, changes: [{ file, find, replace }] };
}
