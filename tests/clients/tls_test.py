#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Other people's clients over wss: Python's websockets, Node's ws, and Chromium.

They trust the authority that this test made, and check the server's certificate. What a client did
is told by the client itself, over the connection that is being tested.
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
from neaptest import SLACK, Authority, Failed, Server, Suite  # noqa: E402

suite = Suite("clients over TLS")
DEADLINE = 30 * max(1.0, SLACK / 2)
ca = Authority()
CERT, KEY = ca.issue("server")
MODULES = os.path.join(os.environ.get("BUILD") or os.path.join(ROOT, "build"), "npm/node_modules")

APP = """
local websocket = require "neap.websocket"
local log = require "neap.log"
local listener = websocket.listener(0, {
  host = "127.0.0.1", secureSocket = { key = { certFile = "%s", keyFile = "%s" } } })
listener:attach("/echo", function(request)      -- a page from a file has no origin that could match
  return {
    onMessage = function(_, _, data)
      if data:find "^told: " then
        log.info(data)
        return nil
      end
      return data
    end,
  }
end)
""" % (CERT, KEY)


def server():
    return Server(lua=APP, args=())


def need(condition, what):
    if not condition:
        raise Failed(what)


@suite.case("websockets", "texts and bytes of all sizes, a close; nothing without the authority")
def _():
    async def talk(url):
        async with websockets.connect(url, ssl=ca.client(), max_size=None) as ws:
            for size in (0, 1, 125, 126, 16384, 60000):
                for message in ("x" * size, os.urandom(size)):
                    await ws.send(message)
                    need(await ws.recv() == message, "%d back" % size)
            many = ["%d" % i * 100 for i in range(500)]
            for message in many:
                await ws.send(message)
            need([await ws.recv() for _ in many] == many, "many back")
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
const WebSocket = require(process.argv[1] + "/ws"), fs = require("fs");
const ws = new WebSocket(process.argv[2], { ca: fs.readFileSync(process.argv[3]) });
const sent = [0, 1, 125, 126, 16384, 60000].map((n) => "x".repeat(n));
let at = 0;
ws.on("open", () => sent.forEach((text) => ws.send(text)));
ws.on("message", (data, binary) => {
  if (binary || data.toString() !== sent[at++]) throw new Error("message " + at);
  if (at === sent.length) {
    ws.send("told: node " + ws._socket.getProtocol() + " authorized=" + ws._socket.authorized);
    ws.close(1000, "done");
  }
});
ws.on("close", (code) => process.exit(code === 1000 ? 0 : 1));
"""


@suite.case("node", "Node's ws")
def _():
    with server() as s:
        done = subprocess.run(
            ["node", "-e", NODE, MODULES, "wss://localhost:%d/echo" % s.port, ca.cert],
            capture_output=True, text=True, timeout=DEADLINE)
        need(done.returncode == 0, done.stderr)
        s.wait_log("told: node TLSv1.3 authorized=true")


PAGE = """<script>
const ws = new WebSocket("wss://localhost:%d/echo");
const sent = [1, 125, 126, 16384, 60000].map((n) => "x".repeat(n));
let at = 0, error = "";
ws.onopen = () => sent.forEach((text) => ws.send(text));
ws.onmessage = (event) => {
  if (event.data !== sent[at++]) error = " wrong message " + at;
  if (at === sent.length) ws.send("told: browser " + at + " back" + error);
};
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


@suite.case("chromium", "a page in a browser that trusts the authority")
def _():
    need(shutil.which("chromium") and shutil.which("certutil"), "tests/setup test installs them")
    folder = tempfile.mkdtemp(prefix="neapbrowser-")
    with server() as s:
        browser = browse(folder, s.port)
        try:
            s.wait_log("told: browser 5 back$|told: browser 5 back ", DEADLINE * 2)
        finally:
            os.killpg(browser.pid, 9)
            browser.wait()
            remove(folder)


if __name__ == "__main__":
    try:
        suite.main()
    finally:
        ca.close()
