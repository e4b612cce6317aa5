import { Command, InvalidArgumentError } from "commander";
import type { DevicePolicy, Namespace } from "../client/index.ts";
import { DEMANDED_FOR, type DemandedFor } from "../operations/persons.ts";
import { parseWho } from "../operations/who.ts";
import { type AskOptions, asking, show, timeText, wholeNumber, whoOf, withVault } from "./ask.ts";
import { table } from "./output.ts";

/** `thornkey device`, `namespace`, `confirm`: who has a say. */
export function deviceCommands(): readonly Command[] {
  const device = new Command("device").description("who administers, audits and observes the vault");
  device.addCommand(
    asking("show", "who administers, audits, observes; who may make keys").action((options: AskOptions) =>
      withVault(options, async (vault) => showPolicy(options, await vault.device.policy())),
    ),
  );
  device.addCommand(
    asking("change", "a list that is given replaces the one there is")
      .option("--administrator <who>", "manage keys and the vault; they do not use keys", callers)
      .option("--auditor <who>", "read the whole journal", callers)
      .option("--observer <who>", "see how the vault is", callers)
      .option("--creator <who>", "may make keys of their own", callers)
      .option(
        "--demand <what=names>",
        "is done only while one of these people is there; nothing after = ends it",
        demands,
      )
      .option("--keys-per-owner <n>", "how many keys one owner may have", wholeNumber)
      .option("--early-boot-seconds <n>", "when the early boot ends by itself", wholeNumber)
      .action(changeDevice),
  );

  const namespace = new Command("namespace").description("keys of tenants, apart from the others");
  namespace.addCommand(
    asking("create", "make a namespace")
      .argument("<name>")
      .requiredOption("--administrator <who>", "makes and manages its keys", callers)
      .option("--keys-at-most <n>", "how many keys it may have", wholeNumber)
      .action(createNamespace),
  );
  namespace.addCommand(
    asking("list", "the namespaces you administer").action((options: AskOptions) =>
      withVault(options, async (vault) => showNamespaces(options, await vault.namespaces.list())),
    ),
  );
  namespace.addCommand(
    asking("delete", "remove an empty namespace")
      .argument("<name>")
      .action(async (name: string, options: AskOptions) => {
        await withVault(options, (vault) => vault.namespaces.delete(name));
        if (options.json) show(options, { deleted: name }, () => []);
      }),
  );

  const confirm = new Command("confirm").description("uses of keys that wait for a yes of yours");
  confirm.addCommand(asking("list", "what waits").action(listWaiting));
  confirm.addCommand(
    asking("answer", "confirm or refuse a use")
      .argument("<id>", "from 'thornkey confirm list'", wholeNumber)
      .option("--refuse", "say no")
      .action(async (id: number, options: AskOptions & { refuse?: boolean }) => {
        const approve = !options.refuse;
        await withVault(options, (vault) => vault.confirmations.answer(id, approve));
        if (options.json) show(options, { id, approve }, () => []);
      }),
  );
  return [device, namespace, confirm];
}

function callers(text: string, before: readonly string[] = []): readonly string[] {
  const who = whoOf(text);
  parseWho(who);
  return [...before, who];
}

function demands(
  text: string,
  before: ReadonlyMap<DemandedFor, readonly string[]> = new Map(),
): ReadonlyMap<DemandedFor, readonly string[]> {
  const [what = "", names = ""] = text.split("=", 2);
  const group = DEMANDED_FOR.find((one) => one === what);
  if (group === undefined) throw new InvalidArgumentError(`Write what=names; what is ${DEMANDED_FOR.join(", ")}.`);
  return new Map([...before, [group, names.split(",").filter((name) => name !== "")]]);
}

/** What is not mentioned stays. */
function demandsWith(
  before: DevicePolicy["demands"],
  changed: ReadonlyMap<DemandedFor, readonly string[]>,
): DevicePolicy["demands"] {
  const staying = before.filter(({ what }) => !changed.has(what));
  const added = [...changed].map(([what, persons]) => ({ what, persons: [...persons] }));
  return [...staying, ...added.filter(({ persons }) => persons.length > 0)];
}

interface ChangeOptions extends AskOptions {
  readonly administrator?: readonly string[];
  readonly auditor?: readonly string[];
  readonly observer?: readonly string[];
  readonly creator?: readonly string[];
  readonly demand?: ReadonlyMap<DemandedFor, readonly string[]>;
  readonly keysPerOwner?: number;
  readonly earlyBootSeconds?: number;
}

async function changeDevice(options: ChangeOptions): Promise<void> {
  const { demand } = options;
  const policy = await withVault(options, async (vault) =>
    vault.device.change({
      ...(demand && { demands: demandsWith((await vault.device.policy()).demands, demand) }),
      administrators: options.administrator,
      auditors: options.auditor,
      observers: options.observer,
      creators: options.creator,
      keysPerOwner: options.keysPerOwner,
      earlyBootSeconds: options.earlyBootSeconds,
    }),
  );
  showPolicy(options, policy);
}

function showPolicy(options: AskOptions, policy: DevicePolicy): void {
  show(options, policy, () => {
    const rows: [string, string][] = [
      ["administrators", policy.administrators.join(", ")],
      ["auditors", policy.auditors.join(", ")],
      ["observers", policy.observers.join(", ")],
      ["may make keys", policy.creators.join(", ")],
      ["keys per owner", `${policy.keysPerOwner}`],
      ["early boot", `${policy.earlyBootSeconds} seconds at most`],
      ...policy.demands.map(({ what, persons }): [string, string] => [
        `for ${what}`,
        `${persons.join(" or ")} must be there`,
      ]),
    ];
    return rows.map(([name, value]) => `${name.padEnd(16)}${value || "nobody"}`);
  });
}

async function createNamespace(
  name: string,
  options: AskOptions & { administrator: readonly string[]; keysAtMost?: number },
): Promise<void> {
  const { administrator: administrators, keysAtMost } = options;
  const made = await withVault(options, (vault) => vault.namespaces.create({ name, administrators, keysAtMost }));
  if (options.json) show(options, made, () => []);
}

function showNamespaces(options: AskOptions, namespaces: readonly Namespace[]): void {
  const rows = namespaces.map((one) => [one.name, one.administrators, `${one.keysAtMost}`]);
  show(options, namespaces, () => table(["namespace", "administrators", "keys at most"], rows));
}

async function listWaiting(options: AskOptions): Promise<void> {
  const waiting = await withVault(options, (vault) => vault.confirmations.list());
  const rows = waiting.map((one) => [`${one.id}`, one.key, one.operation, one.caller, timeText(one.until)]);
  show(options, waiting, () => table(["id", "key", "use", "by", "until"], rows));
}
