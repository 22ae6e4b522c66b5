#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""From a request to its answer, as an app decides it: every outcome of an upgrade function, what a
request tells, paths and captures, origins, sub-protocols, and how many connections are taken.
"""
import json
import os
import sys

sys.path.insert(0, os.path.abspath(__file__ + "/../../../support"))
from neaptest import (  # noqa: E402
    CLOSE, PONG, TEXT, Failed, Raw, Suite, close_payload, frame, over, request, wait_until)
from neaptest.behaviour import App  # noqa: E402

suite = Suite("upgrade")
app = App(r"""
local upgrades = {}
listener:attach("/up/:how", function(r) return upgrades[r.params.how](r) end)

function upgrades.accept() return { onMessage = echo } end
function upgrades.empty() return {} end
function upgrades.none() end
upgrades["nil"] = function() return nil end
function upgrades.raise() error "expected: secret" end
function upgrades.raisetable() error {} end
function upgrades.raisenil() error(nil) end
function upgrades.number() return 42 end
function upgrades.text() return "expected: no service" end
function upgrades.nocallbacks() return { colour = "expected" } end
function upgrades.misspelt() return { onMesage = echo } end
upgrades["false"] = function() return false end
function upgrades.yield() coroutine.yield() end
function upgrades.refuse() return nil, websocket.UpgradeError { status = 403, reason = "not you" } end
function upgrades.default() return nil, websocket.UpgradeError() end
function upgrades.bare() return websocket.UpgradeError { status = 451, reason = "alone" } end
function upgrades.full()
  return nil, websocket.UpgradeError {
    status = 401, reason = "log in", body = "<p>a body</p>",
    headers = { ["WWW-Authenticate"] = { "Basic", "Bearer" }, ["X-Number"] = 5, ["Content-Type"] = "text/html" },
  }
end
function upgrades.redirect()
  return nil, websocket.UpgradeError { status = 302, headers = { Location = "ws://elsewhere/" } }
end
function upgrades.other() return nil, "expected: not for clients" end
function upgrades.otherobject() return nil, websocket.Error("AuthError", "expected: not for clients") end
function upgrades.headers(r)
  r:setResponseHeader("X-One", "1")
  r:setResponseHeader("X-Two", "zwei")
  return { onMessage = echo }
end
function upgrades.headersrefused(r)
  r:setResponseHeader("X-One", "1")
  return nil, websocket.UpgradeError { status = 409 }
end
function upgrades.sleep() task.sleep(0.05); return { onMessage = echo } end
function upgrades.sleeprefuse()
  task.sleep(0.05)
  return nil, websocket.UpgradeError { status = 418, reason = "later" }
end
function upgrades.sleepraise() task.sleep(0.05); error "expected" end
function upgrades.sleepnil() task.sleep(0.05) end
function upgrades.late(r)
  task.spawn(function()
    task.sleep(0.02)
    note("no connection", "late: " .. tostring(select(2, r:setResponseHeader("X-Late", "1"))))
  end)
  return { onMessage = echo }
end
function upgrades.keep(r)
  return { onMessage = function() return r.path .. " " .. r:header "X-Kept" end }
end
function upgrades.gate(r)
  gate(r.query.id):receive()
  return {
    onOpen = function() note(r.query.id, "open") end,
    onMessage = echo,
    onClose = function(_, _, code) note(r.query.id, "close " .. code) end,
  }
end
function upgrades.gaterefuse(r)
  gate(r.query.id):receive()
  return nil, websocket.UpgradeError { status = 403 }
end

-- What an app may not send: each raises, and nothing of it goes out.
local bad = {
  crlf = "x\r\nSet-Cookie: a=1", lf = "x\ny", cr = "x\ry", nul = "x\0y",
}
for name, value in pairs(bad) do
  upgrades["header-" .. name] = function(r)
    local ok, err = pcall(r.setResponseHeader, r, "X-Bad", value)
    local ok2, err2 = pcall(r.setResponseHeader, r, value, "value")
    local ok3, err3 = pcall(websocket.UpgradeError, { status = 400, reason = value })
    local ok4, err4 = pcall(websocket.UpgradeError, { headers = { ["X-Bad"] = value } })
    local ok5, err5 = pcall(websocket.UpgradeError, { headers = { [value] = "v" } })
    local all = not (ok or ok2 or ok3 or ok4 or ok5) and err and err2 and err3 and err4 and err5
    return nil, websocket.UpgradeError { status = all and 477 or 500 }
  end
  upgrades["raise-" .. name] = function(r) r:setResponseHeader("X-Bad", value) -- expected
    return {}
  end
end
for _, name in ipairs { "Connection", "upgrade", "Sec-WebSocket-Accept", "Content-Length", "Transfer-Encoding" } do
  upgrades["own-" .. name:lower()] = function(r)
    return nil, websocket.UpgradeError { status = pcall(r.setResponseHeader, r, name, "x") and 500 or 477 }
  end
end
function upgrades.status()
  for _, status in ipairs { 0, 101, 200, 299, 600, 400.5, "400" } do
    if pcall(websocket.UpgradeError, { status = status }) then
      return nil, websocket.UpgradeError { status = 500, reason = tostring(status) }
    end
  end
  return nil, websocket.UpgradeError { status = 477 }
end

-- What a request tells.

local function tells(r)
  return {
    onMessage = function()
      return {
        method = r.method, path = r.path, query = r.query, params = r.params, isSecure = r.isSecure,
        address = r.remoteAddress, port = r.remotePort, headers = r.headers,
        subProtocols = json.array(r.subProtocols),
        header = r:header "x-PROBE" or json.null, values = json.array(r:headerValues "X-Probe"),
        cookie = r:cookie "b" or json.null, queries = json.array(r:queryValues "k"),
        same = r:isSameOrigin(), allowed = r:originAllowed { "https://example.com", "https://*.example.org" },
      }
    end,
  }
end
listener:attach("/tell", tells)
listener:attach("/tell/:a/:b", tells)
listener:attach("/files/*rest", tells)
for _, path in ipairs { "/", "/a/b", "/a/:x", "/:y/b", "/a/*z", "/:p/:q/:r" } do
  listener:attach("/match" .. path, function() return { onMessage = function() return path end } end)
end
listener:attach("/slash/", { onMessage = function() return "slash" end })

-- Sub-protocols and origins.

listener:attach("/sub", { subProtocols = { "b", "c" } }, {
  onOpen = function(_, caller) return tostring(caller:getNegotiatedSubProtocol()) end,
})
listener:attach("/direct", { onMessage = echo })
listener:attach("/origins", { allowedOrigins = { "https://example.com", "https://*.example.org" } }, {
  onMessage = echo,
})

-- How many.

local few = websocket.listener(0, { host = "127.0.0.1", maxConnections = 3 })
few:attach("/echo", { onMessage = echo })
local each = websocket.listener(0, { host = "0.0.0.0", maxConnectionsPerAddress = 2, headerTimeout = 1 })
each:attach("/echo", { onMessage = echo })
local named = websocket.listener(0, { host = "127.0.0.1", server = "Mine/1" })
named:attach("/echo", { onMessage = echo })
""")


def status(path, wanted, headers=(), check=None, port=None, works=True, **options):
    """An upgrade of this path is answered so; a 101 then echoes."""
    with Raw(port or app.port) as c:
        response = c.handshake(path, headers, **options)
        if response.status != wanted:
            raise Failed("expected %d, got %r" % (wanted, response))
        if check:
            check(response)
        if wanted != 101:
            c.expect_eof()
        elif works:
            c.text("x")
            c.expect(TEXT, "x")
            c.send_frame(CLOSE, close_payload(1000))
            c.expect_close(1000)


def case(ident, what, *args, **kwargs):
    suite.add(ident, what, lambda: status(*args, **kwargs))


def body(text):
    def check(response):
        if response.body.decode().strip() != text:
            raise Failed("body %r" % response)
    return check


def has(*pairs, absent=()):
    def check(response):
        for name, *values in pairs:
            if response.values(name) != values:
                raise Failed("%s is %r" % (name, response))
        told = repr([pair for pair in response.headers if pair[0] != "Date"]) + repr(response.body)
        for word in absent:
            if word in told:
                raise Failed("%r is told to the client: %r" % (word, response))
    return check


# -- outcomes

case("answer.accept", "a table of callbacks", "/up/accept", 101)
case("answer.empty", "a table without any", "/up/empty", 101, works=False)
for how in ("none", "nil"):
    case("answer." + how, "nil: 400", "/up/" + how, 400, check=body("upgrade refused"))
for how in ("raise", "raisetable", "raisenil", "number", "text", "nocallbacks", "misspelt", "false",
            "yield", "sleepraise"):
    case("answer." + how, "a mistake of the app: 500, nothing is told", "/up/" + how, 500,
         check=has(absent=["expected", "secret", "lua", "onMes", "42"]))
case("answer.refuse", "status and reason", "/up/refuse", 403, check=body("not you"))
case("answer.default", "UpgradeError without anything: 400", "/up/default", 400)
case("answer.bare", "UpgradeError as the first result", "/up/bare", 451, check=body("alone"))
case("answer.full", "body and headers", "/up/full", 401, check=lambda r: (
    body("<p>a body</p>")(r), has(("WWW-Authenticate", "Basic", "Bearer"), ("X-Number", "5"),
                                  ("Content-Type", "text/html"), ("Connection", "close"))(r)))
case("answer.redirect", "a redirection", "/up/redirect", 302,
     check=has(("Location", "ws://elsewhere/")))
case("answer.other", "nil, and an error of another kind: 400, nothing is told", "/up/other", 400,
     check=has(absent=["expected"]))
case("answer.otherobject", "the same as an object", "/up/otherobject", 400,
     check=has(absent=["expected"]))
case("answer.headers", "setResponseHeader goes out with a 101", "/up/headers", 101,
     check=has(("X-One", "1"), ("X-Two", "zwei")))
case("answer.headersrefused", "and with a refusal", "/up/headersrefused", 409,
     check=has(("X-One", "1")))
case("answer.sleep", "an upgrade function may wait", "/up/sleep", 101)
case("answer.sleeprefuse", "and then refuse", "/up/sleeprefuse", 418, check=body("later"))
case("answer.sleepnil", "or return nothing", "/up/sleepnil", 400)
case("answer.status", "an UpgradeError has a status of a refusal", "/up/status", 477)
for name in ("crlf", "lf", "cr", "nul"):
    case("H56.header-" + name, "what would split a response raises", "/up/header-" + name, 477)
    case("H56.raise-" + name, "and nothing of it is sent", "/up/raise-" + name, 500,
         check=has(("X-Bad",), ("Set-Cookie",)))
for name in ("connection", "upgrade", "sec-websocket-accept", "content-length", "transfer-encoding"):
    case("answer.own-" + name, "headers of the handshake cannot be set", "/up/own-" + name, 477)


@suite.case("answer.late", "setResponseHeader after the answer is an error")
def _():
    status("/up/late", 101)
    app.noted("no connection", "late: Error: *")


@suite.case("answer.keep", "a request can be used as long as its connection lives")
def _():
    with Raw(app.port, "/up/keep", [("X-Kept", "yes")]) as c:
        c.text("?")
        c.expect(TEXT, "/up/keep yes")


@suite.case("answer.early", "messages that came before the answer are handled after onOpen")
def _():
    with Raw(app.port) as c:
        c.send(request("/up/gate?id=early") + frame(TEXT, "a") + frame(9, "p") + frame(TEXT, "b"))
        app.barrier()
        app.go("early")
        if c.recv_response().status != 101:
            raise Failed("%r" % c.response)
        for op, text in ((TEXT, "a"), (PONG, "p"), (TEXT, "b")):
            c.expect(op, text)
        c.send_frame(CLOSE, close_payload(1000))
        c.expect_close(1000)
    app.told("early", "open", "close 1000")


for how, act in {"reset": lambda c: c.reset(), "close": lambda c: c.close()}.items():
    for kind in ("gate", "gaterefuse"):
        @suite.case("answer.gone.%s.%s" % (kind, how), "the client goes before the answer")
        def _(act=act, kind=kind, ident="gone-%s-%s" % (kind, how)):
            with Raw(app.port) as c:
                c.send(request("/up/%s?id=%s" % (kind, ident)))
                app.barrier()
                act(c)
            app.barrier()
            app.go(ident)
            app.barrier()
            notes = app.seen(ident)
            if notes:       # the answer may have been written before the end was seen
                app.told(ident, "open", "close 1006")


@suite.case("answer.many", "upgrade functions of many clients wait at once")
def _():
    clients = [Raw(app.port) for _ in range(100)]
    for c in clients:
        c.send(request("/up/sleep"))
    for c in clients:
        if c.recv_response().status != 101:
            raise Failed("%r" % c.response)
        c.text("x")
    for c in clients:
        c.expect(TEXT, "x")
        c.close()


# -- the request

def told(ident, path, expected, headers=(), host="127.0.0.1"):
    def run():
        with Raw(app.port, path, headers, host=host, compress=False) as c:
            c.text("?")
            got = json.loads(c.recv_message()[1])
            for key, value in expected.items():
                if callable(value):
                    value = value(c)
                if got[key] != value:
                    raise Failed("%s is %r, expected %r" % (key, got[key], value))
    suite.add("request." + ident, "what a request tells", run)


told("basics", "/tell", {"method": "GET", "path": "/tell", "query": {}, "params": {},
                         "isSecure": over.TLS, "address": "127.0.0.1",
                         "port": lambda c: c.sock.getsockname()[1]})
told("query", "/tell?k=1&l=a%20b+c&k=2&empty&e2=&%6b=3&=x", {
    "path": "/tell", "queries": ["1", "2", "3"],
    "query": {"k": "1", "l": "a b c", "empty": "", "e2": "", "": "x"}})
told("headers", "/tell", {"header": "a, b", "values": ["a", "b"],
                          "headers": lambda c: {
                              "host": "localhost", "upgrade": "websocket", "connection": "Upgrade",
                              "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
                              "sec-websocket-version": "13", "x-probe": "a, b"}},
     [("X-Probe", ["a", "b"])])
told("noheader", "/tell", {"header": None, "values": []})
told("cookie", "/tell", {"cookie": "two"}, [("Cookie", "a=1; b=two; b=three; c")])
told("quoted", "/tell", {"cookie": "x y"}, [("Cookie", 'bb=1;b="x y"')])
told("subprotocols", "/tell", {"subProtocols": ["a", "b", "c"]},
     [("Sec-WebSocket-Protocol", ["a, b", "c"])])
told("params", "/tell/x%20y/%C3%A9", {"params": {"a": "x y", "b": "é"}})
told("params.slash", "/tell/x%2Fy/z", {"params": {"a": "x/y", "b": "z"}})
told("rest", "/files/a/b%20c/d", {"params": {"rest": "a/b c/d"}})
told("rest.query", "/files/a?b=c", {"params": {"rest": "a"}, "query": {"b": "c"}})
# Without TLS a page of https: may be ours: something in front may have taken the TLS off.
HERE, OTHER = ("https", "http") if over.TLS else ("http", "https")
told("origin.none", "/tell", {"same": True})
told("origin.same", "/tell", {"same": True, "allowed": False}, [("Origin", HERE + "://localhost")])
told("origin.scheme", "/tell", {"same": not over.TLS}, [("Origin", OTHER + "://localhost")])
told("origin.other", "/tell", {"same": False, "allowed": True}, [("Origin", "https://example.com")])
told("origin.sub", "/tell", {"same": False, "allowed": True}, [("Origin", "https://a.example.org")])
told("origin.parent", "/tell", {"allowed": False}, [("Origin", "https://example.org")])
told("origin.null", "/tell", {"same": False, "allowed": False}, [("Origin", "null")])


def matches(path, pattern):
    def run():
        if pattern is None:
            status("/match" + path, 404)
            return
        with Raw(app.port, "/match" + path) as c:
            c.text("?")
            c.expect(TEXT, pattern)
    suite.add("path." + path, "the most literal pattern wins", run)


for path, pattern in {"": "/", "/": "/", "/a/b": "/a/b", "/a/b/": "/a/b", "/a/c": "/a/:x",
                      "/c/b": "/:y/b", "/a/c/d": "/a/*z", "/a/b/c": "/a/*z", "/c/d/e": "/:p/:q/:r",
                      "/c": None, "/c/d": None, "/c/d/e/f": None, "/%61/%62": "/a/b"}.items():
    matches(path, pattern)
case("path.404", "nothing attached", "/nothing", 404)
case("path.case", "paths are case sensitive", "/UP/accept", 404)
case("path.slash", "with and without a slash at the end", "/slash", 101, works=False)
case("path.escape", "a malformed escape", "/tell/%zz/b", 400)
case("path.426", "no upgrade asked for", "/up/accept", 426,
     [("Upgrade", None), ("Connection", None)])

# -- sub-protocols


def chosen(ident, offers, expected):
    def run():
        with Raw(app.port, "/sub", [("Sec-WebSocket-Protocol", o) for o in offers]) as c:
            if c.response.header("Sec-WebSocket-Protocol") != expected:
                raise Failed("%r" % c.response)
            c.expect(TEXT, str(expected or "nil").replace("None", "nil"))
    suite.add("sub." + ident, "the first of the client's list that the service has", run)


chosen("first", ["c, b"], "c")
chosen("second", ["a, b"], "b")
chosen("none", ["a, x"], None)
chosen("absent", [], None)
chosen("case", ["B"], None)

# -- origins: a service that is attached directly is for pages of the same host

ORIGINS = {"none": (None, 101), "same": (HERE + "://localhost", 101),
           "scheme": (OTHER + "://localhost", 403 if over.TLS else 101), "port": (HERE + "://localhost:81", 403),
           "H50": ("https://evil.example", 403), "H52.null": ("null", 403),
           "prefix": (HERE + "://localhost.evil.example", 403)}
for name, (origin, wanted) in ORIGINS.items():
    case("origin.direct." + name, "Origin: %s" % origin, "/direct", wanted,
         [("Origin", origin)] if origin else [])
for origin, wanted in {"https://example.com": 101, "https://example.com:443": 101,
                       "http://example.com": 403, "https://a.example.org": 101,
                       "https://example.org": 403, "https://a.b.example.org": 101,
                       "https://aexample.org": 403, "https://example.com.evil": 403}.items():
    case("origin.list." + origin, "allowedOrigins", "/origins", wanted, [("Origin", origin)])


@suite.case("origin.log", "a refusal is logged with what came and what to write")
def _():
    status("/direct", 403, [("Origin", "https://evil.example")])
    app.get().wait_log(r"evil\.example")


# -- how many connections

def full(port, most, wanted, **options):
    clients = [Raw(port, "/echo", **options) for _ in range(most)]
    for _ in range(3):
        with Raw(port, **options) as c:
            response = c.handshake("/echo")
            if response.status != wanted:
                raise Failed("one more than %d: %r" % (most, response))
            c.expect_eof()
    for c in clients:
        c.text("x")
        c.expect(TEXT, "x")
    clients.pop().close()

    def free():
        with Raw(port, **options) as c:
            return c.handshake("/echo").status == 101
    wait_until(free, what="room for one again")
    for c in clients:
        c.close()


@suite.case("many.listener", "maxConnections: 503, and room again after a close")
def _():
    full(app.get().ports[1], 3, 503)


@suite.case("many.address", "maxConnectionsPerAddress: 429, other addresses are not affected")
def _():
    port = app.get().ports[2]
    full(port, 2, 429)
    wait_until(lambda: fresh(port), what="all are gone")
    clients = wait_until(lambda: two(port), what="two again")
    with Raw(port, "/echo", source="127.0.0.2") as c:
        c.text("x")
        c.expect(TEXT, "x")
    for c in clients:
        c.close()


def two(port):
    """Two new connections, or None when there is no room for them."""
    clients = []
    try:
        for _ in range(2):
            clients.append(Raw(port, "/echo"))
        return clients
    except Failed:
        for c in clients:
            c.close()
        return None


def fresh(port):
    """Whether two connections can be opened."""
    clients = two(port) or []
    for c in clients:
        c.close()
    return bool(clients)


@suite.case("many.refused", "what was refused or never finished counts no longer")
def _():
    port = app.get().ports[2]
    wait_until(lambda: fresh(port), what="all are gone")
    for _ in range(5):
        with Raw(port) as c:
            c.send(b"GET /echo HTTP/1.1\r\n")
            app.barrier()
        status("/nothing", 404, port=port)
        wait_until(lambda: fresh(port), what="room again")


case("server.header", "the Server header", "/echo", 101, port=None,
     check=lambda r: has(("Server",))(r))


@suite.case("server.named", "the Server header as set, also on refusals")
def _():
    port = app.get().ports[3]
    status("/echo", 101, port=port, check=has(("Server", "Mine/1")))
    status("/nothing", 404, port=port, check=has(("Server", "Mine/1")))


app.add_finals(suite, r"expected|the upgrade function returned|error in upgrade: (nil|{})|origin"
                      r"|coroutine\.yield|onMesage|setResponseHeader")

if __name__ == "__main__":
    suite.main()
