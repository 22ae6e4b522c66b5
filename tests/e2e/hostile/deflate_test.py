#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Hostile compressed messages: bombs, invalid data, RSV1 where it must not be, offers that nobody
can agree to. H21 to H27, H46 and H48, with what target.py asserts about everybody else.
"""
import zlib

from target import (
    BINARY, CLOSE, CONT, INSTRUMENTED, MASK, PING, SLACK, TEXT, Failed, Raw, Suite, Target, close_payload, cost, frame,
    over)
from neaptest.client import RSV1

suite = Suite("hostile_deflate")


class Warm(Target):
    def _start(self):
        """What the first large messages allocate for good is there."""
        super()._start()
        for port in self.server.ports:
            for _ in range(10):
                with Raw(port, "/echo", compress=True) as c:
                    c.send(frame(BINARY, BOMB, rsv=RSV1))
                    c.expect_close(1009)


target = Warm(r"""
local websocket = require "neap.websocket"
local echo = { onMessage = function(_, _, data) return data end }
for _, keeps in ipairs { false, true } do
  local listener = websocket.listener(0, { host = "127.0.0.1", compression = {
    threshold = 0, windowBits = 15, serverNoContextTakeover = not keeps, clientNoContextTakeover = not keeps } })
  listener:attach("/echo", echo)
  listener:attach("/small", { maxMessageSize = 1000 }, echo)
end
""")
KINDS = {"": 0, ".takeover": 1}     # nothing is kept from message to message; or both windows are


def client(kind="", path="/echo"):
    return Raw(target.get().ports[KINDS[kind]], path, compress=True)


def sends(data, code, kind="", path="/echo"):
    def act():
        with client(kind, path) as c:
            for part in data if isinstance(data, list) else [data]:
                c.send(part)
            c.expect_close(code, skip=True)
    return act


def add(ident, what, code, data, **options):
    for kind in KINDS:
        target.add(suite, ident + kind, what, sends(data, code, kind, **options), crowd=not kind)


def peak(pid):
    with open("/proc/%d/status" % pid) as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmHWM:")) << 10


def flat(act, most=2 << 20):
    """Not even for a moment more memory than a message of the limit takes."""
    def judged():
        worker = target.get().workers()[0]
        act()           # what the first such message allocates for good
        with open("/proc/%d/clear_refs" % worker, "w") as f:
            f.write("5")
        before = target.server.rss(worker)
        act()
        if not INSTRUMENTED and peak(worker) - before > most:
            raise Failed("%d KiB more at its peak" % ((peak(worker) - before) >> 10))
    return judged


def pack(data, level=9):
    z = zlib.compressobj(level, zlib.DEFLATED, -15)
    return (z.compress(data) + z.flush(zlib.Z_SYNC_FLUSH))[:-4]


def fragments(op, data, size):
    parts = [data[at:at + size] for at in range(0, len(data), size)]
    return b"".join(frame(CONT if i else op, part, fin=i == len(parts) - 1, rsv=0 if i else RSV1)
                    for i, part in enumerate(parts))


# -- H21, H23: bombs

BOMB = pack(bytes(64 << 20))
INNER = pack(bytes(100 << 20))          # a bomb that comes in a message is only bytes
KEPT = 2 << 20          # malloc may keep the room for one message of the limit
assert len(BOMB) <= 65536
for kind in KINDS:
    for op, name in ((BINARY, "binary"), (TEXT, "text")):
        target.add(suite, "H21.%s%s" % (name, kind), "64 MiB in one frame of %d bytes" % len(BOMB),
                   flat(sends(frame(op, BOMB, rsv=RSV1), 1009, kind)), grow=KEPT)
    target.add(suite, "H21.fragments" + kind, "the same in fragments", flat(
        sends(fragments(BINARY, BOMB, 1000), 1009, kind)), grow=KEPT)
    target.add(suite, "H21.edge" + kind, "one byte over the limit", flat(
        sends(frame(BINARY, pack(bytes((1 << 20) + 1)), rsv=RSV1), 1009, kind)), grow=KEPT)
    target.add(suite, "H21.blocks" + kind, "many final blocks, each a small bomb", flat(
        sends(frame(BINARY, (zlib.compress(bytes(100000), 9, -15)) * 300, rsv=RSV1), 1009, kind)), grow=KEPT)
    target.add(suite, "H21.small" + kind, "over a route's own limit", flat(
        sends(frame(BINARY, pack(bytes(1001)), rsv=RSV1), 1009, kind, "/small")))


def fits(kind):
    def act():
        with client(kind) as c:
            reader = zlib.decompressobj(-15)
            for data in (bytes(1 << 20), INNER):
                c.send(frame(BINARY, pack(data), rsv=RSV1))
                got, fin = b"", False
                while not fin:
                    fin, _, _, part = c.recv_frame()
                    got += part
                if reader.decompress(got + b"\0\0\xff\xff") != data:
                    raise Failed("%d bytes came back otherwise" % len(data))
    return act


for kind in KINDS:
    target.add(suite, "H21.fits" + kind, "exactly the limit is a message; so is a bomb inside one", fits(kind),
               grow=4 << 20)


def unfolds():
    """A window full of zeros, and then few bytes that repeat it beyond the limit."""
    z = zlib.compressobj(9, zlib.DEFLATED, -15)

    def packed(data):
        return (z.compress(data) + z.flush(zlib.Z_SYNC_FLUSH))[:-4]
    with client(".takeover") as c:
        for _ in range(5):
            c.send(frame(BINARY, packed(bytes(32768)), rsv=RSV1))
            c.recv_frame()
        c.send(frame(BINARY, packed(bytes(64 << 20))[:65536], rsv=RSV1))
        c.expect_close(1009)


target.add(suite, "H23", "a bomb that unfolds the window of the messages before it", flat(unfolds), grow=KEPT)


@suite.case("H21.cost", "a hundred bombs cost the worker little")
def _():
    def act():
        for _ in range(100):
            sends(frame(BINARY, BOMB, rsv=RSV1), 1009)()
    used = cost(target.get(), act)
    if used > (2 if over.TLS else 1) * SLACK:
        raise Failed("%.2f s" % used)


# -- H24: what is no DEFLATE

for ident, data in {
        "ff": b"\xff" * 5, "reserved": b"\x07", "stored.length": b"\x01\x05\x00\x05\x00hello",
        "stored.short": b"\x00\x05\x00\xfa\xffhel",
        "distance": bytes.fromhex("4b04a10000"), "codes": b"\x05\x00\x00", "cut": pack(b"hello, hello, hello")[:4],
        "behind": b"\x03\x00\xff", "noise": bytes(range(255, 155, -1)), "long": b"\xff" * 65536}.items():
    add("H24." + ident, "invalid compressed data: 1007", 1007, frame(BINARY, data, rsv=RSV1))
add("H24.fragments", "the same in fragments", 1007, fragments(BINARY, b"\xff" * 5, 1))
add("H24.hex", "H24 as it is written", 1007, bytes.fromhex("C185") + MASK + bytes(b ^ 0xFF for b in MASK + MASK[:1]))
add("H24.utf8", "bad UTF-8 that appears when it is unpacked", 1007,
    frame(TEXT, pack(b"valid \xf4\x90\x80\x80"), rsv=RSV1))
add("H24.utf8.cut", "a sequence that is cut off at the end", 1007,
    frame(TEXT, pack("valid €".encode()[:-1]), rsv=RSV1))


# -- H26: nothing, compressed

def empty(kind):
    def act():
        with client(kind) as c:
            for data in (b"", b"\0", b"\x02\0", b"\x03\0", b"\0\0\0\xff\xff\0", b"\0\0\0\xff\xff" * 3 + b"\0"):
                c.send(frame(TEXT, data, rsv=RSV1))
                c.expect(TEXT, "")
            c.send(frame(TEXT, b"", fin=False, rsv=RSV1) + frame(CONT, b"\0"))
            c.expect(TEXT, "")
            c.text("and something")
            c.expect(TEXT, "and something")
    return act


for kind in KINDS:
    target.add(suite, "H26" + kind, "an empty message in all its forms is a message", empty(kind))

# -- H27: RSV1 where it means nothing

HALF = pack(b"hello, hello, hello")
add("H27.continuation", "RSV1 on a continuation of nothing", 1002, bytes.fromhex("4080") + MASK)
add("H27.second", "RSV1 on the second fragment", 1002,
    frame(TEXT, HALF[:3], fin=False, rsv=RSV1) + frame(CONT, HALF[3:], rsv=RSV1))
add("H27.second.plain", "RSV1 on the second fragment of a message that is not compressed", 1002,
    frame(TEXT, "hello", fin=False) + frame(CONT, HALF, rsv=RSV1))
add("H27.ping", "RSV1 on a ping", 1002, bytes.fromhex("C980") + MASK)
add("H27.ping.inside", "RSV1 on a ping inside a compressed message", 1002,
    frame(TEXT, HALF[:3], fin=False, rsv=RSV1) + frame(PING, HALF, rsv=RSV1))
add("H27.pong", "RSV1 on a pong", 1002, bytes.fromhex("CA80") + MASK)
add("H27.close", "RSV1 on a close frame", 1002, frame(CLOSE, close_payload(1000), rsv=RSV1))
for bits in (2, 1, 6, 5, 7):
    add("H27.rsv%d" % bits, "reserved bits beside RSV1", 1002, frame(TEXT, HALF, rsv=bits))

# -- H46, H48: offers

OFFERS = {
    "99": "client_max_window_bits=99", "07": "client_max_window_bits=07", "empty": "client_max_window_bits=\"\"",
    "7": "server_max_window_bits=7", "16": "server_max_window_bits=16", "no-value": "server_max_window_bits",
    "twice": "client_max_window_bits; client_max_window_bits", "flag-value": "server_no_context_takeover=1",
    "unknown": "frob", "huge": "client_max_window_bits=" + "9" * 5000, "many": "; ".join(["frob"] * 1000)}


def offered(text, agreed, kind):
    """With an offer that cannot be agreed to the connection goes on without; a good one behind it counts."""
    def act():
        for also in ("", ", permessage-deflate"):
            with Raw(target.get().ports[KINDS[kind]]) as c:
                response = c.handshake("/echo", [("Sec-WebSocket-Extensions", "permessage-deflate; " + text + also)])
                answer = response.header("Sec-WebSocket-Extensions") or ""
                if response.status != 101 or bool(answer) != (agreed or bool(also)):
                    raise Failed("%r" % response)
                c.text("still here")
                op, data = c.recv_frame()[2:]
                if op != TEXT or not answer and data != b"still here":
                    raise Failed("%r" % data)
    return act


for name, text in OFFERS.items():
    target.add(suite, "H46." + name, "an offer that is declined", offered(text, False, ""), crowd=len(text) < 100)


def eight(kind):
    """What is sent must be readable (with how large a window is conformance/deflate.py's concern)."""
    words = b"".join(b"%d " % (i * i % 997) for i in range(3000))

    def act():
        with Raw(target.get().ports[KINDS[kind]]) as c:
            offer = "permessage-deflate; server_max_window_bits=8"
            response = c.handshake("/echo", [("Sec-WebSocket-Extensions", offer)])
            answer = response.header("Sec-WebSocket-Extensions")
            if response.status != 101 or not (answer is None or "server_max_window_bits=8" in answer):
                raise Failed("%r" % response)
            reader = zlib.decompressobj(-9)
            for data in (b"x" * 1000, words, words[::-1], bytes(5000)):
                c.send(frame(BINARY, data))
                fin, rsv, _, packed = c.recv_frame()
                whole = reader.decompress(packed + b"\0\0\xff\xff") if rsv else packed
                if not fin or whole != data:
                    raise Failed("%d bytes came back otherwise" % len(data))
    return act


for kind in KINDS:
    target.add(suite, "H48" + kind, "server_max_window_bits=8: declined, or kept to", eight(kind))

target.add_crowd(suite)
target.add_finals(suite, [])

if __name__ == "__main__":
    suite.main()
