#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Other people's clients over wss and compressed: Python's websockets, Node's ws, and Chromium.

They trust the authority that this test made, and check the server's certificate. What a client did
is told by the client itself, over a connection of its own. Both libraries' whole suites run over
wss as well (tests/run).
"""
import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
import time

import websockets

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(HERE, "..", "support"))
from neaptest import SLACK, Authority, Failed, Server, Suite, need  # noqa: E402

suite = Suite("clients over TLS")
DEADLINE = 30 * max(1.0, SLACK / 2)
ca = Authority()
CERT, KEY = ca.issue("server")
MODULES = os.path.join(os.environ.get("BUILD") or os.path.join(ROOT, "build"), "npm/node_modules")

APP = """
local websocket = require "neap.websocket"
local log = require "neap.log"
local listener = websocket.listener(0, {
  host = "127.0.0.1", secureSocket = { key = { certFile = "%s", keyFile = "%s" } }, compression = { threshold = 0 } })
local MIB = 2 ^ 20
-- By functions, since a page from a file has no origin that could match.
listener:attach("/echo", { maxFrameSize = 4 * MIB, maxMessageSize = 4 * MIB }, function()
  return { onMessage = function(_, _, data) return data end }
end)
-- Answers "COUNT" by so many numbers, in frames of at most 1000 bytes.
listener:attach("/pieces", { maxFrameSize = 1000 }, function()
  return { onTextMessage = function(_, _, count)
    local numbers = {}
    for i = 1, tonumber(count) do numbers[i] = i end
    return table.concat(numbers, " ")
  end }
end)
listener:attach("/told", function()
  return { onMessage = function(_, _, data) log.info("told: " .. data) end }
end)
listener:attach("/watched", function()
  return { onClose = function(_, _, code, reason) log.info(("closed: %%d %%s"):format(code, reason)) end }
end)
""" % (CERT, KEY)


def server():
    return Server(lua=APP, args=())


@suite.case("websockets", "texts and bytes of all sizes, a close; nothing without the authority")
def _():
    async def talk(url):
        async with websockets.connect(url, ssl=ca.client(), max_size=None) as ws:
            need(ws.extensions, "compression")
            for size in (0, 1, 125, 126, 16384, 60000, 1 << 20):
                for message in ("x" * size, os.urandom(size)):
                    await ws.send(message)
                    need(await ws.recv() == message, "%d back" % size)
            many = ["%d" % i * 100 for i in range(500)]
            for message in many:
                await ws.send(message)
            need([await ws.recv() for _ in many] == many, "many back")
            await ws.send(many)
            need(await ws.recv() == "".join(many), "a message in 500 fragments")
        need(ws.close_code == 1000, ws.close_code)
        try:
            async with websockets.connect(url, ssl=Authority("Stranger").client()):
                pass
        except OSError as err:
            need("CERTIFICATE_VERIFY_FAILED" in str(err), err)
        else:
            raise Failed("a stranger's authority was enough")
    with server() as s:
        asyncio.run(asyncio.wait_for(talk("wss://localhost:%d/echo" % s.port), DEADLINE))


NODE = """
const WebSocket = require(process.argv[1] + "/ws"), fs = require("fs"), crypto = require("crypto");
const options = { ca: fs.readFileSync(process.argv[3]), perMessageDeflate: { threshold: 0 }, maxPayload: 0 };
const ws = new WebSocket(process.argv[2] + "/echo", options);
const sent = [0, 1, 125, 126, 16384, 60000, 1 << 20].flatMap((n) => ["x".repeat(n), crypto.randomBytes(n)]);
let at = 0;
ws.on("open", () => {
  sent.forEach((message) => ws.send(message));
  for (let i = 0; i < 100; i++) ws.send("piece " + i + " ", { fin: i === 99 });
  sent.push(Array.from({ length: 100 }, (_, i) => "piece " + i + " ").join(""));
});
ws.on("message", (data, binary) => {
  const wanted = sent[at++];
  if (binary !== Buffer.isBuffer(wanted) || !Buffer.from(wanted).equals(data)) throw new Error("message " + at);
  if (at < sent.length) return;
  const teller = new WebSocket(process.argv[2] + "/told", options);
  teller.on("open", () => {
    teller.send(["node", ws._socket.getProtocol(), ws._socket.authorized, ws.extensions].join(" "));
    teller.close();
  });
  teller.on("close", () => ws.close(1000, "done"));
});
ws.on("close", (code) => process.exit(code === 1000 ? 0 : 1));
"""


@suite.case("node", "Node's ws: sizes up to 1 MiB, a message in 100 fragments")
def _():
    with server() as s:
        done = subprocess.run(
            ["node", "-e", NODE, MODULES, "wss://localhost:%d" % s.port, ca.cert],
            capture_output=True, text=True, timeout=DEADLINE)
        need(done.returncode == 0, done.stderr)
        s.wait_log("told: node TLSv1.3 true permessage-deflate")


# Everything that came back is compared by the page; what it found goes to /told.
PAGE = """<script>
const url = "wss://localhost:%d";
const sizes = [0, 1, 125, 126, 16384, 60000, 70000, 1 << 20];
const bytes = (n) => {
  const out = new Uint8Array(n);
  for (let at = 0; at < n; at += 65536) crypto.getRandomValues(out.subarray(at, Math.min(n, at + 65536)));
  return out;
};
const open = (path) => new Promise((done, fail) => {
  const ws = new WebSocket(url + path);
  ws.binaryType = "arraybuffer";
  ws.inbox = [];
  ws.onmessage = (event) => { ws.inbox.push(event.data); if (ws.wake) ws.wake(); };
  ws.onopen = () => done(ws);
  ws.onclose = (event) => { ws.ended = event; fail(new Error("closed " + event.code)); if (ws.wake) ws.wake(); };
  ws.next = async () => {
    while (!ws.inbox.length) await new Promise((wake) => { ws.wake = wake; });
    return ws.inbox.shift();
  };
});
const same = (a, b) => typeof a === "string" ? a === b
  : b.byteLength === a.length && new Uint8Array(b).every((byte, i) => byte === a[i]);

async function talk() {
  const ws = await open("/echo");
  if (!ws.extensions.includes("permessage-deflate")) throw new Error("extensions " + ws.extensions);
  const sent = sizes.flatMap((n) => ["xyzä".repeat(n / 4), bytes(n)]);
  for (let i = 0; i < 1000; i++) sent.push("message " + i);
  sent.forEach((message) => ws.send(message));
  for (let i = 0; i < sent.length; i++)
    if (!same(sent[i], await ws.next())) throw new Error("message " + i + " came back otherwise");
  const pieces = await open("/pieces");
  pieces.send("100000");
  const wanted = Array.from({ length: 100000 }, (_, i) => i + 1).join(" ");
  if (await pieces.next() !== wanted) throw new Error("a message in fragments came otherwise");
  const watched = await open("/watched");
  watched.close(4001, "bye");
  await new Promise((wake) => { watched.onclose = (event) => { watched.ended = event; wake(); }; });
  if (watched.ended.code !== 4001 || !watched.ended.wasClean) throw new Error("close " + watched.ended.code);
  return "all good, " + sent.length + " messages";
}

talk().catch((error) => String(error)).then(async (text) => (await open("/told")).send("browser " + text));
</script>
"""


def browse(folder, port):
    """Headless, with a profile and a store of authorities of its own, until it is ended."""
    store = os.path.join(folder, ".pki/nssdb")
    os.makedirs(store)
    for words in (["-N", "--empty-password"], ["-A", "-n", "test", "-t", "C,,", "-i", ca.cert]):
        subprocess.run(["certutil", "-d", "sql:" + store, *words], check=True, timeout=DEADLINE)
    page = os.path.join(folder, "page.html")
    with open(page, "w") as f:
        f.write(PAGE % port)
    return subprocess.Popen(
        ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
         "--no-first-run", "--user-data-dir=" + folder + "/profile", "--remote-debugging-port=0",
         "file://" + page],
        env=dict(os.environ, HOME=folder), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, start_new_session=True)


def remove(folder):
    """The browser's last helpers may still write while it is removed."""
    deadline = time.monotonic() + 10
    while os.path.exists(folder) and time.monotonic() < deadline:
        shutil.rmtree(folder, ignore_errors=True)


@suite.case("chromium", "a page in a browser that trusts the authority: all sizes, fragments, a close")
def _():
    need(shutil.which("chromium") and shutil.which("certutil"), "tests/setup test installs them")
    folder = tempfile.mkdtemp(prefix="neapbrowser-")
    with server() as s:
        browser = browse(folder, s.port)
        try:
            told = s.wait_log("told: browser (.*)", DEADLINE * 2).group(1)
            need(told.startswith("all good, 1016 messages"), told)
            s.wait_log("closed: 4001 bye")
        finally:
            os.killpg(browser.pid, 9)
            browser.wait()
            remove(folder)


if __name__ == "__main__":
    try:
        suite.main()
    finally:
        ca.close()
