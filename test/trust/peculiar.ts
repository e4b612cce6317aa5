/** An independent reader of certificates. It wants metadata of decorators, which nothing here has. */
const none = {
  getMetadata: () => undefined,
  getOwnMetadata: () => undefined,
  hasMetadata: () => false,
  defineMetadata() {},
};
Object.assign(Reflect, none, { metadata: () => () => {} });

export const x509 = await import("@peculiar/x509");
