/** Secure elements on the I2C buses; see `roots/atecc/presence.ts` why looking disturbs nobody. */
import { toHex } from "../../bytes/bytes.ts";
import { type Chip, openChip } from "../../roots/atecc/chip.ts";
import { readConfig } from "../../roots/atecc/conversations.ts";
import { formatChipLocation } from "../../roots/atecc/location.ts";
import { FACTORY_ADDRESSES, findChips } from "../../roots/atecc/presence.ts";
import { type ProvisioningStage, provisioningStage } from "../../roots/atecc/provision.ts";
import { DEFAULTS } from "../configuration.ts";
import { type Finder, type Found, type Place, type Search, type Trouble, troubleFrom } from "./finding.ts";

const KIND = "atecc";

/**
 * Adapters that are there for something else, by the name the kernel gives them: whoever asks on them asks monitors,
 * memory modules and regulators, and on none of them does anybody solder a secure element.
 */
const NOT_FOR_CHIPS: readonly (readonly [name: RegExp, what: string])[] = [
  [/gmbus|\bDDC|\bAUX\b|DPMST|DPDDC|hdmi|nvidia|nvkm|radeon|amdgpu|drm/i, "monitors"],
  // bcm2711 and bcm2712: the two HDMI sockets.
  [/\bf?ef0(45|95)00\.i2c|(i2c@7ef0(45|95)00)|107d5082[08]0\.i2c/, "monitors"],
  [/^SMBus|smbus at/i, "the board's own sensors and memory"],
];

/** Above this clock, in Hz, the wake token is too short (tWLO, 60 us). */
const FASTEST = 133_000;

const ENABLE = "on a Raspberry Pi: dtparam=i2c_arm=on in config.txt, and a restart; the module i2c-dev must be loaded";

/** The names under which the kernel's own driver has a chip (drivers/crypto/atmel-ecc.c, atmel-sha204a.c). */
const KERNEL_DRIVER = /^at(ecc|sha)/;

export const findSecureElements: Finder = {
  kind: KIND,
  longest: 60_000,
  async look(place) {
    const buses = place.host.names("dev").filter((name) => /^i2c-\d+$/.test(name));
    if (buses.length === 0) return { found: [], troubles: [{ kind: KIND, says: "there is no I2C bus", todo: ENABLE }] };
    if (place.vault !== undefined) {
      const says = `the I2C buses were not looked at: a vault runs (process ${place.vault}), and its chip may be there`;
      return { found: [], troubles: [{ kind: KIND, says, todo: "stop it to look: systemctl stop thornkey-vault" }] };
    }
    const searches: Search[] = [];
    for (const bus of buses) searches.push(await onBus(bus, place));
    return {
      found: searches.flatMap(({ found }) => found),
      troubles: searches.flatMap(({ troubles }) => troubles),
    };
  },
};

async function onBus(bus: string, { host, buses }: Place): Promise<Search> {
  const path = `/dev/${bus}`;
  const number = bus.slice("i2c-".length);
  const name = host.text(`sys/class/i2c-dev/${bus}/name`) ?? host.text(`sys/bus/i2c/devices/${bus}/name`) ?? "";
  const purpose = NOT_FOR_CHIPS.find(([pattern]) => pattern.test(name))?.[1];
  if (purpose !== undefined && !buses.includes(path)) {
    const says = `${path} was not looked at: it is for ${purpose} (${name})`;
    return { found: [], troubles: [{ kind: KIND, says, todo: `--bus ${path} looks there all the same` }] };
  }
  const troubles: Trouble[] = [];
  const addresses = FACTORY_ADDRESSES.filter((address) => {
    const owner = host.text(`sys/bus/i2c/devices/${number}-${address.toString(16).padStart(4, "0")}/name`);
    if (owner !== undefined) troubles.push(known(path, address, owner));
    return owner === undefined;
  });
  try {
    const found: Found[] = [];
    for (const { address, who, says } of await findChips(path, addresses)) {
      if (who === "claimed") troubles.push({ kind: KIND, says: says ?? `${at(path, address)} is claimed` });
      if (who === "stranger") {
        troubles.push({ kind: KIND, says: `${at(path, address)} is something else, which was left alone` });
      }
      if (who === "chip") found.push(await describe(path, address));
    }
    if (found.length === 0 && troubles.length === 0) troubles.push(nothingOn(path, host));
    return { found, troubles };
  } catch (error) {
    return { found: [], troubles: [...troubles, troubleFrom(KIND, error)] };
  }
}

function at(path: string, address: number): string {
  return `0x${address.toString(16)} on ${path}`;
}

/** The kernel was told what is there, by a device tree or by hand. */
function known(path: string, address: number, name: string): Trouble {
  if (!KERNEL_DRIVER.test(name)) {
    return { kind: KIND, says: `${at(path, address)} is the kernel's ${name}, and was not asked` };
  }
  const todo = "remove its overlay from config.txt and restart: two drivers on one chip spoil each other's commands";
  return { kind: KIND, says: `a driver of the kernel has the secure element ${at(path, address)} (${name})`, todo };
}

function nothingOn(path: string, host: Place["host"]): Trouble {
  const says = `no secure element answers on ${path}`;
  const clock = host.bytes(`sys/class/i2c-dev/${path.slice("/dev/".length)}/device/of_node/clock-frequency`);
  const hertz = clock?.length === 4 ? new DataView(clock.buffer, clock.byteOffset).getUint32(0) : 0;
  if (hertz <= FASTEST) return { kind: KIND, says };
  const todo = `it runs at ${hertz / 1000} kHz, and a chip wakes at 100: dtparam=i2c_arm_baudrate=100000 in config.txt`;
  return { kind: KIND, says, todo };
}

/** It has answered as nothing else does, so it may be spoken to. */
async function describe(path: string, address: number): Promise<Found> {
  const location = { bus: { kind: "i2c-dev", path }, address } as const;
  const root = formatChipLocation(location);
  let chip: Chip | undefined;
  try {
    chip = await openChip(location);
    const stage = provisioningStage(await readConfig(chip));
    const serial = toHex(chip.serial);
    const name = `${chip.model === "508a" ? "ATECC508A" : "ATECC608"} ${serial}`;
    return { kind: KIND, root, name, usable: true, hardware: true, ...STAGES[stage](root, serial) };
  } finally {
    await chip?.close(); // and so back to sleep
  }
}

const STAGES: {
  readonly [Stage in ProvisioningStage]: (root: string, serial: string) => Pick<Found, "first" | "notes">;
} = {
  done: () => ({ first: [], notes: [] }),
  foreign: () => ({
    first: [],
    notes: ["somebody else configured it: 'thornkey chip info' shows what it can do, and what of it is in clear"],
  }),
  blank: unprovisioned("it is blank"),
  configured: unprovisioned("its provisioning was interrupted"),
};

function unprovisioned(how: string): (root: string, serial: string) => Pick<Found, "first" | "notes"> {
  return (root, serial) => {
    const folder = `${DEFAULTS.state}/roots`;
    const key = `${folder}/${serial}.transport`;
    return {
      first: [
        `install -d -m 700 -o thornkey -g thornkey ${DEFAULTS.state} ${folder}`,
        `thornkey chip provision --root ${root} --transport-key ${key}`,
        `chown thornkey:thornkey ${key}`,
      ],
      notes: [`${how}: 'thornkey chip provision' makes it ready, once and for ever`],
    };
  };
}
