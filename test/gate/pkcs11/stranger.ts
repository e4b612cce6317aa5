/** A program of another user, which was told of a key's handle: `node stranger.ts SOCKET HANDLE`. Prints what it heard. */
import { CKA, CKM, CKO } from "../../../src/gate/pkcs11/constants.ts";
import { openWireClient } from "./wire-client.ts";

const [, , path = "", handle] = process.argv;
const client = await openWireClient(path);
const [session] = (await client.call("OpenSession", 0, 6)) as [number];
const of = (...pairs: (readonly [number, unknown])[]) => pairs.map(([type, value]) => ({ type, value }));
const key = Number(handle);
const heard: Record<string, unknown> = {};
for (const cls of [CKO.PRIVATE_KEY, CKO.PUBLIC_KEY, CKO.SECRET_KEY, CKO.CERTIFICATE, CKO.DATA]) {
  await client.call("FindObjectsInit", session, of([CKA.CLASS, cls]));
  const [found] = (await client.call("FindObjects", session, 100)) as [number[]];
  await client.call("FindObjectsFinal", session);
  heard[`found ${cls}`] = found.length;
}
heard.attributes = await client.call("GetAttributeValue", session, key, [{ type: CKA.LABEL, room: 100 }]);
heard.size = await client.call("GetObjectSize", session, key);
heard.sign = await client.call("SignInit", session, { type: CKM.ECDSA, fields: null }, key);
heard.copy = await client.call("CopyObject", session, key, []);
heard.change = await client.call("SetAttributeValue", session, key, of([CKA.LABEL, new Uint8Array(1)]));
heard.destroy = await client.call("DestroyObject", session, key);
heard.wrap = await client.call("WrapKey", session, { type: CKM.AES_ECB, fields: null }, key, key, 100);
heard.derive = await client.call(
  "DeriveKey2",
  session,
  { type: CKM.ECDH1_DERIVE, fields: [1, null, new Uint8Array(65)] },
  key,
  [],
);
console.log(JSON.stringify(heard));
client.close();
