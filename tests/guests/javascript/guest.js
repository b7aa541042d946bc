// The matrix guest in JavaScript: the synchronous handler, compiled with QuickJS.

import stdout from "wasi:cli/stdout@0.2.0";

function print(line) {
  stdout.getStdout().blockingWriteAndFlush(Uint8Array.from(`${line}\n`, (character) => character.charCodeAt(0)));
}

const behaviours = {
  ok() {
    print("handled ok");
  },
  error() {
    throw "error"; // the name of the case of the WIT's enum
  },
  trap() {
    throw new Error("asked to trap"); // nothing that the WIT knows, so it ends the instance
  },
  loop() {
    for (;;);
  },
  memory() {
    const taken = [];
    for (;;) taken.push(new Uint8Array(1 << 20).fill(1));
  },
};

export const inboundRedis = {
  handleMessage(message) {
    // Only what is short is looked at: QuickJS has no TextDecoder, and a function takes so many arguments and no more.
    const behaviour = message.length < 10 && behaviours[String.fromCharCode(...message)];
    if (behaviour) behaviour();
    else print(`got ${message.length} bytes`);
  },
};
