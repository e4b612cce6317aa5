/** Searching for objects. */
import { type Attribute, equalValues } from "./attributes.ts";
import { CKA } from "./constants.ts";
import { DONE, type Handlers } from "./handlers.ts";
import type { TokenObject } from "./object.ts";
import { active, end, type Finding, mustBeIdle } from "./session.ts";

export const findCalls: Handlers = {
  async FindObjectsInit(application, handle, template) {
    const session = application.session(handle);
    mustBeIdle(session, "find");
    const wanted = template.map(({ type, value }) => ({ type, value }));
    const stored = wantsOnlySessionObjects(wanted) ? [] : await application.token.list();
    const found = [...stored, ...application.sessionObjects()].filter(
      (object) => !application.hides(object.attributes) && matches(object, wanted),
    );
    session.operations.find = finding(found.map((object) => object.handle));
    return DONE;
  },
  FindObjects(application, handle, room) {
    return [active(application.session(handle), "find").next(room)];
  },
  FindObjectsFinal(application, handle) {
    const session = application.session(handle);
    active(session, "find");
    end(session, "find");
    return DONE;
  },
};

function wantsOnlySessionObjects(template: readonly Attribute[]): boolean {
  return template.some(({ type, value }) => type === CKA.TOKEN && value === false);
}

/** An attribute that is hidden is one nobody can search by. */
function matches({ attributes }: TokenObject, template: readonly Attribute[]): boolean {
  return template.every(({ type, value }) => {
    const own = attributes.get(type);
    return own !== undefined && value !== null && equalValues(own, value);
  });
}

function finding(handles: readonly number[]): Finding {
  let position = 0;
  return {
    next(most) {
      const some = handles.slice(position, position + most);
      position += some.length;
      return some;
    },
    close() {},
  };
}
