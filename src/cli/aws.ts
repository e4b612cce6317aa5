import { Command, InvalidArgumentError, Option } from "commander";
import { ThornkeyError } from "../errors.ts";
import { asking, collect } from "./ask.ts";
import { each } from "./documents.ts";

/** `thornkey aws`: AWS IoT Core, with a device key that never leaves the vault. */
export function awsCommand(): Command {
  const command = new Command("aws").description("AWS IoT Core with a key of the vault: join a fleet, talk to it");
  command.addCommand(
    asking("provision", "fleet provisioning by claim: a certificate for the key, and a thing")
      .requiredOption("--key <name>", "the device's key; p256, p384 or rsa")
      .requiredOption("--endpoint <host[:port]>", "of the account and region; port 8883, or 443")
      .requiredOption("--template <name>", "the provisioning template")
      .option("--claim <name>", "the claim's key in the vault, with its certificate attached")
      .option("--claim-cert <file>", "or the claim's certificate, PEM")
      .option("--claim-key <file>", "and its private key, PEM")
      .option("--parameter <name=value>", "of the template; as often as you like", each)
      .option("--subject <dn>", "of the request; CN= and the client id without it")
      .option("--ca <file>", "authorities the endpoint is checked with; those Node.js brings without it")
      .option("--client-id <id>", "the device's id without it")
      .addOption(timeoutOption())
      .addHelpText("after", PROVISION_HELP)
      .action(async (options) => (await import("./aws/provision.ts")).provisionCommand(options)),
  );
  command.addCommand(
    asking("connect", "publish and subscribe over mutual TLS, with the device's key")
      .requiredOption("--key <name>", "the device's key, with its certificate attached")
      .option("--endpoint <host[:port]>", "where the key was provisioned without it")
      .option("--ca <file>", "authorities the endpoint is checked with")
      .option("--client-id <id>", "the thing's name without it")
      .option("--subscribe <topic>", "print what is sent there; as often as you like, or with commas", collect)
      .option("--publish <topic>", "send a message there")
      .option("--message <text>", "the message; standard input without it, or for -")
      .addOption(new Option("--qos <n>", "0: at most once; 1: at least once").choices(["0", "1"]).default("1"))
      .option("--count <n>", "end after so many messages", positive)
      .addOption(new Option("--mqtt <version>", "of the protocol").choices(["3", "5"]).default("3"))
      .addOption(timeoutOption())
      .addHelpText("after", CONNECT_HELP)
      .action(async (options) => (await import("./aws/connect.ts")).connectCommand(options)),
  );
  return command;
}

const PROVISION_HELP = `
The private key stays where it is: AWS gets a request for a certificate. What comes back is attached to the key,
and 'thornkey aws connect --key NAME' knows where to go.

Example:
  thornkey key new device --allow me
  thornkey aws provision --key device --endpoint a1b2c3-ats.iot.eu-central-1.amazonaws.com --template fleet \\
      --claim-cert claim.pem --claim-key claim.key --parameter SerialNumber=0042`;

const CONNECT_HELP = `
Without --publish and --subscribe it connects, says so, and ends. With --subscribe it goes on until --count
messages came, or somebody ends it; a connection that breaks is made again.

Example:
  thornkey aws connect --key device --subscribe pumps/7/set --count 1
  echo '{"level":3}' | thornkey aws connect --key device --publish pumps/7/level`;

function timeoutOption(): Option {
  return new Option("--timeout <seconds>", "for the connection, and for each answer").argParser(positive).default(30);
}

/** @throws InvalidArgumentError */
function positive(text: string): number {
  if (!/^[1-9]\d{0,5}$/.test(text)) throw new InvalidArgumentError("Not a whole number above 0.");
  return Number(text);
}

/** @returns `NAME=VALUE`s as a record. @throws ThornkeyError `USAGE` */
export function parametersOf(words: readonly string[] = []): { readonly [name: string]: string } {
  return Object.fromEntries(
    words.map((word) => {
      const [, name, value] = /^([^=\s]+)=(.*)$/s.exec(word) ?? [];
      if (name !== undefined && value !== undefined) return [name, value];
      throw new ThornkeyError("USAGE", `'${word}' is no parameter`, { hint: "write NAME=VALUE" });
    }),
  );
}
