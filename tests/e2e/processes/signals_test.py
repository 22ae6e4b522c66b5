#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Signals to the master and to workers, from real senders; and what the programs that an app starts inherit.

None of the signals that mean something ends a process by its default action. A second request to stop counts when its
sender is the first's, or half a second later.
"""
import fcntl
import os
import pty
import re
import signal
import subprocess
import sys
import tempfile
import termios
import time

sys.path.insert(0, os.path.abspath(__file__ + "/../../../support"))
from neaptest import APPS, SECONDS, TEXT, Failed, Raw, Server, Suite, need, run_neap, wait_until  # noqa: E402

suite = Suite("signals")
ECHO = os.path.join(APPS, "echo")
STOPS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
OTHERS = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
# Two that are sent so close to each other count as close; after a longer time a test cannot tell, and tries again.
CLOSE = 0.3

SLOW = """
local websocket = require "neap.websocket"
local task = require "neap.task"
websocket.listener(arg[1]):attach("/slow", { onMessage = function(_, caller, data)
  caller:writeMessage("begun") task.sleep(tonumber(data)) return "done" end })
"""

SHELL = """
local function started(command)
  local pipe = io.popen(command)
  local text = pipe:read "*a"
  pipe:close()
  return text
end
local function executed(command)
  local path = os.tmpname()
  os.execute("{ " .. command .. "; } >" .. path)
  local file = io.open(path)
  local text = file:read "*a"
  file:close()
  os.remove(path)
  return text
end
"""
RUNS = SHELL + """
local websocket = require "neap.websocket"
local shared = require("neap.shared").dict "numbers"
local listener = websocket.listener(arg[1])
listener:attach("/popen", { onMessage = function(_, _, command) shared:set("n", 1) return started(command) end })
listener:attach("/execute", { onMessage = function(_, _, command) return executed(command) end })
"""


def echoes(client):
    client.text("still here")
    client.expect(TEXT, "still here")
    return True


class Sender:
    """Another process that sends one signal when told to, so that the server sees another sender."""

    def __init__(self, pid, number):
        self.proc = subprocess.Popen(
            ["/bin/sh", "-c", "read -r _; kill -%d %d" % (number, pid)], stdin=subprocess.PIPE)

    def send(self):
        self.proc.communicate(b"\n", SECONDS)


def slow_server(**options):
    """A server that a request to stop ends with 0, but only once its one handler has, a while later."""
    s = Server(lua=SLOW, options=["--workers", "2", "--drain", "60"], **options)
    client = Raw(s.port, "/slow")
    client.text("0.5")
    client.expect(TEXT, "begun")
    return s, client


def one_request(what, first, second, **options):
    """`first(server)` and `second(server)` close to each other are one request."""
    for _ in range(5):
        s, client = slow_server(**options)
        begin = time.monotonic()
        first(s)
        second(s)
        close = time.monotonic() - begin < CLOSE
        client.expect_close(1001, reply=True, eof=False)
        status = s.wait_exit()
        client.close()
        if close:
            need(status == 0 and "second signal" not in s.log(), "%s: %d\n%s" % (what, status, s.log()))
            return
    raise Failed("%s: never close enough to each other" % what)


def two_requests(what, first, second, level="info", **options):
    """`second(server)` ends at once what `first(server)` has asked to stop."""
    s = Server(lua=SLOW, options=["--workers", "2", "--drain", "60", "--log-level", level], **options)
    client = Raw(s.port, "/slow")
    client.text("60")
    client.expect(TEXT, "begun")
    first(s)
    s.wait_log("stopping")
    second(s)
    status = s.wait_exit(SECONDS)
    need(status == 1 and "second signal" in s.log(), "%s: status %d\n%s" % (what, status, s.log()))
    client.close()


# --- None ends by its default action --------------------------------------------------------------

@suite.case("stop.each", "SIGTERM, SIGINT and SIGQUIT stop in order")
def _():
    for number in STOPS:
        with Server(ECHO, options=["--workers", "2"]) as s:
            client = Raw(s.port, "/echo")
            s.signal(number)
            client.expect_close(1001, "server shutting down", reply=True)
            need(s.wait_exit() == 0, "%s: status %d" % (number.name, s.status))


@suite.case("master.others", "SIGHUP, SIGUSR1, SIGUSR2 to the master end nothing, before and while it stops")
def _():
    s = Server(lua=SLOW, options=["--workers", "2", "--drain", "60", "--log-level", "debug"])
    pids = s.workers()
    client = Raw(s.port, "/slow")
    client.text("1")
    client.expect(TEXT, "begun")
    for number in OTHERS:
        s.signal(number)
        s.wait_log("(info|debug) +%s[: ]" % number.name)
    need(s.workers() == pids, "the workers changed")
    s.signal(signal.SIGTERM)
    s.wait_log("stopping")
    for number in OTHERS:
        s.signal(number)
    client.expect_close(1001, reply=True, eof=False)
    client.close()
    need(s.wait_exit() == 0, "status %d" % s.status)


@suite.case("worker.others", "none but SIGTERM does anything to a worker")
def _():
    with Server(ECHO, options=["--workers", "2"]) as s:
        pids = s.workers()
        with Raw(s.port, "/echo") as client:
            for number in (signal.SIGINT, signal.SIGQUIT) + OTHERS:
                for pid in pids:
                    os.kill(pid, number)
                need(echoes(client), "no echo after %s" % number.name)
            # A worker hears what the master says only after what came before: they have had their signals.
            s.signal(signal.SIGHUP)
            s.wait_log("SIGHUP: certificates are read again")
            need(echoes(client) and s.workers() == pids and "died" not in s.log(), s.log())


@suite.case("worker.starting", "a worker that loads its app is not ended either, but by SIGTERM in order")
def _():
    lua = 'local f = io.open(%r, "w") f:write(io.open("/proc/self/stat"):read "*n") f:close()\n' \
          'while not io.open(%r) do end\n' + SLOW
    with tempfile.TemporaryDirectory() as folder:
        said, go = os.path.join(folder, "said"), os.path.join(folder, "go")
        with Server(lua=lua % (said, go), wait=False, options=["--handler-timeout", "0"]) as s:
            wait_until(lambda: os.path.exists(said) and os.path.getsize(said), what="the app is loading")
            pid = int(open(said).read())
            for number in (signal.SIGINT, signal.SIGQUIT) + OTHERS:
                os.kill(pid, number)
            open(go, "w").close()
            s.wait_ready()
            need(s.workers() == [pid] and "died" not in s.log(), s.log())


@suite.case("inherited", "what was ignored or blocked when the program started is heard all the same")
def _():
    def deaf():
        for number in STOPS + OTHERS + (signal.SIGCHLD, signal.SIGALRM):
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, STOPS + OTHERS + (signal.SIGCHLD, signal.SIGALRM))
    with Server(ECHO, options=["--workers", "2"], preexec=deaf) as s:
        victim = s.workers()[0]
        os.kill(victim, signal.SIGKILL)
        s.wait_log("worker ready worker=")
        os.kill(s.workers()[0], signal.SIGTERM)
        s.wait_log("worker ended worker=")


# --- One request or two ---------------------------------------------------------------------------

@suite.case("twice.same", "the same sender's next signal is a second request, however soon")
def _():
    for first in STOPS:
        for second in STOPS:
            two_requests("%s, %s" % (first.name, second.name),
                         lambda s, n=first: s.signal(n), lambda s, n=second: s.signal(n))


@suite.case("twice.others", "signals of two senders within half a second are one request")
def _():
    for number in STOPS:
        senders = []

        def second(s):
            s.wait_log("stopping")
            senders[-1].send()

        def first(s, number=number):
            senders.append(Sender(s.pid, number))
            s.signal(signal.SIGTERM)
        one_request(number.name, first, second)


@suite.case("twice.three", "a sender that comes again is heard, also when another has come between")
def _():
    def second(s):
        Sender(s.pid, signal.SIGTERM).send()
        s.wait_log("the same request|second signal")    # the latter where the machine was busy for half a second
        s.signal(signal.SIGTERM)
    two_requests("ours, another's, ours", lambda s: s.signal(signal.SIGTERM), second, level="debug")


@suite.case("twice.later", "another sender's signal half a second later is a second request")
def _():
    def second(s):
        def insist():
            Sender(s.pid, signal.SIGTERM).send()
            return "second signal" in s.log()
        wait_until(insist, SECONDS, "a second request is heard")
    two_requests("another's", lambda s: s.signal(signal.SIGTERM), second)


@suite.case("twice.merged", "what is pending when the same comes again is one, as timeout(1) sends it")
def _():
    def stopped(s):
        s.signal(signal.SIGSTOP)
        s.signal(signal.SIGTERM)
    one_request("to a process that stands still", stopped,
                lambda s: (s.signal(signal.SIGTERM), s.signal(signal.SIGCONT)))


@suite.case("twice.timeout", "timeout(1), which signals its child and then the group, stops in order")
def _():
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "app.lua")
        with open(path, "w") as f:
            f.write(SLOW)
        for _ in range(4):
            done = subprocess.run(["timeout", "0.6", os.environ.get("NEAP") or "build/neap", "run", path, "--", "0"],
                                  capture_output=True, text=True)
            need("second signal" not in done.stderr, done.stderr)


class Terminal:
    """A terminal whose foreground is the server."""

    def __init__(self):
        self.keys, self.line = pty.openpty()

    def take(self):     # in the server's process
        fcntl.ioctl(self.line, termios.TIOCSCTTY, 0)

    def press(self, key):
        os.write(self.keys, key)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.close(self.keys)
        os.close(self.line)


@suite.case("terminal", "Ctrl-C and Ctrl-\\ stop; a parent that passes them on is heard as one with the terminal")
def _():
    for key in (b"\x03", b"\x1c"):
        with Terminal() as terminal:
            one_request("the terminal, then its parent",
                        lambda s, k=key, t=terminal: t.press(k) or s.wait_log("stopping"),
                        lambda s: s.signal(signal.SIGINT), preexec=terminal.take)
        with Terminal() as terminal:
            one_request("the parent, then the terminal",
                        lambda s: s.signal(signal.SIGTERM) or s.wait_log("stopping"),
                        lambda s, k=key, t=terminal: t.press(k), preexec=terminal.take)
        with Terminal() as terminal:
            two_requests("the terminal twice", lambda s, k=key, t=terminal: t.press(k),
                         lambda s, k=key, t=terminal: t.press(k), preexec=terminal.take)


# --- What the programs inherit that an app starts --------------------------------------------------

ENDLESS = "while :; do echo y; done | head -1"
STATUS = "grep '^Sig[IB]' /proc/self/status"
FOLDER = "ls /proc/self/fd"     # itself has the folder open as 3


def ask(server, path, command):
    with Raw(server.port, path) as client:
        client.text(command)
        return client.recv_message()[1].decode()


def masks(text):
    """What such lines of /proc/PID/status say, but for signals 32 and 33, which popen(3) of glibc has ignored."""
    return [(name, int(mask, 16) & ~(3 << 31)) for name, mask in re.findall(r"^(Sig\w+):\s*(\w+)$", text, re.M)]


# A test may be run by something that ignores a signal that is no business of ours; those that are, by nohup, or in the
# background of a shell.
for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
    signal.signal(number, signal.SIG_DFL)
USUAL = masks(subprocess.run(["sh", "-c", STATUS], capture_output=True, text=True).stdout)


def ignore_pipes():     # as systemd does it
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)


@suite.case("children.handler", "programs that a handler starts: no signal ignored or blocked, no descriptor of ours")
def _():
    for preexec in (None, ignore_pipes):
        for options in (["--workers", "2"], ["--handler-timeout", "0"],
                        ["--handler-timeout", "0", "--memory-limit", "0"]):
            with Server(lua=RUNS, options=options, preexec=preexec) as s:
                for path in ("/popen", "/execute"):
                    need(masks(ask(s, path, STATUS)) == USUAL, ask(s, path, STATUS))
                    need(ask(s, path, FOLDER) == "0\n1\n2\n3\n", ask(s, path, FOLDER))
                    need(ask(s, path, ENDLESS) == "y\n", "%s: it does not end" % path)


@suite.case("children.script", "the same at the top level of a script, in a task, a finalizer, and in neap check")
def _():
    lua = SHELL + """
local function all() for _, start in ipairs { started, executed } do
  io.write(start "%s", start "%s", start "%s") end end
all()
require("neap.task").spawn(function() require("neap.task").sleep(0.01) all() end)
last = newproxy(true)
getmetatable(last).__gc = all
""" % (ENDLESS, STATUS, FOLDER)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "app.lua")
        with open(path, "w") as f:
            f.write(lua)
        for command, times in (("run", 6), ("check", 2)):
            done = run_neap(command, path)
            count = done.stdout.count("y\n")
            need(count >= times, "%d answers" % count)
            need(masks(done.stdout) == USUAL * count, done.stdout)
            need(done.stdout.count("\n0\n1\n2\n3\n") == count, done.stdout)


if __name__ == "__main__":
    suite.main()
