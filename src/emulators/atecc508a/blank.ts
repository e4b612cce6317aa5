import { fromHex } from "../../bytes/bytes.ts";
import type { Model } from "./chip.ts";

/**
 * The config zone of a part as it leaves the factory: both zones and every slot unlocked. The bytes are those of blank
 * parts in published dumps; they differ between parts only in the serial number and bytes 13 to 15.
 *
 * @param serial 9 bytes, the first two 01 23 and the last EE
 * @returns 128 bytes
 */
export function blankConfig(model: Model, serial: Uint8Array = SERIAL): Uint8Array {
  const config = Uint8Array.from(BLANK[model]);
  config.set(serial.subarray(0, 4), 0);
  config.set(serial.subarray(4, 9), 8);
  return config;
}

const SERIAL = fromHex("01 23 45 67 89 ab cd ef ee");

/** Per line 16 bytes. 13: AES_Enable (608). 14: I2C_Enable. 16: address. 18: OTPmode (508). 86, 87: locks. */
const BLANK: Record<Model, Uint8Array> = {
  "508a": fromHex(`
    01 23 00 00 00 00 50 00 00 00 00 00 ee c0 55 00
    c0 00 55 00 83 20 87 20 8f 20 c4 8f 8f 8f 8f 8f
    9f 8f af 8f 00 00 00 00 00 00 00 00 00 00 00 00
    00 00 af 8f ff ff ff ff 00 00 00 00 ff ff ff ff
    00 00 00 00 ff ff ff ff ff ff ff ff ff ff ff ff
    ff ff ff ff 00 00 55 55 ff ff 00 00 00 00 00 00
    33 00 33 00 33 00 1c 00 1c 00 1c 00 1c 00 1c 00
    3c 00 3c 00 3c 00 3c 00 3c 00 3c 00 3c 00 1c 00`),
  "608a": fromHex(`
    01 23 00 00 00 00 60 02 00 00 00 00 ee c1 55 00
    c0 00 00 00 83 20 87 20 8f 20 c4 8f 8f 8f 8f 8f
    9f 8f af 8f 00 00 00 00 00 00 00 00 00 00 00 00
    00 00 af 8f ff ff ff ff 00 00 00 00 ff ff ff ff
    00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00
    00 00 00 00 00 00 55 55 ff ff 00 00 00 00 00 00
    33 00 33 00 33 00 1c 00 1c 00 1c 00 1c 00 1c 00
    3c 00 3c 00 3c 00 3c 00 3c 00 3c 00 3c 00 1c 00`),
};
