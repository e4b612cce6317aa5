import { ThornkeyError } from "../errors.ts";
import type { I2cBus } from "./i2c-bus.ts";
import { ERRNO, errnoName, libc, O_CLOEXEC, O_RDWR } from "./libc.ts";

/** Requests of <linux/i2c-dev.h>. */
const I2C_RETRIES = 0x701;
const I2C_TIMEOUT = 0x702;
const I2C_SLAVE = 0x703;

/** In units of 10 ms. The longest transaction with a secure element, 155 bytes at 100 kHz, takes 14 ms. */
const TIMEOUT_TENS = 10;

/** i2c-dev cuts longer transactions to this many bytes. */
const MOST_BYTES = 8192;

/**
 * What the bus driver of the kernel answers when a transaction did not come through while the bus itself is alive.
 *
 * | errno | driver and cause |
 * |---|---|
 * | EREMOTEIO | i2c-bcm2835 (Pi Zero to 4), i2c-designware (Pi 5): address or byte not acknowledged |
 * | ENXIO | i2c-gpio (bit-banged) and most others: address not acknowledged; i2c-tiny-usb: a byte too |
 * | EIO | i2c-gpio: byte not acknowledged; i2c-bcm2835: clock stretched too long; i2c-designware: other abort; i2c-tiny-usb: unplugged |
 * | ETIMEDOUT | all: the controller did not finish, or the clock is held low |
 * | EAGAIN | all: arbitration lost |
 * | EPROTO | some controllers: a condition on the bus that the protocol does not allow |
 * | EINTR | a signal ended the wait for the controller |
 *
 * The first two say that nobody took the transaction. After the others nobody knows how much of it arrived; see
 * {@link UNCERTAIN}.
 */
const NOT_ACKNOWLEDGED: ReadonlySet<number> = new Set([ERRNO.EREMOTEIO, ERRNO.ENXIO]);

/**
 * A read, a single byte or the general call can be tried again and count as not acknowledged. A longer write may be a
 * command the chip now carries out: "not acknowledged" would invite the driver to send it twice, so it is an error.
 */
const UNCERTAIN: ReadonlySet<number> = new Set([ERRNO.EIO, ERRNO.ETIMEDOUT, ERRNO.EAGAIN, ERRNO.EPROTO, ERRNO.EINTR]);

/** What a person can do, by error number. */
const HINTS = new Map<number, string>([
  [
    ERRNO.ENOENT,
    "Enable I2C: sudo raspi-config nonint do_i2c 0, or dtparam=i2c_arm=on in config.txt and a restart; " +
      "the module i2c-dev must be loaded. ls /dev/i2c-* shows the buses there are.",
  ],
  [ERRNO.EACCES, "Add this user to the group i2c (sudo usermod -aG i2c USER) and log in again."],
  [ERRNO.EBUSY, "A kernel driver has claimed that address: unbind it, or remove its overlay from config.txt."],
  [ERRNO.ENODEV, "The bus is gone: check the adapter, and that its overlay is loaded."],
  [ERRNO.ENOTTY, "That file is not an I2C bus: its name should be like /dev/i2c-1."],
  [ERRNO.ENXIO, "The device file is there without a bus behind it: check that the overlay is loaded."],
]);

/**
 * An I2C bus of Linux through i2c-dev: `ioctl(I2C_SLAVE)` when the address changes, then plain `write` and `read`, one
 * transaction each. Every wait has an end: the bus time-out is set to 100 ms and retries to 0. Both belong to the
 * adapter, so other users of the same bus get them too; a driver that refuses them is used as it is.
 *
 * I2C_SLAVE takes 0x00 to 0x7f. It does not reserve the addresses that the I2C specification does, so 0, the general
 * call that wakes the secure element, works; its missing acknowledgement is normal. An empty write or read is refused by
 * some controllers (i2c-designware both, i2c-tiny-usb the read: EOPNOTSUPP), and then throws.
 *
 * Close it when it is not needed: while it is open the kernel cannot take away a USB adapter that was unplugged, and the
 * hub it was in takes in nothing new. Until then its transactions fail with EIO, which does not tell it from a chip that
 * does not answer.
 *
 * Source: Linux, drivers/i2c/i2c-dev.c (i2cdev_ioctl, i2cdev_read, i2cdev_write).
 *
 * @param path such as /dev/i2c-1
 * @param options.asItIs leaves time-out and retries of the adapter as they are, for somebody who only looks; then a wait
 * ends when the driver says so, usually after a second
 * @throws ThornkeyError `ROOT_UNAVAILABLE` when the device cannot be opened, and from transactions when the bus is
 * gone or the address is claimed by a kernel driver
 */
export function openI2cDevice(path: string, options: { readonly asItIs?: boolean } = {}): I2cBus {
  const c = libc();
  let fd = c.open(path, O_RDWR | O_CLOEXEC, 0);
  if (fd < 0) throw unavailable(`The I2C bus ${path} cannot be opened`, c.errno());
  if (!options.asItIs) {
    c.ioctlNumber(fd, I2C_TIMEOUT, TIMEOUT_TENS);
    c.ioctlNumber(fd, I2C_RETRIES, 0);
  }
  let selected = -1;

  function select(address: number): void {
    if (fd < 0) throw new ThornkeyError("ROOT_UNAVAILABLE", `The I2C bus ${path} is closed.`);
    if (address === selected) return;
    if (!Number.isInteger(address) || address < 0 || address > 0x7f) {
      throw new RangeError(`${address} is not a 7-bit I2C address`);
    }
    selected = -1;
    if (c.ioctlNumber(fd, I2C_SLAVE, address) < 0) {
      const shown = `0x${address.toString(16).padStart(2, "0")}`;
      throw unavailable(`Address ${shown} on the I2C bus ${path} cannot be used`, c.errno());
    }
    selected = address;
  }

  /** @param repeatable the transaction may be sent again without harm */
  function notAcknowledged(repeatable: boolean): void {
    const errno = c.errno();
    if (NOT_ACKNOWLEDGED.has(errno) || (repeatable && UNCERTAIN.has(errno))) return;
    throw unavailable(`The I2C bus ${path} failed`, errno);
  }

  return {
    write(address, bytes) {
      checkLength(bytes.length);
      select(address);
      const count = c.write(fd, bytes, bytes.length);
      if (count < 0) notAcknowledged(address === 0 || bytes.length <= 1);
      return count === bytes.length;
    },
    read(address, length) {
      checkLength(length);
      select(address);
      const bytes = new Uint8Array(length);
      const count = c.read(fd, bytes, length);
      if (count < 0) {
        notAcknowledged(true);
        return undefined;
      }
      return count === length ? bytes : bytes.slice(0, count);
    },
    close() {
      if (fd >= 0) c.close(fd);
      fd = -1;
    },
  };
}

function unavailable(what: string, errno: number): ThornkeyError {
  const hint = HINTS.get(errno);
  return new ThornkeyError("ROOT_UNAVAILABLE", `${what} (${errnoName(errno)}).`, hint === undefined ? {} : { hint });
}

function checkLength(length: number): void {
  if (!Number.isInteger(length) || length < 0 || length > MOST_BYTES) {
    throw new RangeError(`${length} is not a length from 0 to ${MOST_BYTES}`);
  }
}
