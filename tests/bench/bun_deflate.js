// SPDX-License-Identifier: MIT
//
// The echo on Bun with its own choice for compression. The client asks that nothing be kept from
// message to message, as Neap does by default.

const server = Bun.serve({
  hostname: "127.0.0.1",
  port: Number(Bun.argv[2] ?? 0),
  fetch(request, server) {
    if (!server.upgrade(request)) return new Response("a WebSocket server", { status: 426 });
  },
  websocket: {
    perMessageDeflate: true,
    message(socket, message) {
      socket.send(message, true);
    },
  },
});

console.log(`listening ws://127.0.0.1:${server.port}`);
