#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Hostile frames: each line sends bytes after a good handshake; `m` in them is the four mask bytes.
The server must close with the given code, end the TCP connection soon, and go on unharmed.
"""
import contextlib
import itertools
import struct
import threading
import time

from target import (
    BINARY, CLOSE, CONT, INSTRUMENTED, MASK, PING, PONG, TEXT, Failed, Raw, SECONDS, SLACK, Suite,
    Target, close_payload, cost, frame, wait_until)

suite = Suite("hostile_frames")
target = Target(r"""
local websocket = require "neap.websocket"
local listener = websocket.listener(0, { host = "127.0.0.1" })
local MIB = 2 ^ 20
local echo = { onMessage = function(_, _, data) return data end }
listener:attach("/echo", echo)
listener:attach("/big", { maxFrameSize = 2 * MIB }, echo)
listener:attach("/frames", { maxFrameSize = 65536 }, echo)
listener:attach("/hurry", { messageTimeout = 1 }, echo)
listener:attach("/idle", { idleTimeout = 0.5, writeTimeout = 0.5, connectionClosureTimeout = 0.5 }, echo)
listener:attach("/beat", { pingInterval = 0.3, pongTimeout = 0.5, writeTimeout = 0.5 }, echo)
listener:attach("/onping", { idleTimeout = 0.5, writeTimeout = 0.5, connectionClosureTimeout = 0.5 }, {
  onPing = function(_, _, data) return data end,
})

-- Everybody on /topic gets what /publish is told to push.
local members = {}
listener:attach("/topic", { maxBufferedBytes = 256 * 1024 }, {
  onOpen = function(_, caller) members[caller] = true end,
  onClose = function(_, caller) members[caller] = nil end,
})
listener:attach("/publish", { onTextMessage = function(_, _, count)
  local text = ("x"):rep(10000)
  for i = 1, tonumber(count) do
    for caller in pairs(members) do
      caller:pushText(("%06d"):format(i) .. text)
    end
  end
  return "published"
end })
""")


def sends(data, code, path="/echo", pause=None, after=b"", compress=None):
    """The close comes before `after` is sent, where there is any."""
    def act():
        with Raw(target.port, path, compress=compress) as c:
            for part in data if isinstance(data, (list, tuple)) else [data]:
                c.send(part)
                if pause:
                    target.bystander.check()
            if after:
                kind = c.recv_frame()
                if kind[2] != CLOSE or kind[3][:2] != struct.pack(">H", code):
                    raise Failed("expected close %d, got %r" % (code, kind))
                c.send(after)
                c.expect_eof(5 * max(1.0, SLACK / 2))
            else:
                c.expect_close(code, skip=True)
    return act


def line(ident, what, code, spec, payload=b"", **options):
    """spec: hex, `m` for the mask bytes; payload is what follows, masked."""
    data = b"".join(MASK if part == "m" else bytes.fromhex(part)
                    for part in spec.replace("m", " m ").split())
    target.add(suite, ident, what, sends(data + payload, code, **options))


line("H01", "unmasked frame", 1002, "8105 48656c6c6f")
line("H01.empty", "unmasked, empty", 1002, "8100")
line("H01.ping", "unmasked ping", 1002, "8900")
line("H01.close", "unmasked close", 1002, "8802 03e8")
line("H02", "RSV1 without extension", 1002, "C180m", compress=False)
line("H03.rsv2", "RSV2", 1002, "A180m")
line("H03.rsv3", "RSV3", 1002, "9180m")
line("H03.all", "all three", 1002, "F180m")
for op in (*range(3, 8), *range(0xB, 0x10)):
    line("H04.%X" % op, "reserved opcode", 1002, "8%X80m" % op)
line("H05", "length with its first bit set", 1002, "82FF 8000000000000000 m")
line("H05.all", "the same on a continuation", 1002, "80FF 8000000000000001 m")
line("H06", "length 2^64-4", 1002, "82FF FFFFFFFFFFFFFFFC m")
line("H06.max", "length 2^64-1", 1002, "82FF FFFFFFFFFFFFFFFF m")
line("H08.16", "length 5 in 16 bits", 1002, "82FE 0005 m", b"hello")
line("H08.64", "length 5 in 64 bits", 1002, "82FF 0000000000000005 m", b"hello")
line("H08.125", "length 125 in 16 bits", 1002, "82FE 007D m", b"x" * 125)
line("H08.65535", "length 65535 in 64 bits", 1002, "82FF 000000000000FFFF m")
line("H08.ping", "a ping with a length in 16 bits", 1002, "89FE 0001 m", b"x")
line("H09.message", "1 MiB + 1 in one frame: refused after the header", 1009, "82FF 0000000000100001 m",
     path="/big")
line("H09.default", "the same where no maxFrameSize is set", 1009, "82FF 0000000000100001 m")
line("H09.frame", "a frame over maxFrameSize", 1009, "82FF 0000000000010001 m", path="/frames")
line("H09.huge", "2^63-1 bytes announced", 1009, "82FF 7FFFFFFFFFFFFFFF m", path="/big")
target.add(suite, "H09.pieces", "1 MiB + 1 in fragments",
           sends([frame(BINARY, b"x" * 65536, fin=False)] + [frame(CONT, b"x" * 65536, fin=False)] * 15
                 + [frame(CONT, b"x")], 1009), grow=2 << 20)
line("H10", "reserved opcode with a huge length", 1002, "83FF 000000007FFFFFFF m")
line("H11", "continuation first", 1002, "8080m")
line("H11.open", "continuation without FIN first", 1002, "0080m")
line("H12", "a message inside a message", 1002, "0180m 8180m")
line("H12.open", "an unfinished message inside a message", 1002, "0180m 0280m")
line("H13.ping", "fragmented ping", 1002, "0980m")
line("H13.pong", "fragmented pong", 1002, "0A80m")
line("H13.close", "fragmented close", 1002, "0880m")
line("H13.long", "a ping of 126 bytes", 1002, "89FE007E m", b"x" * 126)
line("H13.longclose", "a close frame of 126 bytes", 1002, "88FE007E m")
line("H13.huge", "a ping of 2^63-1 bytes", 1002, "89FF7FFFFFFFFFFFFFFF m")
line("close.one", "a close frame of one byte", 1002, "8881m", b"x")
for code in (0, 999, 1004, 1005, 1006, 1015, 2999, 5000, 65535):
    target.add(suite, "close.%d" % code, "a close code that may not be sent",
               sends(frame(CLOSE, close_payload(code)), 1002))
target.add(suite, "close.utf8", "a reason that is not UTF-8",
           sends(frame(CLOSE, close_payload(1000, b"\xff\xfe")), 1007))


# -- H14: endless fragments

def fragments(size):
    more = frame(CONT, b"x" * size, fin=False, mask=MASK)
    return sends(frame(TEXT, b"x" * size, fin=False, mask=MASK) + more * 1024, 1008, after=more * 2000)


target.add(suite, "H14.one", "endless fragments of one byte: ended at the 1025th", fragments(1))
target.add(suite, "H14.empty", "endless empty fragments", fragments(0))


@suite.case("H14.allowed", "1024 fragments are a message")
def _():
    with Raw(target.port, "/echo") as c:
        c.send(frame(TEXT, "x", fin=False) + frame(CONT, "x", fin=False) * 1022 + frame(CONT, "x"))
        c.expect(TEXT, "x" * 1024)


# -- H16: messages that are never finished

def drip(pieces):
    def act():
        with Raw(target.port, "/hurry") as c:
            began = time.monotonic()
            for piece in pieces:
                c.send(piece)
                if c.arrived(0.2):
                    break
            c.expect_close(1008, skip=True)
            took = time.monotonic() - began
            if took < 0.8 or took > 2 + SECONDS:
                raise Failed("closed after %.2f s" % took)
    return act


for name, pieces in {
        "fragments": [frame(TEXT, "a", fin=False)] + [frame(CONT, "a", fin=False)] * 50,
        "pings": [frame(TEXT, "a", fin=False)] + [frame(PING)] * 50,
        "bytes": [b"\x82\xfe\x10\x00" + MASK] + [b"x"] * 50,
        "header": [b"\x81", b"\xfe", b"\x10"],
        "silence": [frame(TEXT, "a", fin=False)]}.items():
    suite.add("H16." + name, "a message that is never finished ends at messageTimeout", drip(pieces),
              background=True)


# -- H17, H18: pings

def flood():
    """Pings as fast as they are read; the server's time is compared with what it was sent."""
    count = 10000 if INSTRUMENTED else 100000
    chunk = frame(PING, b"x" * 125, mask=MASK) * 500
    with Raw(target.port, "/echo") as c:
        stop = threading.Event()
        pongs = []

        def read():
            while not stop.is_set():
                if c.recv_frame()[2] == PONG:
                    pongs.append(1)
        reader = threading.Thread(target=lambda: swallow(read), daemon=True)
        reader.start()
        for _ in range(count // 500):
            c.send(chunk)
            target.bystander.check()
        wait_until(lambda: pongs, what="some pongs")
        stop.set()
        c.send_frame(PING, "last")
        reader.join(SECONDS)


def swallow(fn):
    try:
        fn()
    except (Failed, OSError):
        pass


@suite.case("H17", "a flood of pings from a client that reads")
def _():
    used = []
    target.attack(lambda: used.append(cost(target.get(), flood)), 2 << 20)
    if used[0] > 2 * SLACK:
        raise Failed("it cost %.2f s of the worker's time" % used[0])


@suite.case("H17.last", "the newest ping is answered")
def _():
    with Raw(target.port, "/echo") as c:
        c.send(frame(PING, b"x" * 125) * 2000 + frame(PING, "last"))
        while True:
            _, _, op, data = c.recv_frame()
            if op != PONG:
                raise Failed("opcode %d" % op)
            if data == b"last":
                return


def never_reads(path, data, most=24 << 20):
    """Sends until the server takes no more; what it holds is bounded, and it ends the connection."""
    def act():
        before = target.get().fds()
        with Raw(target.port, path, rcvbuf=4096) as c:
            sent = 0
            c.sock.settimeout(0.2)
            with contextlib.suppress(OSError):      # it takes no more, or has ended it already
                while sent < most:
                    sent += c.sock.send(data)
                    target.bystander.check()
            wait_until(lambda: target.server.fds() <= before, SECONDS * 2, "the server ends it")
    return act


PINGS = frame(PING, b"x" * 125, mask=MASK) * 100
for path in ("/idle", "/beat", "/onping"):
    target.add(suite, "H18" + path.replace("/", "."), "a flood of pings that never reads", never_reads(path, PINGS),
               crowd=False)
for path in ("/idle", "/beat"):
    target.add(suite, "H18.echo" + path.replace("/", "."), "a flood of messages whose echoes are never read",
               never_reads(path, frame(BINARY, b"x" * 4000, mask=MASK) * 10), crowd=False, grow=3 << 20)


# -- H19: a slow reader among subscribers

@suite.case("H19", "a subscriber that does not read is closed; the others get all")
def _():
    count = 1500        # 15 MB: more than the kernel takes for one that does not read

    def act():
        good = [Raw(target.port, "/topic") for _ in range(3)]
        with Raw(target.port, "/topic", rcvbuf=4096, compress=False) as slow, Raw(target.port, "/publish") as control:
            seen = [0] * len(good)
            readers = [threading.Thread(target=all_of, args=(c, count, seen, i), daemon=True)
                       for i, c in enumerate(good)]
            for reader in readers:
                reader.start()
            for sent in range(10, count + 1, 10):
                control.text("10")
                control.expect(TEXT, "published")
                # A reader that this machine keeps waiting is no slow one: it may lag 100 KB, which is allowed.
                wait_until(lambda: min(seen) > sent - 10 or not all(r.is_alive() for r in readers), SECONDS * 2)
            for reader in readers:
                reader.join(SECONDS * 2)
            got.extend(seen)
            slow.expect_close(1013, skip=True)
        for c in good:
            c.close()
    got = []
    target.attack(act, 3 << 20)
    if got != [10 * (count // 10)] * 3:
        raise Failed("readers got %r of %d messages" % (got, count))


def all_of(c, count, seen, i):
    """Counts in seen[i] what comes in order."""
    numbers = itertools.cycle(range(1, 11))
    with contextlib.suppress(Failed, OSError):
        while seen[i] < count:
            _, data = c.recv_message()
            if int(data[:6]) != next(numbers):
                return
            seen[i] += 1


# -- H28, H29: UTF-8

target.add(suite, "H28", "bad UTF-8 at the end of the last fragment", sends(
    [frame(TEXT, "valid " * 100, fin=False), frame(CONT, b"prefix \xf4\x90\x80\x80")], 1007))
target.add(suite, "H28.fast", "fails at the bad byte, not at the end of the frame", sends(
    frame(TEXT, b"x" * 50 + b"\xf4\x90", mask=MASK, length=60000, length_form=16), 1007, after=b"x" * 1000))
target.add(suite, "H28.fast.fragment", "... nor at the end of the message", sends(
    frame(TEXT, "valid", fin=False) + frame(CONT, b"\xc0", fin=False), 1007, after=frame(CONT, "more")))
for name, bad in {"surrogate": b"\xed\xa0\x80", "overlong2": b"\xc0\x80", "overlong3": b"\xe0\x80\x80",
                  "overlong4": b"\xf0\x80\x80\x80", "beyond": b"\xf5\x80\x80\x80", "ff": b"\xff",
                  "lone": b"\x80", "cut": b"\xf0\x9f\x92"}.items():
    target.add(suite, "H29.bad." + name, "invalid UTF-8 in one frame", sends(frame(TEXT, bad), 1007))
    for at in range(1, len(bad)):
        target.add(suite, "H29.bad.%s.%d" % (name, at), "and over two fragments", sends(
            frame(TEXT, bad[:at], fin=False) + frame(CONT, bad[at:]), 1007), crowd=False)
POO = "💩".encode()


def split(cuts):
    def act():
        edges = [0, *cuts, 4]
        parts = [POO[a:b] for a, b in zip(edges, edges[1:])]
        with Raw(target.port, "/echo") as c:
            for i, part in enumerate(parts):
                c.send(frame(CONT if i else TEXT, part, fin=i == len(parts) - 1))
            c.expect(TEXT, POO)
    return act


for cuts in itertools.combinations_with_replacement(range(5), 3):
    target.add(suite, "H29.split.%d%d%d" % cuts, "four bytes over four fragments, in every way", split(cuts),
               crowd=False)


# -- junk

@suite.case("junk", "bytes without sense, many times: each connection ends or waits, nothing else happens")
def _():
    import random
    numbers = random.Random(2026)

    def act():
        for _ in range(50 if INSTRUMENTED else 300):
            with Raw(target.port, "/echo") as c:
                c.send(numbers.randbytes(numbers.randrange(1, 2000)))
                if numbers.random() < 0.3:
                    c.reset()
    target.attack(act)


target.add_crowd(suite)
target.add_finals(suite, [])

if __name__ == "__main__":
    suite.main()
