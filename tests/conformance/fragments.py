# SPDX-License-Identifier: MIT
"""Fragmentation and the limits of frames and messages (RFC 6455 §5.4, §10.4).

The limits are those of the route: /echo has the defaults (messages of 1 MiB, in a single frame
or in up to 1024 fragments), /small tiny ones. What exceeds a limit is refused at the header of
the frame that does, before any of its payload has come.
"""
from common import (
    BINARY, CLOSE, CONT, KEY, PING, PONG, TEXT, Failed, add, add_bystander, chop, close_payload,
    echoes, frame, good_bye, lasting, pattern, refused, send_parts, still_open, suite, ws)

KINDS = (("text", TEXT), ("binary", BINARY))


def fragments(op, *payloads):
    """One message as frames, one for each payload."""
    last = len(payloads) - 1
    return [frame(CONT if i else op, p, fin=i == last) for i, p in enumerate(payloads)]


for kind, op in KINDS:
    for name, payloads in {
            "two": ("frag1", "frag2"),
            "three": ("a", "b", "c"),
            "ten": tuple("%d" % i for i in range(10)),
            "empty.all": ("", "", ""),
            "empty.two": ("", ""),
            "empty.first": ("", "middle", "last"),
            "empty.middle": ("first", "", "last"),
            "empty.last": ("first", "middle", ""),
            "empty.many": ("",) * 50 + ("x",) + ("",) * 50,
            "large": (pattern(65536), pattern(65536), pattern(1)),
            "lengths": tuple(pattern(n) for n in (0, 125, 126, 127, 65535, 65536)),
    }.items():
        whole = "".join(payloads).encode() if isinstance(payloads[0], str) else b"".join(payloads)
        parts = fragments(op, *payloads)
        add("fragments.%s.%s" % (kind, name), "each frame read apart", echoes, op, whole, parts)
        add("fragments.%s.%s.together" % (kind, name), "all in one segment", echoes, op, whole,
            [b"".join(parts)])
    for piece in (1, 2, 3, 5, 7):
        add("fragments.%s.chops-%d" % (kind, piece), "three frames in pieces", echoes, op,
            b"alphabetagamma", chop(b"".join(fragments(op, "alpha", "beta", "gamma")), piece))
    for size in (1, 64, 997, 1300, 4096, 16384):
        data = pattern(65536)
        count = 2000 if size == 1 else 65536
        add("fragments.%s.of-%d" % (kind, size), "a message in fragments of this size", echoes, op,
            data[:count], [b"".join(fragments(op, *chop(data[:count], size)))])
    add("fragments.%s.mib" % kind, "4 MiB in fragments of 64 KiB", echoes, op, pattern(4 << 20),
        [b"".join(fragments(op, *chop(pattern(4 << 20), 65536)))])
    add("fragments.%s.pong" % kind, "an unsolicited pong between fragments", echoes, op, b"ab",
        [frame(op, "a", fin=False), frame(PONG, "p"), frame(CONT, "b")])


@suite.case("fragments.unfinished", "nothing is delivered before the last fragment has come")
def _():
    with ws() as c:
        send_parts(c, [frame(TEXT, "a", fin=False), frame(CONT, "b", fin=False), frame(PING)])
        c.expect(PONG, "")
        c.send_frame(CONT, "c")
        c.expect(TEXT, "abc")
        good_bye(c)


@suite.case("fragments.messages", "fragmented and whole messages in turn, in one segment")
def _():
    with ws() as c:
        data = b""
        for i in range(20):
            data += b"".join(fragments(TEXT, "a%d" % i, "b%d" % i)) + frame(BINARY, "w%d" % i)
        c.send(data)
        for i in range(20):
            c.expect(TEXT, "a%db%d" % (i, i))
            c.expect(BINARY, "w%d" % i)
        good_bye(c)


# -- the wrong order

for fin in (True, False):
    name = "last" if fin else "more"
    for payload in ("", "x"):
        size = "empty" if not payload else "payload"
        cont = frame(CONT, payload, fin=fin)
        add("fragments.lone.%s.%s" % (name, size), "a continuation of nothing", refused, 1002,
            cont)
        add("fragments.lone.%s.%s.after-message" % (name, size), "the same after a message",
            refused, 1002, frame(TEXT, "ok"), cont, before=[(TEXT, b"ok")])
        add("fragments.lone.%s.%s.after-fragments" % (name, size),
            "the same after a fragmented message", refused, 1002,
            *fragments(BINARY, "o", "k"), cont, before=[(BINARY, b"ok")])
add("fragments.lone.after-ping", "a continuation after a ping", refused, 1002,
    frame(PING, "p"), frame(CONT, "x"), before=[(PONG, b"p")])
add("fragments.lone.at-once", "refused before its payload has come", refused, 1002,
    frame(CONT, b"", length_form=16, length=1000))

for first, op in KINDS:
    for second, op2 in KINDS:
        for fin in (True, False):
            name = "%s-in-%s.%s" % (second, first, "whole" if fin else "fragment")
            add("fragments.nested.%s" % name, "a new message inside a fragmented one", refused,
                1002, frame(op, "a", fin=False), frame(op2, "b", fin=fin))
            add("fragments.nested.%s.later" % name, "the same after a continuation", refused,
                1002, frame(op, "a", fin=False), frame(CONT, "c", fin=False),
                frame(op2, "b", fin=fin))
add("fragments.nested.empty", "empty frames count too", refused, 1002,
    frame(TEXT, "", fin=False), frame(TEXT, ""))
add("fragments.nested.at-once", "refused before its payload has come", refused, 1002,
    frame(TEXT, "a", fin=False), frame(TEXT, b"", length_form=16, length=1000))
add("fragments.nested.nothing-sent", "the unfinished message is not delivered", refused, 1002,
    frame(TEXT, "a", fin=False) + frame(TEXT, "b") + frame(CONT, "c"))


@suite.case("fragments.close-inside", "a close inside a fragmented message is a close")
def _():
    with ws() as c:
        c.send(frame(TEXT, "a", fin=False) + frame(CLOSE, close_payload(1000)) + frame(CONT, "b"))
        c.expect_close(1000)


# -- limits of the route: defaults

def limit(code, *parts, path="/echo", before=()):
    refused(code, *parts, path=path, before=before)


MIB = pattern(1 << 20)
for kind, op in KINDS:
    for size in (65536, 65537, 70000, 1 << 20):
        add("limits.frame.%d.%s" % (size, kind), "by default a message may come in one frame", echoes,
            op, pattern(size), path="/echo")
    for size in ((1 << 20) + 1, (1 << 32), (1 << 63) - 1):
        add("limits.frame.%d.%s" % (size, kind), "1009 right after the header", limit, 1009,
            frame(op, b"", length_form=64, length=size))
    add("limits.frame.1048577.payload.%s" % kind, "the same with the payload there", limit, 1009,
        frame(op, pattern((1 << 20) + 1)))
    add("limits.message.mib.%s" % kind, "the largest message by default", echoes, op, MIB,
        [b"".join(fragments(op, *chop(MIB, 65536)))], path="/echo")
    full = b"".join(frame(CONT if i else op, pattern(65536), fin=False) for i in range(16))
    add("limits.message.mib+1.%s" % kind, "one byte more: 1009 right after the header", limit,
        1009, full, frame(CONT, b"x")[:6])
    add("limits.message.mib.empty.%s" % kind, "an empty frame more is no byte more", echoes, op,
        pattern(65536) * 16, [full, frame(CONT, b"")], path="/echo")
    add("limits.fragments.1024.%s" % kind, "the most fragments by default", echoes, op, b"x" * 1024,
        [b"".join(fragments(op, *[b"x"] * 1024))], path="/echo")
    add("limits.fragments.1025.%s" % kind, "one more: 1008", limit, 1008,
        b"".join(fragments(op, *[b"x"] * 1025)))
    add("limits.fragments.1025.empty.%s" % kind, "empty ones count", limit, 1008,
        b"".join(fragments(op, *[b""] * 1025)))
for size in ((1 << 20) + 1, (1 << 63) - 1):
    add("limits.frame.bytewise.%d" % size, "the header byte by byte", limit, 1009,
        *chop(frame(TEXT, b"", length_form=64, length=size), 1))
for path in ("zero", "negative"):
    add("limits.frame.%s" % path, "maxFrameSize %s means the default" % path, echoes, TEXT,
        pattern(70000), path="/" + path)
    add("limits.frame.%s.over" % path, "and the default is a limit", limit, 1009,
        frame(TEXT, b"", length_form=64, length=(1 << 20) + 1), path="/" + path)

# -- limits of the route: frames of 100, messages of 250, 4 fragments

SMALL = {"path": "/small"}
add("limits.small.frame.100", "the largest frame", echoes, TEXT, pattern(100), **SMALL)
add("limits.small.frame.101", "one byte more", limit, 1009, frame(TEXT, pattern(101)), **SMALL)
add("limits.small.frame.126", "16-bit length", limit, 1009,
    frame(TEXT, b"", length_form=16, length=126), **SMALL)
add("limits.small.frame.later", "in a continuation", limit, 1009, frame(TEXT, "a", fin=False),
    frame(CONT, pattern(101)), **SMALL)
add("limits.small.message.250", "the largest message", echoes, TEXT, pattern(250),
    fragments(TEXT, *chop(pattern(250), 100)), **SMALL)
add("limits.small.message.251", "one byte more: at the header", limit, 1009,
    *fragments(TEXT, pattern(100), pattern(100), pattern(51))[:2],
    frame(CONT, pattern(51))[:6], **SMALL)
add("limits.small.message.each", "each message counts for itself", echoes, TEXT, pattern(100),
    [frame(TEXT, pattern(100))], **SMALL)
add("limits.small.fragments.4", "the most fragments", echoes, TEXT, b"abcd",
    fragments(TEXT, "a", "b", "c", "d"), **SMALL)
add("limits.small.fragments.5", "one more", limit, 1008, *fragments(TEXT, *"abcde"), **SMALL)
add("limits.small.fragments.5.unfinished", "one more that is not the last", limit, 1008,
    *[frame(CONT if i else TEXT, "x", fin=False) for i in range(5)], **SMALL)
add("limits.small.fragments.controls", "control frames are no fragments", echoes, TEXT, b"abcd",
    [frame(TEXT, "a", fin=False), frame(PONG), frame(CONT, "b", fin=False), frame(PONG),
     frame(CONT, "c", fin=False), frame(PONG), frame(PONG), frame(CONT, "d")], **SMALL)
add("limits.small.control.first", "an answer before the refusal is sent", limit, 1009,
    frame(TEXT, "ok"), frame(TEXT, pattern(101), mask=KEY), before=[(TEXT, b"ok")], **SMALL)


@suite.case("limits.small.messages", "ten full messages in a row")
def _():
    with ws("/small") as c:
        for _ in range(10):
            send_parts(c, fragments(TEXT, *chop(pattern(250), 100)))
            c.expect(TEXT, pattern(250))
        still_open(c)


@suite.case("limits.small.messages.together", "ten messages of four fragments in one segment")
def _():
    with ws("/small") as c:
        c.send(b"".join(b"".join(fragments(TEXT, *"abcd")) for _ in range(10)))
        for _ in range(10):
            c.expect(TEXT, "abcd")
        still_open(c)


@suite.case("limits.outgoing", "messages out are cut into frames of at most maxFrameSize")
def _():
    with ws("/echo") as c:
        c.send(b"".join(fragments(BINARY, *chop(pattern(200000), 65536))))
        sizes, got, fin = [], b"", False
        while not fin:
            fin, _, op, payload = c.recv_frame()
            if op != (CONT if sizes else BINARY):
                raise Failed("opcode %X in frame %d" % (op, len(sizes)))
            sizes.append(len(payload))
            got += payload
        if max(sizes) > 65536 or got != pattern(200000):
            raise Failed("frames of %r" % sizes)
        good_bye(c)


# -- time

def never_finished(drip):
    """messageTimeout runs from the first fragment, whatever comes in between."""
    with ws("/hurry") as c:
        with lasting(0.9, 3):
            c.send_frame(TEXT, "a", fin=False)
            for _ in range(300):
                if c.arrived(0.1):
                    break
                if drip:
                    c.send(frame(CONT, "x", fin=False) + frame(PONG))
            c.expect_close(1008)


add("limits.time.silent", "a message not finished within messageTimeout: 1008", never_finished,
    False, background=True)
add("limits.time.drip", "the same when fragments go on coming", never_finished, True,
    background=True)


@suite.case("limits.time.back-to-back", "each message has its own messageTimeout", background=True)
def _():
    with ws("/hurry") as c:
        c.send_frame(TEXT, "0", fin=False)
        for i in range(1, 9):
            if c.arrived(0.25):
                raise Failed("after %d messages came %r" % (i - 1, bytes(c.buf)))
            c.send(frame(CONT, "end") + frame(TEXT, "%d" % i, fin=False))
            c.expect(TEXT, "%dend" % (i - 1))
        c.send_frame(CONT, "end")
        c.expect(TEXT, "8end")
        good_bye(c)


@suite.case("limits.time.idle", "idleTimeout without onIdleTimeout: 1001", background=True)
def _():
    with ws("/idle") as c:
        still_open(c)
        with lasting(0.9, 3):
            c.expect_close(1001, reply=True)


add_bystander("limits")
