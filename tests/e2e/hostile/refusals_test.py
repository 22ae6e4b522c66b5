#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""What the log says of what was refused: the size, the setting and its value of frames past a
limit; the reason of refused upgrades. And how often: equal lines ten times in a second, and then
their number.
"""
import os
import re
import sys

sys.path.insert(0, os.path.abspath(__file__ + "/../../../support"))
from neaptest import BINARY, CONT, TEXT, Failed, Raw, Suite, frame, request, wait_until  # noqa: E402
from neaptest.behaviour import App  # noqa: E402
from neaptest.client import RSV1  # noqa: E402
from neaptest.over import pack  # noqa: E402

suite = Suite("refusals")
app = App(r"""
local plain = { onMessage = function(_, _, data) return data end }
listener:attach("/default", plain)
listener:attach("/small", { maxFrameSize = 100, maxMessageSize = 250, maxFragments = 3 }, plain)
listener:attach("/allowed", { allowedOrigins = { "https://example.com" } }, plain)
listener:attach("/own", function() return nil, "not for you" end)
""")

MORE = r"%s: refused (\d+) more times in this second"
CROWD = 100


def refused(ident, what, path, data, code, line):
    @suite.case("limit." + ident, what)
    def _():
        with Raw(app.port, path, compress="unpacks" in ident) as c:
            c.send(data)
            c.expect_close(code)
            app.get().wait_log(r"info +closed with %d: a %s connection=\S{16} address=127\.0\.0\.1 path=%s "
                               % (code, line, path))


refused("frame", "maxFrameSize", "/small", frame(TEXT, b"x" * 101), 1009,
        "frame of 101 bytes, maxFrameSize is 100")
refused("frame.header", "told by the header alone", "/small", frame(TEXT, b"", length_form=64, length=70000), 1009,
        "frame of 70000 bytes, maxFrameSize is 100")
refused("message", "maxMessageSize", "/small",
        frame(TEXT, b"x" * 100, fin=False) + frame(CONT, b"x" * 100, fin=False) + frame(CONT, b"x" * 51), 1009,
        "message of 251 bytes or more, maxMessageSize is 250")
refused("message.default", "without maxFrameSize it is maxMessageSize that counts", "/default",
        frame(BINARY, b"", length_form=64, length=(1 << 20) + 1), 1009,
        "message of 1048577 bytes or more, maxMessageSize is 1048576")
refused("fragments", "maxFragments", "/small", frame(TEXT, fin=False) + frame(CONT, fin=False) * 3, 1008,
        "message of 4 frames or more, maxFragments is 3")
refused("unpacks", "a message that is too big only when it is unpacked", "/small",
        frame(BINARY, pack(b"x" * 251), rsv=RSV1), 1009,
        "message that unpacks to 251 bytes or more, maxMessageSize is 250")


@suite.case("limit.frame.default", "without maxFrameSize a message may be one frame, as browsers send it")
def _():
    with Raw(app.port, "/default") as c:
        for size in (65537, 70000, 1 << 20):
            c.send(frame(TEXT, b"x" * size))
            c.expect(TEXT, b"x" * size)


@suite.case("limit.frame.out", "without maxFrameSize what goes out is cut at 65536")
def _():
    with Raw(app.port, "/default") as c:
        c.send(frame(BINARY, b"x" * 70000))
        sizes, fin = [], False
        while not fin:
            fin, _, _, data = c.recv_frame()
            sizes.append(len(data))
        if sizes != [65536, 70000 - 65536]:
            raise Failed("frames of %r" % sizes)


def told(line, reason):
    """How many lines there are that begin so, and the sum of the numbers of those that were left out."""
    lines, numbers = 0, 0
    for record in app.get().records("info"):
        more = re.match(MORE % reason, record.message)
        numbers += int(more.group(1)) if more else 0
        lines += not more and record.message.startswith(line)
    return lines, numbers


def often(ident, what, line, path, hurt, reason=None):
    """Clients that are all ready do the same at once; with a reason of its own they do so after the upgrade."""
    @suite.case("often." + ident, what)
    def _():
        before = told(line, reason or line)
        clients = [Raw(app.port, path if reason else None) for _ in range(CROWD)]
        for c in clients:
            c.send(hurt)
        wait_until(lambda: sum(told(line, reason or line)) - sum(before) == CROWD, what="all are told")
        for c in clients:
            c.close()
        lines = told(line, reason or line)[0] - before[0]
        if not 10 <= lines <= 30:       # ten a second, and not all of them are in one second perhaps
            raise Failed("%d lines of %d" % (lines, CROWD))


often("origin", "origins that are not allowed", "origin not allowed", "/allowed",
      request("/allowed", [("Origin", "https://evil.example")]))
often("app", "upgrades that the app refuses", "upgrade refused by the app", "/own", request("/own"))
often("limit", "frames past a limit", "closed with 1009: a frame of", "/small", frame(TEXT, b"x" * 101),
      "maxFrameSize")

app.add_finals(suite, r"nothing is expected")

if __name__ == "__main__":
    suite.main()
