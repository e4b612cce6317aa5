/** What holds whatever a terminal sends. */
import { createPrivateKey } from "node:crypto";
import fc from "fast-check";
import { expect, test } from "vitest";
import { newCard } from "../../../src/emulators/piv-card/memory.ts";
import type { Algorithm } from "../../../src/emulators/piv-card/slots.ts";
import { bytes, insert, padded } from "./terminal.ts";

const CONTENTS = newCard({
  algorithms: new Map<number, Algorithm>([
    [0x9c, "RSA-2048"],
    [0x9e, "P-384"],
  ]),
});

/** The private numbers of all keys, the PIN, the PUK and the card management key. */
const SECRETS: readonly Buffer[] = [
  ...[...CONTENTS.keys.values()].flatMap(({ pkcs8 }) => {
    const key = createPrivateKey({ key: Buffer.from(pkcs8), format: "der", type: "pkcs8" });
    const { d, p, q, dp, dq, qi } = key.export({ format: "jwk" });
    return [d, p, q, dp, dq, qi].filter((x) => x !== undefined).map((x) => Buffer.from(x, "base64url").subarray(0, 16));
  }),
  CONTENTS.pin.value,
  CONTENTS.puk.value,
  CONTENTS.management,
].map((secret) => Buffer.from(secret));

const body = fc.oneof(
  fc.uint8Array({ maxLength: 40 }),
  fc.constantFrom(
    padded("123456"),
    padded("000000"),
    bytes("3132333435363738363534333231ffff"),
    bytes("3030303030303030363534333231ffff"),
    bytes("5c035fc105"),
    bytes("5c017e"),
    bytes("7c028000"),
    bytes("7c0a820081060102030405ff"),
    bytes(`7c438541${"04".repeat(65)}`),
    bytes("ac03800111"),
    bytes("a00000030800001000"),
  ),
);
const structured = fc
  .record({
    cla: fc.constantFrom(0, 0, 0, 0x10, 0x80),
    ins: fc.constantFrom(0x20, 0x24, 0x2c, 0x47, 0x87, 0xa4, 0xc0, 0xcb, 0xdb, 0xf8, 0xfd, 0xf7),
    p1: fc.constantFrom(0, 0x04, 0x3f, 0x07, 0x11, 0x14, 0x0a, 0xff),
    p2: fc.constantFrom(0, 0x80, 0x81, 0xff, 0x9a, 0x9b, 0x9c, 0x9d, 0x9e),
    data: body,
    le: fc.boolean(),
  })
  .map(({ cla, ins, p1, p2, data, le }) =>
    Uint8Array.of(cla, ins, p1, p2, ...(data.length > 0 ? [data.length, ...data] : []), ...(le ? [0] : [])),
  );
/** Those that do something, so that long sequences come anywhere. */
const meant = fc.constantFrom(
  ...[
    "00200080 08 313233343536ffff",
    "00200080 08 303030303030ffff",
    "002c0080 10 3132333435363738313233343536ffff",
    "00cb3fff 05 5c035fc105 00",
    "0087119e 26 7c24820081 20",
    "0087119a 0a 7c088200810401020304 00",
    "0087149e 0a 7c088200810401020304 00",
    "00c0000000",
  ].map(bytes),
);
const apdus = fc.array(fc.oneof(fc.uint8Array({ maxLength: 300 }), structured, meant), { minLength: 1, maxLength: 40 });

/** VERIFY, CHANGE REFERENCE DATA, RESET RETRY COUNTER: what may give tries back, when it succeeds. */
const GIVES_TRIES = new Set([0x20, 0x24, 0x2c]);

test("a card answers everything with a status, gives no tries away, and tells no secret", async () => {
  await fc.assert(
    fc.asyncProperty(apdus, async (sequence) => {
      const terminal = insert({ contents: CONTENTS });
      const { pin, puk } = terminal.contents;
      await terminal.select();
      for (const apdu of sequence) {
        const before = [pin.tries, puk.tries] as const;
        const reply = Buffer.from(await terminal.card.transmit(apdu));
        expect(reply.length).toBeGreaterThanOrEqual(2);
        expect([0x61, 0x63, 0x67, 0x68, 0x69, 0x6a, 0x6d, 0x6e, 0x90]).toContain(reply.at(-2));
        const succeeded = reply.toString("hex") === "9000" && GIVES_TRIES.has(apdu[1] ?? 0);
        if (!succeeded) {
          expect(pin.tries).toBeLessThanOrEqual(before[0]);
          expect(puk.tries).toBeLessThanOrEqual(before[1]);
        }
        for (const secret of SECRETS) expect(reply.includes(secret)).toBe(false);
      }
    }),
    { numRuns: 300 },
  );
});

test("no key but that of 9E is used by whoever does not know the PIN", async () => {
  await fc.assert(
    fc.asyncProperty(apdus, async (sequence) => {
      const terminal = insert({ contents: { ...CONTENTS, pin: { value: padded("86420975"), tries: 3 } } });
      await terminal.select();
      for (const apdu of sequence) {
        // A PUK gives the PIN a value one knows: it is not for whoever does not know the PIN.
        if (apdu[1] === 0x2c) continue;
        const reply = await terminal.card.transmit(apdu);
        if (apdu[1] === 0x87 && apdu[3] !== 0x9e && apdu[3] !== 0x9b && apdu[0] === 0) {
          expect(reply.at(-2)).not.toBe(0x90);
          expect(reply.at(-2)).not.toBe(0x61);
        }
      }
    }),
    { numRuns: 200 },
  );
});
