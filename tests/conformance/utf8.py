# SPDX-License-Identifier: MIT
"""UTF-8 of text messages (RFC 6455 §8.1, RFC 3629).

Valid sequences at every boundary go through however they are split. Invalid ones are refused
with 1007 as soon as the first bad byte has come: each is sent up to that byte and no further,
in a frame that claims more and in a message that is not finished.
"""
from common import (
    BINARY, CONT, PING, PONG, TEXT, add, add_bystander, chop, echoes, frame, good_bye, pattern,
    refused, send_parts, suite, ws)

BOUNDARIES = (
    0x0, 0x1, 0x7F, 0x80, 0x7FF, 0x800, 0xFFF, 0x1000, 0xCFFF, 0xD000, 0xD7FF, 0xE000, 0xFDD0,
    0xFEFF, 0xFFFD, 0xFFFE, 0xFFFF, 0x10000, 0x1FFFE, 0x1FFFF, 0x3FFFF, 0x40000, 0xFFFFF,
    0x100000, 0x10FFFE, 0x10FFFF)
SAMPLES = {
    "kosme": "κόσμε", "hello": "Hello-µ@ßöäüàá-UTF-8!!", "pile": "💩" * 3,
    "mixed": "a\u00e9\u20ac\U0001f4a9z", "bom": "\ufeffabc", "combining": "e\u0301\u200d\u2028",
    "nul": "a\0b\0",
}


def split_text(data, at, apart=True):
    """The text in two fragments, cut at this byte."""
    parts = [frame(TEXT, data[:at], fin=False), frame(CONT, data[at:])]
    echoes(TEXT, data, parts if apart else [b"".join(parts)])


def byte_fragments(data):
    return [frame(CONT if i else TEXT, data[i:i + 1], fin=i == len(data) - 1)
            for i in range(len(data))]


for point in BOUNDARIES:
    data = chr(point).encode("utf-8")
    name = "U+%04X" % point
    add("utf8.valid.%s.whole" % name, "one code point", echoes, TEXT, data)
    add("utf8.valid.%s.surrounded" % name, "the same between other text", echoes, TEXT,
        b"before " + data + b" after", chop(frame(TEXT, b"before " + data + b" after"), 3))
    if len(data) > 1:
        add("utf8.valid.%s.fragments" % name, "each byte a fragment", echoes, TEXT, data,
            byte_fragments(data))
        add("utf8.valid.%s.bytewise" % name, "each byte read apart", echoes, TEXT, data,
            chop(frame(TEXT, data), 1))
for name, text in SAMPLES.items():
    data = text.encode("utf-8")
    add("utf8.valid.%s" % name, "whole", echoes, TEXT, data)
    add("utf8.valid.%s.fragments" % name, "each byte a fragment", echoes, TEXT, data,
        byte_fragments(data))
MIXED = SAMPLES["mixed"].encode("utf-8")
for at in range(len(MIXED) + 1):
    add("utf8.split.at-%d" % at, "1-, 2-, 3- and 4-byte sequences in two fragments", split_text,
        MIXED, at)
    add("utf8.split.at-%d.together" % at, "the same in one segment", split_text, MIXED, at, False)
add("utf8.valid.all", "every code point there is, once, 4 MiB", echoes, TEXT,
    "".join(chr(p) for p in range(0x110000) if not 0xD800 <= p < 0xE000).encode("utf-8"),
    apart=False)
LONG = ("é€💩ascii " * 9000).encode("utf-8")
add("utf8.valid.long", "long text, cut anywhere", echoes, TEXT, LONG,
    chop(frame(TEXT, LONG), 997), apart=False)
add("utf8.valid.long.fragments", "long text in fragments of 997 bytes", echoes, TEXT, LONG,
    [b"".join(frame(CONT if i else TEXT, LONG[i:i + 997], fin=i + 997 >= len(LONG))
              for i in range(0, len(LONG), 997))])


@suite.case("utf8.valid.control-between", "a ping inside a split sequence is answered")
def _():
    with ws() as c:
        for i, byte in enumerate("💩".encode("utf-8")):
            c.send(frame(CONT if i else TEXT, bytes([byte]), fin=i == 3))
            if i < 3:
                c.send(frame(PING, b"\xff%d" % i))
                c.expect(PONG, b"\xff%d" % i)
        c.expect(TEXT, "💩")
        good_bye(c)


# -- what is invalid: bytes, and how many of them until the first that cannot be

INVALID = {
    "lone.80": (b"\x80", 1), "lone.bf": (b"\xbf", 1), "lone.two": (b"\x80\xbf", 1),
    "lone.after": (b"\xc2\xa9\x80", 3), "lone.after-four": (b"\xf0\x9f\x92\xa9\xa9", 5),
    "overlong.c0-80": (b"\xc0\x80", 1), "overlong.c0-af": (b"\xc0\xaf", 1),
    "overlong.c1-bf": (b"\xc1\xbf", 1), "overlong.e0-80-80": (b"\xe0\x80\x80", 2),
    "overlong.e0-80-af": (b"\xe0\x80\xaf", 2), "overlong.e0-9f-bf": (b"\xe0\x9f\xbf", 2),
    "overlong.f0-80-80-80": (b"\xf0\x80\x80\x80", 2),
    "overlong.f0-80-80-af": (b"\xf0\x80\x80\xaf", 2),
    "overlong.f0-8f-bf-bf": (b"\xf0\x8f\xbf\xbf", 2),
    "surrogate.d800": (b"\xed\xa0\x80", 2), "surrogate.db7f": (b"\xed\xad\xbf", 2),
    "surrogate.dbff": (b"\xed\xaf\xbf", 2), "surrogate.dc00": (b"\xed\xb0\x80", 2),
    "surrogate.dfff": (b"\xed\xbf\xbf", 2), "surrogate.pair": (b"\xed\xa0\xbd\xed\xb2\xa9", 2),
    "beyond.110000": (b"\xf4\x90\x80\x80", 2), "beyond.13ffff": (b"\xf4\xbf\xbf\xbf", 2),
    "beyond.f5": (b"\xf5\x80\x80\x80", 1), "beyond.f7": (b"\xf7\xbf\xbf\xbf", 1),
    "five.f8": (b"\xf8\x88\x80\x80\x80", 1), "five.fb": (b"\xfb\xbf\xbf\xbf\xbf", 1),
    "six.fc": (b"\xfc\x84\x80\x80\x80\x80", 1), "six.fd": (b"\xfd\xbf\xbf\xbf\xbf\xbf", 1),
    "never.fe": (b"\xfe", 1), "never.ff": (b"\xff", 1), "never.bom16": (b"\xff\xfe", 1),
    "cut.c2-41": (b"\xc2A", 2), "cut.c2-c2": (b"\xc2\xc2", 2), "cut.df-00": (b"\xdf\0", 2),
    "cut.e1-41": (b"\xe1A", 2), "cut.e1-80-41": (b"\xe1\x80A", 3),
    "cut.e1-80-c0": (b"\xe1\x80\xc0", 3), "cut.ef-bf-ff": (b"\xef\xbf\xff", 3),
    "cut.f1-41": (b"\xf1A", 2), "cut.f1-80-41": (b"\xf1\x80A", 3),
    "cut.f1-80-80-41": (b"\xf1\x80\x80A", 4), "cut.f4-8f-bf-c0": (b"\xf4\x8f\xbf\xc0", 4),
    "kuhn.edited": ("κόσμε".encode() + b"\xed\xa0\x80edited", 13),
}
TRUNCATED = {
    "c2": b"\xc2", "df": b"\xdf", "e0-a0": b"\xe0\xa0", "e1": b"\xe1", "e1-80": b"\xe1\x80",
    "ed-9f": b"\xed\x9f", "f0": b"\xf0", "f0-9f": b"\xf0\x9f", "f0-9f-92": b"\xf0\x9f\x92",
    "f4-8f-bf": b"\xf4\x8f\xbf", "kosme": "κόσμε".encode()[:-1],
}


def unfinished_frame(data):
    """A frame that claims 200 bytes more than have come."""
    return frame(TEXT, data, length_form=16, length=len(data) + 200)


for name, (data, bad) in INVALID.items():
    seen = data[:bad]
    add("utf8.invalid.%s.whole" % name, "a whole message", refused, 1007, frame(TEXT, data))
    add("utf8.invalid.%s.later" % name, "after valid text of 100 bytes", refused, 1007,
        frame(TEXT, pattern(100) + data + pattern(100)))
    add("utf8.invalid.%s.fast.frame" % name, "at once, though the frame is not complete", refused,
        1007, unfinished_frame(seen))
    add("utf8.invalid.%s.fast.message" % name, "at once, though the message is not complete",
        refused, 1007, frame(TEXT, seen, fin=False))
    add("utf8.invalid.%s.fast.bytewise" % name, "byte by byte up to the bad one", refused, 1007,
        *chop(unfinished_frame(seen), 1))
    if bad > 1:
        add("utf8.invalid.%s.fast.fragment" % name, "the bad byte starts a fragment", refused,
            1007, frame(TEXT, seen[:-1], fin=False), frame(CONT, seen[-1:], fin=False))
    add("utf8.invalid.%s.binary" % name, "binary messages may hold anything", echoes, BINARY, data)
for name, data in TRUNCATED.items():
    add("utf8.truncated.%s" % name, "the message ends inside a sequence", refused, 1007,
        frame(TEXT, data))
    add("utf8.truncated.%s.fragments" % name, "the same when an empty fragment ends it", refused,
        1007, frame(TEXT, data, fin=False), frame(CONT, ""))
    add("utf8.truncated.%s.next" % name, "the next message does not complete it", refused, 1007,
        frame(TEXT, "a" + "é" * 20) + frame(TEXT, b"b" + data) + frame(TEXT, b"\xa9\x80\x80"),
        before=[(TEXT, ("a" + "é" * 20).encode())])
    add("utf8.truncated.%s.binary" % name, "binary messages may hold anything", echoes, BINARY,
        data)

for at in range(0, 72):
    text = bytearray(pattern(72))
    text[at] = 0xFF
    add("utf8.position.%d" % at, "a bad byte at every place of a fast path", refused, 1007,
        frame(TEXT, bytes(text)))
for at in range(0, 34):
    add("utf8.position.valid-%d" % at, "a valid sequence at every place of a fast path", echoes,
        TEXT, pattern(at) + "💩é€".encode() + pattern(40 - at))
for at in (0, 7, 8, 15, 31, 32, 63, 64, 127):
    for ascii in (1, 8, 31, 32, 33, 64, 200):
        data = pattern(at) + b"\xc3" + pattern(ascii) + b"\xa9"
        add("utf8.interrupted.%d.%d" % (at, ascii), "ASCII inside a sequence is no part of it",
            refused, 1007, frame(TEXT, data))
        add("utf8.interrupted.%d.%d.fragments" % (at, ascii), "the same, cut where it starts",
            refused, 1007, frame(TEXT, data[:at + 1], fin=False), frame(CONT, data[at + 1:]))
for at in (4095, 4096, 16383, 65534, 65535):
    data = bytearray(pattern(65536))
    data[at] = 0xC0
    add("utf8.position.%d" % at, "a bad byte late in a long message", refused, 1007,
        frame(TEXT, bytes(data)), path="/echo")


@suite.case("utf8.fast.kuhn", "each valid part is taken in silence, the bad byte refused at once")
def _():
    with ws() as c:
        send_parts(c, [frame(TEXT, "κόσμε", fin=False), frame(PING, b"1"),
                       frame(CONT, b"\xf4", fin=False), frame(PING, b"2")])
        c.expect(PONG, "1")
        c.expect(PONG, "2")
        c.send_frame(CONT, b"\x90", fin=False)
        c.expect_close(1007)


@suite.case("utf8.first-good", "a good message before the bad one is answered")
def _():
    with ws() as c:
        c.send(frame(TEXT, "good") + frame(TEXT, b"\xff") + frame(TEXT, "not read"))
        c.expect(TEXT, "good")
        c.expect_close(1007)


add_bystander("utf8")
