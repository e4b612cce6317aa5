/** People without whom a repair is not done on some devices. */
import { randomBytes } from "node:crypto";
import { ThornkeyError } from "../../errors.ts";
import { personMessage } from "../../operations/persons.ts";
import type { DevicePolicy } from "../../operations/table.ts";
import type { PersonRecord } from "../handlers/users.ts";
import { signedBy } from "../persons.ts";
import type { Candidate } from "./judge.ts";

/** What one of these people is to sign: personMessage over it. */
export interface Demand {
  readonly persons: readonly string[];
  readonly device: string;
  readonly uid: number;
  readonly challenge: Uint8Array;
}

export type Attend = (demand: Demand) => Promise<{ readonly name: string; readonly signature: Uint8Array } | undefined>;

/**
 * The device's policy may want somebody to be there for a repair. Where what is known of these people is lost itself, their
 * word cannot be had, and a repair must go on without it.
 *
 * @throws ThornkeyError `NOT_PERMITTED`
 */
export async function mustBeAttended(
  candidates: readonly Candidate[],
  device: string,
  attend: Attend | undefined,
): Promise<void> {
  const bodies = candidates.map(
    ({ body }) => body as { readonly demands?: DevicePolicy["demands"] } & Partial<PersonRecord>,
  );
  const names = bodies.flatMap(({ demands = [] }) =>
    demands.flatMap(({ what, persons }) => (what === "repair" ? persons : [])),
  );
  const enrolled = bodies.flatMap((body) =>
    body.class === "person" && body.label !== undefined && names.includes(body.label) && body.type && body.value
      ? [{ name: body.label, type: body.type, publicKey: body.value }]
      : [],
  );
  if (enrolled.length === 0) return;
  const [uid, challenge] = [process.getuid?.() ?? 0, new Uint8Array(randomBytes(32))];
  const people = enrolled.map(({ name }) => name);
  const answer = await attend?.({ persons: people, device, uid, challenge });
  const person = enrolled.find(({ name }) => name === answer?.name);
  if (answer && person && signedBy(person, personMessage(device, uid, person.name, challenge), answer.signature))
    return;
  throw new ThornkeyError(
    "NOT_PERMITTED",
    `a repair is done on this device only while ${people.join(" or ")} is there`,
    {
      hint: `thornkey repair --as ${people[0]} --token 'pkcs11:/path/module.so', with the token in its reader`,
    },
  );
}
