/** Any vendor's PKCS#11 module as a root of trust. */
export { type ListedToken, listTokens, tokensAt } from "./list.ts";
export { formatPkcs11Location, type Pkcs11Location, parsePkcs11Location } from "./location.ts";
export { openPkcs11Root, type Pkcs11Options } from "./root.ts";
