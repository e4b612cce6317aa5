/** A terminal for a card in the same process, written from the specification and not with the card's own tools. */
import { type Card, createCard } from "../../../src/emulators/piv-card/card.ts";
import { type Contents, inMemory, type NewCard, newCard } from "../../../src/emulators/piv-card/memory.ts";

export interface Reply {
  /** Four hexadecimal digits. */
  readonly status: string;
  readonly data: Uint8Array;
}

export interface Terminal {
  readonly card: Card;
  readonly contents: Contents;
  /** How often the memory was written. */
  saves(): number;
  /** One APDU of hexadecimal digits. */
  raw(...hex: readonly string[]): Promise<Reply>;
  /** A command, chained where it is long, with all of its answer. */
  send(head: string, data?: Uint8Array | string): Promise<Reply>;
  select(): Promise<Reply>;
  /** VERIFY of the PIN. */
  verify(pin?: string): Promise<Reply>;
  /** GENERAL AUTHENTICATE; `tag` 81 or 85. @returns the response in 7C { 82 } */
  use(slot: string, algorithm: string, tag: number, input: Uint8Array): Promise<Reply>;
}

export type InsertOptions = NewCard & { readonly contents?: Contents; readonly finger?: () => Promise<boolean> };

/** @param options.contents a card that is there already; a copy is inserted */
export function insert(options: InsertOptions = {}): Terminal {
  const contents = options.contents ? copyOf(options.contents) : newCard(options);
  let saves = 0;
  const save = () => {
    saves++;
  };
  const card = createCard({ ...inMemory(contents), save }, options.finger ? { finger: options.finger } : {});

  async function transmit(apdu: Uint8Array): Promise<Reply> {
    const reply = await card.transmit(apdu);
    return { status: Buffer.from(reply.subarray(-2)).toString("hex"), data: reply.subarray(0, -2) };
  }

  const terminal: Terminal = {
    ...{ card, contents, saves: () => saves },
    raw: (...hex) => transmit(bytes(hex.join(""))),
    async send(head, data = "") {
      let rest = typeof data === "string" ? bytes(data) : data;
      const [cla = 0, ...others] = bytes(head);
      for (; rest.length > 255; rest = rest.subarray(255)) {
        const { status } = await transmit(Uint8Array.of(cla | 0x10, ...others, 255, ...rest.subarray(0, 255)));
        if (status !== "9000") return { status, data: new Uint8Array(0) };
      }
      const length = rest.length > 0 ? [rest.length] : [];
      let reply = await transmit(Uint8Array.of(cla, ...others, ...length, ...rest, 0));
      const parts = [reply.data];
      while (reply.status.startsWith("61")) {
        reply = await transmit(bytes("00c0000000"));
        parts.push(reply.data);
      }
      return { status: reply.status, data: new Uint8Array(Buffer.concat(parts)) };
    },
    select: () => terminal.send("00a40400", "a00000030800001000"),
    verify: (pin = "123456") => terminal.send("00200080", padded(pin)),
    async use(slot, algorithm, tag, input) {
      const inside = Buffer.concat([bytes("8200"), object(tag, input)]);
      const { status, data } = await terminal.send(`0087${algorithm}${slot}`, object(0x7c, inside));
      if (status !== "9000") return { status, data };
      return { status, data: valueIn(0x82, valueIn(0x7c, data)) };
    },
  };
  return terminal;
}

function copyOf(contents: Contents): Contents {
  const { pin, puk, keys, objects } = contents;
  return { ...contents, pin: { ...pin }, puk: { ...puk }, keys: new Map(keys), objects: new Map(objects) };
}

export function bytes(hex: string): Uint8Array {
  return new Uint8Array(Buffer.from(hex.replaceAll(" ", ""), "hex"));
}

export function padded(pin: string): Uint8Array {
  return new Uint8Array(Buffer.concat([Buffer.from(pin), Buffer.alloc(8, 0xff)]).subarray(0, 8));
}

export function object(tag: number, value: Uint8Array): Uint8Array {
  const length =
    value.length < 128
      ? [value.length]
      : value.length < 256
        ? [0x81, value.length]
        : [0x82, value.length >> 8, value.length & 255];
  return Uint8Array.of(tag, ...length, ...value);
}

/** @throws Error when `whole` is not one object of that tag */
export function valueIn(tag: number, whole: Uint8Array): Uint8Array {
  const first = whole[1] ?? 0;
  const head = first < 0x80 ? 2 : 2 + (first - 0x80);
  const length = first < 0x80 ? first : whole.subarray(2, head).reduce((sum, byte) => sum * 256 + byte, 0);
  if (whole[0] !== tag || whole.length !== head + length) throw new Error(`not ${tag.toString(16)}`);
  return whole.subarray(head);
}
