#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Stopping in odd places: from an upgrade function, with less time than it takes, during the drain.

The ordinary cases are in callbacks/listeners_test.py and start_test.py.
"""
import os
import signal
import sys
import time

sys.path.insert(0, os.path.abspath(__file__ + "/../../../support"))
from neaptest import (  # noqa: E402
    TEXT, Failed, Raw, SECONDS, SLACK, Server, Suite, frame, no_sanitizer_report, request, wait_until)

suite = Suite("stop")

APP = """
local task = require "neap.task"
local websocket = require "neap.websocket"
local main = websocket.listener(0, { host = "127.0.0.1" })
local other = websocket.listener(0, { host = "127.0.0.1" })
local function echo(_, _, data) return data end
local gate = task.channel(1)

other:attach("/echo", { onMessage = echo, onClose = function(_, _, code) print("closed " .. code) end })
other:attach("/stop/:seconds", function(request)
  print "stopping"
  if request.query.wait then gate:receive() end
  other:gracefulStop(tonumber(request.params.seconds))
  print "stopped"
  return { onOpen = function() print "opened" end, onClose = function() print "closed" end }
end)
main:attach("/echo", { onMessage = echo })
main:attach("/stop", { onMessage = function(_, _, seconds)
  other:gracefulStop(tonumber(seconds))
  return "stopped"
end })
main:attach("/listens", { onClose = function()
  local late = pcall(function() print(websocket.listener(0, { host = "127.0.0.1" })) end)
  local _, err = pcall(websocket.listener, 0)
  print(late and "it listens" or tostring(err))
end })
main:attach("/decides", function()
  print "deciding"
  gate:receive()
  print "decided"
  return { onOpen = function() print "opened" end, onClose = function() print "closed" end }
end)
main:attach("/go", { onMessage = function() gate:send(true) return "went" end })
"""


def server(**options):
    return Server(lua=APP, args=(), **options)


def printed(s, *lines):
    wait_until(lambda: s.stdout().split("\n") == list(lines), what="%r, have %r" % (lines, s.stdout()))


@suite.case("upgrade.waits-for-itself", "gracefulStop in an upgrade function: its client gets 503, the others 1001")
def _():
    with server() as s:
        main, other = s.ports
        began = time.monotonic()
        with Raw(other, "/echo") as session, Raw(other) as asks:
            asks.send(request("/stop/30"))
            session.expect_close(1001, "server shutting down", reply=True)
            if asks.recv_response().status != 503:
                raise Failed("%r" % asks.response)
            asks.expect_eof()
        printed(s, "stopping", "closed 1001", "stopped")
        if time.monotonic() - began > 5 * SLACK:
            raise Failed("it waited for itself")
        with Raw(main, "/echo"):
            pass


@suite.case("upgrade.waits-with-another", "two upgrade functions that stop the same listener")
def _():
    with server() as s:
        with Raw(s.ports[1]) as first, Raw(s.ports[1]) as second:
            for n, c in enumerate((first, second)):
                c.send(request("/stop/30?wait"))
                wait_until(lambda: s.stdout().count("stopping") > n, what="it is asked")
            with Raw(s.ports[0], "/go") as go:
                go.text("x")
                go.text("x")
                go.expect(TEXT, "went")
            for c in (first, second):
                if c.recv_response().status != 503:
                    raise Failed("%r" % c.response)
        printed(s, "stopping", "stopping", "stopped", "stopped")


@suite.case("limit.told", "past the limit everybody gets 1001 nevertheless, then is cut off")
def _():
    with server() as s:
        crowd = [Raw(s.ports[1], "/echo") for _ in range(200)]      # more than are told in one step
        with Raw(s.ports[0], "/stop") as c:
            c.text("0")
            for one in crowd:
                one.expect_close(1001, "server shutting down")
                one.close()
            c.expect(TEXT, "stopped")


@suite.case("drain.listens", "a listener that is made while the server drains is refused")
def _():
    for target in ("worker", "master"):
        s = server()
        with Raw(s.ports[0], "/listens") as c:
            os.kill(s.workers()[0] if target == "worker" else s.pid, signal.SIGTERM)
            c.expect_close(1001, reply=True)
        wait_until(lambda: "the server is stopping" in s.stdout(), what="the refusal; have %r" % s.stdout())
        if "it listens" in s.stdout():
            raise Failed(s.stdout())
        if s.stop() != 0:
            raise Failed("ended with %d" % s.status)
        no_sanitizer_report(s.log())


def vanish(c):
    """In a way that the server can see only by reading."""
    c.close()


@suite.case("upgrade.gone", "a client that goes while its upgrade function waits never opens")
def _():
    with server() as s:
        before = s.fds()
        for n, leave in enumerate((Raw.reset, vanish, Raw.shutdown)):
            c = Raw(s.ports[0])
            c.send(request("/decides"))
            wait_until(lambda: s.stdout().count("deciding") > n, what="it decides")
            leave(c)
            wait_until(lambda: s.fds() <= before, what="its end is noticed at once")
            with Raw(s.ports[0], "/go") as go:
                go.text("x")
                go.expect(TEXT, "went")
            wait_until(lambda: s.stdout().count("decided") > n, what="it has decided")
            c.close()
        with Raw(s.ports[0], "/echo") as last:
            last.text("x")
            last.expect(TEXT, "x")
        if "opened" in s.stdout() or "closed" in s.stdout():
            raise Failed(s.stdout())


@suite.case("upgrade.talks", "what a client says while its upgrade function waits is kept; a flood is left unread")
def _():
    with server() as s:
        for count in (1, 100, 20000):
            with Raw(s.ports[0]) as c, Raw(s.ports[0], "/go") as go:
                c.send(request("/decides"))
                words = frame(TEXT, "early") * count
                c.sock.setblocking(False)
                sent = 0
                try:
                    while sent < len(words):
                        sent += c.sock.send(words[sent:])
                except BlockingIOError:
                    pass
                go.text("x")
                go.expect(TEXT, "went", SECONDS)
                if c.recv_response().status != 101:
                    raise Failed("%r" % c.response)


if __name__ == "__main__":
    suite.main()
