/** The process that has a PKCS#11 module loaded and talks to one token. */
import { toHex } from "../../bytes/bytes.ts";
import { ThornkeyError } from "../../errors.ts";
import { serveProcess } from "../owner-process.ts";
import type { KeyListing, MechanismFacts, TokenCalls } from "./calls.ts";
import { CKA, CKM, CKO } from "./constants.ts";
import type { Pkcs11Location } from "./location.ts";
import type { Attribute, Ulong } from "./memory.ts";
import { loadModule, type Module } from "./module.ts";
import { agree, attribute, destroyAll, find, generate, keyFacts, privateKey, sign } from "./objects.ts";
import { errorOf, ReturnValue } from "./return-values.ts";
import { tokenSession } from "./session.ts";
import { tokensOf } from "./tokens.ts";

serveProcess((data) => {
  const location = data as Pkcs11Location;
  const session = tokenSession(location);

  const keyOf = (module: Module, opened: Ulong, id: string): Ulong => {
    const known = session.handles.get(id);
    if (known !== undefined) return known;
    const found = privateKey(module, opened, id);
    if (found === undefined) throw new ThornkeyError("KEY_NOT_FOUND", `the token has no key 'id:${id}'`);
    if (session.handles.size >= MOST_HANDLES) session.handles.clear();
    session.handles.set(id, found);
    return found;
  };

  const calls: TokenCalls = {
    list() {
      try {
        const module = loadModule(location.module);
        module.initialize();
        try {
          return tokensOf(module);
        } finally {
          module.finalize();
        }
      } catch (error) {
        throw error instanceof ReturnValue ? errorOf(error, `the module ${location.module}`) : error;
      }
    },
    look: () => ({ facts: session.facts(), mechanisms: session.look(mechanismsOf) }),
    login(pin, unsure) {
      try {
        return session.login(pin, unsure);
      } finally {
        pin?.fill(0);
      }
    },
    random: (length) =>
      session.use((module, opened) => {
        const { memory } = module;
        const bytes = memory.room(length);
        module.call("C_GenerateRandom", opened, bytes, length);
        return memory.read(bytes, length);
      }),
    keys: (labelled) =>
      session.use((module, opened) => {
        const wanted: Attribute[] = [[CKA.CLASS, CKO.PRIVATE_KEY]];
        if (labelled !== undefined) wanted.push([CKA.LABEL, labelled]);
        return find(module, opened, wanted).map((object): KeyListing => {
          const [id = NOTHING, label] = [CKA.ID, CKA.LABEL].map((type) => attribute(module, opened, object, type));
          return { id: toHex(id), label: new TextDecoder().decode(label) };
        });
      }),
    key: (id) => session.use((module, opened) => keyFacts(module, opened, keyOf(module, opened, id), id)),
    generate: (wanted) => session.use((module, opened) => generate(module, opened, wanted)),
    sign: (id, mechanism, data) =>
      session.use((module, opened) => sign(module, opened, keyOf(module, opened, id), mechanism, data)),
    agree: (id, peers, length) =>
      session.use((module, opened) => {
        const key = keyOf(module, opened, id);
        return peers.map((peer) => agree(module, opened, key, peer, length));
      }),
    destroy(id) {
      session.handles.delete(id);
      return session.use((module, opened) => destroyAll(module, opened, id));
    },
  };
  return { calls, close: session.close };

  function mechanismsOf(module: Module, slot: Ulong): MechanismFacts[] {
    const { memory } = module;
    const list = memory.room(MOST_MECHANISMS * memory.word);
    const count = memory.words(MOST_MECHANISMS);
    module.call("C_GetMechanismList", slot, list, count);
    const given = Array.from({ length: Math.min(Number(memory.ulong(count)), MOST_MECHANISMS) }, (_, index) =>
      memory.ulong(list + index * memory.word),
    );
    const info = memory.words(0, 0, 0);
    return given.filter(isOurs).flatMap((type) => {
      try {
        module.call("C_GetMechanismInfo", slot, type, info);
      } catch (error) {
        if (error instanceof ReturnValue && error.meaning.lost === "nothing") return []; // it lists what it has not
        throw error;
      }
      const [least, most, flags] = [0, 1, 2].map((at) => Number(memory.ulong(info + at * memory.word)));
      return [{ type: Number(type), least: least ?? 0, most: most ?? 0, flags: flags ?? 0 }];
    });
  }
});

const NOTHING = new Uint8Array();
const MOST_MECHANISMS = 1024;
/** Keys whose handles are remembered. */
const MOST_HANDLES = 1000;
const ours: ReadonlySet<Ulong> = new Set(Object.values(CKM));
const isOurs = (type: Ulong) => ours.has(type);
