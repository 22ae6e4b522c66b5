// SPDX-License-Identifier: MIT
//
// The same echo on Bun, whose WebSocket server is uWebSockets: the runtime for scripts that Neap is
// compared with. Compression is off, or with a second argument `deflate` as Bun chooses to do it.
// Who asks for /fan gets what all others there send.

const deflate = Bun.argv[3] === "deflate";

const server = Bun.serve({
  hostname: "127.0.0.1",
  port: Number(Bun.argv[2] ?? 0),
  fetch(request, server) {
    const member = request.url.endsWith("/fan");
    if (!server.upgrade(request, { data: { member } })) return new Response("a WebSocket server", { status: 426 });
  },
  websocket: {
    perMessageDeflate: deflate,
    open(socket) {
      if (socket.data.member) socket.subscribe("fan");
    },
    message(socket, message) {
      if (socket.data.member) socket.publish("fan", message);
      else socket.send(message, deflate);
    },
  },
});

console.log(`listening ws://127.0.0.1:${server.port}`);
