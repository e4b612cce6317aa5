/** A token behind a PKCS#11 module, asked without a vault and without its PIN. */
import { type ListedToken, parsePkcs11Location, tokensAt } from "../../roots/pkcs11/index.ts";
import { fail, ok, type Said, warn } from "./finding.ts";
import type { Ask } from "./hardware.ts";

const PIN: { readonly [Standing in ListedToken["pin"]]: (token: string) => Said } = {
  fine: (token) => ok(`the PIN of ${token} has all its tries`),
  "few-tries": (token) =>
    warn(`a wrong PIN was given to ${token}`, "log in once with the right one: pkcs11-tool --login --test"),
  "last-try": (token) =>
    fail(
      `${token} has one try for its PIN left, which the vault does not risk`,
      "log in once yourself with the right one: pkcs11-tool --login --test",
    ),
  locked: (token) =>
    fail(`the PIN of ${token} is locked`, "unlock it with its security officer's: pkcs11-tool --unlock-pin"),
};

export const askToken: Ask = async (specification) => {
  const location = parsePkcs11Location(specification);
  const [token, ...others] = await tokensAt(location);
  if (token === undefined) {
    return [
      fail(`${location.module} shows no token that fits`, "is it plugged in? 'pkcs11-tool --module … -T' lists them"),
    ];
  }
  const name = `the token ${token.token || token.serial}`;
  return [
    ok(`${name} is there: ${token.manufacturer} ${token.model}, firmware ${token.firmware}`),
    ...(others.length > 0 ? [fail(`${others.length + 1} tokens fit`, "name one by its serial in --root")] : []),
    ...(token.needsPin ? [PIN[token.pin](name)] : []),
  ];
};
