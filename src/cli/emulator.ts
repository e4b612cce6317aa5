import { Command, Option } from "commander";

/** `thornkey emulator KIND`: hardware in software, behind its real bus. */
export function emulatorCommand(): Command {
  const command = new Command("emulator").description("hardware in software, behind its real bus (docs/emulator.md)");
  command
    .command("atecc508a")
    .description("a secure element on a Unix socket that carries raw I2C transactions; for development, not protection")
    .requiredOption("--socket <path>", "socket to listen on")
    .requiredOption("--memory <file>", "the chip's EEPROM; made, blank, when it does not exist")
    .addOption(new Option("--model <model>", "which chip").choices(["508a", "608a"]))
    .addOption(
      new Option("--timing <timing>", "the chip's execution times and a 100 kHz bus, or none")
        .choices(["none", "typical", "maximum"])
        .default("none"),
    )
    .addHelpText(
      "after",
      "\nPrints 'ready' when it listens, and runs until SIGTERM or Ctrl-C. Example:\n  thornkey emulator atecc508a --socket ./chip.sock --memory ./chip.eeprom",
    )
    .action(async (options) => {
      const { run } = await import("../emulators/atecc508a/main.ts"); // only here: it takes its time to load
      await run(options);
    });
  command
    .command("piv-card")
    .description("a PIV card (or USB key) in the virtual reader vpcd of vsmartcard; for development, not protection")
    .requiredOption("--vpcd <host:port>", "where the virtual reader listens, as 127.0.0.1:35963")
    .requiredOption("--card <file>", "the card's memory; made, with keys and certificates, when it does not exist")
    .option("--pin-file <file>", "the PIN of a new card (123456 without)")
    .option("--puk-file <file>", "the PUK of a new card (12345678 without)")
    .option("--key <slot=algorithm...>", "keys of a new card that are not to be P-256: P-384 or RSA-2048")
    .option("--touch <slot...>", "keys of a new card that want a finger at every use")
    .option("--finger <file>", "a finger is on the card while this file is there (always, without)")
    .addHelpText(
      "after",
      "\nPrints 'ready' when it is in the reader, and runs until SIGTERM or Ctrl-C. Example:\n  thornkey emulator piv-card --vpcd 127.0.0.1:35963 --card ./me.card --key 9C=RSA-2048",
    )
    .action(async (options) => {
      const { run } = await import("../emulators/piv-card/main.ts"); // only here: it takes its time to load
      await run(options);
    });
  command
    .command("pi-firmware")
    .description("the crypto service of a Raspberry Pi's firmware on a Unix socket; for development, not protection")
    .requiredOption("--socket <path>", "socket to listen on")
    .requiredOption("--otp <file>", "the processor's fuses; made, blank, when it does not exist")
    .option("--key", "make a key in OTP that has none")
    .addOption(
      new Option("--mode <mode>", "what firmware, behind what node (docs/pi.md)").choices(MODES).default("normal"),
    )
    .addHelpText(
      "after",
      "\nPrints 'ready' when it listens, and runs until SIGTERM or Ctrl-C. Example:\n  thornkey emulator pi-firmware --socket ./pi.sock --otp ./pi.otp --key",
    )
    .action(async (options) => {
      const { run } = await import("../emulators/pi-firmware/main.ts");
      await run(options);
    });
  return command;
}

/** The modes of src/emulators/pi-firmware/firmware.ts, which takes its time to load. */
const MODES = ["normal", "old", "restricted", "single-lock", "no-keys"] as const;
