import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { concat } from "../../../src/bytes/bytes.ts";
import { ThornkeyError } from "../../../src/errors.ts";
import { failureOf } from "../../../src/roots/pi/errors.ts";
import { type Mailbox, OPERATIONS, type OperationName, type Outcome, transact } from "../../../src/roots/pi/mailbox.ts";
import { lab, withWord, wordAt, words } from "./lab.ts";

/** What the stock library sends: tag, capacity, size of the whole message, offset of its end tag. */
const SENT: readonly [OperationName, number, number, number, number][] = [
  ["last error", 0x0003008e, 4, 40, 36],
  ["number of keys", 0x0003008f, 4, 40, 36],
  ["key status", 0x00030090, 4, 40, 36],
  ["set key status", 0x00038090, 8, 40, 36],
  ["sign", 0x00030091, 128, 160, 156],
  ["hmac", 0x00030092, 2060, 2084, 2080],
  ["public key", 0x00030093, 520, 544, 540],
  ["generate key", 0x00030095, 8, 32, 28],
  ["usage", 0x0003009c, 4, 40, 36],
  ["set usage", 0x0003809c, 8, 40, 36],
];

describe("a property message", () => {
  it.each(SENT)("asks '%s' as the stock library does", (name, tag, capacity, size, end) => {
    const value = Uint8Array.from({ length: 4 }, (_, index) => index + 1);
    let sent: Uint8Array = new Uint8Array();
    const refusing: Mailbox = {
      ioctl(message) {
        sent = Uint8Array.from(message);
        return 5;
      },
    };
    transact(refusing, name, value);
    expect(sent).toHaveLength(size);
    expect(end).toBe(size - 4);
    const head = [size, 0, tag, capacity, 0].map((word, index) => withWord(new Uint8Array(20), 4 * index, word));
    const expected = new Uint8Array(size);
    for (const [index, part] of head.entries()) expected.set(part.subarray(4 * index, 4 * index + 4), 4 * index);
    expected.set(value, 20);
    expect(sent).toEqual(expected);
  });

  it("has no tag for the private key, nor for raw OTP", () => {
    const tags = Object.values(OPERATIONS).map(({ tag }) => tag as number);
    for (const tag of [0x00030094, 0x00030081, 0x00038081, 0x00030021, 0x00038021, 0x00030024, 0x00038024]) {
      expect(tags).not.toContain(tag);
    }
  });

  it("takes no value that is longer than its room", () => {
    const never: Mailbox = { ioctl: () => expect.fail() };
    expect(() => transact(never, "usage", new Uint8Array(8))).toThrow(RangeError);
  });

  it("takes the answers that were recorded of real firmware", () => {
    const recorded = (name: OperationName, ...answer: number[]) =>
      transact(answering([0x8000_0000 | (4 * answer.length), ...answer]), name, new Uint8Array());
    expect(recorded("number of keys", 1)).toEqual(answer(1));
    expect(recorded("key status", 1)).toEqual(answer(1));
    expect(recorded("usage", 0)).toEqual(answer(0));
    const mac = [1, 2, 3, 4, 5, 6, 7, 8];
    expect(recorded("hmac", 0, 0x20, ...mac)).toEqual(answer(...mac));
  });

  it("leaves nothing of an answer in the message", () => {
    let kept: Uint8Array | undefined;
    const { mailbox } = lab();
    const spy: Mailbox = {
      ioctl(message) {
        kept = message;
        return mailbox.ioctl(message);
      },
    };
    expect(transact(spy, "hmac", concat(words(0, 1, 3), Uint8Array.of(1, 2, 3))).kind).toBe("answer");
    expect(kept?.every((byte) => byte === 0)).toBe(true);
  });
});

describe("an answer is not believed", () => {
  const BAD: readonly [string, (message: Uint8Array) => Uint8Array][] = [
    ["with another size", (message) => withWord(message, 0, 36)],
    ["with the code of a request", (message) => withWord(message, 4, 0)],
    ["with the code of a failure", (message) => withWord(message, 4, 0x8000_0001)],
    ["of another tag", (message) => withWord(message, 8, 0x0003_0092)],
    ["with another capacity", (message) => withWord(message, 12, wordAt(message, 12) + 4)],
    ["without the bit that says it is one", (message) => withWord(message, 16, wordAt(message, 16) & 0x7fff_ffff)],
    ["that the firmware did not touch", (message) => withWord(message, 16, 0)],
    ["of no bytes", (message) => withWord(message, 16, 0x8000_0000)],
    ["of three bytes", (message) => withWord(message, 16, 0x8000_0003)],
    ["of a status alone", (message) => withWord(message, 16, 0x8000_0004)],
    ["longer than there is room", (message) => withWord(message, 16, 0x8000_0000 + 2000)],
    ["with a status that is not 0", (message) => withWord(message, 20, 1)],
    ["that announces more than it has", (message) => withWord(message, 24, wordAt(message, 24) + 1)],
    ["that announces more than there is room", (message) => withWord(message, 24, 121)],
    ["that announces all there is", (message) => withWord(message, 24, 0xffff_ffff)],
    ["shorter than what it announces", (message) => withWord(message, 16, wordAt(message, 16) - 1)],
  ];

  it.each(BAD)("%s", (_, spoil) => {
    const pi = lab();
    pi.meddle = (answer) => (typeof answer === "number" ? answer : spoil(answer));
    const attempt = () => transact(pi.mailbox, "sign", concat(words(0, 1, 32), new Uint8Array(32)));
    expect(attempt).toThrow(expect.objectContaining({ code: "ROOT_UNAVAILABLE" }));
  });

  it.each([0, 8, 12])("when a plain value has %i bytes", (length) => {
    const mailbox = answering([0x8000_0000 | length, 1, 1, 1]);
    expect(() => transact(mailbox, "key status", words(1))).toThrow(/makes no sense/);
  });
});

it("whatever comes back is an answer within its bounds, a failure, or nonsense that is said to be", () => {
  const names = Object.keys(OPERATIONS) as OperationName[];
  const word = fc.oneof(fc.constantFrom(0, 1, 4, 8, 32, 0x8000_0000, 0x8000_0004, 0x8000_0028), fc.nat(), fc.integer());
  const answers = fc.tuple(
    fc.constantFrom(...names),
    fc.array(word, { maxLength: 12 }),
    fc.constantFrom(0, 0, 0, 1, 2, 3, 4),
  );
  fc.assert(
    fc.property(answers, ([name, answer, from]) => {
      const mailbox: Mailbox = {
        ioctl(message) {
          message.set(words(0x8000_0000), 4);
          const at = 4 * Math.max(0, 4 - from); // mostly after a head that is right
          const bytes = words(...answer).subarray(0, message.length - at);
          message.set(bytes, at);
          return 0;
        },
      };
      try {
        const outcome = transact(mailbox, name, new Uint8Array());
        if (outcome.kind === "answer") expect(outcome.value.length).toBeLessThanOrEqual(OPERATIONS[name].most);
      } catch (error) {
        expect(error).toMatchObject({ code: "ROOT_UNAVAILABLE" });
      }
    }),
    { numRuns: 5_000, examples: [[["sign", [0x8000_0080, 0, 120], 0]], [["hmac", [0x8000_0028, 0, 33], 0]]] },
  );
});

describe("a failure inside an answer", () => {
  it("is one although everything else says success", () => {
    const pi = lab({ key: false });
    expect(transact(pi.mailbox, "public key", words(0, 1))).toEqual({ kind: "failed", error: 6 });
    expect(pi.questions).toHaveLength(2); // and the second asked why
  });

  it.each(["set key status", "generate key", "key status", "usage", "set usage"] as const)(
    "of '%s' is not taken for success",
    (name) => {
      for (const length of [4, OPERATIONS[name].most]) {
        const mailbox = failing([0x8000_0000 | length, 0x8000_0000, 0], 4);
        expect(transact(mailbox, name, words(1))).toEqual({ kind: "failed", error: 4 });
      }
    },
  );

  it("of which the firmware gives no reason, is one all the same", () => {
    for (const reason of [0, undefined]) {
      const mailbox = failing([0x8000_0004, 0x8000_0000], reason);
      expect(transact(mailbox, "sign", words(0, 1, 32))).toEqual({ kind: "failed", error: 1 });
    }
  });

  it.each([
    [1, "ROOT_UNAVAILABLE", /no reason/],
    [2, "ROOT_REFUSED", /invalid argument/],
    [3, "KEY_NOT_FOUND", /no such key/],
    [4, "ROOT_REFUSED", /until the next reboot/],
    [5, "ROOT_UNAVAILABLE", /OTP/],
    [6, "ROOT_REFUSED", /no key in OTP/],
    [7, "ROOT_REFUSED", /not a P-256 key/],
    [8, "NOT_SUPPORTED", /cannot do/],
    [9, "ROOT_UNAVAILABLE", /failed/],
    [10, "KEY_EXISTS", /already/],
    [77, "ROOT_UNAVAILABLE", /error 77/],
  ])("with error %i is %s", (error, code, message) => {
    const failure = failureOf("to sign", { kind: "failed", error });
    expect(failure).toBeInstanceOf(ThornkeyError);
    expect(failure).toMatchObject({ code, message: expect.stringMatching(message) });
  });

  it.each([
    ["EPERM", 1, "ROOT_REFUSED"],
    ["EIO", 5, "ROOT_UNAVAILABLE"],
    ["EINVAL", 22, "ROOT_UNAVAILABLE"],
    ["ENOTTY", 25, "NOT_SUPPORTED"],
    ["ETIMEDOUT", 110, "ROOT_UNAVAILABLE"],
  ])("of the ioctl, %s, is told by its name", (name, errno, code) => {
    const failure = failureOf("to sign", { kind: "refused", errno });
    expect(failure).toMatchObject({ code, message: expect.stringContaining(name) });
  });
});

/** A mailbox that answers with these words from the request word on. */
function answering(answer: readonly number[]): Mailbox {
  return {
    ioctl(message) {
      message.set(words(0x8000_0000), 4);
      message.set(words(...answer), 16);
      return 0;
    },
  };
}

/** The same, with a last error; undefined: that question fails. */
function failing(answer: readonly number[], lastError: number | undefined): Mailbox {
  return {
    ioctl(message) {
      if (wordAt(message, 8) !== OPERATIONS["last error"].tag) return answering(answer).ioctl(message);
      return lastError === undefined ? 22 : answering([0x8000_0004, lastError]).ioctl(message);
    },
  };
}

function answer(...numbers: number[]): Outcome {
  return { kind: "answer", value: words(...numbers) };
}
