import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parseCommand } from "../../../src/emulators/piv-card/apdu.ts";
import { bytes, insert } from "./terminal.ts";

const header = fc.uint8Array({ minLength: 4, maxLength: 4 });
const u16 = (value: number) => [(value >> 8) & 0xff, value & 0xff];

describe("a command APDU", () => {
  test("is read in all seven cases of ISO/IEC 7816-3", () => {
    const read = (hex: string) => {
      const command = parseCommand(bytes(hex));
      return command && [Buffer.from(command.data).toString("hex"), command.expected];
    };
    expect(read("00 20 00 80")).toEqual(["", 0]); // 1
    expect(read("00 20 00 80 05")).toEqual(["", 5]); // 2S
    expect(read("00 20 00 80 00")).toEqual(["", 256]);
    expect(read("00 20 00 80 02 aabb")).toEqual(["aabb", 0]); // 3S
    expect(read("00 20 00 80 02 aabb 00")).toEqual(["aabb", 256]); // 4S
    expect(read("00 20 00 80 00 0102")).toEqual(["", 258]); // 2E
    expect(read("00 20 00 80 00 0000")).toEqual(["", 65536]);
    expect(read("00 20 00 80 00 0002 aabb")).toEqual(["aabb", 0]); // 3E
    expect(read("00 20 00 80 00 0002 aabb 0000")).toEqual(["aabb", 65536]); // 4E
  });

  test("with a field that is not wholly there, or bytes after the last, is refused", () => {
    for (const hex of [
      "",
      "002000",
      "0020008000 00",
      "0020008002 aa",
      "0020008002 aabb 0000",
      "00200080000002 aabb 00",
    ]) {
      expect(parseCommand(bytes(hex))).toBeUndefined();
    }
    expect(parseCommand(bytes("00200080 00 0000 aa"))).toBeUndefined();
  });

  test("is read as it was written, whatever its content", () => {
    const data = fc.uint8Array({ minLength: 1, maxLength: 600 });
    fc.assert(
      fc.property(header, data, fc.integer({ min: 0, max: 65536 }), fc.boolean(), (head, body, expected, short) => {
        const isShort = short && body.length < 256;
        const most = isShort ? 256 : 65536;
        const wanted = Math.min(expected, most);
        const le = wanted === 0 ? [] : isShort ? [wanted & 0xff] : u16(wanted);
        const lc = isShort ? [body.length] : [0, ...u16(body.length)];
        const [cla, ins, p1, p2] = head;
        expect(parseCommand(Uint8Array.of(...head, ...lc, ...body, ...le))).toEqual({
          ...{ cla, ins, p1, p2 },
          data: body,
          expected: wanted,
        });
      }),
    );
  });

  test("never throws, and never holds more than came", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (any) => {
        const command = parseCommand(any);
        if (command) expect(command.data.length).toBeLessThanOrEqual(Math.max(0, any.length - 5));
      }),
    );
  });
});

describe("a conversation", () => {
  test("an answer that is longer than the terminal takes is had in pieces, and is the same", async () => {
    const terminal = insert();
    await terminal.select();
    const whole = await terminal.raw("00cb3fff 000005 5c035fc105 0000");
    expect(whole.status).toBe("9000");
    expect(whole.data.length).toBeGreaterThan(256);
    expect((await terminal.send("00cb3fff", "5c035fc105")).data).toEqual(whole.data);

    const first = await terminal.raw("00cb3fff 05 5c035fc105 10");
    expect(first.data).toEqual(whole.data.subarray(0, 16));
    expect(first.status).toBe("6100");
    const second = await terminal.raw("00c0000020");
    expect(second.data).toEqual(whole.data.subarray(16, 48));
  });

  test("another command drops what waits; GET RESPONSE with nothing to give is refused", async () => {
    const terminal = insert();
    await terminal.select();
    for (const other of ["00cb3fff 03 5c017e 00", "00200080", "00200080 05"]) {
      await terminal.raw("00cb3fff 05 5c035fc105 10");
      await terminal.raw(other);
      expect((await terminal.raw("00c0000000")).status).toBe("6985");
    }
  });

  test("a reset drops what waits", async () => {
    const terminal = insert();
    await terminal.select();
    await terminal.raw("00cb3fff 05 5c035fc105 10");
    terminal.card.restart();
    expect((await terminal.raw("00c0000000")).status).toBe("6985");
  });

  test("a chain is one command, another command drops it, and not every command may be one", async () => {
    const terminal = insert();
    await terminal.select();
    expect((await terminal.raw("1087119e 02 7c24")).status).toBe("9000");
    expect((await terminal.raw("1087119e 03 820081")).status).toBe("9000");
    const signed = await terminal.raw("0087119e 21 20", "07".repeat(32), "00");
    expect(signed.status).toBe("9000");
    expect(signed.data[0]).toBe(0x7c);

    await terminal.raw("1087119e 02 7c24");
    expect((await terminal.raw("00cb3fff 03 5c017e 00")).status).toBe("9000");
    expect((await terminal.raw("0087119e 24 820081 20", "07".repeat(32), "00")).status).toBe("6a80");
    expect((await terminal.raw("10200080 08", "313233343536ffff")).status).toBe("6884");
  });

  test("a chain cannot grow without end", async () => {
    const terminal = insert();
    await terminal.select();
    const statuses = new Set<string>();
    for (let count = 0; count < 20; count++) statuses.add((await terminal.raw("1087119e ff", "00".repeat(255))).status);
    expect([...statuses]).toEqual(["9000", "6700"]);
  });

  test("classes the card does not have are refused", async () => {
    const terminal = insert();
    expect((await terminal.raw("80cb3fff")).status).toBe("6e00");
    expect((await terminal.raw("0ccb3fff")).status).toBe("6882");
    expect((await terminal.raw("01cb3fff")).status).toBe("6881");
  });

  test("before it is selected the application answers nothing; a reset deselects it", async () => {
    const terminal = insert();
    expect((await terminal.raw("00cb3fff 03 5c017e 00")).status).toBe("6d00");
    const selected = await terminal.select();
    expect(Buffer.from(selected.data).toString("hex")).toBe("61114f0600001000010079074f05a000000308");
    expect((await terminal.send("00a40400", "a000000151000000")).status).toBe("6a82");
    expect((await terminal.raw("00cb3fff 03 5c017e 00")).status).toBe("9000");
    terminal.card.restart();
    expect((await terminal.raw("00cb3fff 03 5c017e 00")).status).toBe("6d00");
  });
});
