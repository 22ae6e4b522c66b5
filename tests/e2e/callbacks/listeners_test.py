#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Routes and listeners that come and go at run time: attach and detach, gracefulStop, immediateStop.
"""
import os
import sys
import threading
import time

sys.path.insert(0, os.path.abspath(__file__ + "/../../../support"))
from neaptest import SECONDS, TEXT, Failed, Raw, Suite, wait_until  # noqa: E402
from neaptest.behaviour import App  # noqa: E402

suite = Suite("listeners")
app = App(r"""
recorded("echo", {}, { onMessage = echo })

local extras = {}
local function extra(seconds)
  local own = websocket.listener(0, { host = "127.0.0.1" })
  local handlers = {
    stop = function(id)
      own:gracefulStop(seconds)
      note(id, "stopped")
    end,
    abort = function(id)
      own:immediateStop()
      note(id, "aborted")
    end,
    wait = function(id)
      gate(id):receive()
      note(id, "went on")
    end,
  }
  own:attach("/id/:id", function(request)
    local id = request.params.id
    return {
      onOpen = function() note(id, "open") end,
      onMessage = function(_, _, what)
        handlers[what](id)
        return what
      end,
      onClose = function(_, _, code) note(id, "close " .. code) end,
    }
  end)
  own:start()
  extras[own.port] = own
  return own.port
end
local orders = {
  attach = function(path) listener:attach(path, { onMessage = function() return path end }) end,
  detach = function(path) listener:detach(path) end,
  listen = extra,
  stop = function(port, seconds) extras[port]:gracefulStop(seconds) end,
  abort = function(port) extras[port]:immediateStop() end,
}
listener:attach("/admin", { onTextMessage = function(_, _, text)
  local what, first, second = text:match "^(%S+) (%S+) ?(%S*)$"
  local ok, result = pcall(orders[what], tonumber(first) or first, tonumber(second))
  return tostring(ok and (result or "done") or result)
end })
""")


def admin(text, seconds=None):
    with Raw(app.port, "/admin") as control:
        control.text(text)
        return control.recv_message(seconds)[1].decode()


def status(path, port=None):
    with Raw(port or app.port) as c:
        return c.handshake(path).status


@suite.case("routes.attach", "attach and detach while clients are connected")
def _():
    if status("/later") != 404:
        raise Failed("there already")
    admin("attach /later")
    with Raw(app.port, "/later") as c:
        c.text("x")
        c.expect(TEXT, "/later")
        if "already attached" not in admin("attach /later/"):
            raise Failed("attached twice")
        admin("detach /later")
        if status("/later") != 404:
            raise Failed("still there")
        c.text("x")
        c.expect(TEXT, "/later")
        if "not attached" not in admin("detach /later"):
            raise Failed("detached twice")
    admin("attach /later")
    with Raw(app.port, "/later") as c:
        c.text("x")
        c.expect(TEXT, "/later")
    admin("detach /later/")


def listen(seconds=5):
    return int(admin("listen %g" % seconds))


def second(port, ident):
    return Raw(port, "/id/" + ident)


def refused(port):
    try:
        with Raw(port):
            return False
    except ConnectionRefusedError:
        return True
    except OSError:         # it was in the queue: its handshake over TLS fails
        return False


@suite.case("stop.graceful", "gracefulStop: 1001, onClose, no new connections, others unharmed")
def _():
    port = listen()
    with second(port, "g1") as a, second(port, "g2") as b, app.open("echo") as other:
        thread = threading.Thread(target=admin, args=("stop %d 5" % port,))
        thread.start()
        a.expect_close(1001, "server shutting down", reply=True)
        b.expect_close(1001, "server shutting down", reply=True)
        thread.join(SECONDS * 2)
        if thread.is_alive():
            raise Failed("gracefulStop did not return")
        wait_until(lambda: refused(port), what="refuses connections")
        other.text("x")
        other.expect(TEXT, "x")
    app.told("g1", "open", "close 1001")
    app.told("g2", "open", "close 1001")
    if admin("stop %d 5" % port) != "done":
        raise Failed("a second stop is no error")


@suite.case("stop.limit", "gracefulStop: who does not answer is cut off", background=True)
def _():
    port = listen()
    with second(port, "l1") as a:
        admin("stop %d 0.3" % port)
        a.expect_close(1001)
    app.told("l1", "open", "close 1006")


@suite.case("stop.immediate", "immediateStop: no close frame, 1006")
def _():
    port = listen()
    with second(port, "i1") as a:
        admin("abort %d" % port)
        if a.recv_all():
            raise Failed("something was sent")
        wait_until(lambda: refused(port), what="refuses connections")
    app.told("i1", "open", "close 1006")


@suite.case("stop.self", "gracefulStop from a handler of a connection of that listener")
def _():
    port = listen(5)
    with second(port, "s1") as a, second(port, "s2") as b:
        began = time.monotonic()
        a.text("stop")
        a.expect_close(1001, reply=True)
        b.expect_close(1001, reply=True)
        app.told("s1", "open", "stopped", "close 1001")
        app.told("s2", "open", "close 1001")
        if time.monotonic() - began > 4:
            raise Failed("it waited for itself")


@suite.case("stop.self.limit", "... with a time limit that passes", background=True)
def _():
    port = listen(0.4)
    with second(port, "t1") as a, second(port, "t2") as b:
        b.text("wait")
        a.text("stop")
        a.expect_close(1001)
        b.expect_close(1001)
        app.told("t1", "open", "stopped", "close 1006")
        app.go("t2")
        app.told("t2", "open", "went on", "close 1006")


@suite.case("stop.self.immediate", "immediateStop from a handler of that listener")
def _():
    port = listen()
    with second(port, "u1") as a:
        a.text("abort")
        if a.recv_all():
            raise Failed("something was sent")
    app.told("u1", "open", "aborted", "close 1006")


app.add_finals(suite, r"expected")

if __name__ == "__main__":
    suite.main()
