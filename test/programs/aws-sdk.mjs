/**
 * A program with AWS IoT Device SDK v2 for JavaScript: one message out and back. In a process of its own, as its TLS is
 * native code. Arguments: version (3 or 5), `builder.mjs` that `thornkey use aws-iot` wrote for 5, or options as JSON.
 */
import { once } from "node:events";
import { io, iot, mqtt, mqtt5 } from "aws-iot-device-sdk-v2";

const [, , version, what] = process.argv;

async function three({ module, pin, label, cert, ca, host, port }) {
  const library = new io.Pkcs11Lib(module, io.Pkcs11Lib.InitializeFinalizeBehavior.STRICT);
  const config = iot.AwsIotMqttConnectionConfigBuilder.new_mtls_pkcs11_builder({
    pkcs11_lib: library,
    user_pin: pin,
    token_label: "thornkey",
    private_key_object_label: label,
    cert_file_path: cert,
  })
    .with_certificate_authority_from_path(undefined, ca)
    .with_client_id("sdk-3")
    .with_endpoint(host)
    .with_port(port)
    .with_clean_session(true)
    .build();
  const connection = new mqtt.MqttClient().new_connection(config);
  await connection.connect();
  const came = new Promise((resolve) => {
    void connection
      .subscribe("sdk/3", mqtt.QoS.AtLeastOnce, (_, payload) => resolve(new TextDecoder().decode(payload)))
      .then(() => connection.publish("sdk/3", "message by 3.1.1", mqtt.QoS.AtLeastOnce));
  });
  console.log("received", await came);
  await connection.disconnect();
}

async function five(path) {
  const { builder } = await import(path);
  const client = new mqtt5.Mqtt5Client(builder.build());
  client.on("error", (error) => console.error(error));
  const connected = Promise.race([
    once(client, "connectionSuccess"),
    once(client, "connectionFailure").then(([event]) => Promise.reject(event.error)),
  ]);
  client.start();
  await connected;
  const came = once(client, "messageReceived");
  await client.subscribe({ subscriptions: [{ topicFilter: "sdk/5", qos: mqtt5.QoS.AtLeastOnce }] });
  await client.publish({ topicName: "sdk/5", payload: "message by 5", qos: mqtt5.QoS.AtLeastOnce });
  const [{ message }] = await came;
  console.log("received", new TextDecoder().decode(message.payload));
  const stopped = once(client, "stopped");
  client.stop();
  await stopped;
  client.close();
}

// Its library keeps the process alive, whatever was closed.
await (version === "5" ? five(what) : three(JSON.parse(what)));
process.exit(0);
