import type { HostFiles } from "./host-files.ts";

const NETWORK = "sys/class/net";

/** `addr_assign_type` of an address that came with the hardware (include/uapi/linux/netdevice.h, NET_ADDR_PERM). */
const PERMANENT = "0";

/**
 * Hardware address of the first network interface that is part of the board: wired before wireless, then by name.
 * An adapter in a USB socket is not part of the board; one that the device tree describes is (Raspberry Pi 3 and older).
 *
 * @returns six pairs of hexadecimal digits with colons, not checked; undefined when there is no such interface, or when
 *   somebody gave it another address
 */
export function onboardNetworkAddress(files: HostFiles): string | undefined {
  const onboard = files.names(NETWORK).filter((name) => isOnboard(files, name));
  const rank = (name: string) => (isWireless(files, name) ? 1 : 0);
  const [first] = onboard.sort((a, b) => rank(a) - rank(b) || a.localeCompare(b, "en", { numeric: true }));
  if (first === undefined) return undefined;
  const assigned = files.text(`${NETWORK}/${first}/addr_assign_type`) ?? PERMANENT;
  return assigned === PERMANENT ? files.text(`${NETWORK}/${first}/address`) : undefined;
}

function isOnboard(files: HostFiles, name: string): boolean {
  const device = files.resolve(`${NETWORK}/${name}/device`);
  if (device === undefined) return false; // made of software
  if (!/\/usb\d+\//.test(device)) return true;
  return [device, `${device}/..`].some((path) => files.resolve(`${path}/of_node`) !== undefined);
}

function isWireless(files: HostFiles, name: string): boolean {
  return ["phy80211", "wireless"].some((mark) => files.resolve(`${NETWORK}/${name}/${mark}`) !== undefined);
}
