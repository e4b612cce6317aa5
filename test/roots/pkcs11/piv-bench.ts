import { openPkcs11Root, type Pkcs11Location } from "../../../src/roots/pkcs11/index.ts";
import { type CardReader, MODULE, openCardReader, PIN } from "../../emulators/piv-card/lab.ts";
import type { Bench } from "../contract.ts";
import { pin } from "./softhsm.ts";

export async function pivBench(): Promise<Bench> {
  const reader: CardReader = await openCardReader();
  Object.assign(process.env, reader.env);
  await reader.plug({ card: "first", slot: 0 });
  await reader.plug({ card: "second", slot: 1 });
  const serials = await serialsOf(reader);
  const open = (index: number) => {
    // 9D agrees, 9E signs without a PIN: keys that were on the card before us.
    const location: Pkcs11Location = { module: MODULE ?? "", serial: serials[index], deriveId: "03", evidenceId: "04" };
    return openPkcs11Root(location, { pin: pin(PIN) });
  };
  return { open: () => open(0), openAnother: () => open(1), close: () => reader.close() };
}

async function serialsOf(reader: CardReader): Promise<string[]> {
  const { out } = await reader.pkcs11Tool("-L");
  return [...out.matchAll(/serial num\s*:\s*(\S+)/g)].map(([, serial]) => serial ?? "");
}
