/** Reading attributes of objects. */
import { type Attribute, type AttributeRoom, lengthOf } from "./attributes.ts";
import { CKR } from "./constants.ts";
import type { Handlers } from "./handlers.ts";
import type { TokenObject } from "./object.ts";

export const attributeCalls: Handlers = {
  GetAttributeValue(application, handle, number, wanted) {
    application.session(handle);
    const width = application.dialect.width ?? 8;
    const object = application.object(number);
    return object instanceof Promise
      ? object.then((found) => valuesOf(found, wanted, width))
      : valuesOf(object, wanted, width);
  },

  async GetObjectSize(application, handle, number) {
    application.session(handle);
    const { attributes } = await application.object(number);
    let size = 0;
    for (const value of attributes.values()) size += lengthOf(value, application.dialect.width ?? 8);
    return [size];
  },
};

/** What can be told is told; the CK_RV says of one that it could not (PKCS#11 v2.40, C_GetAttributeValue). */
function valuesOf(object: TokenObject, wanted: readonly AttributeRoom[], width: number): [Attribute[], number] {
  let rv: number = CKR.OK;
  const values = wanted.map(({ type, room }): Attribute => {
    const answer = answerOf(object, type, room, width);
    if (typeof answer !== "number") return answer;
    if (rv === CKR.OK) rv = answer;
    return { type, value: null };
  });
  return [values, rv];
}

function answerOf({ attributes, hidden }: TokenObject, type: number, room: number, width: number): Attribute | number {
  if (hidden.has(type)) return CKR.ATTRIBUTE_SENSITIVE;
  const value = attributes.get(type);
  if (value === undefined) return CKR.ATTRIBUTE_TYPE_INVALID;
  if (room > 0 && lengthOf(value, width) > room) return CKR.BUFFER_TOO_SMALL;
  return { type, value };
}
