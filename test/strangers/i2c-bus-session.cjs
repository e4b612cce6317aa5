// Uses the chip as a program of somebody else would: plain Node, the npm package i2c-bus, and the data sheet.
//   node i2c-bus-session.cjs use DIGEST | disturb
const i2c = require("i2c-bus");

const CHIP = 0x60;
const PATIENCE_MILLISECONDS = 60_000;

const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

function crc(bytes) {
  let register = 0;
  for (const byte of bytes) {
    for (let bit = 0; bit < 8; bit++) {
      const differ = ((byte >> bit) & 1) !== register >> 15;
      register = (register << 1) & 0xffff;
      if (differ) register ^= 0x8005;
    }
  }
  return Buffer.from([register & 0xff, register >> 8]);
}

function packet(opcode, param1, param2, data = Buffer.alloc(0)) {
  const body = Buffer.from([data.length + 7, opcode, param1, param2, 0, ...data]);
  return Buffer.concat([Buffer.of(3), body, crc(body)]);
}

function payloadOf(answer) {
  const body = answer.subarray(0, -2);
  if (answer[0] !== answer.length || !crc(body).equals(answer.subarray(-2))) {
    throw new Error(`not an answer of this length: ${answer.toString("hex")}`);
  }
  return body.subarray(1);
}

/** The result, or the code of the error when the chip did not acknowledge. */
function codeOf(action) {
  try {
    return action();
  } catch (error) {
    return error.code;
  }
}

function readSync(bus, length) {
  const answer = Buffer.alloc(length);
  const count = bus.i2cReadSync(CHIP, length, answer);
  return answer.subarray(0, count);
}

/** @returns the code of the error of the general call, which nobody acknowledges */
async function wake(bus) {
  const code = codeOf(() => bus.i2cWriteSync(0, 1, Buffer.of(0)));
  await sleep(3);
  return code;
}

async function answerTo(bus, request, length) {
  await bus.i2cWrite(CHIP, request.length, request);
  const deadline = Date.now() + PATIENCE_MILLISECONDS;
  for (;;) {
    try {
      const { bytesRead, buffer } = await bus.i2cRead(CHIP, length + 3, Buffer.alloc(length + 3));
      return payloadOf(buffer.subarray(0, bytesRead));
    } catch (error) {
      if (error.code !== "EREMOTEIO" || Date.now() > deadline) throw error;
      await sleep(1);
    }
  }
}

async function useChip(digest) {
  const bus = i2c.openSync(1);
  const asleep = codeOf(() => readSync(bus, 4));
  const generalCall = await wake(bus);
  const awake = readSync(bus, 4).toString("hex");
  const scan = bus.scanSync();
  bus.i2cWriteSync(CHIP, 8, packet(0x30, 0, 0));
  const info = payloadOf(readSync(bus, 7)).toString("hex");
  bus.closeSync();

  const promised = await i2c.openPromisified(1);
  // Many threads on one descriptor, which the first read opens.
  await promised.i2cRead(CHIP, 1, Buffer.alloc(1));
  const lengths = Array.from({ length: 2000 }, (_, i) => 1 + (i % 40));
  const reads = lengths.map((length) => promised.i2cRead(CHIP, length, Buffer.alloc(length)));
  const atOnce = (await Promise.all(reads)).map(({ bytesRead }) => bytesRead);
  const report = {
    asleep,
    generalCall,
    awake,
    scan,
    info,
    atOnce,
    random: (await answerTo(promised, packet(0x1b, 0, 0), 32)).toString("hex"),
    publicKey: (await answerTo(promised, packet(0x40, 0, 0), 64)).toString("hex"),
    nonce: (await answerTo(promised, packet(0x16, 3, 0, digest), 1)).toString("hex"),
    signature: (await answerTo(promised, packet(0x41, 0x80, 0), 64)).toString("hex"),
  };
  await promised.i2cWrite(CHIP, 1, Buffer.of(1));
  const afterSleep = await promised.i2cRead(CHIP, 4, Buffer.alloc(4)).catch((error) => error.code);
  await promised.close();
  return { ...report, afterSleep };
}

/** On a busy machine a read may come too late, or the watchdog too early; then it is tried again. */
async function disturbChip() {
  const bus = i2c.openSync(1);
  const deadline = Date.now() + PATIENCE_MILLISECONDS;
  while (Date.now() < deadline) {
    await wake(bus);
    const request = packet(0x40, 0, 0);
    const sent = codeOf(() => bus.i2cWriteSync(CHIP, request.length, request));
    const busy = codeOf(() => readSync(bus, 67));
    let answer = "EREMOTEIO";
    for (let tries = 0; tries < 200 && answer === "EREMOTEIO"; tries++) {
      await sleep(2);
      answer = codeOf(() => readSync(bus, 67));
    }
    if (sent === request.length && typeof busy === "string" && answer[0] === 67) {
      return { busy, publicKey: payloadOf(answer).toString("hex") };
    }
  }
  return { busy: "never" };
}

const [what, digest] = process.argv.slice(2);
(what === "use" ? useChip(Buffer.from(digest, "hex")) : disturbChip()).then((report) =>
  console.log(JSON.stringify(report)),
);
