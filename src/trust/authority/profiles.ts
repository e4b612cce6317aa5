/** What an authority certifies: a table of profiles, and what each says of a key. */
import { ThornkeyError } from "../../errors.ts";
import type { Usage } from "../x509/usages.ts";

interface Profile {
  readonly about: string;
  readonly authority: boolean;
  /** For keys of every type. */
  readonly usages: readonly Usage[];
  /** Besides, for RSA keys: the old key exchange of TLS 1.2. */
  readonly rsaUsages: readonly Usage[];
  /** Whether the alternative names of a request are taken over. */
  readonly takesNames: boolean;
  /** Whether there has to be an alternative name: programs do not look at CN any more (RFC 9525). */
  readonly needsNames: boolean;
  readonly days: number;
  readonly mostDays: number;
  /** It certifies itself, and is not issued. */
  readonly selfOnly: boolean;
}

const LEAF = { authority: false, takesNames: true, needsNames: false, selfOnly: false } as const;
const AUTHORITY = { authority: true, takesNames: false, needsNames: false, selfOnly: false, rsaUsages: [] } as const;
const SIGNS_CERTIFICATES = ["keyCertSign", "cRLSign"] as const;

export const PROFILES = {
  device: {
    ...LEAF,
    about: "a device that shows who it is, as AWS IoT and 802.1X want it",
    ...{ usages: ["digitalSignature", "clientAuth"], rsaUsages: ["keyEncipherment"], days: 3650, mostDays: 7300 },
  },
  server: {
    ...LEAF,
    about: "a server of TLS",
    ...{ usages: ["digitalSignature", "serverAuth"], rsaUsages: ["keyEncipherment"], needsNames: true },
    ...{ days: 90, mostDays: 398 },
  },
  client: {
    ...LEAF,
    about: "a person or a program that signs in with TLS",
    ...{ usages: ["digitalSignature", "clientAuth"], rsaUsages: [], days: 365, mostDays: 825 },
  },
  intermediate: {
    ...AUTHORITY,
    about: "an authority below this one",
    ...{ usages: SIGNS_CERTIFICATES, days: 1825, mostDays: 3650 },
  },
  root: {
    ...AUTHORITY,
    about: "an authority that certifies itself",
    ...{ usages: SIGNS_CERTIFICATES, selfOnly: true, days: 3650, mostDays: 9125 },
  },
  self: {
    ...LEAF,
    about: "a key that certifies itself, for programs that are told to trust this one certificate",
    ...{ usages: ["digitalSignature", "serverAuth", "clientAuth"], rsaUsages: ["keyEncipherment"], selfOnly: true },
    ...{ days: 365, mostDays: 3650 },
  },
} as const satisfies { readonly [name: string]: Profile };

export type ProfileName = keyof typeof PROFILES;
export const PROFILE_NAMES = Object.keys(PROFILES) as readonly ProfileName[];

export function profileOf(name: ProfileName): Profile {
  return PROFILES[name];
}

/**
 * @param days as asked for; the profile's own without
 * @returns days. @throws ThornkeyError `USAGE` when they are more than the profile allows
 */
export function daysOf(name: ProfileName, days: number | undefined): number {
  const profile = profileOf(name);
  const wanted = days ?? profile.days;
  if (Number.isInteger(wanted) && wanted >= 1 && wanted <= profile.mostDays) return wanted;
  throw new ThornkeyError("USAGE", `a certificate for a ${name} is for 1 to ${profile.mostDays} days, not ${wanted}`);
}
