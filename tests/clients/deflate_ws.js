// SPDX-License-Identifier: MIT
/*
 * Run by deflate_test.py: node deflate_ws.js PORT OPTIONS. Echoes messages of many kinds over one
 * connection of npm's `ws` with these perMessageDeflate options (JSON); prints the agreed
 * extension and exits 0 when all came back.
 */
"use strict";

const crypto = require("crypto");
const WebSocket = require("ws");

const sizes = [0, 1, 20, 125, 126, 1000, 5000, 65536, 300000];
const messages = [];
for (let round = 0; round < 5; round++) {
  for (const size of sizes) {
    messages.push(`{"round":${round},"text":"äöü"},`.repeat(size / 20 + 1).slice(0, size));
    messages.push(crypto.randomBytes(size));
    messages.push(Buffer.alloc(size, round));
  }
}

const ws = new WebSocket(`ws://127.0.0.1:${process.argv[2]}/echo`,
  { perMessageDeflate: JSON.parse(process.argv[3]) });
let at = 0;
ws.on("open", () => {
  console.log(ws.extensions);
  ws.send(messages[0]);
});
ws.on("message", (data, binary) => {
  const sent = messages[at++];
  const same = binary === Buffer.isBuffer(sent) && Buffer.from(sent).equals(data);
  if (!same) {
    console.error(`message ${at - 1} came back otherwise`);
    process.exit(1);
  }
  if (at === messages.length) ws.close(1000);
  else ws.send(messages[at]);
});
ws.on("close", (code) => process.exit(code === 1000 && at === messages.length ? 0 : 1));
ws.on("error", (error) => {
  console.error(String(error));
  process.exit(1);
});
