/** Frames recorded between p11-kit clients and servers; the options of requests are `client`. */
import { createHash } from "node:crypto";
import type { CallName } from "../../../src/gate/pkcs11/calls.ts";

export interface Recorded {
  readonly what: string;
  /** The byte the client sent. */
  readonly version: number;
  readonly call: CallName;
  readonly request: string;
  readonly args: readonly unknown[];
  /** Whole frame, and what the program sees. */
  readonly reply: string;
  readonly results: readonly unknown[] | number;
}

const hex = (text: string) => new Uint8Array(Buffer.from(text, "hex"));
const D = createHash("sha256").update("a digest").digest("hex");
const S = "ab".repeat(64);
const POINT =
  "042ff7a3583a283c79d555b9233d1a45c8e09af1fb8247db205cfcbcbedeb378a3ec6ceb48ddc17a68fb3fc1a52ef9a4c5f100846d4394b62cadf169970fcdc765";

/** CKM, CKA and the like as numbers, so that our tables are not compared with themselves. */
export const RECORDED: readonly Recorded[] = [
  {
    ...{ what: "Initialize", version: 0, call: "Initialize" },
    request:
      "00000010 00000006 00000042 636c69656e74 00000001 00000005 6179796179 " +
      "01 00000029 505249564154452d474e4f4d452d4b455952494e472d504b435331312d50524f544f434f4c2d562d31 00 01 00000001 00",
    args: [new Uint8Array(Buffer.from("PRIVATE-GNOME-KEYRING-PKCS11-PROTOCOL-V-1")), 0, hex("00")],
    reply: "00000010 00000000 00000008 00000001 00000000",
    results: [],
  },
  {
    ...{ what: "GetSlotList, its size", version: 0, call: "GetSlotList" },
    request: "00000011 00000006 00000010 636c69656e74 00000004 00000003 796675 00 00000000",
    args: [0, 0],
    reply: "00000011 00000000 0000000f 00000004 00000002 6175 00 00000001",
    results: [{ size: 1 }],
  },
  {
    ...{ what: "GetSlotList", version: 0, call: "GetSlotList" },
    request: "00000012 00000006 00000010 636c69656e74 00000004 00000003 796675 00 00000001",
    args: [0, 1],
    reply: "00000012 00000000 00000017 00000004 00000002 6175 01 00000001 0000000000000000",
    results: [[0]],
  },
  {
    ...{ what: "OpenSession", version: 0, call: "OpenSession" },
    request: "00000015 00000006 0000001a 636c69656e74 0000000a 00000002 7575 0000000000000000 0000000000000004",
    args: [0, 4],
    reply: "00000015 00000000 00000011 0000000a 00000001 75 0000000000000001",
    results: [1],
  },
  {
    ...{ what: "FindObjectsInit for private keys", version: 0, call: "FindObjectsInit" },
    request:
      "00000016 00000006 00000028 636c69656e74 0000001a 00000003 756141 0000000000000001 " +
      "00000001 00000000 01 00000008 0000000000000003",
    args: [1, [{ type: 0, value: 3 }]],
    reply: "00000016 00000000 00000008 0000001a 00000000",
    results: [],
  },
  {
    ...{ what: "FindObjects", version: 0, call: "FindObjects" },
    request: "00000017 00000006 00000017 636c69656e74 0000001b 00000003 756675 0000000000000001 00000001",
    args: [1, 1],
    reply: "00000017 00000000 00000017 0000001b 00000002 6175 01 00000001 0000000000000002",
    results: [[2]],
  },
  {
    ...{ what: "GetAttributeValue of a bool", version: 0, call: "GetAttributeValue" },
    request:
      "0000001a 00000006 00000028 636c69656e74 00000018 00000004 75756641 " +
      "0000000000000001 0000000000000002 00000001 00000202 00000001",
    args: [1, 2, [{ type: 0x202, room: 1 }]],
    reply: "0000001a 00000000 00000021 00000018 00000003 614175 00000001 00000202 01 00000001 00 0000000000000000",
    results: [[{ type: 0x202, value: false }], 0],
  },
  {
    ...{ what: "GetAttributeValue: a size, a secret, a buffer too small", version: 0, call: "GetAttributeValue" },
    request:
      "00000016 00000006 00000038 636c69656e74 00000018 00000004 75756641 0000000000000001 0000000000000002 " +
      "00000003 00000180 00000000 00000011 00000000 00000180 00000004",
    args: [
      1,
      2,
      [
        { type: 0x180, room: 0 },
        { type: 0x11, room: 0 },
        { type: 0x180, room: 4 },
      ],
    ],
    reply:
      "00000016 00000000 00000038 00000018 00000003 614175 " +
      "00000003 00000180 01 0000000a 0000000a 06082a8648ce3d030107 00000011 00 00000180 00 0000000000000150",
    results: [
      [
        { type: 0x180, value: hex("06082a8648ce3d030107") },
        { type: 0x11, value: null },
        { type: 0x180, value: null },
      ],
      0x150,
    ],
  },
  ...[0, 1].map((version) => ({
    ...{ what: `SignInit of version ${version}`, version, call: "SignInit" as const },
    request:
      "00000019 00000006 00000023 636c69656e74 0000002a 00000003 754d75 0000000000000001 00001041 ffffffff 0000000000000002",
    args: [1, { type: 0x1041, fields: null }, 2],
    reply: "00000019 00000000 00000008 0000002a 00000000",
    results: [],
  })),
  {
    ...{ what: "SignInit of version 2", version: 2, call: "SignInit" },
    request:
      "00000019 00000006 0000001f 636c69656e74 0000002a 00000003 754d75 0000000000000001 00001041 0000000000000002",
    args: [1, { type: 0x1041, fields: null }, 2],
    reply: "00000019 00000000 00000008 0000002a 00000000",
    results: [],
  },
  ...(["", "01"] as const).map((hasParameter) => ({
    ...{ what: `SignInit with PSS${hasParameter && " of version 2"}`, version: hasParameter ? 2 : 0 },
    call: "SignInit" as const,
    request:
      `00000019 00000006 000000${hasParameter ? "38" : "37"} 636c69656e74 0000002a 00000003 754d75 0000000000000001 ` +
      `0000000d ${hasParameter} 0000000000000250 0000000000000002 0000000000000020 0000000000000002`,
    args: [1, { type: 0xd, fields: [0x250, 2, 32] }, 2],
    reply: "00000019 00000000 00000008 0000002a 00000000",
    results: [],
  })),
  ...[1, 2].map((version) => ({
    ...{ what: `SignInit without a mechanism, of version ${version}`, version, call: "SignInit" as const },
    request:
      "00000019 00000006 0000001f 636c69656e74 0000002a 00000003 754d75 0000000000000001 " +
      `${version === 1 ? "00000000" : "ffffffff"} 0000000000000000`,
    args: [1, null, 0],
    reply: "00000019 00000000 00000008 0000002a 00000000",
    results: [],
  })),
  ...(
    [
      ["its size", "00000000", 0],
      ["into 10 bytes", "0000000a", 10],
      ["into no bytes", "ffffffff", 0],
    ] as const
  ).map(([what, room, seen]) => ({
    ...{ what: `Sign, ${what}`, version: 2, call: "Sign" as const },
    request: `0000001a 00000006 0000003e 636c69656e74 0000002b 00000005 7561796679 0000000000000001 01 00000020 ${D} ${room}`,
    args: [1, hex(D), seen],
    reply: "0000001a 00000000 0000000f 0000002b 00000002 6179 00 00000040",
    results: [{ size: 64 }],
  })),
  {
    ...{ what: "Sign", version: 0, call: "Sign" },
    request: `0000001a 00000006 0000003e 636c69656e74 0000002b 00000005 7561796679 0000000000000001 01 00000020 ${D} 00000050`,
    args: [1, hex(D), 80],
    reply: `0000001a 00000000 0000004f 0000002b 00000002 6179 01 00000040 ${S}`,
    results: [hex(S)],
  },
  ...(["00 00000000", "01 ffffffff"] as const).map((pin, index) => ({
    ...{ what: `Login with no PIN, of version ${index * 2}`, version: index * 2, call: "Login" as const },
    request: `00000012 00000006 00000021 636c69656e74 00000012 00000004 75756179 0000000000000001 0000000000000001 ${pin}`,
    args: [1, 1, null],
    reply: "00000012 00000000 00000011 00000000 00000001 75 00000000000000a0",
    results: 0xa0,
  })),
  {
    ...{ what: "DeriveKey2", version: 2, call: "DeriveKey2" },
    request:
      "00000018 00000006 000000f0 636c69656e74 00000059 00000005 754d756141 0000000000000001 " +
      `00001050 01 0000000000000001 ffffffff 00000041 ${POINT} 0000000000000002 0000000a ` +
      "00000001 01 00000001 00 00000000 01 00000008 0000000000000004 00000100 01 00000008 0000000000000010 " +
      "00000103 01 00000001 00 00000162 01 00000001 01 00000104 01 00000001 01 00000105 01 00000001 01 " +
      "00000106 01 00000001 01 00000107 01 00000001 01 00000161 01 00000008 0000000000000020",
    args: [
      1,
      { type: 0x1050, fields: [1, null, hex(POINT)] },
      2,
      [
        { type: 1, value: false },
        { type: 0, value: 4 },
        { type: 0x100, value: 0x10 },
        { type: 0x103, value: false },
        ...[0x162, 0x104, 0x105, 0x106, 0x107].map((type) => ({ type, value: true })),
        { type: 0x161, value: 32 },
      ],
    ],
    reply: "00000018 00000000 0000001c 00000059 00000003 755075 0000000000000000 01 0000000000000005",
    results: [0, 1, 5],
  },
  {
    ...{ what: "Finalize", version: 0, call: "Finalize" },
    request: "0000001d 00000006 00000008 636c69656e74 00000002 00000000",
    args: [],
    reply: "0000001d 00000000 00000008 00000002 00000000",
    results: [],
  },
];
