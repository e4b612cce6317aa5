/** What is remembered of a thing beside its key: where it belongs to, so that nobody has to say it again. */
import type { KeyInfo, Thornkey } from "../../client/index.ts";
import { ThornkeyError } from "../../errors.ts";
import { nameBeside } from "../../trust/attached.ts";

export interface Joined {
  /** As it was given: HOST or HOST:PORT. */
  readonly endpoint: string;
  readonly thingName: string;
  readonly certificateId: string;
  /** PEM of the authorities the endpoint is checked with; Node's own without it. */
  readonly ca?: string | undefined;
}

const APPLICATION = "aws-iot";

export async function remember(vault: Thornkey, key: KeyInfo, joined: Joined): Promise<void> {
  const value = new TextEncoder().encode(JSON.stringify(joined));
  const before = await recordOf(vault, key);
  if (before !== undefined) await vault.objects.change(before.id, { value });
  else {
    const name = `${nameBeside(key)}-aws-iot`;
    await vault.objects.create({ name, class: "data", value, key: key.id, application: APPLICATION });
  }
}

/** @returns undefined when nothing is remembered. @throws ThornkeyError `MALFORMED` */
export async function recall(vault: Thornkey, key: KeyInfo): Promise<Joined | undefined> {
  const record = await recordOf(vault, key);
  return record && parse(record.value);
}

/** Only the caller's own, or the key's owner's: others may not send a device elsewhere. */
async function recordOf(vault: Thornkey, key: KeyInfo) {
  const trusted = [key.owner, 0, process.getuid?.()];
  for await (const { id, key: beside, owner } of vault.objects.list({ class: "data" })) {
    if (beside !== key.id || !trusted.includes(owner)) continue;
    const object = await vault.objects.show(id);
    if (object.application === APPLICATION) return object;
  }
  return undefined;
}

function parse(value: Uint8Array): Joined {
  try {
    const { endpoint, thingName, certificateId, ca } = JSON.parse(new TextDecoder().decode(value)) as Joined;
    if ([endpoint, thingName, certificateId, ca ?? ""].every((part) => typeof part === "string")) {
      return { endpoint, thingName, certificateId, ca };
    }
  } catch {
    // The error below says it.
  }
  throw new ThornkeyError("MALFORMED", "what is remembered of AWS IoT beside this key is not what was written");
}
