#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""curl against the server: what somebody sees who asks with the wrong tool or in the wrong way.

Each answer is judged whole: status, headers that belong to it, a body of the length it claims.
"""
import os
import re
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "support"))
from neaptest import Response, SECONDS, Server, Suite, accept_value, need, over  # noqa: E402

suite = Suite("curl")
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
UPGRADE = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13",
           "Sec-WebSocket-Key": KEY}


class Shared:
    """The server of the whole run."""
    server = None


def server():
    if Shared.server is None:
        Shared.server = Server(os.path.join(HERE, "app.lua"), args=["0", *(over.shared().files if over.TLS else ())])
    return Shared.server


def curl(path, *options, headers=(), upgrade=False):
    """Asks, and returns the Response; fails when curl finds fault with it.

    A header with the value None is left out, though curl would send it.
    """
    lines = dict(UPGRADE if upgrade else {}, **dict(headers))
    words = ["curl", "-sS", "-i", "--http1.1", "--path-as-is", "-g", "--noproxy", "*",
             "--max-time", str(SECONDS * 2), *options]
    for name, value in lines.items():
        words += ["-H", name + ":" if value is None else "%s: %s" % (name, value)]
    if over.TLS:
        words += ["--cacert", over.shared().authority.cert]
        over.Run.secured += 1
    url = server().url(path, "https" if over.TLS else "http")
    done = subprocess.run(words + [url], capture_output=True)
    need(done.returncode == 0, "curl %d: %s %r" % (
        done.returncode, done.stderr.decode(), done.stdout[:300]))
    head, _, body = done.stdout.partition(b"\r\n\r\n")
    return Response(head, body)


def refused(status, response, phrase=None):
    """Checks what every refusal must have; returns the response."""
    need(response.status == status, "expected %d, got %r" % (status, response))
    need(phrase is None or response.reason == phrase, "reason %r" % response.reason)
    need(response.header("Connection") == ("close, upgrade" if status == 426 else "close"),
         "Connection: %r" % response)
    need(response.header("Server") == "clients-suite", "Server: %r" % response)
    need(re.match(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT$", response.header("Date") or ""),
         "Date: %r" % response)
    need(response.header("Content-Length") == str(len(response.body)), "length: %r" % response)
    need(len(response.body) > 1 and response.header("Content-Type"), "body: %r" % response)
    need(response.header("Sec-WebSocket-Accept") is None, "accepted: %r" % response)
    return response


@suite.case("no-upgrade", "a plain GET of a WebSocket path: 426, and what to upgrade to")
def _():
    for path in ("/echo", "/echo/", "/room/blue?key=1"):
        response = refused(426, curl(path), "Upgrade Required")
        need(response.header("Upgrade") == "websocket", repr(response))
        need(b"WebSocket" in response.body, repr(response))


@suite.case("version", "another version: 426 with the one that there is")
def _():
    for version in ("8", "0", "14", "13, 8"):
        response = refused(426, curl("/echo", upgrade=True,
                                     headers={"Sec-WebSocket-Version": version}))
        need(response.header("Sec-WebSocket-Version") == "13", repr(response))


@suite.case("not-found", "404, with an upgrade request or without")
def _():
    for path in ("/", "/nowhere", "/echo/deeper", "/room", "/Echo"):
        for upgrade in (False, True):
            refused(404, curl(path, upgrade=upgrade), "Not Found")


@suite.case("traversal", "nothing but 400 and 404 for what looks for files")
def _():
    for path in ("/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/..%2f..%2fetc/passwd",
                 "/%252e%252e/", "/a/..;/", "/..\\..\\"):
        response = curl(path)
        need(response.status in (400, 404), "%s: %r" % (path, response))
        refused(response.status, response)


@suite.case("method", "another method: 405 with Allow")
def _():
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH"):
        response = refused(405, curl("/echo", "-X", method, upgrade=True), "Method Not Allowed")
        need(response.header("Allow") == "GET", repr(response))


@suite.case("head", "the answer to HEAD describes its body and does not send it (RFC 9110 §9.3.2)")
def _():
    # Asked for as any other method, so that curl shows what comes: it must end short of its length.
    for path, status in (("/echo", 405), ("/nowhere", 404)):
        response = curl(path, "-X", "HEAD", "--ignore-content-length")
        need(response.status == status and response.body == b"", repr(response))
        need(int(response.header("Content-Length")) > 1, repr(response))


@suite.case("post", "a POST with a body, of known length and chunked")
def _():
    for options in (["-d", "x=1"], ["-d", "x=1", "-H", "Transfer-Encoding: chunked"]):
        refused(405, curl("/echo", *options))


@suite.case("body", "an upgrade with a body: 400")
def _():
    refused(400, curl("/echo", "-X", "GET", "-d", "GET /smuggled HTTP/1.1", upgrade=True))


@suite.case("malformed", "400: key, connection, origin, host, escapes")
def _():
    for headers in ({"Sec-WebSocket-Key": "short"}, {"Sec-WebSocket-Key": None},
                    {"Connection": "keep-alive"}, {"Host": None}):
        refused(400, curl("/echo", upgrade=True, headers=headers), "Bad Request")
    for path in ("/room/%zz", "/room/%", "/room/%00", "/room/a%0d%0aX:b"):
        refused(400, curl(path, upgrade=True), "Bad Request")


@suite.case("http-1.0", "HTTP/1.0 cannot upgrade: 400")
def _():
    refused(400, curl("/echo", "--http1.0", upgrade=True))


@suite.case("long-target", "a target of more than 4096 bytes: 414")
def _():
    need(curl("/echo?" + "x" * 4000).status == 426, "one that fits")
    refused(414, curl("/echo?" + "x" * 5000), "URI Too Long")
    refused(414, curl("/" + "x" * 65000))


@suite.case("large-header", "headers of more than 8192 bytes, or more than 100 lines: 431")
def _():
    phrase = "Request Header Fields Too Large"
    need(curl("/echo", headers={"X-Large": "y" * 7000}).status == 426, "one that fits")
    refused(431, curl("/echo", headers={"X-Large": "y" * 9000}), phrase)
    refused(431, curl("/echo", headers={"X-%d" % i: "y" for i in range(101)}), phrase)


@suite.case("origin", "a page of another origin: 403; of the same: accepted")
def _():
    for origin in ("https://evil.example", "null", "http://127.0.0.1:1"):
        refused(403, curl("/echo", upgrade=True, headers={"Origin": origin}), "Forbidden")
    response = curl("/goodbye", upgrade=True,
                    headers={"Origin": "%s://127.0.0.1:%d" % ("https" if over.TLS else "http", server().port)})
    need(response.status == 101, repr(response))


@suite.case("app.unauthorized", "the app's 401: header, and the reason as the body")
def _():
    response = refused(401, curl("/refuse/unauthorized", upgrade=True), "Unauthorized")
    need(response.header("WWW-Authenticate") == 'Basic realm="clients"', repr(response))
    need(response.body.strip() == b"who are you?", repr(response))
    need(response.header("Content-Type").startswith("text/plain"), repr(response))


@suite.case("app.forbidden", "the app's 403: its own body, byte for byte, and headers")
def _():
    response = refused(403, curl("/refuse/forbidden", upgrade=True), "Forbidden")
    need(response.body == b'{"error":"not you"}', repr(response))
    need(response.header("Content-Type") == "application/json", repr(response))
    need(response.header("X-Why") == "because", repr(response))


@suite.case("app.others", "the app's 404 and 503, nil, and an error that tells nothing")
def _():
    response = refused(404, curl("/refuse/gone", upgrade=True))
    need(response.body.strip() == b"no such room", repr(response))
    response = refused(503, curl("/refuse/busy", upgrade=True), "Service Unavailable")
    need(response.header("Retry-After") == "7", repr(response))
    refused(400, curl("/refuse/nil", upgrade=True))
    response = refused(500, curl("/refuse/raise", upgrade=True), "Internal Server Error")
    need(b"expected" not in response.body and b".lua" not in response.body, repr(response))


@suite.case("accepted", "101: the accept value, and a close frame behind it")
def _():
    response = curl("/goodbye", "-N", upgrade=True)
    need(response.status == 101, repr(response))
    need(response.header("Sec-WebSocket-Accept") == accept_value(KEY), repr(response))
    need(response.header("Upgrade").lower() == "websocket", repr(response))
    need(response.header("Connection").lower() == "upgrade", repr(response))
    need(response.body == b"\x88\x05\x03\xe8bye", "frames: %r" % response.body)


@suite.case("tls", "https to a port without TLS: refused, and the server goes on")
def _():
    done = subprocess.run(["curl", "-sSk", "--noproxy", "*", "--max-time", str(SECONDS * 2),
                           server().url("/echo", "https")], capture_output=True, text=True)
    need(done.returncode == 35, "curl %d: %s" % (done.returncode, done.stderr))
    refused(426, curl("/echo"))


suite.not_over("tls", {
    "http-1.0": "curl offers http/1.0 alone by ALPN then, which is refused before any HTTP",
    "tls": "it is about a port without TLS; the reverse is in e2e/tls/hostile_test.py",
})


@suite.final("end", "the server ends in order, and nothing unexpected is in its log")
def _():
    s = server()
    need(s.stop() == 0, "status %r" % s.status)
    errors = [r for r in s.records("error") if "expected by the clients suite" not in r.message]
    need(not errors, "unexpected in the log: %r" % errors)


if __name__ == "__main__":
    suite.main()
