# SPDX-License-Identifier: MIT
"""The upgrade (RFC 6455 §4.2, §4.4; RFC 9110, RFC 9112).

What must be accepted in all its spellings, what must be refused and how, and frames that come
in the same segment as the request.
"""
import base64
import os

from common import (
    BINARY, Failed, OVER_TLS, PING, PONG, Raw, TEXT, add, add_bystander, answers, chop, cut, frame,
    good_bye, lasting, pattern, request, send_parts, server, suite, upgrade, ws)

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
RFC_ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def has(name, value):
    """A check: the response has this header with this value (None: has it not)."""
    def check(response):
        if response.header(name) != value:
            raise Failed("%s should be %r in %r" % (name, value, response))
    return check


# -- accepted

add("handshake.plain", "Accept is that of RFC 6455 §1.3", upgrade, 101,
    check=has("Sec-WebSocket-Accept", RFC_ACCEPT))
add("handshake.no-extension", "no extension is named that nobody offered", upgrade, 101,
    check=has("Sec-WebSocket-Extensions", None))
add("handshake.no-protocol", "nor a sub-protocol", upgrade, 101,
    check=has("Sec-WebSocket-Protocol", None))
for i in range(4):
    add("handshake.key.%d" % i, "a random key", upgrade, 101,
        key=base64.b64encode(os.urandom(16)).decode())
for name, key in (("zeros", b"\0" * 16), ("ones", b"\xff" * 16),
                  ("plus", b"\xfb\xef\xbe" * 5 + b"x")):
    add("handshake.key.%s" % name, "a key with unusual letters", upgrade, 101,
        key=base64.b64encode(key).decode())

PLAIN = request("/echo")
HEAD, LINES = PLAIN.split(b"\r\n")[0], PLAIN.split(b"\r\n")[1:-2]


def spelled(lines):
    return b"\r\n".join([HEAD, *lines, b"", b""])


def renamed(fn):
    return spelled([fn(l.partition(b":")[0]) + b":" + l.partition(b":")[2] for l in LINES])


for name, raw in {
        "lower": renamed(bytes.lower), "upper": renamed(bytes.upper),
        "swapped": renamed(bytes.swapcase),
        "order.reverse": spelled(LINES[::-1]), "order.rotated": spelled(LINES[2:] + LINES[:2]),
        "space.none": spelled([l.replace(b": ", b":") for l in LINES]),
        "space.many": spelled([l.replace(b": ", b":    ") for l in LINES]),
        "space.tab": spelled([l.replace(b": ", b":\t") for l in LINES]),
        "space.after": spelled([l + b"  \t " for l in LINES]),
        "more": spelled(LINES + [b"User-Agent: test", b"Cookie: a=b; c=d", b"Accept: */*"]),
        "empty-header": spelled(LINES + [b"X-Empty:"]),
        "latin": spelled(LINES + [b"X-Latin: \xe9\xff"]),
        "leading-crlf": b"\r\n" + PLAIN,
        "absolute": PLAIN.replace(b"GET /echo", b"GET http://localhost/echo"),
}.items():
    add("handshake.spelled.%s" % name, "header names in any case, order and spacing", upgrade, 101,
        raw=raw)
for i, value in enumerate(("WebSocket", "WEBSOCKET", "websocket, h2c", "h2c, websocket",
                           "h2c,websocket,foo", " websocket ", ["h2c", "websocket"])):
    add("handshake.upgrade.%d" % i, "Upgrade: %s" % value, upgrade, 101,
        headers={"Upgrade": value})
for i, value in enumerate(("upgrade", "UPGRADE", "keep-alive, Upgrade", "Upgrade, keep-alive",
                           "keep-alive,upgrade", "keep-alive ,\t Upgrade ,x", ", Upgrade,",
                           ["keep-alive", "Upgrade"], ["Upgrade", "keep-alive"])):
    add("handshake.connection.%d" % i, "Connection: %s" % value, upgrade, 101,
        headers={"Connection": value})
for host in ("localhost", "localhost:9090", "127.0.0.1", "[::1]:80", "example.com", "EXAMPLE.com"):
    add("handshake.host.%s" % host, "any host", upgrade, 101, host=host)
for i, value in enumerate(("x-unknown", "x-unknown; a=b; c", "x-one, x-two; q=\"a,b\"",
                           ["x-one", "x-two"], ", x-one ,,", ["x-one", ""], "x-one ;\ta = \"b\\\"\"",
                           "permessage-deflate; frob", "permessage-deflate; frob=1",
                           "permessage-deflate; client_max_window_bits=99",
                           "permessage-deflate; client_max_window_bits=\"\"",
                           "permessage-deflate; server_max_window_bits",
                           "permessage-deflate; server_no_context_takeover=1")):
    add("handshake.extension.%d" % i, "what is unknown or invalid is declined", upgrade, 101,
        headers={"Sec-WebSocket-Extensions": value}, check=has("Sec-WebSocket-Extensions", None))
for i, value in enumerate((";", ";;=,\"", "=", "", ",", "x=1", "x y", "x/y", "\"x\"", "x;", "x;;a",
                           "x-good, x;", ["x-good", "x; a="],
                           "permessage-deflate; =10", "permessage-deflate;",
                           "permessage-deflate; client_max_window_bits=",
                           "permessage-deflate; client_max_window_bits=1 0",
                           "permessage-deflate; client_max_window_bits=\"10",
                           "permessage-deflate; client_max_window_bits=\"10\\\"",
                           "permessage-deflate; client_max_window_bits=\"10\"x",
                           "permessage-deflate, permessage-deflate; a==b")):
    add("handshake.extension.malformed.%d" % i, "what is not even grammatical is refused (§9.1)",
        upgrade, 400, headers={"Sec-WebSocket-Extensions": value})
for i, value in enumerate(("", ",", "a b", "a/b", "\"json\"", "json, a;b", ["json", "@"])):
    add("handshake.subprotocol.malformed.%d" % i, "a list of tokens (§4.3)", upgrade, 400, "/sub",
        {"Sec-WebSocket-Protocol": value})

# -- versions, keys, what is missing

for i, version in enumerate(("8", "0", "7", "12", "14", "255", "13, 8", "8, 13", "013", "+13",
                             "13.0", "x", "1 3", "")):
    add("handshake.version.%d" % i, "version %r: 426 that names 13 (§4.4)" % version, upgrade, 426,
        headers={"Sec-WebSocket-Version": version}, check=has("Sec-WebSocket-Version", "13"))
add("handshake.version.missing", "no version", upgrade, (400, 426),
    headers={"Sec-WebSocket-Version": None})
add("handshake.version.twice", "two versions", upgrade, 400,
    headers={"Sec-WebSocket-Version": ["13", "13"]})
for name, key in {
        "missing": None, "empty": "", "short": base64.b64encode(b"x" * 15).decode(),
        "long": base64.b64encode(b"x" * 17).decode(), "unpadded": KEY[:-2], "half-padded": KEY[:-1],
        "letters": "@" * 22 + "==", "url": "-_" * 11 + "==", "spaced": KEY[:10] + " " + KEY[10:],
        "padding-inside": "dGhl=Hhh=XBsZSBub25jZQ==", "overpadded": KEY[:21] + "===",
        "no-base64": "not base64 at all", "twenty-four": "A" * 24,
        "twice": [KEY, KEY], "two": [KEY, base64.b64encode(b"y" * 16).decode()],
        "list": KEY + ", " + KEY, "huge": "A" * 3000 + "==",
}.items():
    add("handshake.badkey.%s" % name, "the key must be 16 bytes in base64 (§4.1)", upgrade, 400,
        headers={"Sec-WebSocket-Key": key})
for method in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH", "HEAD"):
    add("handshake.method.%s" % method, "only GET", upgrade, 405, method=method,
        check=has("Allow", "GET"))
add("handshake.method.unknown", "no method at all", upgrade, (400, 405, 501), method="NONSENSE")
add("handshake.method.lower", "methods are case-sensitive", upgrade, (400, 405, 501),
    method="get")
for name, path in {"nope": "/nope", "below": "/echo/more", "prefix": "/ech", "longer": "/echoo",
                   "case": "/ECHO", "room": "/room"}.items():
    add("handshake.path.%s" % name, "nothing is attached there", upgrade, 404, path)
for name, headers, status in (
        ("upgrade.missing", {"Upgrade": None}, 426), ("upgrade.other", {"Upgrade": "h2c"}, 426),
        ("upgrade.empty", {"Upgrade": ""}, 426), ("upgrade.longer", {"Upgrade": "websockets"}, 426),
        ("upgrade.inside", {"Upgrade": "x-websocket-x"}, 426),
        ("connection.missing", {"Connection": None}, 400),
        ("connection.other", {"Connection": "keep-alive"}, 400),
        ("connection.close", {"Connection": "close"}, 400),
        ("connection.inside", {"Connection": "upgraded, no-upgrade"}, 400),
        ("host.missing", {"Host": None}, 400), ("host.two", {"Host": ["a", "b"]}, 400),
        ("host.same", {"Host": ["a", "a"]}, 400),
        ("body.length", {"Content-Length": "5"}, 400),
        ("body.chunked", {"Transfer-Encoding": "chunked"}, 400),
        ("body.bad-length", {"Content-Length": "+5"}, 400),
        ("body.negative", {"Content-Length": "-1"}, 400),
        ("body.empty-length", {"Content-Length": ""}, 400),
        ("body.hex", {"Content-Length": "0x5"}, 400),
        ("body.list", {"Content-Length": "5,5"}, 400),
        ("body.space", {"Content-Length": "5 6"}, 400),
        ("body.2^63", {"Content-Length": str(1 << 63)}, 400),
        ("body.2^64+5", {"Content-Length": str((1 << 64) + 5)}, 400),
        ("body.identity", {"Transfer-Encoding": "identity"}, (400, 501)),
        ("body.xchunked", {"Transfer-Encoding": "xchunked"}, (400, 501)),
        ("body.chunked-twice", {"Transfer-Encoding": "chunked, chunked"}, (400, 501)),
        ("body.te-vertical-tab", {"Transfer-Encoding": "\vchunked"}, (400, 501)),
        ("body.two-codings", {"Transfer-Encoding": ["chunked", "identity"]}, (400, 501)),
        ("body.two-lengths", {"Content-Length": ["5", "6"]}, 400),
        ("body.both", {"Content-Length": "5", "Transfer-Encoding": "chunked"}, 400),
        ("origin.two", {"Origin": ["http://localhost", "http://localhost"]}, 400),
        ("get", {"Upgrade": None, "Connection": None, "Sec-WebSocket-Key": None,
                 "Sec-WebSocket-Version": None}, 426)):
    add("handshake.refused.%s" % name, "answered with %s" % (status,), upgrade, status,
        headers=headers)
for version in ("HTTP/1.2", "HTTP/1.9"):
    add("handshake.version.%s" % version[5:], "a later minor version is read as 1.1 (RFC 9110 §2.5)",
        upgrade, 101, version=version)
add("handshake.refused.http10", "HTTP/1.0", upgrade, 400, version="HTTP/1.0")
add("handshake.refused.http09", "HTTP/0.9", upgrade, (400, 505), version="HTTP/0.9")
add("handshake.refused.http20", "HTTP/2.0 in HTTP/1.1 syntax", upgrade, (400, 505),
    version="HTTP/2.0")
add("handshake.refused.preface", "the preface of HTTP/2", upgrade, 505,
    raw=b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")


@suite.case("handshake.refused.smuggled", "a body is never read as a request")
def _():
    body = request("/room/smuggled")
    with Raw(server().port) as c:
        response = c.handshake("/echo", {"Content-Length": str(len(body))}, extra=body)
        if response.status != 400:
            raise Failed("expected 400, got %r" % response)
        c.expect_eof()


# -- bytes that no header may hold

for name, raw in {
        "bare-lf": PLAIN.replace(b"\r\n", b"\n"), "bare-cr": PLAIN.replace(b"\r\n", b"\r"),
        "one-lf": PLAIN.replace(b"localhost\r\n", b"localhost\n"),
        "cr-in-value": spelled(LINES + [b"X-Bad: a\rb"]),
        "space-before-colon": spelled(LINES + [b"X-Bad : a"]),
        "leading-space": spelled([b" " + LINES[0]] + LINES[1:]),
        "empty-name": spelled(LINES + [b": a"]), "no-colon": spelled(LINES + [b"nonsense"]),
        "name-space": spelled(LINES + [b"X Bad: a"]), "name-nul": spelled(LINES + [b"X\0Bad: a"]),
        "name-high": spelled(LINES + [b"X\xe9: a"]),
        "value-nul": spelled(LINES + [b"X-Bad: a\0b"]),
        "value-bell": spelled(LINES + [b"X-Bad: a\x07b"]),
        "value-del": spelled(LINES + [b"X-Bad: a\x7fb"]),
        "folded": spelled(LINES + [b"X-Bad: a\r\n b"]),
        "folded-tab": spelled(LINES[:1] + [b"X-Bad: a\r\n\tb"] + LINES[1:]),
        "no-version": PLAIN.replace(b" HTTP/1.1", b""),
        "no-path": PLAIN.replace(b" /echo", b""),
        "junk": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"x" * 100 + b"\r\n\r\n",
}.items():
    add("handshake.bytes.%s" % name, "malformed HTTP: 400", upgrade, 400, raw=raw)

# -- paths

for name, path, says in (
        ("root", "/", "root"), ("literal", "/room/lobby", "the lobby"),
        ("literal.slash", "/room/lobby/", "the lobby"),
        ("param", "/room/blue", "room blue"), ("param.slash", "/room/blue/", "room blue"),
        ("param.space", "/room/a%20b", "room a b"),
        ("param.slash-inside", "/room/a%2Fb", "room a/b"),
        ("param.utf8", "/room/%C3%A9", "room é"), ("param.percent", "/room/100%25", "room 100%"),
        ("param.once", "/room/%2541", "room %41"), ("param.lower", "/room/%2f", "room /"),
        ("param.query", "/room/blue?x=/a/b", "room blue"), ("param.plus", "/room/a+b", "room a+b"),
        ("two", "/room/a/b", "seat a|b"), ("two.escaped", "/room/a%2Fb/c%2Fd", "seat a/b|c/d"),
        ("rest", "/rest/a/b/c", "rest a/b/c"), ("rest.one", "/rest/a", "rest a"),
        ("query", "/query?k=1&l=2", "k is 1, l is 2"),
        ("query.first", "/query?k=1&k=2", "k is 1, l is nil"),
        ("query.empty", "/query?k", "k is , l is nil"),
        ("query.none", "/query", "k is nil, l is nil"),
        ("query.escaped", "/query?k=%26%3D&l=a%20b", "k is &=, l is a b"),
        ("query.slash", "/query/?k=1", "k is 1, l is nil"),
        ("query.second-mark", "/query?k=a?b", "k is a?b, l is nil")):
    add("handshake.path.%s" % name, path, answers, says, path)
add("handshake.path.slash", "/echo/ is /echo", upgrade, 101, "/echo/")
add("handshake.path.escaped", "/%65cho is /echo (RFC 3986 §6.2.2.2)", upgrade, 101, "/%65cho")
for name, path in {"percent": "/room/%", "short": "/room/%4", "letters": "/room/%zz",
                   "nul": "/room/a%00b", "space": "/room/a b", "crlf": "/room/a%0d%0aX:y",
                   "raw-high": "/room/\xe9\xff"}.items():
    add("handshake.badpath.%s" % name, "malformed: 400", upgrade, 400, path)
for i, path in enumerate(("/../echo", "/./echo", "/echo/..", "/rest/a/../b", "/rest/.", "/%2e%2e/echo",
                          "/rest/.%2E", "/..%2fecho", "/rest/..%2F..%2Fetc", "/room/a%2f.%2Fb",
                          "http://localhost/rest/..")):
    add("handshake.traversal.%d" % i, path + ": no dot segments, however they are written", upgrade,
        400, path)
for i, path in enumerate(("/a/..;/echo", "/%252e%252e/", "/\\..\\echo")):
    add("handshake.traversal.other.%d" % i, path + " leads nowhere", upgrade, 404, path)
add("handshake.path.dots", "other names with dots", answers, "rest .../..a/b../.c", "/rest/.../..a/b../.c")
add("handshake.path.dots.query", "in a query they are text", answers, "k is ../., l is nil",
    "/query?k=../.")
add("handshake.header.value", "the app reads a header in any case", answers, "Probe 1", "/header",
    {"x-PROBE": "  Probe 1\t"})
add("handshake.header.joined", "two lines of a header", answers, "a, b", "/header",
    {"X-Probe": ["a", "b"]})

# -- sub-protocols (§4.2.2: one of the client's, by its preference; SPEC: the first it lists)

for name, offer, chosen in (
        ("one", "json", "json"), ("second", "xml, json", "json"),
        ("client-order", "chat.v1, chat.v2", "chat.v1"), ("all", "json,chat.v1,chat.v2", "json"),
        ("lines", ["xml", "chat.v1"], "chat.v1"), ("lines.order", ["json", "chat.v2"], "json"),
        ("lines.lists", ["a, b", "c, chat.v2"], "chat.v2"),
        ("spaces", "  xml \t,\t chat.v1  ", "chat.v1"),
        ("twice", "json, json", "json"), ("none", "xml, soap", None), ("case", "JSON", None),
        ("prefix", "chat", None), ("longer", "chat.v10", None), ("unoffered", None, None)):
    add("handshake.subprotocol.%s" % name, "offered %s" % offer, upgrade, 101, "/sub",
        {"Sec-WebSocket-Protocol": offer}, has("Sec-WebSocket-Protocol", chosen))
    add("handshake.subprotocol.%s.app" % name, "the app is told", answers,
        "chose %s" % (chosen or "none"), "/sub", {"Sec-WebSocket-Protocol": offer})
add("handshake.subprotocol.route-without", "a route that has none", upgrade, 101, "/nosub",
    {"Sec-WebSocket-Protocol": "json"}, has("Sec-WebSocket-Protocol", None))

# -- origins: a service attached directly takes pages of its own origin only

# The default port of a secure connection is another one.
SCHEME, PORT = ("https", 443) if OVER_TLS else ("http", 80)

for name, origin, status in (
        ("same", SCHEME + "://localhost", 101), ("same.upper", SCHEME + "://LOCALHOST", 101),
        ("same.port", "%s://localhost:%d" % (SCHEME, PORT), 101), ("none", None, 101),
        ("other", "http://evil.example", 403), ("null", "null", 403),
        ("port", "http://localhost:81", 403), ("suffix", "http://localhost.evil", 403),
        ("prefix", "http://evil-localhost", 403),
        ("user", "http://localhost@evil.example", 403)):
    add("handshake.origin.%s" % name, "Origin: %s" % origin, upgrade, status, "/echo",
        {"Origin": origin})
add("handshake.origin.function", "with an upgrade function, the function decides", upgrade, 101,
    "/upgrade/accept", {"Origin": "http://evil.example"})

# -- what an upgrade function can do

add("handshake.app.accept", "it adds a header", upgrade, 101, "/upgrade/accept",
    check=has("X-Conformance", "yes"))
add("handshake.app.nil", "nil: 400", upgrade, 400, "/upgrade/none")
add("handshake.app.wait", "it waits", upgrade, 101, "/upgrade/wait")


def body_is(text, **headers):
    def check(response):
        if response.body != text.encode():
            raise Failed("body of %r" % response)
        for name, value in headers.items():
            has(name.replace("_", "-"), value)(response)
    return check


def hides(response):
    if b"conformance" in response.body or b"app.lua" in response.body:
        raise Failed("the answer tells what went wrong inside: %r" % response)


add("handshake.app.refuse", "an UpgradeError", upgrade, 403, "/upgrade/refuse",
    check=body_is("not you", X_Why="because"))
add("handshake.app.body", "an UpgradeError with a body", upgrade, 422, "/upgrade/body",
    check=body_is("a body of its own"))
add("handshake.app.raise", "an error: 500, nothing told", upgrade, 500, "/upgrade/raise",
    check=hides)

# -- limits

LIMIT = {"uri.4000": ("/echo?" + "x" * 3994, {}, 101), "uri.5000": ("/echo?" + "x" * 5000, {}, 414),
         "uri.65536": ("/" + "a" * 65536, {}, 414),
         "headers.7000": ("/echo", {"X-Long": "x" * 7000}, 101),
         "headers.9000": ("/echo", {"X-Long": "x" * 9000}, 431),
         "headers.name": ("/echo", {"X" * 9000: "x"}, 431),
         "headers.sum": ("/echo", {"X-%d" % i: "x" * 800 for i in range(12)}, 431),
         "headers.100": ("/echo", {"X-%d" % i: "x" for i in range(95)}, 101),
         "headers.101": ("/echo", {"X-%d" % i: "x" for i in range(96)}, 431),
         "headers.same.100": ("/echo", {"X": ["x"] * 95}, 101),
         "headers.same.101": ("/echo", {"X": ["x"] * 96}, 431),
         "headers.1000": ("/echo", {"X-%d" % i: "" for i in range(1000)}, 431)}
for name, (path, headers, status) in LIMIT.items():
    add("handshake.limit.%s" % name, "answered with %d" % status, upgrade, status, path, headers)
add("handshake.limit.headers.endless", "a line that never ends: 431 before it does", upgrade, 431,
    raw=b"GET /echo HTTP/1.1\r\nHost: a\r\nX-Long: " + b"x" * 65536)
add("handshake.limit.uri.endless", "a request line that never ends: 414 before it does", upgrade,
    414, raw=b"GET /" + b"x" * 65536)


def strict(status, path="/echo", headers=()):
    with Raw(server().ports[1]) as c:
        response = c.handshake(path, headers)
        if response.status != status:
            raise Failed("expected %d, got %r" % (status, response))


add("handshake.limit.own.fits", "a listener with limits of its own", strict, 101)
add("handshake.limit.own.uri", "maxUriLength = 200", strict, 414, "/echo?" + "x" * 250)
add("handshake.limit.own.headers", "maxHeaderSize = 400", strict, 431, "/echo", {"X": "x" * 400})


def too_slow(begun, drip=b""):
    """headerTimeout = 1 s: 408 where a request had begun, else just closed."""
    with Raw(server().ports[1]) as c, lasting(0.9, 3):
        c.send(begun)
        for _ in range(300):
            if c.arrived(0.1):
                break
            c.send(drip)
        if not begun:
            c.expect_eof()
        elif c.recv_response().status != 408:
            raise Failed("expected 408, got %r" % c.response)


for name, begun, drip in (("nothing", b"", b""), ("line", b"GET /ec", b""),
                          ("head", PLAIN[:-2], b""), ("drip", PLAIN[:-4] + b"\r\nX: ", b"x")):
    add("handshake.timeout.%s" % name, "the whole head within headerTimeout", too_slow, begun,
        drip, background=True)

# -- in pieces, and with frames behind

for size in (1, 2, 3, 7, 64):
    add("handshake.chops-%d" % size, "the request in pieces", upgrade, 101,
        parts=chop(PLAIN, size))
for at in (1, 3, 4, 14, 15, 22, 23, len(PLAIN) - 4, len(PLAIN) - 3, len(PLAIN) - 2, len(PLAIN) - 1):
    add("handshake.split.at-%d" % at, "the request in two pieces", upgrade, 101,
        parts=cut(PLAIN, at))


def behind(*parts, expects, path="/big"):
    """Frames in the segment of the request; `parts` come after a barrier each."""
    with Raw(server().port) as c:
        send_parts(c, [request(path) + parts[0], *parts[1:]])
        if c.recv_response().status != 101:
            raise Failed("refused: %r" % c.response)
        for op, payload in expects:
            c.expect(op, payload)
        good_bye(c)


HELLO = frame(TEXT, "Hello")
add("handshake.pipelined.text", "a frame behind the request", behind, HELLO,
    expects=[(TEXT, "Hello")])
add("handshake.pipelined.ping", "a ping behind the request", behind, frame(PING, b"p"),
    expects=[(PONG, "p")])
add("handshake.pipelined.ten", "ten frames behind the request", behind, HELLO * 10,
    expects=[(TEXT, "Hello")] * 10)
add("handshake.pipelined.large", "300000 bytes behind the request", behind,
    frame(BINARY, pattern(300000)), expects=[(BINARY, pattern(300000))])
add("handshake.pipelined.waiting", "a frame while the upgrade function waits", behind, HELLO,
    path="/upgrade/wait", expects=[(TEXT, "Hello")])
add("handshake.pipelined.waiting.later", "a frame in two pieces while it waits", behind, HELLO[:3],
    HELLO[3:], path="/upgrade/wait", expects=[(TEXT, "Hello")])
for at in range(1, len(HELLO)):
    add("handshake.pipelined.split-%d" % at, "a frame of which a part comes with the request",
        behind, HELLO[:at], HELLO[at:], expects=[(TEXT, "Hello")])
for size in (1, 100, 997):
    add("handshake.pipelined.chops-%d" % size, "frames behind the request, cut without regard",
        behind, *chop(HELLO + frame(BINARY, pattern(2000)), size),
        expects=[(TEXT, "Hello"), (BINARY, pattern(2000))])


@suite.case("handshake.pipelined.close", "request, message and close in one segment")
def _():
    with Raw(server().port) as c:
        c.handshake("/big", extra=HELLO + frame(8, b"\x03\xe8"))
        c.expect(TEXT, "Hello")
        c.expect_close(1000)


@suite.case("handshake.pipelined.bad", "a bad frame behind the request")
def _():
    with Raw(server().port) as c:
        c.handshake("/big", extra=frame(TEXT, "x", rsv=1))
        c.expect_close(1002)


@suite.case("handshake.refused.frames", "frames behind a refused request are not answered")
def _():
    with Raw(server().port) as c:
        response = c.handshake("/nope", extra=HELLO)
        if response.status != 404:
            raise Failed("expected 404, got %r" % response)
        rest = c.recv_all()
        if rest and not rest.startswith(b"HTTP/1.1 400"):
            raise Failed("answered %r" % rest)


@suite.case("handshake.half", "a request that ends in the middle is closed")
def _():
    with Raw(server().port) as c:
        c.send(PLAIN[:40])
        c.shutdown()
        got = c.recv_all()
        if got and not got.startswith(b"HTTP/1.1 400"):
            raise Failed("answered %r" % got)


@suite.case("handshake.many", "100 connections open at the same time")
def _():
    clients = [ws() for _ in range(100)]
    for i, c in enumerate(clients):
        c.text("client %d" % i)
    for i, c in enumerate(clients):
        c.expect(TEXT, "client %d" % i)
    for c in clients:
        c.close()


add_bystander("handshake")
