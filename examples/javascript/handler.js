// Greets whoever a message names: `{"name": "Ada"}` makes it print `Hello, Ada!`.

import stdout from "wasi:cli/stdout@0.2.0";
import { get } from "fermyon:spin/variables@2.0.0";

// QuickJS has neither console nor TextDecoder and TextEncoder; these are their UTF-8 halves.
function decode(bytes) {
  return decodeURIComponent(Array.from(bytes, (byte) => `%${byte.toString(16).padStart(2, "0")}`).join(""));
}

function encode(text) {
  const escaped = encodeURIComponent(text);
  const bytes = [];
  for (let at = 0; at < escaped.length; at++) {
    const isEscape = escaped[at] === "%";
    bytes.push(isEscape ? parseInt(escaped.slice(at + 1, at + 3), 16) : escaped.charCodeAt(at));
    if (isEscape) at += 2;
  }
  return Uint8Array.from(bytes);
}

function print(line) {
  stdout.getStdout().blockingWriteAndFlush(encode(`${line}\n`));
}

export const inboundRedis = {
  handleMessage(message) {
    let visitor;
    try {
      visitor = JSON.parse(decode(message));
    } catch (error) {
      print(`not JSON: ${error.message}`);
      throw "error"; // the WIT's name of a failure; anything else that is thrown ends the instance
    }
    print(`${get("greeting")}, ${visitor.name}!`);
  },
};
