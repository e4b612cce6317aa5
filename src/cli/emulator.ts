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
