#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Recursion without end in an app's code (overflow_app.lua): an error there, and nothing else.

The coroutine that has overflowed has no room left, or a few slots: how many depends on the size of
its frames. So each place is tried with frames of many sizes: every third, or every eighth under a
sanitizer, which sees nothing of LuaJIT's stack. NEAP_STEP=1 is all of them, two minutes of work.
"""
import os
import re
import sys

sys.path.insert(0, os.path.abspath(__file__ + "/../../../support"))
from neaptest import (  # noqa: E402
    BINARY, CLOSE, INSTRUMENTED, PING, PONG, SECONDS, TEXT, Raw, Server, Suite, need, request, wait_until)

suite = Suite("overflow")
APP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "overflow_app.lua")
LOCALS = range(41)
STEP = int(os.environ.get("NEAP_STEP") or (8 if INSTRUMENTED else 3))
LATE = SECONDS * 4


def path(place, kind, size):
    return "/%s/%s/%d" % (place.replace(" ", "-"), kind.replace(" ", "%20"), size)


def fails(place, op=TEXT, payload=b"go"):
    """A callback that raises ends its connection; `op` None: nothing is sent."""
    def run(server, kind, size):
        conn = Raw(server.port, path(place, kind, size), seconds=LATE)
        if op is not None:
            conn.send_frame(op, payload)
        conn.expect_close(1011, seconds=LATE)
        conn.close()
    return run


def answers(place, what):
    def run(server, kind, size):
        conn = Raw(server.port, path(place, kind, size), seconds=LATE)
        conn.text("go")
        _, told = conn.recv_message(LATE)
        need(re.search(what, told), "%s with %d locals answered %r" % (place, size, told))
        conn.close()
    return run


def in_close(server, kind, size):
    conn = Raw(server.port, path("onClose", kind, size), seconds=LATE)
    conn.send_frame(CLOSE, b"\x03\xe8")
    conn.expect_close(1000, seconds=LATE)
    conn.close()


def in_upgrade(server, kind, size):
    conn = Raw(server.port, seconds=LATE)
    conn.send(request(path("upgrade", kind, size)))
    need(conn.recv_response(LATE).status == 500, "the upgrade was not refused with 500")
    conn.close()


PLACES = {
    "onOpen": fails("onOpen", None), "onMessage": fails("onMessage"), "onTextMessage": fails("onTextMessage"),
    "onBinaryMessage": fails("onBinaryMessage", BINARY), "onPing": fails("onPing", PING),
    "onPong": fails("onPong", PONG), "onIdleTimeout": fails("onIdleTimeout", None), "onClose": in_close,
    "onError": fails("onError"), "upgrade": in_upgrade, "after a wait": fails("after a wait"),
    "bound": fails("bound", TEXT, b"{}"),
    "constraint": fails("constraint"), "dispatched": fails("dispatched", TEXT, b'{"event":"go"}'),
    "beside": fails("beside", TEXT, b'{"event":"go","id":1}'),
    "task": answers("task", b"stack overflow|error in error"),
    "timeout": fails("timeout"), "timer": answers("timer", b"^set$"), "stream": fails("stream"),
    "stream of a coroutine": fails("stream of a coroutine"), "stream of a loop": fails("stream of a loop"),
}
# Of the other ways to recurse, a few places: they differ in how the stack looks at its end.
KINDS = ("metamethod", "coroutines", "sorted", "in pcall", "handled", "examined")
FEW = ("onMessage", "onError", "stream", "timer", "upgrade")
# Coroutines inside one another use up the stack of the process first, whose end is the same whatever a frame's size,
# and take seconds to get there.
SIZES = dict(dict.fromkeys(KINDS, LOCALS[::8]), coroutines=LOCALS[::8] if STEP == 1 else LOCALS[:1])


def survive(place, kind, sizes):
    with Server(APP, options=["--workers", 1, "--handler-timeout", 20]) as server:
        pids = server.workers()
        for size in sizes:
            PLACES[place](server, kind, size)
            need(server.workers() == pids, "with %d locals: the worker was replaced" % size)
        with Raw(server.port, "/echo", seconds=LATE) as echo:
            echo.text("still here")
            echo.expect(TEXT, b"still here", LATE)
        wait_until(lambda: "error in " in server.log(), LATE, "a line about it")
        need("assertion failed" not in server.log(), server.log()[-2000:])
        need("PANIC" not in server.log(), server.log()[-2000:])
        need(server.workers() == pids, "the worker was replaced")


for name in PLACES:
    suite.add("in.%s" % name.replace(" ", "-"), "recursion without end in %s" % name,
              lambda name=name: survive(name, "plain", LOCALS[::STEP]))
for way in KINDS:
    for name in FEW:
        suite.add("%s.%s" % (way.replace(" ", "-"), name), "%s, in %s" % (way, name),
                  lambda way=way, name=name: survive(name, way, SIZES[way]))

if __name__ == "__main__":
    suite.main()
