#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Hostile request heads: each line is sent to a server that only speaks WebSocket. It must be
answered once, with the given status, the connection must end, and the server go on unharmed.
"""
import contextlib
import ssl
import time

from target import (
    INSTRUMENTED, TEXT, Failed, Raw, SECONDS, SLACK, Suite, Target, cost, frame, machine_load, over, request)

suite = Suite("hostile_http")
target = Target(r"""
local websocket = require "neap.websocket"
local listener = websocket.listener(0, { host = "127.0.0.1" })
local echo = { onMessage = function(_, _, data) return data end }
listener:attach("/echo", echo)
listener:attach("/files/*rest", echo)
listener:attach("/origin", echo)
listener:attach("/bad/:what", function(request)
  local bad = "x\r\nSet-Cookie: a=1"
  if request.params.what == "reason" then
    return nil, websocket.UpgradeError { reason = bad } -- expected
  end
  request:setResponseHeader("X-Bad", bad) -- expected
  return echo
end)
local hasty = websocket.listener(0, { host = "127.0.0.1", headerTimeout = 1 })
hasty:attach("/echo", echo)
""")
GOOD = request("/echo")
HEAD = b"GET /echo HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" \
       b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"


def hasty():
    return target.get().ports[1]


def answer(data, wanted, check=None, port=None):
    """Sends the bytes; one response with this status (or one of these) must come, then the end."""
    wanted = wanted if isinstance(wanted, tuple) else (wanted,)

    def act():
        with Raw(port() if port else target.port) as c:
            for part in data if isinstance(data, list) else [data]:
                c.send(part)
            response = c.recv_response(bodiless=b"HEAD " in part[:5])
            if response.status not in wanted:
                raise Failed("expected %s, got %r" % (wanted, response))
            if check:
                check(response)
            if response.status == 101:
                c.send(frame(TEXT, "x"))
                c.expect(TEXT, "x")
                c.send(frame(8, b"\x03\xe8"))
                c.expect_close(1000)
            else:
                # Who sends Upgrade names it there, too (RFC 9110 §7.8).
                upgrade = ", upgrade" if response.header("Upgrade") else ""
                if response.header("Connection") != "close" + upgrade:
                    raise Failed("no Connection: close in %r" % response)
                c.expect_eof(5 * max(1.0, SLACK / 2))
    return act


def line(ident, what, wanted, data, check=None, **options):
    target.add(suite, ident, what, answer(data, wanted, check), **options)


def head(*lines, path="/echo", method="GET", version="HTTP/1.1", **changes):
    """An upgrade request with headers replaced (name with _ for -), removed (None) or doubled (list)."""
    changed = [(name.replace("_", "-"), value) for name, value in changes.items()]
    data = request(path, changed, method=method, version=version)
    return data[:-2] + b"".join(l + b"\r\n" for l in lines) + b"\r\n"


# -- too much

line("H30", "20 MB of header value", 431, [HEAD + b"X: "] + [b"x" * 4096] * 5000, crowd=False)
line("H30.name", "20 MB of header name", 431, [HEAD] + [b"x" * 4096] * 5000, crowd=False)
line("H30.edge", "a value that just fits", 101, HEAD + b"X: " + b"x" * (8192 - len(HEAD)) + b"\r\n\r\n")
line("H30.over", "all headers one byte over maxHeaderSize", 431, head(b"X: " + b"x" * 8192))
line("H31", "a target of 64 KiB", 414, head(path="/" + "a" * 65536))
line("H31.over", "one byte over maxUriLength", 414, head(path="/" + "a" * 4096))
line("H31.edge", "a target that just fits", 404, head(path="/" + "a" * 4095))
line("H31.query", "a query of 64 KiB", 414, head(path="/echo?" + "a" * 65536))
line("H31.endless", "a target that never ends", 414, [b"GET /"] + [b"a" * 4096] * 2000, crowd=False)
line("H31.method", "a method that never ends", (400, 405, 501), [b"G" * 4096] * 2000, crowd=False)
line("H32", "10,000 headers", 431, HEAD + b"".join(b"h%d: v\r\n" % i for i in range(10000)) + b"\r\n")
line("H32.short", "101 short lines", 431, HEAD + b"a:b\r\n" * 96 + b"\r\n")
line("H32.edge", "100 lines", 101, HEAD + b"a:b\r\n" * 95 + b"\r\n")
line("H33", "10,000 headers of one name", 431, HEAD + b"a: b\r\n" * 10000 + b"\r\n")
line("H33.cookie", "1,000 Cookie lines", 431, HEAD + b"Cookie: a=b\r\n" * 1000 + b"\r\n")
line("H33.empty", "10,000 empty headers", 431, HEAD + b"a:\r\n" * 10000 + b"\r\n")


@suite.case("H30.cost", "20 MB of header cost the worker next to nothing")
def _():
    used = cost(target.get(), answer([HEAD + b"X: "] + [b"x" * 4096] * 5000, 431))
    if used > 0.1 * SLACK:
        raise Failed("%.2f s" % used)


# -- too slow

def slow(data, wanted, pause):
    """Drips; the head deadline of one second ends it, with `wanted` where a request had begun."""
    def act():
        began = time.monotonic()
        with Raw(hasty()) as c:
            for at in range(len(data)):
                c.send(data[at:at + 1])
                if c.arrived(pause):
                    break
            if wanted:
                response = c.recv_response(SECONDS * 2)
                if response.status != wanted:
                    raise Failed("%r" % response)
            c.expect_eof(5 * max(1.0, SLACK / 2))
        took = time.monotonic() - began
        if took < 0.8 or took > 1 + SECONDS:
            raise Failed("ended after %.2f s" % took)
    return act


suite.add("H34", "a header block that never ends: 408 at headerTimeout",
          slow(HEAD[:40] + b"x" * 1000, 408, 0.01), background=True)
suite.add("H34.line", "a request line that never ends", slow(b"GET /" + b"a" * 1000, 408, 0.01), background=True)
line("H34.empty-lines", "empty lines before the request, for ever", 400, b"\r\n" * 5000)
suite.add("H38", "a connection without a byte", slow(b"", None, 0), background=True)
suite.add("H38.one", "a connection with one byte", slow(b"G", 408, 0.1), background=True)
line("H38.tls", "the first byte of a TLS hello", 400, b"\x16")


def byte_by_byte():
    with Raw(target.port) as c:
        for at in range(len(GOOD)):
            c.send(GOOD[at:at + 1])
        if c.recv_response().status != 101:
            raise Failed("%r" % c.response)


target.add(suite, "H35", "one byte a packet", byte_by_byte)
target.add(suite, "H35.long", "8 KiB of it", answer(
    [bytes([b]) for b in head(b"X: " + b"x" * 7000)], 101), crowd=False)


@suite.case("H37", "many slow clients at once: all are ended, new ones come in quickly")
def _():
    count = 200 if INSTRUMENTED else 2000

    def act():
        clients = [Raw(hasty()) for _ in range(count)]
        began = time.monotonic()
        ended = 0
        while ended < count:
            for c in clients:
                c.send(b"G" if c.eof is None else b"")
            opened = time.monotonic()
            with Raw(target.port, "/echo"):
                took = time.monotonic() - opened
            if took > 0.1 * SLACK * machine_load():
                raise Failed("a new client waited %.0f ms" % (took * 1000))
            target.bystander.check()
            ended = sum(1 for c in clients if has_ended(c))
            if time.monotonic() - began > 2 + SECONDS * 2:
                raise Failed("only %d of %d were ended" % (ended, count))
        for c in clients:
            c.close()
    # A handshake of TLS takes 60 KB while it lasts: of those of 2,000 clients malloc keeps some.
    target.attack(act, grow=6 << 20 if over.TLS else 2 << 20)


def has_ended(c):
    """Whether the server has ended this one; reads what is there."""
    if not c.eof:
        c.sock.setblocking(False)
        with contextlib.suppress(BlockingIOError, ssl.SSLWantReadError):
            try:
                if not c.sock.recv(4096):
                    c.eof = "eof"
            except ConnectionError:
                c.eof = "reset"
    return c.eof is not None


# -- smuggling and bodies

BODY = b"GET /echo HTTP/1.1\r\nHost: b\r\n\r\n".ljust(40, b" ")
line("H39", "a body with a request in it", 400, head(b"Content-Length: 40") + BODY)
line("H39.zero", "Content-Length: 0", (101, 400), head(b"Content-Length: 0"))
line("H39.chunked", "a chunked body", 400, head(b"Transfer-Encoding: chunked") + b"5\r\nhello\r\n0\r\n\r\n")
line("H39.both", "both", 400, head(b"Content-Length: 5", b"Transfer-Encoding: chunked") + b"0\r\n\r\n")
for name, value in {"two": b"5\r\nContent-Length: 5", "differ": b"5\r\nContent-Length: 6", "plus": b"+5",
                    "list": b"5,5", "space": b"5 6", "hex": b"0x10", "empty": b"", "minus": b"-1",
                    "2^63": b"9223372036854775808", "2^64+5": b"18446744073709551621",
                    "wide": "１".encode()}.items():
    line("H65." + name, "a wrong Content-Length", 400, head(b"Content-Length: " + value))
for name, value in {"identity": b"identity", "x": b"xchunked", "twice": b"chunked, chunked",
                    "vt": b"\x0bchunked"}.items():
    line("H62." + name, "a wrong Transfer-Encoding", (400, 501), head(b"Transfer-Encoding: " + value))
line("pipelined", "a second request behind a refused one is never parsed", 404, head(path="/nothing") + GOOD)

# -- wrong handshakes

line("H41.connection", "no Connection", 400, head(Connection=None))
line("H41.upgrade", "no Upgrade", 426, head(Upgrade=None))
line("H41.host", "no Host", 400, head(Host=None))
line("H41.key", "no key", 400, head(Sec_WebSocket_Key=None))
line("H41.version", "no version", 400, head(Sec_WebSocket_Version=None))
line("H41.keepalive", "another Connection", 400, head(Connection="keep-alive"))
line("H41.h2c", "another Upgrade", 426, head(Upgrade="h2c"))


def version(response):
    if response.header("Sec-WebSocket-Version") != "13":
        raise Failed("%r" % response)


for name, value in {"8": "8", "0": "0", "list": "13, 8", "14": "14", "013": "013", "text": "x", "empty": ""}.items():
    line("H42." + name, "version %s" % value, 426, head(Sec_WebSocket_Version=value), check=version)
line("H42.twice", "two versions", 400, head(Sec_WebSocket_Version=["13", "13"]))
for name, value in {"short": "AAAAAAAAAAAAAAAAAAAAAA=="[2:], "long": "AAAAAAAAAAAAAAAAAAAAAAAA==", "empty": "",
                    "padding": "AAAAAAAAAAAAAAAAAAAAAAA=", "alphabet": "AAAAAAAAAAAAAAAAAAAA!A==",
                    "15": "AAAAAAAAAAAAAAAAAAAA", "url": "____________________--=="}.items():
    line("H43." + name, "a wrong key", 400, head(Sec_WebSocket_Key=value))
line("H43.twice", "two keys", 400, head(Sec_WebSocket_Key=["dGhlIHNhbXBsZSBub25jZQ=="] * 2))
for method in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH"):
    line("H44." + method, "another method", 405, head(method=method),
         check=lambda r: r.header("Allow") == "GET" or bad(r))
line("H44.HEAD", "a HEAD", 405, head(method="HEAD"))
line("H44.CONNECT", "a CONNECT", (400, 405), head(method="CONNECT"))
line("H44.unknown", "an unknown method", (400, 405, 501), head(method="FROB"))
line("H44.lower", "a method in small letters", (400, 405, 501), head(method="get"))
line("H44.1.0", "HTTP/1.0", 400, head(version="HTTP/1.0"))
line("H44.0.9", "HTTP/0.9", (400, 505), b"GET /echo\r\n\r\n")
line("H44.1.2", "HTTP/1.2", 101, head(version="HTTP/1.2"))
line("H44.preface", "HTTP/2", (400, 505), b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
line("H44.version", "no version", 400, head(version="HTTX/1.1"))
line("H71", "a TLS hello", 400, bytes.fromhex("16030100a5010000a10303") + b"\x01" * 160)
for name, value in {"99": "client_max_window_bits=99", "07": "client_max_window_bits=07",
                    "twice": "client_max_window_bits; client_max_window_bits",
                    "unknown": "frob=1", "server99": "server_max_window_bits=99"}.items():
    line("H46." + name, "an impossible offer is declined", 101,
         head(Sec_WebSocket_Extensions="permessage-deflate; " + value),
         check=lambda r: r.header("Sec-WebSocket-Extensions") is None or bad(r))
for name, value in {"syntax": ";;=,\"", "empty": "permessage-deflate; client_max_window_bits=", "lone": ";",
                    "nameless": "permessage-deflate; =10", "open": "permessage-deflate; a=\"1",
                    "long": "x; a=\"" + "," * 4000}.items():
    line("H46.malformed." + name, "an offer that is not even grammatical", 400, head(Sec_WebSocket_Extensions=value))


def bad(response):
    raise Failed("%r" % response)


# -- origins (an echo that is attached directly serves its own host's pages)

line("H49", "no Origin", 101, head(path="/origin"))
line("H50", "another origin", 403, head(path="/origin", Origin="https://evil.example"))
line("H52.null", "Origin: null", 403, head(path="/origin", Origin="null"))
line("H52.two", "two Origin lines", 400, head(path="/origin", Origin=["http://localhost", "http://localhost"]))
line("H52.list", "two origins in one line", 403, head(path="/origin", Origin="http://localhost http://evil.example"))
line("H52.user", "a user before the host", 403, head(path="/origin", Origin="http://localhost@evil.example"))

# -- paths

for path in ("/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/..%2f", "/..%2F..%2Fetc", "/echo/..", "/./echo",
             "/echo/../echo"):
    line("H53." + path, "traversal", 400, head(path=path))
for path in ("/%252e%252e/", "/a/..;/", "/\\..\\", "//echo"):
    line("H53." + path, "what only looks like it", 404, head(path=path))
for path in ("/index.html%00.png", "/a%0d%0aX:", "/%", "/%2", "/%zz", "/%7f", "/files/a%00b"):
    line("H54." + path, "an escape that is malformed or a control character", 400, head(path=path))
line("H54.space", "a space in the path", 400, head(path="/a b"))
for char in (0, 1, 9, 0x7f):
    line("H54.raw%02x" % char, "a raw control character in the path", 400,
         b"GET /a" + bytes([char]) + b" HTTP/1.1\r\n" + GOOD.split(b"\r\n", 1)[1])
line("H54.fragment", "a fragment in the target", (400, 404), head(path="/echo#x"))
line("H54.absolute", "an absolute target", (101, 400, 404), head(path="http://localhost/echo"))
line("H54.authority", "a target that is no path", 400, head(path="echo"))
line("H54.star", "a target that is a star", (400, 404), head(path="*"))
for what in ("header", "reason"):
    line("H56." + what, "the app sets a line end", 500, head(path="/bad/" + what),
         check=lambda r: bad(r) if "Set-Cookie" in repr(r) else None)

# -- lines

line("H57.lf", "bare LF", 400, GOOD.replace(b"\r\n", b"\n"))
line("H57.lf-one", "one bare LF", 400, GOOD.replace(b"\r\n", b"\n", 1))
line("H57.lf-header", "a bare LF behind a header", 400, HEAD + b"X: y\n\r\n")
line("H57.cr", "bare CR", 400, GOOD.replace(b"\r\n", b"\r") + b"\r\n\r\n")
line("H57.cr-value", "a bare CR in a value", 400, HEAD + b"X: y\rZ: w\r\n\r\n")
line("H57.crcr", "CR CR LF", 400, HEAD + b"X: y\r\r\n\r\n")
line("H58.space-colon", "a space before the colon", 400, HEAD + b"X : y\r\n\r\n")
line("H58.tab-colon", "a tab before the colon", 400, HEAD + b"X\t: y\r\n\r\n")
line("H58.cl-space", "Content-Length with a space", 400, HEAD + b"Content-Length : 5\r\n\r\n")
line("H58.leading", "a leading tab on the first header", 400,
     b"GET /echo HTTP/1.1\r\n\tX: y\r\n" + HEAD.split(b"\r\n", 1)[1] + b"\r\n")
line("H58.leading-space", "a leading space", 400,
     b"GET /echo HTTP/1.1\r\n X: y\r\n" + HEAD.split(b"\r\n", 1)[1] + b"\r\n")
line("H58.noname", "an empty name", 400, HEAD + b": v\r\n\r\n")
line("H58.nocolon", "no colon", 400, HEAD + b"novalue\r\n\r\n")
line("H58.name", "a name with a bracket", 400, HEAD + b"X(y): z\r\n\r\n")
line("H58.name80", "a name that is not ASCII", 400, HEAD + b"X\xc3\xa9: z\r\n\r\n")
for char in (0, 1, 7, 0x0b, 0x0c, 0x1b, 0x7f):
    line("H59.%02x" % char, "a control character in a value", 400, HEAD + b"X: a" + bytes([char]) + b"b\r\n\r\n")
for char in (9, 0x80, 0xa0, 0xff):
    line("H59.%02x" % char, "a tab or a byte from 0x80 on in a value", 101,
         HEAD + b"X: a" + bytes([char]) + b"b\r\n\r\n")
line("H59.fold", "a folded line", 400, HEAD + b"X: a\r\n b\r\n\r\n")
line("H59.fold-tab", "a line folded with a tab", 400, HEAD + b"X: a\r\n\tb\r\n\r\n")
line("H59.host", "a Host that is none", 400, head(Host="a b"))
line("H59.host2", "two Hosts", 400, head(Host=["a", "a"]))


@suite.case("H69", "what a client sends cannot break the log's lines")
def _():
    with Raw(target.port) as c:
        c.send(head(b"User-Agent: x 2026 ERROR fake \xff\x9b31m",
                    "Origin: https://evil\u202e.example\x9bx".encode(), path="/origin"))
        c.recv_response()
    target.bystander.check()
    target.get().wait_log("evil")
    for text in target.get().log().splitlines():
        if any(ch in text for ch in "\x1b\x85\x9b\u202e\x00"):
            raise Failed("raw control character in %r" % text)


@suite.case("junk", "bytes without sense, many times")
def _():
    import random
    numbers = random.Random(2026)

    def act():
        for i in range(50 if INSTRUMENTED else 200):
            data = numbers.randbytes(numbers.randrange(1, 3000))
            with Raw(target.port) as c:
                c.send(data if i % 2 else mutated(numbers))
                c.shutdown()
                c.recv_all()
    target.attack(act)


def mutated(numbers):
    """The good request with some bytes changed."""
    data = bytearray(GOOD)
    for _ in range(numbers.randrange(1, 6)):
        data[numbers.randrange(len(data))] = numbers.randrange(256)
    return bytes(data)


target.add_crowd(suite)
target.add_finals(suite, ["setResponseHeader", "UpgradeError"])

if __name__ == "__main__":
    suite.main()
