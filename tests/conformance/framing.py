# SPDX-License-Identifier: MIT
"""Framing: lengths, chops, masks, reserved bits and opcodes (RFC 6455 §5.2, §5.3).

Lengths are tried at both sides of each form of the length field; data is sent whole, in chops,
and split at every byte of the header.
"""
from common import (
    BINARY, CONT, KEY, PING, PONG, TEXT, Failed, add, add_bystander, chop, cut, echoes, frame,
    good_bye, pattern, refused, still_open, suite, ws)

KINDS = (("text", TEXT), ("binary", BINARY))
SIZES = (0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 124, 125, 126, 127, 128,
         255, 256, 997, 4095, 4096, 4097, 16383, 16384, 16385, 65534, 65535, 65536, 65537, 131072,
         1 << 20, 4 << 20, 16 << 20)

# -- lengths

for kind, op in KINDS:
    for size in SIZES:
        add("framing.%s.%d.whole" % (kind, size), "a message in one frame, in one piece",
            echoes, op, pattern(size))
    for size in (0, 1, 2, 125, 126, 127, 128):
        add("framing.%s.%d.bytewise" % (kind, size), "each byte read apart", echoes, op,
            pattern(size), chop(frame(op, pattern(size)), 1))
    for size in (125, 126, 127, 128, 997, 65535, 65536, 65537, 1 << 20):
        add("framing.%s.%d.chops-997" % (kind, size), "in pieces of 997 bytes", echoes, op,
            pattern(size), chop(frame(op, pattern(size)), 997), apart=size < 100000)
    for piece in (2, 3, 5, 7, 64, 1000, 1300, 4096, 16384):
        add("framing.%s.5000.chops-%d" % (kind, piece), "5000 bytes in pieces", echoes, op,
            pattern(5000), chop(frame(op, pattern(5000)), piece))

for size, head in ((3, 6), (300, 8), (70000, 14)):
    for at in range(1, head + 2):
        add("framing.split.%d.at-%d" % (size, at), "the header read in two pieces", echoes,
            BINARY, pattern(size), cut(frame(BINARY, pattern(size)), at))

add("framing.text.65536.unsynchronised", "byte by byte, as the kernel gathers it", echoes, TEXT,
    pattern(65536), chop(frame(TEXT, pattern(65536)), 1), apart=False)


# -- several frames in one piece

def pipelined(sizes, piece=None):
    with ws() as c:
        data = b"".join(frame(BINARY, pattern(size)) for size in sizes)
        for part in chop(data, piece or len(data)):
            c.send(part)
        for size in sizes:
            c.expect(BINARY, pattern(size))
        good_bye(c)


add("framing.pipelined.2", "two frames in one segment", pipelined, [5, 5])
add("framing.pipelined.empty", "100 empty messages in one segment", pipelined, [0] * 100)
add("framing.pipelined.1000", "1000 messages of 20 bytes in one segment", pipelined, [20] * 1000)
add("framing.pipelined.mixed", "all lengths behind each other", pipelined, SIZES[:36])
add("framing.pipelined.mixed.chops-997", "the same, cut without regard to frames", pipelined,
    SIZES[:36], 997)
add("framing.pipelined.growing", "0 to 300 bytes, every alignment", pipelined, range(300))


def frame_and_a_bit(extra):
    """A frame and the first bytes of the next in one segment, the rest later."""
    first, second = frame(TEXT, "first"), frame(TEXT, pattern(300))
    with ws() as c:
        c.send(first + second[:extra])
        c.expect(TEXT, "first")
        c.send(second[extra:])
        c.expect(TEXT, pattern(300))
        good_bye(c)


for extra in (1, 2, 3, 4, 6, 8, 9, 307):
    add("framing.pipelined.partial-%d" % extra, "a frame, and the start of the next",
        frame_and_a_bit, extra)

# -- lengths that are not minimal or not possible

for kind, op in KINDS:
    for form, size in ((16, 0), (16, 1), (16, 5), (16, 125), (64, 0), (64, 5), (64, 125),
                       (64, 126), (64, 65535)):
        add("framing.nonminimal.%s.%d.%d" % (kind, form, size), "§5.2: only the minimal form",
            refused, 1002, frame(op, pattern(size), length_form=form))
for op, kind in ((PING, "ping"), (PONG, "pong"), (8, "close")):
    for form in (16, 64):
        add("framing.nonminimal.%s.%d" % (kind, form), "a control frame has a short length",
            refused, 1002, frame(op, b"", length_form=form))
for length in (1 << 63, (1 << 63) + 5, (1 << 64) - 4, (1 << 64) - 14, (1 << 64) - 1):
    for kind, op in KINDS:
        add("framing.impossible.%s.%X" % (kind, length), "§5.2: the top bit must be 0", refused,
            1002, frame(op, b"", length_form=64, length=length))
add("framing.impossible.bytewise", "the same, each byte read apart", refused, 1002,
    *chop(frame(TEXT, b"", length_form=64, length=1 << 63), 1))
add("framing.impossible.payload", "the same with a payload that goes on", refused, 1002,
    frame(TEXT, b"x" * 50, length_form=64, length=(1 << 64) - 4))

# -- masks

KEYS = {
    "zero": b"\0\0\0\0", "ones": b"\xff" * 4, "same": b"\x55" * 4, "first": b"\x80\0\0\0",
    "second": b"\0\x80\0\0", "third": b"\0\0\x80\0", "fourth": b"\0\0\0\x80",
    "rfc": KEY, "reverse": KEY[::-1], "text": b"    ", "head": b"\x81\x80\x81\x80",
}
for name, key in KEYS.items():
    for size in (1, 3, 4, 61, 1000):
        add("framing.mask.%s.%d" % (name, size), "every kind of mask (§5.3)", echoes, BINARY,
            pattern(size), [frame(BINARY, pattern(size), mask=key)])
add("framing.mask.changes", "the mask of each frame is its own", echoes, TEXT, pattern(20) * 3,
    [frame(TEXT, pattern(20), fin=False, mask=KEYS["rfc"]),
     frame(CONT, pattern(20), fin=False, mask=KEYS["zero"]),
     frame(CONT, pattern(20), mask=KEYS["reverse"])])


def alignment(lead):
    """A frame after `lead` payload bytes of another, so that it starts at another address."""
    with ws() as c:
        c.send(frame(BINARY, pattern(lead)) + frame(BINARY, pattern(100), mask=KEY))
        c.expect(BINARY, pattern(lead))
        c.expect(BINARY, pattern(100))
        still_open(c)


for lead in range(0, 16):
    add("framing.mask.offset-%d" % lead, "unmasking at every alignment", alignment, lead)
for at in (1, 2, 3, 4, 5, 6, 7, 8, 13, 16, 31, 33, 500, 997):
    add("framing.mask.phase-%d" % at, "the mask goes on where the payload was cut", echoes, BINARY,
        pattern(1000), cut(frame(BINARY, pattern(1000), mask=KEY), 8 + at))
for kind, op in (*KINDS, ("ping", PING), ("pong", PONG), ("close", 8), ("continuation", CONT)):
    add("framing.unmasked.%s" % kind, "§5.1: a client must mask", refused, 1002,
        frame(op, b"", mask=None))
    add("framing.unmasked.%s.payload" % kind, "the same with five bytes", refused, 1002,
        frame(op, b"Hello", mask=None))
add("framing.unmasked.300", "unmasked, 16-bit length", refused, 1002,
    frame(TEXT, pattern(300), mask=None))
add("framing.unmasked.70000", "unmasked, 64-bit length", refused, 1002,
    frame(TEXT, pattern(70000), mask=None))
add("framing.unmasked.at-once", "refused before the payload has come", refused, 1002,
    frame(BINARY, b"", mask=None, length=20000, length_form=16))
add("framing.unmasked.later", "a good message before it is answered", refused, 1002,
    frame(TEXT, "good"), frame(TEXT, "bad", mask=None), before=[(TEXT, b"good")])

# -- reserved bits and opcodes

for rsv in range(1, 8):
    for op, kind in ((TEXT, "text"), (BINARY, "binary"), (PING, "ping"), (PONG, "pong"),
                     (8, "close")):
        add("reserved.rsv-%d.%s" % (rsv, kind), "§5.2: reserved bits without an extension",
            refused, 1002, frame(op, b"", rsv=rsv))
    add("reserved.rsv-%d.payload" % rsv, "the same with a payload", refused, 1002,
        frame(TEXT, "Hello", rsv=rsv))
    add("reserved.rsv-%d.continuation" % rsv, "the same on a continuation", refused, 1002,
        frame(TEXT, "a", fin=False), frame(CONT, "b", rsv=rsv))
    add("reserved.rsv-%d.later" % rsv, "messages before it are answered, none after", refused,
        1002, frame(TEXT, "first"), frame(TEXT, "second", rsv=rsv) + frame(TEXT, "third"),
        before=[(TEXT, b"first")])
add("reserved.rsv-4.bytewise", "each byte read apart", refused, 1002,
    *chop(frame(TEXT, "Hello", rsv=4), 1)[:6])

for op in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15):
    add("reserved.opcode-%X.empty" % op, "§5.2: unknown opcode", refused, 1002, frame(op))
    add("reserved.opcode-%X.payload" % op, "the same with a payload", refused, 1002,
        frame(op, "Hello"))
    add("reserved.opcode-%X.fragment" % op, "the same without FIN", refused, 1002,
        frame(op, "Hello", fin=False))
    add("reserved.opcode-%X.inside" % op, "the same inside a fragmented message", refused, 1002,
        frame(TEXT, "a", fin=False), frame(op, "b"))
    add("reserved.opcode-%X.later" % op, "messages before it are answered, none after", refused,
        1002, frame(TEXT, "first"), frame(op) + frame(TEXT, "third"), before=[(TEXT, b"first")])
for op in (3, 11):
    add("reserved.opcode-%X.huge" % op, "with a huge length: refused at the header", refused, 1002,
        frame(op, b"", length_form=64, length=0x7FFFFFFF))


@suite.case("framing.random", "300 messages of all sizes, cut anywhere (seed fixed)")
def _():
    import random
    dice = random.Random(6455)
    sizes = [int(2 ** dice.uniform(0, 17)) - 1 for _ in range(300)]
    with ws() as c:
        data = b"".join(frame(BINARY, pattern(size)) for size in sizes)
        at, answered = 0, 0
        while at < len(data):
            step = int(2 ** dice.uniform(0, 18))
            c.send(data[at:at + step])
            at += step
            while answered < len(sizes) and c.buf:
                c.expect(BINARY, pattern(sizes[answered]))
                answered += 1
        for size in sizes[answered:]:
            c.expect(BINARY, pattern(size))
        good_bye(c)


@suite.case("framing.types.alternate", "text and binary in turn keep their kinds")
def _():
    with ws() as c:
        for i in range(50):
            c.send_frame(TEXT if i % 2 else BINARY, "m%d" % i)
        for i in range(50):
            c.expect(TEXT if i % 2 else BINARY, "m%d" % i)
        if c.buf:
            raise Failed("more came than was asked: %r" % bytes(c.buf))


add_bystander("framing")
