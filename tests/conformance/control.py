# SPDX-License-Identifier: MIT
"""Pings and pongs (RFC 6455 §5.5.2, §5.5.3).

A ping is answered with its own data, in order, also between fragments and while a handler
waits; an unsolicited pong is ignored; control frames are short and whole.
"""
from common import (
    CLOSE, CONT, PING, PONG, TEXT, BINARY, Failed, add, add_bystander, chop, close_payload, cut,
    echoes, frame, good_bye, pattern, refused, send_parts, still_open, suite, ws)


def ping(payload, parts=None, path="/big"):
    with ws(path) as c:
        send_parts(c, parts or [frame(PING, payload)])
        c.expect(PONG, payload)
        still_open(c)
        good_bye(c)


for size in (0, 1, 2, 3, 4, 8, 63, 64, 100, 124, 125):
    add("ping.%d" % size, "answered with the same data", ping, pattern(size))
    add("ping.%d.bytewise" % size, "each byte read apart", ping, pattern(size),
        chop(frame(PING, pattern(size)), 1))
add("ping.bytes", "data that is no UTF-8", ping, bytes(range(0, 256, 3)) + b"\xff\xfe\x00\x80")
add("ping.defaults", "on a route with default limits", ping, b"x" * 125, path="/echo")
for at in range(1, 7):
    add("ping.split.at-%d" % at, "the header in two pieces", ping, b"hello",
        cut(frame(PING, b"hello"), at))

for op, kind in ((PING, "ping"), (PONG, "pong"), (CLOSE, "close")):
    for size in (126, 127, 200, 65535):
        add("%s.too-long.%d" % (kind, size), "§5.5: at most 125 bytes", refused, 1002,
            frame(op, close_payload(1000, b"x" * (size - 2))))
    add("%s.too-long.64-bit" % kind, "the same with a 64-bit length", refused, 1002,
        frame(op, b"x" * 65536))
    add("%s.too-long.at-once" % kind, "refused before the data has come", refused, 1002,
        frame(op, b"", length_form=16, length=126))
    add("%s.fragmented" % kind, "§5.5: must not be fragmented", refused, 1002,
        frame(op, b"", fin=False))
    add("%s.fragmented.payload" % kind, "the same with data", refused, 1002,
        frame(op, close_payload(1000, b"xy"), fin=False))
    add("%s.fragmented.continued" % kind, "the same with a continuation", refused, 1002,
        frame(op, b"", fin=False) + frame(CONT, b"", fin=True))
    add("%s.fragmented.inside" % kind, "the same inside a fragmented message", refused, 1002,
        frame(TEXT, "a", fin=False), frame(op, b"", fin=False))


def many_pings(count, apart):
    frames = [frame(PING, b"ping %d" % i) for i in range(count)]
    with ws() as c:
        if apart:
            send_parts(c, frames)
        else:
            c.send(b"".join(frames))
        for i in range(count):
            c.expect(PONG, "ping %d" % i)
        still_open(c)


add("ping.ten.apart", "ten pings, each read apart, all answered in order", many_pings, 10, True)
add("ping.ten.together", "ten pings in one segment, all answered in order", many_pings, 10, False)


@suite.case("ping.ten.chopped", "ten pings in pieces of three bytes")
def _():
    with ws() as c:
        send_parts(c, chop(b"".join(frame(PING, b"p%d" % i) for i in range(10)), 3))
        for i in range(10):
            c.expect(PONG, "p%d" % i)
        still_open(c)


@suite.case("ping.thousand", "1000 pings answered one by one")
def _():
    with ws() as c:
        for i in range(1000):
            c.send_frame(PING, b"%d" % i)
            c.expect(PONG, b"%d" % i)
        good_bye(c)


@suite.case("ping.flood", "10000 pings unread: pongs in order, some may be skipped, the last not")
def _():
    with ws() as c:
        for at in range(0, 10000, 500):
            c.send(b"".join(frame(PING, b"%d" % i) for i in range(at, at + 500)))
        last = -1
        while last < 9999:
            _, _, op, payload = c.recv_frame()
            if op != PONG or int(payload) <= last:
                raise Failed("after pong %d came %X %r" % (last, op, payload))
            last = int(payload)
        still_open(c)


@suite.case("ping.messages", "pings between messages: everything answered, in order of its kind")
def _():
    with ws() as c:
        c.send(b"".join(frame(TEXT, "t%d" % i) + frame(PING, "p%d" % i) for i in range(10)))
        texts, pongs = [], []
        for _ in range(20):
            _, _, op, payload = c.recv_frame()
            (texts if op == TEXT else pongs).append(payload)
        if texts != [b"t%d" % i for i in range(10)] or pongs != [b"p%d" % i for i in range(10)]:
            raise Failed("got %r and %r" % (texts, pongs))
        good_bye(c)


def between(op, parts_before, parts_after, controls, message):
    """Control frames inside a fragmented message are answered before it ends (§5.4)."""
    with ws() as c:
        send_parts(c, parts_before + [frame(PING, p) for p in controls])
        for payload in controls:
            c.expect(PONG, payload)
        send_parts(c, parts_after)
        c.expect(op, message)
        still_open(c, op)
        good_bye(c)


for kind, op in (("text", TEXT), ("binary", BINARY)):
    add("ping.between.%s" % kind, "a ping between two fragments", between, op,
        [frame(op, "frag1", fin=False)], [frame(CONT, "frag2")], [b"p"], b"frag1frag2")
    add("ping.between.%s.three" % kind, "three pings between two fragments", between, op,
        [frame(op, "frag1", fin=False)], [frame(CONT, "frag2")], [b"1", b"2", b"3"],
        b"frag1frag2")
    add("ping.between.%s.empty" % kind, "a ping between empty fragments", between, op,
        [frame(op, "", fin=False)], [frame(CONT, "", fin=False), frame(CONT, "")], [b""], b"")
    add("ping.between.%s.large" % kind, "a ping between large fragments", between, op,
        [frame(op, pattern(70000), fin=False)], [frame(CONT, pattern(70000))], [b"p" * 125],
        pattern(70000) * 2)


@suite.case("ping.between.every", "a ping after each of 20 fragments, in one segment")
def _():
    with ws() as c:
        data = b""
        for i in range(20):
            data += frame(CONT if i else TEXT, "%d," % i, fin=i == 19) + frame(PING, "%d" % i)
        c.send(data)
        pongs = []
        got = c.recv_message(controls=pongs)
        while len(pongs) < 20:
            pongs.append(c.recv_frame()[2:])
        if pongs != [(PONG, b"%d" % i) for i in range(20)] or \
                got != (TEXT, "".join("%d," % i for i in range(20)).encode()):
            raise Failed("got %r and %r" % (got, pongs))


# -- pongs

for size in (0, 1, 125):
    add("pong.unsolicited.%d" % size, "ignored", echoes, TEXT, b"after",
        [frame(PONG, pattern(size)), frame(TEXT, "after")])
add("pong.unsolicited.ten", "ten of them, ignored", echoes, TEXT, b"after",
    [frame(PONG, b"%d" % i) for i in range(10)] + [frame(TEXT, "after")])
add("pong.unsolicited.between", "between fragments, ignored", echoes, TEXT, b"ab",
    [frame(TEXT, "a", fin=False), frame(PONG, b"x"), frame(CONT, "b")])
add("pong.unsolicited.bytewise", "each byte read apart", echoes, TEXT, b"after",
    chop(frame(PONG, b"unsolicited"), 1) + [frame(TEXT, "after")])


@suite.case("pong.then.ping", "an unsolicited pong does not disturb the answer to a ping")
def _():
    with ws() as c:
        c.send(frame(PONG, b"unsolicited") + frame(PING, b"real"))
        c.expect(PONG, "real")
        good_bye(c)


# -- pings by the server, pings that the app answers, pings while a handler waits

@suite.case("ping.app.answers", "with onPing the handler's answer is the pong")
def _():
    with ws("/controls") as c:
        c.send_frame(PING, b"question")
        c.expect(PONG, "answer to question")
        good_bye(c)


@suite.case("ping.app.sends", "a ping by the app, and its pong back in onPong")
def _():
    with ws("/controls") as c:
        c.text("anybody there")
        c.expect(PING, "anybody there")
        c.send_frame(PONG, b"anybody there")
        c.expect(TEXT, "pong was anybody there")
        good_bye(c)


@suite.case("ping.handler.waits", "answered while a handler waits; messages stay in order")
def _():
    with ws("/slow") as c:
        c.send(frame(TEXT, "one") + frame(PING, b"now") + frame(TEXT, "two"))
        c.expect(PONG, "now")
        c.expect(TEXT, "one")
        c.expect(TEXT, "two")
        good_bye(c)


@suite.case("ping.handler.queue", "messages that come while a handler waits stay in order",
            background=True)
def _():
    with ws("/slow") as c:
        texts = [b"first", b"2" * 300, b"", b"4" * 40000, b"5" * 40000, b"6", b"last"]
        c.send(b"".join(frame(TEXT, t) for t in texts))
        for text in texts:
            c.expect(TEXT, text)
        good_bye(c)


def heartbeat():
    with ws("/beat") as c:
        for _ in range(3):
            _, rsv, op, payload = c.recv_frame()
            if op != PING or rsv:
                raise Failed("expected a ping of the server, got %X %r" % (op, payload))
            c.send_frame(PONG, payload)
        c.send_frame(CLOSE, close_payload(1000))
        c.expect_close(1000, skip=True)


suite.add("ping.heartbeat", "pingInterval: the server pings, answered pings keep the connection",
          heartbeat, background=True)
add_bystander("ping")
