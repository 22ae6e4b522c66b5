#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Conformance of the server to RFC 7692, case by case, against the real program.

    tests/conformance/deflate.py             all cases
    tests/conformance/deflate.py 'offer.*'   some of them

The client here is Python's zlib. It reads what the server sends with the window that was agreed
upon, a byte at a time, and without a memory of earlier messages where none was agreed upon, so a
server that goes beyond either fails; so does one that ends its stream.
"""
import os
import random
import sys
import threading
import zlib

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "support"))

from neaptest import (  # noqa: E402
    BINARY, CLOSE, CONT, PING, PONG, TEXT, Bystander, Failed, Raw, Server, Suite, close_payload,
    frame, wait_until)

suite = Suite("deflate")
SETTINGS = ("plain", "kept", "widest", "threshold", "off")
PMD = "permessage-deflate"
S_NO, C_NO = "; server_no_context_takeover", "; client_no_context_takeover"
S_BITS, C_BITS = "; server_max_window_bits", "; client_max_window_bits"
TAIL = b"\0\0\xff\xff"
RSV1 = 4


class Shared:
    server = None
    lock = threading.Lock()


def server():
    with Shared.lock:
        if Shared.server is None:
            Shared.server = Server(os.path.join(HERE, "deflate_app.lua"))
    return Shared.server


def ask(setting, offers, path="/echo"):
    """A connection with these header lines, and its answer."""
    c = Raw(server().ports[SETTINGS.index(setting)])
    response = c.handshake(path, [("Sec-WebSocket-Extensions", o) for o in offers])
    if response.status != 101:
        raise Failed("upgrade refused: %r" % response)
    return c, response.header("Sec-WebSocket-Extensions")


class Peer:
    """A connection that compresses. `bits` is what our own compressor uses at the most."""

    def __init__(self, setting="plain", offer=PMD, path="/echo", bits=15, level=6):
        self.c, self.answer = ask(setting, [offer], path)
        if not self.answer:
            raise Failed("no compression was agreed upon")
        given = dict(p.strip().partition("=")[::2] for p in self.answer.split(";")[1:])
        self.keeps_in = S_NO[2:] not in given
        self.keeps_out = C_NO[2:] not in given
        self.in_bits = int(given.get(S_BITS[2:], 15))
        self.out_bits = max(9, min(bits, int(given.get(C_BITS[2:], 15))))
        self.level, self.packer, self.unpacker = level, None, None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.c.close()

    def pack(self, data):
        if self.packer is None or not self.keeps_out:
            self.packer = zlib.compressobj(self.level, zlib.DEFLATED, -self.out_bits)
        packed = self.packer.compress(data) + self.packer.flush(zlib.Z_SYNC_FLUSH)
        assert packed.endswith(TAIL)
        return packed[:-4]

    def unpack(self, packed):
        """§7.2.2, with no more window than agreed; zlib checks it when its output is cut."""
        if self.unpacker is None or not self.keeps_in:
            self.unpacker = zlib.decompressobj(-self.in_bits)
        out, whole = [], packed + TAIL
        most = 1 if self.in_bits < 15 else 4096     # zlib looks back as far as it likes in its output
        for at in range(0, len(whole), 256):
            rest = whole[at:at + 256]
            while rest and not self.unpacker.eof:
                out.append(self.unpacker.decompress(rest, most))
                rest = self.unpacker.unconsumed_tail
            if self.unpacker.eof:
                behind = self.unpacker.unused_data + whole[at + 256:]
                break
        if self.unpacker.eof:           # legal (§7.2.3.4), but some libraries never get over it
            raise Failed("a final block, behind it %r" % behind)
        out.append(self.unpacker.decompress(b""))
        return b"".join(out)

    def send(self, op, data, sizes=()):
        """One message, compressed; with `sizes` in fragments, the last taking the rest."""
        self.send_packed(op, self.pack(data), sizes)

    def send_packed(self, op, packed, sizes=()):
        cuts = [0]
        for size in sizes:
            cuts.append(min(len(packed), cuts[-1] + size))
        cuts.append(len(packed))
        parts = [packed[a:b] for a, b in zip(cuts, cuts[1:])]
        self.c.send(b"".join(
            frame(CONT if i else op, part, fin=i == len(parts) - 1, rsv=0 if i else RSV1)
            for i, part in enumerate(parts)))

    def receive(self, packed=None):
        """The next message; `packed` says whether it must be, or must not be, compressed."""
        fin, rsv, kind, data = self.c.recv_frame()
        if kind not in (TEXT, BINARY) or rsv not in (0, RSV1):
            raise Failed("opcode %X, reserved bits %d, %r" % (kind, rsv, data[:60]))
        while not fin:
            fin, more, op, part = self.c.recv_frame()
            if op != CONT or more:
                raise Failed("opcode %X, reserved bits %d in a continuation" % (op, more))
            data += part
        if packed is not None and packed != bool(rsv):
            raise Failed("compressed: %s" % bool(rsv))
        self.size = len(data)
        return kind, self.unpack(data) if rsv else data

    def expect(self, op, data, packed=None):
        got = self.receive(packed)
        if got != (op, data):
            raise Failed("expected %d bytes, got %d: %r" % (len(data), len(got[1]), got[1][:80]))

    def echo(self, op, data, sizes=(), packed=None):
        self.send(op, data, sizes)
        self.expect(op, data, packed)

    def good_bye(self):
        self.c.send_frame(CLOSE, close_payload(1000))
        self.c.expect_close(1000)


def json_text(size, seed=1):
    rng, out = random.Random(seed), []
    while sum(map(len, out)) < size:
        out.append('{"id":%d,"name":"%s","on":%s},' % (
            rng.randrange(10 ** 6), rng.choice(("alpha", "bravo", "charlie")),
            rng.choice(("true", "false"))))
    return "".join(out)[:size].encode()


def noise(size, seed=1):
    return random.Random(seed).randbytes(size)


def far(size):
    """Noise that repeats 9,000 bytes later: only a window of 2^14 and more sees that."""
    unit = noise(9000)
    return (unit * (size // 9000 + 1))[:size]


def add(ident, what, fn, *args, **kwargs):
    suite.add(ident, what, lambda: fn(*args, **kwargs))


# -- negotiation

def agreed(setting, offers, wanted):
    c, answer = ask(setting, offers)
    with c:
        if answer != wanted:
            raise Failed("answered %r instead of %r" % (answer, wanted))
        c.text("still works")
        if answer is None:
            c.expect(TEXT, "still works")
        else:
            fin, _, op, _ = c.recv_frame()
            if not fin or op != TEXT:
                raise Failed("no echo")


def expected_answer(setting, s_no, c_no, s_bits, c_bits):
    """Written from RFC 7692 §7.1 and the reference, not from the server's code."""
    keeps, cap = setting != "plain", 12 if setting == "kept" else 15
    server_no, client_no = s_no or not keeps, c_no or not keeps
    window = s_bits or 15
    if not server_no:
        window = min(window, cap)
    theirs = min(c_bits or 15, cap) if c_bits is not None and not client_no else 15
    return (PMD + (S_NO if server_no else "") + (C_NO if client_no else "")
            + ("%s=%d" % (S_BITS, window) if s_bits or window < 15 else "")
            + ("%s=%d" % (C_BITS, theirs) if theirs < 15 else ""))


def all_offers(setting):
    """Every combination of parameters that an offer can have; a message each way over it."""
    for s_no in (False, True):
        for c_no in (False, True):
            for s_bits in (None, 8, 9, 11, 15):
                for c_bits in (None, 0, 8, 10, 15):     # 0: without a value
                    yield s_no, c_no, s_bits, c_bits


def combination(setting, s_no, c_no, s_bits, c_bits):
    offer = (PMD + (S_NO if s_no else "") + (C_NO if c_no else "")
             + ("" if s_bits is None else "%s=%d" % (S_BITS, s_bits))
             + ("" if c_bits is None else C_BITS + ("=%d" % c_bits if c_bits else "")))
    with Peer(setting, offer) as p:
        wanted = expected_answer(setting, s_no, c_no, s_bits, c_bits)
        if p.answer != wanted:
            raise Failed("%s was answered %r instead of %r" % (offer, p.answer, wanted))
        for i in range(3):
            p.echo(TEXT, json_text(3000, i))
            p.echo(BINARY, far(20000))
        p.good_bye()


for setting in ("plain", "kept", "widest"):
    for n, one in enumerate(all_offers(setting)):
        add("offer.%s.%03d" % (setting, n), "server_no=%s client_no=%s server_bits=%s client_bits=%s"
            % one, combination, setting, *one)

DECLINED = {
    "bits.99": PMD + C_BITS + "=99", "bits.07": PMD + C_BITS + "=07",
    "bits.7": PMD + C_BITS + "=7", "bits.16": PMD + C_BITS + "=16", "bits.word": PMD + C_BITS + "=x",
    "bits.quoted-empty": PMD + C_BITS + '=""', "bits.twice": PMD + C_BITS + C_BITS,
    "bits.sign": PMD + C_BITS + "=+9", "server-bits.none": PMD + S_BITS,
    "server-bits.7": PMD + S_BITS + "=7", "server-bits.16": PMD + S_BITS + "=16",
    "server-bits.zero": PMD + S_BITS + "=09", "server-bits.twice": PMD + S_BITS + "=9" + S_BITS + "=9",
    "server-bits.huge": PMD + S_BITS + "=" + "9" * 60, "server-no.value": PMD + S_NO + "=1",
    "server-no.twice": PMD + S_NO + S_NO, "client-no.value": PMD + C_NO + "=true",
    "client-no.twice": PMD + C_NO + C_NO, "unknown": PMD + "; x", "unknown.value": PMD + "; x=y",
    "unknown.quoted": PMD + '; x="a, b; c"', "case": PMD + S_NO.upper(),
    "other": "x-webkit-deflate-frame", "name.longer": PMD + "s",
}
for name, offer in DECLINED.items():
    add("declined." + name, offer, agreed, "plain", [offer], None)
    add("fallback." + name, "the next offer is taken", agreed, "plain", [offer, PMD + S_BITS + "=10"],
        PMD + S_NO + C_NO + S_BITS + "=10")


def refused(offers):
    with Raw(server().port) as c:
        response = c.handshake("/echo", [("Sec-WebSocket-Extensions", o) for o in offers])
        if response.status != 400:
            raise Failed("not refused: %r" % response)


MALFORMED = {
    "bits.empty": PMD + C_BITS + "=", "semicolon": PMD + ";", "nothing": ",", "junk": PMD + " junk",
    "unclosed": PMD + C_BITS + '="10', "nameless": PMD + "; =10",
}
for name, offer in MALFORMED.items():
    add("malformed." + name, offer + " (RFC 6455 §9.1)", refused, [offer])
    add("malformed.behind." + name, "a good offer does not help", refused, [PMD, offer])
add("offer.off", "compression is off", agreed, "off", [PMD], None)
add("offer.none", "none was offered", agreed, "plain", [], None)
add("offer.first", "the first good one", agreed, "kept",
    [PMD + S_BITS + "=10, " + PMD + S_NO], PMD + S_BITS + "=10")
add("offer.second", "in one line", agreed, "kept",
    ["x-other, " + PMD + "; x, " + PMD + C_NO], PMD + C_NO + S_BITS + "=12")
add("offer.quoted", "a quoted value", agreed, "plain", [PMD + S_BITS + '="10"'],
    PMD + S_NO + C_NO + S_BITS + "=10")

# -- messages

def echoes(setting, data, op=BINARY, sizes=(), times=3, packed=None, **options):
    with Peer(setting, **options) as p:
        for _ in range(times):
            p.echo(op, data, sizes, packed)
        p.good_bye()


for setting in ("plain", "kept", "widest"):
    for size in (0, 1, 2, 5, 125, 126, 127, 1000, 32768, 65535, 65536, 65537, 300000):
        for name, data in (("text", json_text(size)), ("noise", noise(size)), ("far", far(size))):
            add("echo.%s.%s.%d" % (setting, name, size), "%d bytes" % size, echoes, setting, data,
                path="/big", times=2)
    for level in (0, 1, 9):
        add("level.%s.%d" % (setting, level), "from a client of level %d" % level, echoes, setting,
            json_text(9000), level=level)
    for sizes in ((1,), (0,), (0, 0), (1, 1, 1), (10, 0, 10), (5000,), (1 << 20,)):
        add("fragments.%s.%s" % (setting, "-".join(map(str, sizes))), "RSV1 in the first only",
            echoes, setting, json_text(2000), TEXT, sizes)
add("fragments.each", "every byte a frame", echoes, "plain", json_text(200), TEXT, (1,) * 300)
add("packed.text", "text comes back compressed", echoes, "plain", json_text(1000), TEXT, packed=True)
add("packed.noise", "noise does not", echoes, "plain", noise(1000), packed=False)
add("threshold.99", "below the threshold", echoes, "threshold", b"a" * 99, packed=False)
add("threshold.100", "at the threshold", echoes, "threshold", b"a" * 100, packed=True)


@suite.case("takeover.pays", "the second of two equal messages is tiny where a window is kept")
def _():
    for setting, pays in (("kept", True), ("widest", True), ("plain", False)):
        with Peer(setting) as p:
            p.echo(TEXT, json_text(2000))
            first = p.size
            p.echo(TEXT, json_text(2000))
            if (p.size < first / 4) != pays:
                raise Failed("%s: %d bytes, then %d" % (setting, first, p.size))


@suite.case("takeover.mixed", "messages sent as they are leave the windows alone")
def _():
    with Peer("kept") as p:
        for i in range(20):
            p.echo(TEXT, json_text(1500, i % 3))
            p.c.send(frame(TEXT, json_text(700)))
            p.expect(TEXT, json_text(700))
            p.c.send(frame(PING, "p"))
            p.c.expect(PONG, "p")
            p.echo(BINARY, noise(500, i))


@suite.case("takeover.long", "a thousand messages over the same windows")
def _():
    with Peer("kept", PMD + C_BITS + "=9" + S_BITS + "=9") as p:
        for i in range(1000):
            p.echo(TEXT, json_text(100 + i % 900, i % 50))


@suite.case("controls.between", "control frames between fragments, not compressed")
def _():
    with Peer() as p:
        packed = p.pack(b"Hello Hello Hello")
        p.c.send(frame(TEXT, packed[:3], fin=False, rsv=RSV1) + frame(PING, "a" * 125)
                 + frame(CONT, packed[3:]))
        p.c.expect(PONG, "a" * 125)
        p.expect(TEXT, b"Hello Hello Hello")


@suite.case("many.together", "a hundred messages in one segment, compressed and not")
def _():
    with Peer() as p:
        data = b"".join(frame(TEXT, p.pack(json_text(400, i)), rsv=RSV1) + frame(BINARY, b"%d" % i)
                        for i in range(50))
        p.c.send(data)
        for i in range(50):
            p.expect(TEXT, json_text(400, i))
            p.expect(BINARY, b"%d" % i)


@suite.case("bytewise", "a compressed message byte by byte")
def _():
    with Peer() as p:
        p.c.send_chops(frame(TEXT, p.pack(json_text(300)), rsv=RSV1))
        p.expect(TEXT, json_text(300))


# -- blocks (§7.2.3)

BLOCKS = {
    "fixed": ("f248cdc9c90700", b"Hello"), "stored": ("000500faff48656c6c6f00", b"Hello"),
    "final": ("f348cdc9c9070000", b"Hello"),
    "final.bare": ("f348cdc9c90700", b"Hello"), "final.stored": ("010500faff48656c6c6f", b"Hello"),
    "final.stored.empty": ("010500faff48656c6c6f01", b"Hello"),
    "two": ("f248050000" "00ffff" "cac9c90700", b"Hello"),
    "two.final": ("f348cdc9c90700" "f348cdc9c9070000", b"HelloHello"),
    "final-first": ("f348cdc9c90700" "f248cdc9c90700", b"HelloHello"),
    "empty.00": ("00", b""), "empty.none": ("", b""), "empty.fixed": ("0300", b""),
    "empty.blocks": ("000000ffff000000ffff000500faff48656c6c6f00", b"Hello"),
    "empty.many": ("000000ffff" * 200 + "000500faff48656c6c6f00", b"Hello"),
}
BAD = {
    "ff": "ffffffffff", "type": "06", "type.final": "07", "cut": "f248cdc9c9",
    "cut.end": "f248cdc9c907",
    "stored.cut": "000500faff4865", "stored.length": "000500fbff48656c6c6f00", "nowhere": "4b040500",
    "behind": "f248cdc9c9070006", "behind.final": "f348cdc9c90700ffffff",
    "no-end": "f248cdc9c90700000000ffff",
}


def block(setting, packed, data, sizes=()):
    with Peer(setting) as p:
        for _ in range(2):
            p.send_packed(BINARY, bytes.fromhex(packed), sizes)
            p.expect(BINARY, data)
        p.unpacker = None
        p.good_bye()


def refused(code, *parts, setting="plain", path="/echo", **options):
    with Peer(setting, path=path, **options) as p:
        for part in parts:
            p.c.send(part)
        p.c.expect_close(code, skip=True)


for setting in ("plain", "kept"):
    for name, (packed, data) in BLOCKS.items():
        add("block.%s.%s" % (setting, name), packed[:40], block, setting, packed, data)
        add("block.%s.%s.fragments" % (setting, name), "in fragments", block, setting, packed,
            data, (1, 2))
    for name, packed in BAD.items():
        for op in (TEXT, BINARY):
            add("bad.%s.%s.%d" % (setting, name, op), packed, refused, 1007,
                frame(op, bytes.fromhex(packed), rsv=RSV1), setting=setting)
        add("bad.%s.%s.fragments" % (setting, name), "in fragments", refused, 1007,
            frame(BINARY, bytes.fromhex(packed[:2]), fin=False, rsv=RSV1),
            frame(CONT, bytes.fromhex(packed[2:])), setting=setting)

# -- reserved bits (§6)

HELLO = bytes.fromhex("f248cdc9c90700")
for name, parts in {
        "continuation": [frame(TEXT, HELLO[:3], fin=False, rsv=RSV1), frame(CONT, HELLO[3:], rsv=RSV1)],
        "continuation.plain": [frame(TEXT, "a", fin=False), frame(CONT, "b", rsv=RSV1)],
        "lone": [frame(CONT, HELLO, rsv=RSV1)],
        "ping": [frame(PING, rsv=RSV1)], "pong": [frame(PONG, "x", rsv=RSV1)],
        "close": [frame(CLOSE, close_payload(1000), rsv=RSV1)],
        "rsv2": [frame(TEXT, HELLO, rsv=2)], "rsv3": [frame(TEXT, HELLO, rsv=1)],
        "rsv1+2": [frame(TEXT, HELLO, rsv=6)], "rsv1+3": [frame(TEXT, HELLO, rsv=5)],
        "nested": [frame(TEXT, HELLO[:3], fin=False, rsv=RSV1), frame(TEXT, HELLO, rsv=RSV1)],
        "reserved-opcode": [frame(3, HELLO, rsv=RSV1)],
}.items():
    add("rsv." + name, "1002", refused, 1002, *parts)


@suite.case("rsv.not-agreed", "RSV1 without the extension (H02)")
def _():
    for setting, offers in (("off", [PMD]), ("plain", []), ("plain", [PMD + "; x"])):
        c, _ = ask(setting, offers)
        with c:
            c.send(frame(TEXT, HELLO, rsv=RSV1))
            c.expect_close(1002)


# -- UTF-8 after unpacking (RFC 6455 §8.1)

for name, data in {
        "overlong": b"\xc0\x80", "surrogate": b"\xed\xa0\x80", "beyond": b"good \xf4\x90\x80\x80",
        "lone": b"a" * 500 + b"\x80", "cut": b"\xf0\x9f\x92", "late": json_text(60000) + b"\xff",
}.items():
    for setting in ("plain", "kept"):
        with_peer = zlib.compressobj(6, zlib.DEFLATED, -15)
        packed = (with_peer.compress(data) + with_peer.flush(zlib.Z_SYNC_FLUSH))[:-4]
        add("utf8.%s.%s" % (setting, name), "1007", refused, 1007, frame(TEXT, packed, rsv=RSV1),
            setting=setting)
        add("utf8.%s.%s.binary" % (setting, name), "binary may be anything", echoes, setting, data)
add("utf8.good", "characters cut by fragments", echoes, "plain", "κόσμε💩".encode() * 50, TEXT, (3, 1, 7))

# -- limits (H21, H23)

def bomb(size, level=9):
    z = zlib.compressobj(level, zlib.DEFLATED, -15)
    zeros, out = bytes(1 << 20), []
    for _ in range(size >> 20):
        out.append(z.compress(zeros))
    return b"".join(out) + z.flush(zlib.Z_SYNC_FLUSH)[:-4]


def flat(setting, *parts, path="/big"):
    """1009, at little more than a message of the limit costs; a bystander is answered."""
    worker = server().workers()[0]
    with Bystander(server().port) as b:
        before = server().rss(worker)
        refused(1009, *parts, setting=setting, path=path)
        b.check()
    grown = server().rss(worker) - before
    if grown > 6 << 20 and "asan" not in os.environ.get("NEAP", ""):
        raise Failed("%d KiB more" % (grown >> 10))


BOMB = bomb(64 << 20)
for setting in ("plain", "kept"):
    add("bomb.%s.whole" % setting, "64 MiB in one frame (H21)", flat, setting,
        frame(BINARY, BOMB, rsv=RSV1), path="/big")
    add("bomb.%s.small" % setting, "past the default limit", flat, setting,
        frame(TEXT, bomb(2 << 20), rsv=RSV1), path="/echo")
    pieces = [BOMB[at:at + 5000] for at in range(0, len(BOMB), 5000)]
    add("bomb.%s.fragments" % setting, "64 MiB in fragments", flat, setting,
        b"".join(frame(CONT if i else BINARY, piece, fin=i == len(pieces) - 1,
                       rsv=0 if i else RSV1) for i, piece in enumerate(pieces)), path="/big")
    add("limit.%s.250" % setting, "the most that a message may have", echoes, setting, b"x" * 250,
        path="/small")
    add("limit.%s.251" % setting, "one byte more", refused, 1009,
        frame(BINARY, bytes.fromhex("00fb0004ff") + b"x" * 251 + b"\0", rsv=RSV1), setting=setting,
        path="/small")
    add("limit.%s.250.noise" % setting, "noise that grew when compressed", echoes, setting,
        noise(250), path="/small", sizes=(90, 90))


@suite.case("bomb.takeover", "a small message that unfolds the window (H23)")
def _():
    with Peer("kept") as p:
        for _ in range(4):
            p.echo(BINARY, bytes(200))
        with Peer("widest", path="/small") as q:
            q.echo(BINARY, bytes(250))
            q.send(BINARY, bytes(251))
            q.c.expect_close(1009)
        p.echo(BINARY, bytes(1000))


@suite.final("end.worker", "one worker lived through it, with a clean log")
def _():
    s = server()
    bad = s.records("error")
    if bad:
        raise Failed("%d errors, first %r" % (len(bad), bad[0]))
    wait_until(lambda: len(s.workers()) == 1, what="one worker")
    status = s.stop()
    if status != 0:
        raise Failed("ended with %d" % status)


if __name__ == "__main__":
    suite.main()
