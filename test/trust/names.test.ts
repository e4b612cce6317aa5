/** Names of X.509 as people write them. */
import { AlgorithmIdentifier } from "@peculiar/asn1-x509";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { encodeAlternativeNames, encodeName, nameText, readAlternativeNames } from "../../src/trust/index.ts";
import { dottedOf, fieldsOf, only, TYPE } from "../../src/trust/x509/der.ts";
import { readName } from "../../src/trust/x509/names.ts";
import { encodeSchema } from "../../src/trust/x509/schema.ts";
import { isThere, run } from "../programs/device.ts";

const codeOf = (action: () => unknown) => {
  try {
    action();
  } catch (error) {
    return (error as { code?: string }).code;
  }
  return "fine";
};

describe("a distinguished name", () => {
  it.each([
    ["CN=pump 7,O=Acme,C=DE", "/C=DE/O=Acme/CN=pump 7"],
    ["CN=a\\,b,O=x\\+y", "/O=x\\+y/CN=a,b"],
    ["cn = spaced , o = too", "/O=too /CN=spaced "],
    ['CN="quoted, and more",C=DE', "/C=DE/CN=quoted, and more"],
    ["CN=one+UID=two,DC=example,DC=com", "/DC=com/DC=example/CN=one+UID=two"],
    ["CN=a/b", "/CN=a\\/b"],
    ["CN=Lu\\C4\\8Di\\C4\\87", "/CN=Lučić"],
    ["2.5.4.3=by number,OID.2.5.4.10=too", "/O=too/CN=by number"],
    ["commonName=long,countryName=DE", "/C=DE/CN=long"],
  ])("%s is %s", (comma, slash) => {
    const trimmed = slash.replaceAll(/ (?=\/|$)/g, "");
    expect(encodeName(comma)).toEqual(encodeName(trimmed));
  });

  it("has all that AWS takes from a subject, in the types of RFC 5280", () => {
    const subject =
      "/C=DE/ST=Hesse/L=Kassel/O=Acme/OU=Field/CN=pump/serialNumber=7/dnQualifier=q/title=Dr/GN=Ann/SN=Lee";
    const name = encodeName(`${subject}/DC=example/UID=u1/emailAddress=a@example.com`);
    const hex = Buffer.from(name).toString("hex");
    expect(hex).toContain("0603550406" + "1302" + "4445"); // PrintableString
    expect(hex).toContain("0603550405" + "1301" + "37");
    expect(hex).toContain("060355042e" + "1301" + "71");
    expect(hex).toContain("0603550403" + "0c04" + "70756d70"); // UTF8String
    expect(hex).toContain("06092a864886f70d010901" + "160d"); // IA5String
    expect(readName(name)).toHaveLength(14);
    expect(nameText(name)).toMatch(
      /^emailAddress=a@example\.com,UID=u1,DC=example,SN=Lee,GN=Ann,title=Dr,dnQualifier=q/,
    );
  });

  it.each([
    "CN",
    "CN=",
    "=x",
    "CN=a,",
    "CN=a,,O=b",
    "XX=a",
    "C=Germany",
    "C=1",
    "serialNumber=ü",
    "CN=a\\",
    'CN="open',
    "/CN=a\\",
    "/",
    "//CN=a",
    "CN=#zz",
    "CN=#0c05aa",
    "CN=\\ff",
    `CN=${"a".repeat(65)}`,
    "emailAddress=ä@b",
    "9.9=a",
    "1.2.3=",
    "CN=a\u0007b",
  ])("refuses %s and says why", (text) => {
    expect(codeOf(() => encodeName(text))).toBe("USAGE");
  });

  const types = ["CN", "O", "OU", "L", "ST", "title", "GN", "SN", "UID", "STREET"];
  const values = fc
    .string({ unit: "grapheme", minLength: 1, maxLength: 30 })
    .filter((text) => /^[^\p{Cc}\p{Cs}]{1,40}$/u.test(text) && [...text].length <= 40);
  const attributes = fc.tuple(fc.constantFrom(...types), values);

  it("reads what it writes, whatever stands in it", () => {
    fc.assert(
      fc.property(
        fc.array(fc.array(attributes, { minLength: 1, maxLength: 3 }), { minLength: 1, maxLength: 5 }),
        (parts) => {
          const slashed = (value: string) => value.replaceAll(/[\\/+]/g, "\\$&");
          const slash = parts
            .map((part) => `/${part.map(([t, v]) => `${t}=${slashed(v.trimStart() || "x")}`).join("+")}`)
            .join("");
          const name = encodeName(slash);
          expect(encodeName(nameText(name))).toEqual(name);
          const read = readName(name).map((part) => part.map(({ value }) => value).sort());
          expect(read).toEqual(parts.map((part) => part.map(([, v]) => v.trimStart() || "x").sort()));
        },
      ),
      { numRuns: 500 },
    );
  });

  it("never fails but with an error of its own", () => {
    const pieces = fc.constantFrom("CN", "=", ",", "+", "\\", '"', "#", "/", " ", "0c", "a", "ü", ";", "2.5.4.3");
    fc.assert(
      fc.property(fc.array(pieces, { maxLength: 12 }), (parts) => {
        expect(["fine", "USAGE"]).toContain(codeOf(() => encodeName(parts.join(""))));
      }),
      { numRuns: 2000 },
    );
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
        expect(["fine", "MALFORMED"]).toContain(codeOf(() => nameText(bytes)));
      }),
      { numRuns: 2000 },
    );
  });

  it.skipIf(!isThere("openssl"))("is what OpenSSL makes of the same, and OpenSSL reads it so", async () => {
    for (const slash of [
      "/C=DE/O=Acme, Inc./CN=pump 7",
      "/DC=com/DC=example/CN=a+UID=b",
      "/CN=x\\/y/emailAddress=a@b.c",
    ]) {
      const args = [
        "req",
        "-new",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-keyout",
        "/dev/null",
      ];
      const text = await run("bash", [
        "-c",
        `openssl ${args.join(" ")} -utf8 -subj "$1" 2>/dev/null | openssl req -noout -subject -nameopt RFC2253,-esc_msb,utf8 && ` +
          `openssl ${args.join(" ")} -utf8 -subj "$1" -outform DER 2>/dev/null | base64 -w0`,
        "bash",
        slash,
      ]);
      const [subject = "", der = ""] = text.out.split("\n");
      const mine = encodeName(slash);
      const request = Buffer.from(der, "base64");
      expect(request.includes(Buffer.from(mine)), `${slash} ${text.err}`).toBe(true);
      expect(encodeName(subject.replace(/^subject=/, ""))).toEqual(mine);
    }
  });
});

describe("an alternative name", () => {
  it.each([
    ["dns:pump7.example.com"],
    ["dns:*.example.com"],
    ["dns:_service.local"],
    ["ip:192.0.2.7"],
    ["ip:2001:db8::7"],
    ["ip:::1"],
    ["ip:::"],
    ["ip:2001:db8:1:2:3:4:5:6"],
    ["email:ann+x@example.com"],
    ["uri:https://example.com/pump?a=b,c"],
    ["uri:urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6"],
    ["uri:spiffe://example.org/pump/7"],
  ])("%s is read as it is written", (name) => {
    expect(readAlternativeNames(encodeAlternativeNames([name]))).toEqual([name]);
  });

  it("writes names of other alphabets as DNS has them", () => {
    expect(readAlternativeNames(encodeAlternativeNames(["DNS:bücher.example"]))).toEqual(["dns:xn--bcher-kva.example"]);
  });

  it.each([
    ...["", "pump", "dns:", "dns:a b", "dns:-a", "dns:a..b", "dns:a.*", "dns:192.0.2.1", `dns:${"a".repeat(64)}`],
    ...[
      "ip:1.2.3",
      "ip:1.2.3.256",
      "ip:fe80::1%eth0",
      "ip:pump",
      "email:ann",
      "email:@b",
      "email:a@b@c",
      "email:a b@c",
    ],
    ...["uri:/path", "uri:https:// a", "uri:x", "uri:ä:b", "constructor:x", "__proto__:x", "dns:a\n"],
  ])("refuses %j", (name) => {
    expect(codeOf(() => encodeAlternativeNames([name]))).toBe("USAGE");
  });

  it("has every address of IPv4 and IPv6 as its bytes", () => {
    fc.assert(
      fc.property(
        fc.oneof(fc.uint8Array({ minLength: 4, maxLength: 4 }), fc.uint8Array({ minLength: 16, maxLength: 16 })),
        (bytes) => {
          const groups = Buffer.from(bytes).toString("hex").match(/.{4}/g) ?? [];
          const text = bytes.length === 4 ? bytes.join(".") : groups.join(":");
          const encoded = encodeAlternativeNames([`ip:${text}`]);
          expect(encoded.subarray(-bytes.length)).toEqual(bytes);
          const [read = ""] = readAlternativeNames(encoded);
          expect(encodeAlternativeNames([read])).toEqual(encoded);
        },
      ),
    );
  });

  it("never fails but with an error of its own", () => {
    fc.assert(
      fc.property(fc.constantFrom("dns:", "ip:", "email:", "uri:", ""), fc.string({ unit: "binary" }), (kind, text) => {
        expect(["fine", "USAGE"]).toContain(codeOf(() => encodeAlternativeNames([`${kind}${text}`])));
      }),
      { numRuns: 1000 },
    );
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
        expect(["fine", "MALFORMED"]).toContain(codeOf(() => readAlternativeNames(bytes)));
      }),
      { numRuns: 1000 },
    );
  });
});

describe("an object identifier", () => {
  it("is read as it is written", () => {
    const arcs = fc.array(fc.nat(999_999_999), { minLength: 0, maxLength: 6 });
    fc.assert(
      fc.property(fc.constantFrom([0, 39], [1, 0], [2, 999], [2, 47], [2, 48], [1, 39]), arcs, (head, rest) => {
        const dotted = [...head, ...rest].join(".");
        const written = encodeSchema(new AlgorithmIdentifier({ algorithm: dotted }));
        expect(dottedOf(fieldsOf(only(TYPE.sequence, written)).next(TYPE.oid))).toBe(dotted);
      }),
    );
  });
});
