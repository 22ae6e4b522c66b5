#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Large messages: what they cost in memory does not depend on how near they are to some power of
two, the pages that they use are used again by the next, and are given back soon after the last.
"""
import os
import sys
import threading

sys.path.insert(0, os.path.abspath(__file__ + "/../../../support"))
from neaptest import BINARY, Failed, INSTRUMENTED, Raw, SECONDS, Suite, frame, wait_until  # noqa: E402
from neaptest.behaviour import App  # noqa: E402
from neaptest.process import rss  # noqa: E402

suite = Suite("large")
MIB = 1 << 20
# The first message stays, so that Lua's copies of the others are this one: what is counted is ours.
app = App(r"""
local config = { maxMessageSize = 32 * 2 ^ 20, maxBufferedBytes = 64 * 2 ^ 20 }
local kept
listener:attach("/kept", config, { onMessage = function(_, _, data)
  kept = kept or data
  return websocket.bytes(data)
end })
""")
SIZES = {"8": 8 * MIB, "16": 16 * MIB, "16+": 16 * MIB + 1000, "24": 24 * MIB}


def worker():
    return int(app.get().workers()[0])


def faults(pid):
    with open("/proc/%d/stat" % pid) as f:
        return int(f.read().rpartition(")")[2].split()[7])


def echo(c, data):
    """Sends a frame and takes as many bytes as come back, at the same time."""
    sender = threading.Thread(target=c.send, args=(data,))
    sender.start()
    got, fin = 0, False
    while not fin:
        fin, _, _, part = c.recv_frame()
        got += len(part)
    sender.join()
    return got


for name, size in SIZES.items():
    @suite.case("again." + name, "the next message uses the memory of the last", background=False)
    def _(size=size):
        data = frame(BINARY, bytes(size))
        with Raw(app.port, "/kept", compress=False) as c:
            for _ in range(3):
                if echo(c, data) != size:
                    raise Failed("something else came back")
            before = faults(worker())
            for _ in range(4):
                echo(c, data)
            each = (faults(worker()) - before) / 4
        if each > size / 4096 / 8 and not INSTRUMENTED:
            raise Failed("%d pages for a message of %d" % (each, size / 4096))


@suite.case("rest", "memory of large messages is given back some seconds later")
def _():
    pid = worker()
    with Raw(app.port, "/kept", compress=False) as c:
        echo(c, frame(BINARY, bytes(24 * MIB)))
        used = rss(pid)
        if not INSTRUMENTED:            # the allocator of sanitizers keeps what it likes
            wait_until(lambda: rss(pid) < used - 24 * MIB, SECONDS * 2, "less memory than %d" % used)
        echo(c, frame(BINARY, b"x"))


app.add_finals(suite, r"nothing is expected")

if __name__ == "__main__":
    suite.main()
