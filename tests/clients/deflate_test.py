#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Other people's compression against ours: Python's `websockets` and Node's `ws`, which negotiate,
pack and unpack by themselves, over contexts that are kept and that are not.
"""
import asyncio
import json
import os
import random
import subprocess
import sys
import threading

import websockets
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "support"))
from neaptest import SLACK, Failed, Server, Suite  # noqa: E402

suite = Suite("deflate")
DEADLINE = 60 * max(1.0, SLACK / 2)
LISTENERS = ("default", "kept")
OFFERS = {
    "plain": {}, "bits": {"client_max_window_bits": True},
    "small": {"server_max_window_bits": 9, "client_max_window_bits": 9},
    "ten": {"server_max_window_bits": 10, "client_max_window_bits": 12},
    "server-no": {"server_no_context_takeover": True},
    "client-no": {"client_no_context_takeover": True},
    "both-no": {"server_no_context_takeover": True, "client_no_context_takeover": True},
}
NODE = {
    "default": True, "no-contexts": {"serverNoContextTakeover": True, "clientNoContextTakeover": True,
                                     "threshold": 0},
    "contexts": {"threshold": 0}, "bits": {"threshold": 0, "serverMaxWindowBits": 10,
                                           "clientMaxWindowBits": 11},
    "bits-9": {"threshold": 0, "serverMaxWindowBits": 9, "clientMaxWindowBits": 9},
}


class Shared:
    server = None
    lock = threading.Lock()


def port(listener):
    with Shared.lock:
        if Shared.server is None:
            Shared.server = Server(os.path.join(HERE, "deflate_app.lua"))
    return Shared.server.ports[LISTENERS.index(listener)]


def messages():
    rng = random.Random(7)
    for i in range(6):
        for size in (0, 1, 20, 126, 1000, 20000, 70000):
            yield ('{"n":%d,"text":"äöü"},' % i * (size // 20 + 1))[:size]
            yield rng.randbytes(size)
            yield bytes([i]) * size


async def talk(listener, offer):
    factory = ClientPerMessageDeflateFactory(**offer)
    async with websockets.connect("ws://127.0.0.1:%d/echo" % port(listener), compression=None,
                                  extensions=[factory], max_size=None, ping_interval=None) as ws:
        if not ws.extensions:
            raise Failed("no compression was agreed upon")
        for message in messages():
            await ws.send(message)
            if await ws.recv() != message:
                raise Failed("%d bytes came back otherwise" % len(message))
        await ws.send([message[:100] for message in ("a" * 500, "b" * 500, "c" * 500)])
        if await ws.recv() != "a" * 100 + "b" * 100 + "c" * 100:
            raise Failed("a message in fragments came back otherwise")


def node(listener, options):
    done = subprocess.run(
        ["node", os.path.join(HERE, "deflate_ws.js"), str(port(listener)), json.dumps(options)],
        capture_output=True, text=True, timeout=DEADLINE, check=False)
    if done.returncode != 0 or "permessage-deflate" not in done.stdout:
        raise Failed("status %d, %s %s" % (done.returncode, done.stdout, done.stderr))


for where in LISTENERS:
    for name, one in OFFERS.items():
        suite.add("websockets.%s.%s" % (where, name), "Python's websockets",
                  lambda where=where, one=one: asyncio.run(
                      asyncio.wait_for(talk(where, one), DEADLINE)))
    for name, one in NODE.items():
        suite.add("ws.%s.%s" % (where, name), "Node's ws",
                  lambda where=where, one=one: node(where, one))


@suite.final("end", "the server ends in order, with a clean log")
def _():
    bad = Shared.server.records("error")
    if bad:
        raise Failed("errors: %r" % bad[:3])
    if Shared.server.stop() != 0:
        raise Failed("the server ended badly")


if __name__ == "__main__":
    suite.main()
