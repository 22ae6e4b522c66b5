// SPDX-License-Identifier: MIT
//
// The same echo on Node with npm's ws, the most used WebSocket server there is.

const { WebSocketServer } = require(`${process.argv[2]}/node_modules/ws`);

const server = new WebSocketServer(
  { host: "127.0.0.1", port: Number(process.argv[3] ?? 0), backlog: 4096, perMessageDeflate: false },
  () => console.log(`listening ws://127.0.0.1:${server.address().port}`),
);

server.on("connection", (socket) => {
  socket.on("message", (data, isBinary) => socket.send(data, { binary: isBinary }));
});
