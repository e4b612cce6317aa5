import fc from "fast-check";
import { expect, it } from "vitest";
import { formatPkcs11Location, parsePkcs11Location } from "../../../src/roots/pkcs11/index.ts";

it.each([
  ["pkcs11:/usr/lib/libykcs11.so", { module: "/usr/lib/libykcs11.so" }],
  [
    "pkcs11:/lib/m.so?token=my%20token&pin-source=file:/etc/pin",
    { module: "/lib/m.so", token: "my token", pinSource: "/etc/pin" },
  ],
  [
    "pkcs11:/a%3Fb.so?serial=DENK0100&slot-id=3&manufacturer=www.CardContact.de&model=PKCS%2315%20emulated",
    { module: "/a?b.so", serial: "DENK0100", slotId: 3, manufacturer: "www.CardContact.de", model: "PKCS#15 emulated" },
  ],
  ["pkcs11:/m.so?token=%C3%A4&pin-source=/run/pin", { module: "/m.so", token: "ä", pinSource: "/run/pin" }],
  ["pkcs11:/m.so?x-derive-id=0A&x-evidence-id=02", { module: "/m.so", deriveId: "0a", evidenceId: "02" }],
])("%s says where a token is", (specification, location) => {
  expect(parsePkcs11Location(specification)).toEqual(location);
  expect(parsePkcs11Location(formatPkcs11Location(location))).toEqual(location);
});

it("what is written is read as it was, whatever the names are", () => {
  const name = fc.string({ unit: "grapheme", minLength: 1, maxLength: 32 }).filter((text) => !/\p{Cc}/u.test(text));
  const location = fc.record(
    {
      module: name.map((text) => `/${text}`),
      ...{ token: name, serial: name, model: name, manufacturer: name },
      slotId: fc.nat(),
      pinSource: name.map((text) => `/${text}`),
      deriveId: fc.constant("0a0b"),
    },
    { requiredKeys: ["module"] },
  );
  fc.assert(
    fc.property(location, (one) => {
      const written = formatPkcs11Location(one);
      expect(written).toMatch(/^pkcs11:[\x21-\x7e]+$/);
      expect(parsePkcs11Location(written)).toEqual(one);
    }),
  );
});

it.each([
  ["atecc:/dev/i2c-1", /not where a PKCS#11 token is/],
  ["pkcs11:module.so", /not where a PKCS#11 token is/],
  ["pkcs11:token=x?module-path=/m.so", /not where a PKCS#11 token is/],
  ["pkcs11:/m.so?label=x", /no attribute 'label'/],
  ["pkcs11:/m.so?token", /no attribute 'token'/],
  ["pkcs11:/m.so?token=", /empty/],
  ["pkcs11:/m.so?token=a&token=b", /said twice/],
  ["pkcs11:/m.so?token=100%", /percent-encoded/],
  ["pkcs11:/m.so?token=%ff", /UTF-8/],
  ["pkcs11:/m.so?token=%00", /empty/],
  ["pkcs11:/m.so?slot-id=one", /not the number of a slot/],
  ["pkcs11:/m.so?pin-source=http://x", /not a file/],
  ["pkcs11:/m.so?pin-source=file:pin", /not a file/],
  ["pkcs11:/m.so?x-derive-id=xyz", /not a CKA_ID/],
])("%s is refused with the reason", (specification, reason) => {
  expect(() => parsePkcs11Location(specification)).toThrow(
    expect.objectContaining({ code: "USAGE", message: expect.stringMatching(reason), hint: expect.any(String) }),
  );
});

it("a PIN in a specification is refused, and not repeated", () => {
  for (const specification of ["pkcs11:/m.so?pin-value=471147", "pkcs11:token=x?pin-value=471147"]) {
    const error = (() => {
      try {
        return parsePkcs11Location(specification);
      } catch (error) {
        return error as Error & { hint: string };
      }
    })();
    expect(error).toMatchObject({ code: "USAGE", hint: expect.stringContaining("pin-source") });
    expect(JSON.stringify(error) + String(error)).not.toContain("471147");
  }
});
