/** The API of applications: one method for each operation of the vault. */
import type { Secret } from "../bytes/secret.ts";
import type { ObjectInfo, ObjectSummary } from "../operations/objects.ts";
import type {
  ArgsOf,
  BindingStatus,
  DevicePolicy,
  KeyInfo,
  KeySummary,
  Namespace,
  OperationName,
  ReplyOf,
  RootLockout,
  VaultEvent,
  VaultStatus,
  WalletSummary,
} from "../operations/table.ts";
import { type Answered, type Call, type CallOptions, createCall, type Given } from "./caller.ts";
import { type EventOptions, readEvents } from "./events.ts";
import { type Key, keyHandle } from "./key.ts";
import type { Transport } from "./transport.ts";

/** The arguments of an operation, and how to give it up. */
type With<Name extends OperationName, Own extends string = never> = Omit<Given<ArgsOf<Name>>, Own> & CallOptions;

/**
 * A connection to the vault. Every method may fail with the `ThornkeyError` the vault answers, with `VAULT_UNAVAILABLE`,
 * `TIMED_OUT`, and with `ABORTED` when its signal fires. A restart of gate or vault is only a delay.
 */
export interface Thornkey extends AsyncDisposable {
  /** Any operation by its name, as the table of operations has it. */
  readonly call: Call;
  /** A key by its name, `NAMESPACE/NAME`, or its id; the vault is not asked yet. */
  key(name: string): Key;
  readonly keys: {
    create(args: With<"key.create">): Promise<KeyInfo>;
    import(args: With<"key.import">): Promise<KeyInfo>;
    /** Every key the caller has a right on, page by page. */
    list(args?: With<"key.list">): AsyncGenerator<KeySummary, void>;
    show(name: string, options?: CallOptions): Promise<KeyInfo>;
    public(name: string, options?: CallOptions): Promise<ReplyOf<"key.public">>;
    policy(name: string, change: With<"key.policy", "key">): Promise<KeyInfo>;
    /** @returns the key as a file (TSS2 PEM) with which other programs use it in the vault's TPM */
    file(name: string, args?: With<"key.file", "key">): Promise<Uint8Array>;
    delete(name: string, options?: CallOptions): Promise<void>;
  };
  /** Certificates, public keys of others, data of programs. */
  readonly objects: {
    create(args: With<"object.create">): Promise<ObjectSummary>;
    /** Those the caller may see, page by page. */
    list(args?: With<"object.list">): AsyncGenerator<ObjectSummary, void>;
    /** @param object its id, or its name if only one has it */
    show(object: string, options?: CallOptions): Promise<ObjectInfo>;
    change(object: string, change: With<"object.change", "object">): Promise<ObjectSummary>;
    delete(object: string, options?: CallOptions): Promise<void>;
  };
  /** The caller's PIN, for the PKCS#11 socket with a login. */
  readonly pins: {
    set(args: With<"pin.set">): Promise<void>;
    /** @throws ThornkeyError `NOT_PERMITTED` when it is wrong, `LIMIT_REACHED` after too many */
    check(pin: Uint8Array, options?: CallOptions): Promise<void>;
    status(options?: CallOptions): Promise<ReplyOf<"pin.status">>;
    reset(uid: number, options?: CallOptions): Promise<void>;
  };
  /** People who show with a token of theirs that they are there. */
  readonly users: {
    /** @returns 32 bytes to sign (personMessage), once and soon */
    challenge(name: string, options?: CallOptions): Promise<ReplyOf<"user.challenge">>;
    enroll(args: With<"user.enroll">): Promise<void>;
    list(options?: CallOptions): Promise<ReplyOf<"user.list">["users"]>;
    remove(name: string, options?: CallOptions): Promise<void>;
    /** @returns until when he counts as there; milliseconds since 1970 */
    prove(args: With<"user.prove">): Promise<number>;
  };
  /** @param length 1 to 61,440 bytes */
  random(length: number, options?: CallOptions): Promise<Secret>;
  readonly storage: {
    publicKey(args?: With<"storage.public">): Promise<ReplyOf<"storage.public">>;
    /** @returns the 16 bytes of a locked object's file key */
    open(args: With<"storage.open">): Promise<Secret>;
  };
  status(options?: CallOptions): Promise<VaultStatus>;
  /** As long as it is the same, lists and rights are. */
  version(options?: CallOptions): Promise<Uint8Array>;
  figures(options?: CallOptions): Promise<ReplyOf<"figures">["figures"]>;
  freeze(args?: With<"freeze">): Promise<void>;
  thaw(options?: CallOptions): Promise<void>;
  /** For ever. @param args.device the vault's id, from its status */
  destroy(args: With<"destroy">): Promise<ReplyOf<"destroy">>;
  bootComplete(options?: CallOptions): Promise<void>;
  readonly device: {
    policy(options?: CallOptions): Promise<DevicePolicy>;
    change(args: With<"device.change">): Promise<DevicePolicy>;
  };
  readonly namespaces: {
    create(args: With<"namespace.create">): Promise<Namespace>;
    list(options?: CallOptions): Promise<readonly Namespace[]>;
    delete(name: string, options?: CallOptions): Promise<void>;
  };
  readonly binding: {
    status(options?: CallOptions): Promise<BindingStatus>;
    now(args?: With<"bind.now">): Promise<BindingStatus>;
    seal(args?: With<"bind.seal">): Promise<Answered<"bind.seal">>;
    confirm(args: With<"bind.confirm">): Promise<BindingStatus>;
    undo(args: With<"bind.undo">): Promise<BindingStatus>;
    rebind(args: With<"bind.rebind">): Promise<BindingStatus>;
  };
  /** The hardware the state is on. */
  readonly roots: {
    list(options?: CallOptions): Promise<ReplyOf<"root.list">>;
    add(args: With<"root.add">): Promise<ReplyOf<"root.add">>;
    /** @param root its specification or serial number */
    remove(root: string, args?: With<"root.remove", "root">): Promise<ReplyOf<"root.remove">>;
    move(args: With<"root.move">): Promise<ReplyOf<"root.move">>;
    /** Of parts that count failures. */
    lockouts(options?: CallOptions): Promise<readonly RootLockout[]>;
    /** @returns how they are afterwards. @throws ThornkeyError `ROOT_REFUSED` when another program has that right */
    resetLockout(args?: With<"root.lockout.reset">): Promise<readonly RootLockout[]>;
  };
  /** Trees of keys derived from one secret. Mnemonics are answered once, as ASCII words. */
  readonly wallets: {
    /** @returns the master, and what it is restored from; nothing of that with `recovery: "none"` */
    create(args: With<"wallet.create">): Promise<Answered<"wallet.create">>;
    restore(args: With<"wallet.restore">): Promise<KeyInfo>;
    watch(args: With<"wallet.watch">): Promise<KeyInfo>;
    /** @param key the key to derive from */
    child(key: string, args: With<"wallet.child", "key">): Promise<ReplyOf<"wallet.child">>;
    address(key: string, args?: With<"wallet.address", "key">): Promise<ReplyOf<"wallet.address">>;
    find(args: With<"wallet.find">): Promise<KeyInfo>;
    list(options?: CallOptions): Promise<readonly WalletSummary[]>;
    /** SLIP-39: one thing at a time on the device, from its beginning to its last share or `cancel`. */
    readonly shares: {
      begin(args: With<"wallet.shares.begin">): Promise<void>;
      group(args: With<"wallet.shares.group">): Promise<void>;
      /** @returns the share; with the last one the master, too */
      member(args?: With<"wallet.shares.member">): Promise<Answered<"wallet.shares.member">>;
      restore(args: With<"wallet.shares.restore.begin">): Promise<void>;
      /** @returns the master as soon as there are enough right shares */
      add(args: With<"wallet.shares.restore.add">): Promise<KeyInfo | undefined>;
      cancel(options?: CallOptions): Promise<void>;
    };
  };
  readonly journal: {
    /** The lines the caller may see, as they were written, until there are no more. */
    read(args?: With<"journal.read">): AsyncGenerator<string, void>;
    checkpoint(options?: CallOptions): Promise<ReplyOf<"journal.checkpoint">>;
  };
  /** What happens, until the signal fires; goes on after restarts without losing or repeating anything. */
  events(options?: EventOptions): AsyncGenerator<VaultEvent, void>;
  readonly confirmations: {
    list(options?: CallOptions): Promise<ReplyOf<"confirm.list">["waiting"]>;
    answer(id: number, approve: boolean, options?: CallOptions): Promise<void>;
  };
  /** Ends the connections; what is on its way fails with `ABORTED`. */
  close(): Promise<void>;
}

export function thornkeyOver(transport: Transport): Thornkey {
  const call = createCall(transport);
  const key = (name: string) => keyHandle(call, name);
  const close = async () => transport.close();
  /** A method of an operation whose reply is what it answers. */
  const plain =
    <Name extends OperationName>(name: Name) =>
    ({ signal, ...args }: With<Name>) =>
      call(name, args as unknown as Given<ArgsOf<Name>>, { signal });
  return {
    call,
    key,
    keys: {
      create: async (args) => (await plain("key.create")(args)).key,
      import: async (args) => (await plain("key.import")(args)).key,
      list: (args = {}) => listKeys(call, args),
      show: (name, options) => key(name).show(options),
      public: (name, options) => key(name).public(options),
      policy: (name, change) => key(name).policy(change),
      file: async (name, args = {}) => (await plain("key.file")({ key: name, ...args })).file,
      delete: (name, options) => key(name).delete(options),
    },
    objects: {
      create: async (args) => (await plain("object.create")(args)).object,
      list: (args = {}) => listObjects(call, args),
      show: async (object, options) => (await call("object.show", { object }, options)).object,
      change: async (object, { signal, ...change }) =>
        (await call("object.change", { object, ...change }, { signal })).object,
      delete: async (object, options) => void (await call("object.delete", { object }, options)),
    },
    pins: {
      set: async (args) => void (await plain("pin.set")(args)),
      check: async (pin, options) => void (await call("pin.check", { pin }, options)),
      status: (options) => call("pin.status", {}, options),
      reset: async (uid, options) => void (await call("pin.reset", { uid }, options)),
    },
    users: {
      challenge: (name, options) => call("user.challenge", { name }, options),
      enroll: async (args) => void (await plain("user.enroll")(args)),
      list: async (options) => (await call("user.list", {}, options)).users,
      remove: async (name, options) => void (await call("user.remove", { name }, options)),
      prove: async (args) => (await plain("user.prove")(args)).until,
    },
    random: async (length, options) => (await call("random", { length }, options)).random,
    storage: {
      publicKey: (args = {}) => plain("storage.public")(args),
      open: async (args) => (await plain("storage.open")(args)).fileKey,
    },
    status: (options) => call("status", {}, options),
    version: async (options) => (await call("version", {}, options)).version,
    figures: async (options) => (await call("figures", {}, options)).figures,
    freeze: async (args = {}) => void (await plain("freeze")(args)),
    thaw: async (options) => void (await call("thaw", {}, options)),
    destroy: (args) => plain("destroy")(args),
    bootComplete: async (options) => void (await call("boot.complete", {}, options)),
    device: {
      policy: (options) => call("device.policy", {}, options),
      change: (args) => plain("device.change")(args),
    },
    namespaces: {
      create: async (args) => (await plain("namespace.create")(args)).namespace,
      list: async (options) => (await call("namespace.list", {}, options)).namespaces,
      delete: async (name, options) => void (await call("namespace.delete", { name }, options)),
    },
    roots: {
      list: (options) => call("root.list", {}, options),
      add: (args) => plain("root.add")(args),
      remove: (root, args = {}) => plain("root.remove")({ root, ...args }),
      move: (args) => plain("root.move")(args),
      lockouts: async (options) => (await call("root.lockout", {}, options)).lockouts,
      resetLockout: async (args = {}) => (await plain("root.lockout.reset")(args)).lockouts,
    },
    binding: {
      status: (options) => call("bind.status", {}, options),
      now: (args = {}) => plain("bind.now")(args),
      seal: (args = {}) => plain("bind.seal")(args),
      confirm: (args) => plain("bind.confirm")(args),
      undo: (args) => plain("bind.undo")(args),
      rebind: (args) => plain("bind.rebind")(args),
    },
    wallets: {
      create: (args) => plain("wallet.create")(args),
      restore: async (args) => (await plain("wallet.restore")(args)).key,
      watch: async (args) => (await plain("wallet.watch")(args)).key,
      child: (name, args) => plain("wallet.child")({ key: name, ...args }),
      address: (name, args = {}) => plain("wallet.address")({ key: name, ...args }),
      find: async (args) => (await plain("wallet.find")(args)).key,
      list: async (options) => (await call("wallet.list", {}, options)).wallets,
      shares: {
        begin: async (args) => void (await plain("wallet.shares.begin")(args)),
        group: async (args) => void (await plain("wallet.shares.group")(args)),
        member: (args = {}) => plain("wallet.shares.member")(args),
        restore: async (args) => void (await plain("wallet.shares.restore.begin")(args)),
        add: async (args) => (await plain("wallet.shares.restore.add")(args)).key,
        cancel: async (options) => void (await call("wallet.shares.cancel", {}, options)),
      },
    },
    journal: {
      read: (args = {}) => readJournal(call, args),
      checkpoint: (options) => call("journal.checkpoint", {}, options),
    },
    events: (options = {}) => readEvents(transport, options),
    confirmations: {
      list: async (options) => (await call("confirm.list", {}, options)).waiting,
      answer: async (id, approve, options) => void (await call("confirm.answer", { id, approve }, options)),
    },
    close,
    [Symbol.asyncDispose]: close,
  };
}

async function* listKeys(call: Call, { signal, ...args }: With<"key.list">): AsyncGenerator<KeySummary, void> {
  let { after } = args;
  for (let more = true; more; ) {
    const page = await call("key.list", { ...args, after }, { signal });
    yield* page.keys;
    more = page.more && page.after !== undefined && page.after !== after;
    after = page.after;
  }
}

async function* listObjects(call: Call, { signal, ...args }: With<"object.list">): AsyncGenerator<ObjectSummary, void> {
  let { after } = args;
  for (let more = true; more; ) {
    const page = await call("object.list", { ...args, after }, { signal });
    yield* page.objects;
    more = page.more && page.after !== undefined && page.after !== after;
    after = page.after;
  }
}

/** `limit` is the length of a page; all pages are read. */
async function* readJournal(call: Call, { signal, ...args }: With<"journal.read">): AsyncGenerator<string, void> {
  let { after } = args;
  for (let more = true; more; ) {
    const page = await call("journal.read", { ...args, after }, { signal });
    yield* page.lines;
    const last = page.lines.at(-1);
    more = page.more && last !== undefined;
    if (last !== undefined) after = Number((JSON.parse(last) as { sequence?: unknown }).sequence);
  }
}
