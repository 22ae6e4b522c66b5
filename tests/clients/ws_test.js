#!/usr/bin/env node
// SPDX-License-Identifier: MIT
/*
 * Node's `ws`, the client that most people use, against the server. The app is app.lua beside this
 * file; the program is named by NEAP (default: build/neap of this checkout). A name given on the
 * command line runs only the cases that contain it; -v prints each case with its time. With
 * NEAP_OVER="tls deflate" over TLS, which the openssl command makes a certificate for; compression
 * is offered in any case.
 */
"use strict";

const assert = require("assert");
const crypto = require("crypto");
const fs = require("fs");
const os = require("os");
const path = require("path");
const { execFileSync, spawn } = require("child_process");
const { once } = require("events");
const WebSocket = require("ws");

const ROOT = path.join(__dirname, "..", "..");
const NEAP = path.resolve(process.env.NEAP || path.join(ROOT, "build", "neap"));
const SECONDS = /\/(asan|cov|tsan)\//.test(NEAP) ? 60 : 20;   // for anything that should just happen
const cases = [];
const OVER = (process.env.NEAP_OVER || "").split(" ");         // "tls deflate", as in tests/support
let port, ca, log = "";

function test(name, fn) {
  cases.push({ name, fn });
}

function url(target) {
  return `${ca ? "wss" : "ws"}://127.0.0.1:${port}${target}`;
}

/* A certificate that is its own authority, and its key: their paths, in a folder that goes with us. */
function certificate() {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "neapjs-"));
  const [cert, key] = [path.join(folder, "cert.pem"), path.join(folder, "key.pem")];
  process.on("exit", () => fs.rmSync(folder, { recursive: true }));
  execFileSync("openssl", ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
    "-keyout", key, "-out", cert, "-days", "2", "-subj", "/CN=localhost",
    "-addext", "subjectAltName=IP:127.0.0.1"], { stdio: "pipe" });
  ca = fs.readFileSync(cert);
  return [cert, key];
}

/* Fails when the promise is not settled in time, so that a silent server is a failure. */
function soon(promise, what) {
  let timer;
  const late = new Promise((_, fail) => {
    timer = setTimeout(() => fail(new Error(`did not happen within ${SECONDS} s: ${what}`)), SECONDS * 1000);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/* A connection whose events are kept in order, so that none is missed between two awaits. */
class Client {
  constructor(target, protocols, options) {
    this.inbox = [];
    this.waiting = null;
    this.ws = new WebSocket(url(target), protocols, { maxPayload: 0, ca, ...options });
    this.ws.on("open", () => this.put({ type: "open" }));
    this.ws.on("message", (data, binary) => this.put({ type: binary ? "binary" : "text", data }));
    this.ws.on("ping", (data) => this.put({ type: "ping", data }));
    this.ws.on("pong", (data) => this.put({ type: "pong", data }));
    this.ws.on("close", (code, reason) => this.put({ type: "close", code, reason: reason.toString() }));
    this.ws.on("error", (error) => this.put({ type: "error", error }));
    this.ws.on("upgrade", (response) => { this.response = response; });
  }

  put(event) {
    this.inbox.push(event);
    if (this.waiting) this.waiting();
  }

  async next() {
    while (this.inbox.length === 0)
      await soon(new Promise((done) => { this.waiting = done; }), `an event of ${this.ws.url}`);
    return this.inbox.shift();
  }

  async expect(type, data) {
    const event = await this.next();
    assert.strictEqual(event.type, type, event.error && event.error.message);
    if (data === undefined) return event;
    const wanted = Buffer.from(data);
    assert(wanted.equals(event.data), `${type}: got ${event.data.length} bytes, wanted ${wanted.length}`);
    return event;
  }

  async text(type = "text") {
    return (await this.expect(type)).data.toString();
  }

  async expectClose(code, reason) {
    const event = await this.expect("close");
    assert.deepStrictEqual([event.code, event.reason], [code, reason]);
  }

  async close(code, reason) {
    this.ws.close(code, reason);
    await this.expectClose(code, reason || "");     // the answer repeats both
  }
}

async function open(target, protocols, options) {
  const client = new Client(target, protocols, options);
  await client.expect("open");
  if (OVER.includes("tls")) assert(client.ws._socket.authorized);
  if (OVER.includes("deflate") && !(options && options.perMessageDeflate === false))
    assert.match(client.ws.extensions, /permessage-deflate/);
  return client;
}

/* The response to a handshake that must be refused: { status, headers, body }. */
async function refused(target, options) {
  const ws = new WebSocket(url(target), { ca, ...options });
  ws.on("error", () => {});
  const opened = once(ws, "open").then(() => { throw new Error(`${target} was not refused`); });
  const answered = once(ws, "unexpected-response").then(async ([, response]) => {
    let body = "";
    response.setEncoding("utf8");
    response.on("data", (piece) => { body += piece; });
    await once(response, "end");
    return { status: response.statusCode, headers: response.headers, body };
  });
  opened.catch(() => {});
  answered.catch(() => {});
  return soon(Promise.race([opened, answered]), `a refusal of ${target}`);
}

/* What the app was told of the end of /watched/ID. */
async function told(id) {
  const asker = await open("/seen");
  const deadline = Date.now() + SECONDS * 1000;
  let answer = "open";
  while (answer === "open" && Date.now() < deadline) {
    asker.ws.send(id);
    answer = await asker.text();
  }
  await asker.close(1000);
  return answer;
}

// --- Messages ------------------------------------------------------------------------------------

test("echo of text and binary in sizes around each form of the length", async () => {
  const client = await open("/echo");
  for (const size of [0, 1, 125, 126, 127, 65535, 65536, 65537, 300000]) {
    const bytes = crypto.randomBytes(size);
    const text = "ä".repeat(size >> 1) + "x".repeat(size & 1);
    client.ws.send(bytes);
    client.ws.send(text);
    await client.expect("binary", bytes);
    await client.expect("text", text);
  }
  await client.close(1000, "done");
});

test("all of Unicode that matters: accents, 3 and 4 bytes, NUL, combining", async () => {
  const client = await open("/echo");
  for (const text of ["κόσμε", "日本語", "💩🏽‍🚀", "a\0b", "\u0301", "\u{10FFFF}", "\uFEFFbom"]) {
    client.ws.send(text);
    assert.strictEqual(await client.text(), text);
  }
  await client.close(1000);
});

test("a message of 16 MiB, back unharmed", async () => {
  const client = await open("/echo");
  const bytes = crypto.randomBytes(16 << 20);
  client.ws.send(bytes);
  await client.expect("binary", bytes);
  await client.close(1000);
});

test("fragments, text and binary, with a ping between", async () => {
  const client = await open("/echo");
  for (const binary of [false, true]) {
    client.ws.send("one ", { fin: false, binary });
    client.ws.send("two ", { fin: false, binary });
    client.ws.ping("between");
    client.ws.send("", { fin: false, binary });
    client.ws.send("three", { fin: true, binary });
    await client.expect("pong", "between");
    await client.expect(binary ? "binary" : "text", "one two three");
  }
  await client.close(1000);
});

test("a thousand messages at once come back in order", async () => {
  const client = await open("/echo");
  for (let i = 0; i < 1000; i++) client.ws.send(`message ${i}`);
  for (let i = 0; i < 1000; i++) assert.strictEqual(await client.text(), `message ${i}`);
  await client.close(1000);
});

test("a table is JSON text", async () => {
  const client = await open("/json");
  client.ws.send("hi");
  assert.deepStrictEqual(JSON.parse(await client.text()), { got: "hi", list: [1, 2, 3] });
  await client.close(1000);
});

test("a burst that is larger than the client's buffers, to a client that pauses", async () => {
  const client = await open("/burst");
  client.ws.pause();
  client.ws.send("300 50000");
  const other = await open("/echo");
  other.ws.send("still served");
  await other.expect("text", "still served");
  await other.close(1000);
  client.ws.resume();
  for (let i = 1; i <= 300; i++) {
    const { data } = await client.expect("binary");
    assert.strictEqual(data.length, `${i} `.length + 50000);
    assert(data.subarray(0, 8).toString().startsWith(`${i} `), `message ${i} out of order`);
  }
  await client.expect("text", "done");
  await client.close(1000);
});

// --- Control frames ------------------------------------------------------------------------------

test("pings are answered with their data, empty and full, in a slow handler too", async () => {
  const client = await open("/slow");
  client.ws.send("late");
  for (const data of ["", "x", "y".repeat(125)]) {
    client.ws.ping(data);
    await client.expect("pong", data);
  }
  await client.expect("text", "late");
  await client.close(1000);
});

test("the server's ping, and the pong that the app sees", async () => {
  const client = await open("/ping");
  client.ws.send("marco");
  await client.expect("ping", "marco");
  await client.expect("text", "pong marco");
  await client.close(1000);
});

test("onPing answers for itself", async () => {
  const client = await open("/own-pong");
  client.ws.ping("data");
  await client.expect("pong", "own data");
  await client.close(1000);
});

test("the heartbeat keeps a silent client", async () => {
  const client = await open("/beat");
  for (let i = 0; i < 3; i++) await client.expect("ping");
  client.ws.send("alive");
  let event = await client.next();
  while (event.type === "ping") event = await client.next();
  assert.strictEqual(event.data.toString(), "alive");
  client.ws.terminate();
});

// --- Closing -------------------------------------------------------------------------------------

test("the client closes: codes and reasons come back, and reach the app", async () => {
  const reason = "ä".repeat(61) + "!";                  // 123 bytes, all that a close frame holds
  for (const [code, why] of [[1000, ""], [1000, "done"], [1001, "leaving"], [3000, "x"], [4999, reason]]) {
    const id = `n${code}${why.length}`;
    const client = await open(`/watched/${id}`);
    await client.close(code, why);
    assert.strictEqual(await told(id), `${code} ${why}`);
  }
});

test("a close without a code is 1005 to both", async () => {
  const client = await open("/watched/empty");
  client.ws.close();
  await client.expectClose(1005, "");
  assert.strictEqual((await told("empty")).split(" ")[0], "1005");
});

test("the server closes: every code that may be sent, reasons of any length", async () => {
  const reason = "r".repeat(123);
  for (const code of [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999]) {
    const client = await open("/close");
    client.ws.send(`${code} ${code === 1000 ? reason : "because"}`);
    await client.expectClose(code, code === 1000 ? reason : "because");
  }
});

test("a client that vanishes without a close frame is 1006 to the app", async () => {
  const client = await open("/watched/gone");
  client.ws.send("here");
  await client.expect("text", "here");
  client.ws.terminate();
  assert.strictEqual((await told("gone")).split(" ")[0], "1006");
});

test("a handler that raises: 1011, and nothing of the error", async () => {
  const client = await open("/raise");
  client.ws.send("x");
  const { code, reason } = await client.expect("close");
  assert.strictEqual(code, 1011);
  assert(!/expected|app\.lua|\.lua/.test(reason), reason);
});

test("too large a message: 1009; too many fragments: 1008; idle: 1001", async () => {
  const large = await open("/limited");
  large.ws.send(Buffer.alloc(1001));
  assert.strictEqual((await large.expect("close")).code, 1009);
  const many = await open("/limited");
  for (let i = 0; i < 5; i++) many.ws.send("x", { fin: false });
  assert.strictEqual((await many.expect("close")).code, 1008);
  const idle = await open("/idle");
  assert.strictEqual((await idle.expect("close")).code, 1001);
});

// --- Handshakes ----------------------------------------------------------------------------------

test("sub-protocols: the first of the client's that the service has, or none", async () => {
  for (const [offered, chosen] of [[["chat.v1", "chat.v2"], "chat.v1"], [["x", "chat.v2"], "chat.v2"], [[], ""]]) {
    const client = await open("/sub", offered);
    assert.strictEqual(client.ws.protocol, chosen);
    assert.strictEqual(await client.text(), chosen || "none");
    await client.close(1000);
  }
  const none = new Client("/sub", ["unknown"]);         // `ws` insists on one when it has offered some
  const { error } = await none.expect("error");
  assert(/no subprotocol/.test(error.message), error.message);
});

test("path, query, cookie and headers arrive; the app's header comes back", async () => {
  const headers = { Cookie: "a=1; session=abc", "User-Agent": "the clients suite" };
  const client = await open("/room/caf%C3%A9%20bleu?key=a%26b&other", [], { headers });
  assert.deepStrictEqual(JSON.parse(await client.text()),
    { room: "café bleu", key: "a&b", cookie: "abc", agent: "the clients suite" });
  assert.strictEqual(Buffer.from(client.response.headers["x-room"], "latin1").toString(), "café bleu");
  assert.strictEqual(client.response.headers.server, "clients-suite");
  await client.close(1000);
});

test("an upgrade function that takes its time, and a client that does not wait", async () => {
  const client = await open("/late");
  client.ws.send("there");
  await client.expect("text", "there");
  await client.close(1000);
  const hasty = new Client("/late");
  hasty.ws.on("error", () => {});
  setImmediate(() => hasty.ws.terminate());
  await hasty.expect("error");
});

test("refusals: status, headers and body are the app's", async () => {
  const who = await refused("/refuse/unauthorized");
  assert.strictEqual(who.status, 401);
  assert.strictEqual(who.headers["www-authenticate"], 'Basic realm="clients"');
  assert.strictEqual(who.body.trim(), "who are you?");
  const not = await refused("/refuse/forbidden");
  assert.strictEqual(not.status, 403);
  assert.strictEqual(not.headers["x-why"], "because");
  assert.strictEqual(not.headers["content-type"], "application/json");
  assert.deepStrictEqual(JSON.parse(not.body), { error: "not you" });
  const gone = await refused("/refuse/gone");
  assert.deepStrictEqual([gone.status, gone.body.trim()], [404, "no such room"]);
  const busy = await refused("/refuse/busy");
  assert.deepStrictEqual([busy.status, busy.headers["retry-after"]], [503, "7"]);
});

test("refusals of the server: no such path, another origin, an upgrade function that raises or says nil", async () => {
  assert.strictEqual((await refused("/nowhere")).status, 404);
  assert.strictEqual((await refused("/echo", { origin: "https://evil.example" })).status, 403);
  assert.strictEqual((await refused("/refuse/nil")).status, 400);
  const raised = await refused("/refuse/raise");
  assert.strictEqual(raised.status, 500);
  assert(!/expected|lua/.test(raised.body), raised.body);
  const version = await refused("/echo", { protocolVersion: 8, origin: `${ca ? "https" : "http"}://127.0.0.1:${port}` });
  assert.deepStrictEqual([version.status, version.headers["sec-websocket-version"]], [426, "13"]);
});

// --- Many ----------------------------------------------------------------------------------------

test("300 connections at once, each with its own conversation", async () => {
  const clients = await Promise.all(Array.from({ length: 300 }, () => open("/echo")));
  await Promise.all(clients.map(async (client, i) => {
    for (let n = 0; n < 5; n++) {
      client.ws.send(`${i} says ${n}`);
      assert.strictEqual(await client.text(), `${i} says ${n}`);
    }
  }));
  await Promise.all(clients.map((client) => client.close(1000)));
});

test("half of 200 connections vanish; the others go on", async () => {
  const clients = await Promise.all(Array.from({ length: 200 }, () => open("/echo")));
  clients.forEach((client, i) => { if (i % 2) client.ws.terminate(); });
  await Promise.all(clients.map(async (client, i) => {
    if (i % 2) return client.expectClose(1006, "");
    client.ws.send(`still ${i}`);
    await client.expect("text", `still ${i}`);
    return client.close(1000);
  }));
});

// --- The run -------------------------------------------------------------------------------------

async function start() {
  const files = OVER.includes("tls") ? certificate() : [];
  const runtime = fs.mkdtempSync(path.join(os.tmpdir(), "neapjs-run-"));   // its control socket is for nobody else
  process.on("exit", () => fs.rmSync(runtime, { recursive: true }));
  const server = spawn(NEAP, ["run", path.join(__dirname, "app.lua"), "--drain", "2", "--", "0", ...files],
    { stdio: ["ignore", "inherit", "pipe"], env: { ...process.env, XDG_RUNTIME_DIR: runtime } });
  process.on("exit", () => server.kill("SIGKILL"));
  server.stderr.setEncoding("utf8");
  const ready = new Promise((done, fail) => {
    server.stderr.on("data", (piece) => {
      log += piece;
      if (/ info {2}ready$/m.test(log)) done();
    });
    server.on("exit", (status) => fail(new Error(`the server ended with ${status}:\n${log}`)));
    server.on("error", fail);
  });
  await soon(ready, "ready");
  port = Number(/listening wss?:\/\/[^\s]*:(\d+)/.exec(log)[1]);
  return server;
}

async function stop(server) {
  const ended = once(server, "close");
  server.kill("SIGTERM");
  const [status] = await soon(ended, "the end of the server");
  assert.strictEqual(status, 0, log);
  assert(!/Sanitizer|runtime error:/.test(log), log);
}

async function main() {
  const wanted = process.argv.slice(2).filter((word) => word !== "-v");
  const chosen = cases.filter(({ name }) => wanted.every((word) => name.includes(word)));
  let passed = 0, failed = 0;
  const run = async (name, fn) => {
    const began = Date.now();
    try {
      await fn();
      if (process.argv.includes("-v")) console.log(`ok   ${name} ${Date.now() - began} ms`);
      passed++;
    } catch (error) {
      failed++;
      console.log(`FAIL ${name}\n     ${error.stack}`);
    }
  };
  const server = await start();
  for (const { name, fn } of chosen) await run(name, fn);
  if (chosen.length) await run("the server ends in order", () => stop(server));
  console.log(`${passed} passed, ${failed} failed`);
  process.exit(failed || !passed ? 1 : 0);
}

main().catch((error) => {
  console.log(`${error.stack}\n0 passed, 1 failed`);
  process.exit(1);
});
