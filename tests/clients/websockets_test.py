#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Python's `websockets` (Debian's python3-websockets) against the server; the app is app.lua.

With NEAP_OVER="tls deflate" over TLS; it offers compression in any case.

It checks what the server sends more strictly than most clients: a wrong frame, accept value or
extension fails the connection here.
"""
import asyncio
import json
import os
import re
import sys
import threading

import websockets
from websockets.exceptions import (
    ConnectionClosed, InvalidStatusCode, NegotiationError)

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "support"))
from neaptest import SECONDS, SLACK, Failed, Server, Suite, need, no_sanitizer_report, over  # noqa: E402

suite = Suite("websockets")
DEADLINE = 20 * max(1.0, SLACK / 2)
EXPECTED = re.compile(r"expected by the clients suite")


class Shared:
    """The server of the whole run."""
    server = None
    lock = threading.Lock()


def server():
    with Shared.lock:
        if Shared.server is None:
            files = over.shared().files if over.TLS else ()
            Shared.server = Server(os.path.join(HERE, "app.lua"), args=["0", *files], options=["--drain", "2"])
    return Shared.server


def connect(path, **options):
    """A client that neither pings by itself nor has limits of its own."""
    options = dict({"ping_interval": None, "max_size": None, "open_timeout": DEADLINE,
                    "close_timeout": DEADLINE, "ssl": over.context()}, **options)
    return websockets.connect(server().url(path, "wss" if over.TLS else "ws"), **options)


def case(ident, what):
    """A case that is a coroutine, with a deadline for the whole of it."""
    def take(fn):
        suite.add(ident, what, lambda: asyncio.run(asyncio.wait_for(fn(), DEADLINE * 2)))
        return fn
    return take


async def echoes(client, message):
    need(bool(client.secure) == over.TLS, "TLS: %s" % client.secure)
    need(client.extensions, "no compression was agreed upon")
    over.Run.secured += bool(client.secure)
    over.Run.packed += 1
    await client.send(message)
    got = await client.recv()
    need(got == message, "sent %d, got another %s of %d" % (
        len(message), type(got).__name__, len(got)))


async def closed(client):
    """The close frame that ended the connection, as (code, reason); None when none came."""
    try:
        while True:
            await client.recv()
    except ConnectionClosed as err:
        return (err.rcvd.code, err.rcvd.reason) if err.rcvd else None


async def told(ident):
    """What the app was told of the end of /watched/ID."""
    async with connect("/seen") as asker:
        answer = "open"
        while answer == "open":
            await asker.send(ident)
            answer = await asker.recv()
    return answer


async def refusal(path, **options):
    """(status, headers) of a handshake that must be refused."""
    try:
        async with connect(path, **options):
            raise Failed("%s was not refused" % path)
    except InvalidStatusCode as err:
        return err.status_code, err.headers


# --- Messages -------------------------------------------------------------------------------------

@case("echo.sizes", "text and binary around each form of the length")
async def _():
    async with connect("/echo") as client:
        for size in (0, 1, 125, 126, 127, 65535, 65536, 65537, 300000):
            await echoes(client, os.urandom(size))
            await echoes(client, "é" * (size // 2) + "x" * (size % 2))


@case("echo.unicode", "text of every length of character, and NUL")
async def _():
    async with connect("/echo") as client:
        for text in ("a\0b", "ß", "日本", "\U0001F4A9", "\U0010FFFF", "\uFFFE", "e\u0301"):
            await echoes(client, text)


@case("echo.big", "16 MiB, binary and text")
async def _():
    async with connect("/echo") as client:
        await echoes(client, os.urandom(1 << 20) * 16)
        await echoes(client, "0123456789abcdef" * (1 << 20))


@case("echo.fragments", "messages in many frames, empty ones too")
async def _():
    async with connect("/echo") as client:
        for parts in (["a", "b", "c"], [b"1", b"", b"2", b""], ["", "x"], ["😀"] * 500):
            await client.send(parts)
            got = await client.recv()
            need(got == type(parts[0])().join(parts), "got %r" % got[:100])


@case("echo.pipelined", "many messages before the first is read, in order")
async def _():
    async with connect("/echo", max_queue=None) as client:
        sent = ["%d %s" % (i, "x" * (i % 300)) for i in range(2000)]
        for text in sent:
            await client.send(text)
        need([await client.recv() for _ in sent] == sent, "lost, or out of order")


@case("burst", "more than any buffer holds, read slowly")
async def _():
    async with connect("/burst", max_queue=1, read_limit=1024) as client:
        await client.send("200 60000")
        async with connect("/echo") as other:
            await echoes(other, "still served")
        for i in range(1, 201):
            got = await client.recv()
            need(got == b"%d " % i + b"x" * 60000, "message %d is another" % i)
        need(await client.recv() == "done", "the end")


@case("json", "a table is sent as JSON")
async def _():
    async with connect("/json") as client:
        await client.send("hé")
        need(json.loads(await client.recv()) == {"got": "hé", "list": [1, 2, 3]}, "other JSON")


# --- Control frames -------------------------------------------------------------------------------

@case("ping.client", "the client's pings are answered, in any order of waiting")
async def _():
    async with connect("/echo") as client:
        for data in (b"", b"x", b"y" * 125):
            await asyncio.wait_for(await client.ping(data), DEADLINE)
        await echoes(client, "and messages, too")


@case("ping.in-handler", "a ping is answered while a handler waits")
async def _():
    async with connect("/slow") as client:
        await client.send("late")
        receiving = asyncio.ensure_future(client.recv())
        await asyncio.wait_for(await client.ping(b"now"), DEADLINE)
        need(not receiving.done(), "the pong waited for the handler")
        need(await receiving == "late", "the handler's answer")


@case("ping.server", "the server's ping is answered, and the app sees the pong")
async def _():
    async with connect("/ping") as client:
        await client.send("marco")
        need(await client.recv() == "pong marco", "another answer")


@case("ping.keepalive", "the client's own keep-alive and the server's heartbeat, together")
async def _():
    async with connect("/beat", ping_interval=0.05, ping_timeout=DEADLINE) as client:
        for i in range(3):
            await asyncio.wait_for(await client.ping(), DEADLINE)
            await echoes(client, "beat %d" % i)


# --- Closing --------------------------------------------------------------------------------------

@case("close.client", "codes and reasons of the client reach the app, codes come back")
async def _():
    for code, reason in ((1000, ""), (1000, "done"), (1001, "bye"), (3000, "r" * 123),
                         (4999, "ü" * 61)):
        ident = "p%d-%d" % (code, len(reason))
        client = await connect("/watched/" + ident)
        await client.close(code, reason)
        need(client.close_code == code, "code %r" % client.close_code)
        need(await told(ident) == ("%d %s" % (code, reason)), "the app was told otherwise")


@case("close.server", "codes and reasons of the server reach the client")
async def _():
    for code, reason in ((1000, "because"), (1001, ""), (1011, "ü" * 61), (3999, "x" * 123),
                         (4000, "mine")):
        async with connect("/close") as client:
            await client.send("%d %s" % (code, reason))
            got = await closed(client)
            need(got == (code, reason), "got %r" % (got,))


@case("close.abrupt", "a connection that is torn is 1006 to the app")
async def _():
    client = await connect("/watched/torn")
    await echoes(client, "here")
    client.transport.abort()
    need((await told("torn")).startswith("1006"), "the app was told otherwise")


@case("close.errors", "1011 from a handler that raises, 1009, 1008, and 1001 when idle")
async def _():
    for path, messages, code in (("/raise", ["x"], 1011), ("/limited", ["x" * 1001], 1009),
                                 ("/limited", [["x"] * 6], 1008), ("/idle", [], 1001)):
        client = await connect(path)
        for message in messages:
            try:
                await client.send(message)
            except ConnectionClosed:
                pass
        got = await closed(client)
        need(got and got[0] == code, "%s: got %r" % (path, got))
        need("expected" not in got[1] and ".lua" not in got[1], "tells %r" % got[1])


# --- Handshakes -----------------------------------------------------------------------------------

@case("sub-protocol", "the first of the client's that the service has; none in common: none")
async def _():
    for offered, chosen in ((["chat.v1", "chat.v2"], "chat.v1"), (["x", "chat.v2"], "chat.v2"),
                            (["unknown"], None), (None, None)):
        try:
            async with connect("/sub", subprotocols=offered) as client:
                need(client.subprotocol == chosen, "negotiated %r" % client.subprotocol)
                need(await client.recv() == (chosen or "none"), "the app thinks otherwise")
        except NegotiationError as err:
            raise Failed("sub-protocols %r: %s" % (offered, err)) from err


@case("request", "path, query, cookie and header arrive; the app's header comes back")
async def _():
    headers = {"Cookie": 'session="a b"; x=1', "User-Agent": "suite"}
    async with connect("/room/a%2Fb?key=x+y%21", extra_headers=headers,
                       user_agent_header=None) as client:
        got = json.loads(await client.recv())
        need(got["room"] == "a/b" and got["agent"] == "suite", repr(got))
        need(got["key"] in ("x y!", "x+y!"), repr(got))
        need(got["cookie"] in ("a b", '"a b"'), repr(got))
        need(client.response_headers["X-Room"] == "a/b", repr(client.response_headers))
        need(client.response_headers["Server"] == "clients-suite", "Server header")


@case("refused.app", "401, 403, 404, 503 with the app's headers")
async def _():
    status, headers = await refusal("/refuse/unauthorized")
    need((status, headers["WWW-Authenticate"]) == (401, 'Basic realm="clients"'), repr(headers))
    status, headers = await refusal("/refuse/forbidden")
    need((status, headers["X-Why"]) == (403, "because"), repr(headers))
    need(headers["Content-Type"] == "application/json", repr(headers))
    need((await refusal("/refuse/gone"))[0] == 404, "404")
    status, headers = await refusal("/refuse/busy")
    need((status, headers["Retry-After"]) == (503, "7"), repr(headers))


@case("refused.server", "no such path 404, another origin 403, nil 400, an error 500")
async def _():
    need((await refusal("/nowhere"))[0] == 404, "404")
    need((await refusal("/echo", origin="https://evil.example"))[0] == 403, "403")
    need((await refusal("/refuse/nil"))[0] == 400, "400")
    need((await refusal("/refuse/raise"))[0] == 500, "500")
    async with connect("/echo", origin="%s://127.0.0.1:%d" % (
            "https" if over.TLS else "http", server().port)) as client:
        await echoes(client, "the same origin is let in")


# --- Many -----------------------------------------------------------------------------------------

@case("many", "200 connections, each with its own conversation, half of them torn")
async def _():
    clients = await asyncio.gather(*[connect("/echo") for _ in range(200)])

    async def talk(i, client):
        for n in range(3):
            await echoes(client, "%d says %d" % (i, n))
        if i % 2:
            client.transport.abort()
        else:
            await client.close()
            need(client.close_code == 1000, "code %r" % client.close_code)
    await asyncio.gather(*[talk(i, client) for i, client in enumerate(clients)])


@case("stop", "SIGTERM: every client is told 1001")
async def _():
    s = server()
    clients = await asyncio.gather(*[connect("/echo") for _ in range(30)])
    s.signal(15)
    for client in clients:
        got = await closed(client)
        need(got == (1001, "server shutting down"), "got %r" % (got,))
    status = await asyncio.to_thread(s.wait_exit, SECONDS * 3)
    need(status == 0, "status %d\n%s" % (status, s.log()[-3000:]))
    Shared.server = None
    no_sanitizer_report(s.log())
    errors = [r for r in s.records("error") if not EXPECTED.search(r.message)]
    need(not errors, "unexpected in the log: %r" % errors)


if __name__ == "__main__":
    suite.main()
