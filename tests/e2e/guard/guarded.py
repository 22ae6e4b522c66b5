# SPDX-License-Identifier: MIT
"""What the tests of the guard share: a guarded server, a watcher beside, and the places of a loop (guard_app.lua)."""
import os
import re

from neaptest import (
    BINARY, CLOSE, PING, PONG, SECONDS, TEXT, Raw, Server, need, request, wait_until)

APP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "guard_app.lua")
with open(APP, encoding="utf-8") as source:
    KINDS = re.findall(r'^loops\["(.*)"\]', source.read(), re.M)
STUCK = ("pattern", "finalizer", "c function", "blind", "deaf")
ENDLESS = [kind for kind in KINDS if kind not in STUCK]
FEW = ("while", "pcall", "coroutines", "sort")
LIMIT = 0.05
LATE = SECONDS * 4      # the machine may be busy, and it is processor time that counts
PAST = r"handler exceeded its time limit of %g s" % LIMIT


def guarded(*args, limit=LIMIT, workers=1, options=(), **more):
    line = ["--workers", workers, "--handler-timeout", limit, "--memory-limit", "64M",
            "--drain", "0.5", *options]
    return Server(APP, args=["0", *args], options=line, **more)


def path(place, kind):
    return "/%s/%s" % (place, kind.replace(" ", "%20"))


class Watcher:
    """A connection of the same worker, and the worker itself: both shall outlive what happens."""

    def __init__(self, server):
        self.server, self.pids = server, server.workers()
        self.conn = Raw(server.port, "/echo", seconds=LATE)
        self.count = 0

    def check(self):
        self.count += 1
        self.conn.text("still here %d" % self.count)
        self.conn.expect(TEXT, b"still here %d" % self.count)
        need(self.server.workers() == self.pids, "the worker was replaced")


def ended(server, conn):
    conn.expect_close(1011, seconds=LATE)
    conn.close()


def loop_in(place, op=TEXT, payload=b"go"):
    """A callback that is ended by an error ends its connection; `op` None: nothing is sent."""
    def run(server, kind):
        conn = Raw(server.port, path(place, kind), seconds=LATE)
        if op is not None:
            conn.send_frame(op, payload)
        ended(server, conn)
    return run


def logged_times(server, what):
    return len(re.findall(r"error in %s:.*%s" % (what, PAST), server.log()))


def loop_in_close(server, kind):
    before = logged_times(server, "onClose")
    conn = Raw(server.port, path("onClose", kind), seconds=LATE)
    conn.send_frame(CLOSE, b"\x03\xe8")
    conn.expect_close(1000, seconds=LATE)
    wait_until(lambda: logged_times(server, "onClose") > before, LATE, "an onClose that was ended")


def loop_in_error(server, kind):
    before = logged_times(server, "onError")
    loop_in("onError")(server, kind)
    wait_until(lambda: logged_times(server, "onError") > before, LATE, "an onError that was ended")


def loop_in_upgrade(server, kind):
    conn = Raw(server.port, seconds=LATE)
    conn.send(request(path("upgrade", kind)))
    need(conn.recv_response(LATE).status == 500, "the upgrade was not refused with 500")
    conn.close()


def loop_in_task(server, kind):
    conn = Raw(server.port, path("task", kind), seconds=LATE)
    conn.text("go")
    _, told = conn.recv_message(LATE)
    need(re.search(PAST.encode(), told) and b"joined: nil" in told, "the joiner got %r" % told)
    conn.close()


def loop_in_timer(server, kind):
    before = logged_times(server, "timer")
    conn = Raw(server.port, path("timer", kind), seconds=LATE)
    conn.text("go")
    conn.expect(TEXT, b"set", LATE)
    wait_until(lambda: logged_times(server, "timer") > before, LATE, "a timer that was ended")
    conn.close()


PLACES = {
    "onOpen": loop_in("onOpen", None), "onMessage": loop_in("onMessage"), "onTextMessage": loop_in("onTextMessage"),
    "onBinaryMessage": loop_in("onBinaryMessage", BINARY), "onPing": loop_in("onPing", PING),
    "onPong": loop_in("onPong", PONG), "onIdleTimeout": loop_in("onIdleTimeout", None), "onClose": loop_in_close,
    "onError": loop_in_error, "upgrade": loop_in_upgrade, "task": loop_in_task,
    "timer": loop_in_timer, "stream": loop_in("stream"), "bound": loop_in("bound", TEXT, b"{}"),
    "dispatched": loop_in("dispatched", TEXT, b'{"event":"go"}'),
    "beside": loop_in("beside", TEXT, b'{"event":"go","id":1}'),
}
