#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""A worker that is replaced, for memory or by SIGTERM, serves until its successor does: nobody waits for its drain.
"""
import os
import signal
import sys
import tempfile
import threading

sys.path.insert(0, os.path.abspath(__file__ + "/../../../support"))
from neaptest import SECONDS, Failed, Raw, Server, Suite, need, run_neap, wait_until  # noqa: E402

suite = Suite("retire")

APP = """
local websocket = require "neap.websocket"
local task = require "neap.task"
local pid = io.open("/proc/self/stat"):read "*n"
local listener = websocket.listener(arg[1])
listener:attach("/pid", { onOpen = function() return tostring(pid) end })
listener:attach("/echo", { onMessage = function(_, _, data) return data end })
listener:attach("/slow", { onMessage = function(_, caller, data)
  caller:writeMessage(tostring(pid))
  while not io.open(data) do task.sleep(0.02) end
end })
listener:attach("/hog", { onMessage = function()
  local t = {}
  for i = 1, 1e9 do t[i] = { i } end
end })
listener:attach("/room", {
  onOpen = function(_, caller)
    websocket.addConnectionToGroup("room", caller)
    return pid .. " " .. caller:getConnectionId()
  end,
  onClose = function(_, caller) websocket.pushTextToGroup("room", caller:getConnectionId() .. " has left") end,
})
"""
OPTIONS = ["--memory-limit", "32M", "--handler-timeout", "60", "--drain", "60"]


def started(workers, lua=APP, **options):
    return Server(lua=lua, options=OPTIONS + ["--workers", workers], **options)


def whom(server):
    """Who answers a new connection: its process id."""
    with Raw(server.port, "/pid") as client:
        return int(client.recv_message()[1])


class Busy:
    """A connection whose handler keeps its worker from ending, until it is told to end."""

    def __init__(self, server):
        self.flag = tempfile.mktemp()
        self.client = Raw(server.port, "/slow")
        self.client.text(self.flag)
        self.pid = int(self.client.recv_message()[1])

    def told(self):
        """Its worker has begun to drain."""
        self.client.expect_close(1001, "server shutting down", reply=True, eof=False)

    def end(self):
        open(self.flag, "w").close()

    def leave(self):
        self.told()
        self.end()
        self.client.close()


class Visitors:
    """New connections, one after the other: each must be answered."""

    def __init__(self, server):
        self.server, self.pids, self.error, self.stop = server, set(), None, False
        self.thread = threading.Thread(target=self.run)

    def run(self):
        try:
            while not self.stop:
                self.pids.add(whom(self.server))
        except (Failed, OSError) as err:
            self.error = err

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop = True
        self.thread.join()
        if self.error:
            raise Failed("a new connection was not answered: %s" % self.error)


def breach(server):
    """The memory limit is reached twice."""
    for _ in range(2):
        with Raw(server.port, "/hog", seconds=SECONDS * 4) as client:
            client.text("go")
            client.expect_close(1011, seconds=SECONDS * 4)


def terminate(server):
    os.kill(server.workers()[0], signal.SIGTERM)


@suite.case("one", "one worker: whoever comes is served at once, by the old process and then by the new one")
def _():
    for end in (breach, terminate):
        with started(1) as s:
            busy = Busy(s)
            with Visitors(s) as visitors:
                end(s)
                wait_until(lambda: visitors.error or visitors.pids - {busy.pid}, SECONDS * 4, "the new worker serves")
                s.wait_log("worker ready worker=0")
                wait_until(lambda: visitors.error or len(s.workers()) == 2, what="the old one is still there")
            need(set(s.workers()) == visitors.pids | {busy.pid}, "%r, %r" % (s.workers(), visitors.pids))
            need(whom(s) != busy.pid and "worker ended" not in s.log(), s.log())
            busy.leave()
            s.wait_log(r"worker ended worker=0 pid=%d .*status=0" % busy.pid)
            need(s.workers() == [whom(s)], "workers: %r" % s.workers())


@suite.case("many", "with several workers as well, and those who wait to be accepted come in")
def _():
    with started(3) as s:
        pids = set(s.workers())
        with Visitors(s), Visitors(s) as visitors:
            for n in range(3):
                terminate(s)
                wait_until(lambda: s.log().count("worker ended") > n, SECONDS * 2, "the old one ends")
                wait_until(lambda: visitors.error or len(s.workers()) == 3, what="three workers")
        need(pids != set(s.workers()) and "died" not in s.log(), s.log())


@suite.case("queue", "connections that wait in the queue of a worker that leaves are its successor's")
def _():
    with started(1) as s:
        busy = Busy(s)
        terminate(s)
        s.wait_log("worker ready worker=0")
        new = next(pid for pid in s.workers() if pid != busy.pid)
        os.kill(new, signal.SIGSTOP)
        waiting = [Raw(s.port) for _ in range(20)]
        busy.leave()
        s.wait_log("worker ended worker=0 pid=%d" % busy.pid)
        os.kill(new, signal.SIGCONT)
        for client in waiting:
            need(client.handshake("/pid").status == 101, "not upgraded")
            need(int(client.recv_message()[1]) == new, "not by the new one")
            client.close()


class Member:
    """One of a group, somewhere."""

    def __init__(self, server):
        self.client = Raw(server.port, "/room")
        pid, self.id = self.client.recv_message()[1].decode().split()
        self.pid = int(pid)

    def hears_of(self, other):
        wanted = (other.id + " has left").encode()
        wait_until(lambda: self.client.recv_message()[1] == wanted, what="it is told that the other has left")


def member_of(server, fits):
    """One whose worker's process id fits; the others leave again."""
    while True:
        member = Member(server)
        if fits(member.pid):
            return member
        member.client.close()


@suite.case("groups", "a worker that leaves is of the groups to the end, and its successor from the beginning")
def _():
    with started(2) as s:
        busy = Busy(s)
        leaver, other = member_of(s, lambda pid: pid == busy.pid), member_of(s, lambda pid: pid != busy.pid)
        os.kill(busy.pid, signal.SIGTERM)
        s.wait_log("worker ready worker=")
        fresh = member_of(s, lambda pid: pid not in (busy.pid, other.pid))
        leaver.client.expect_close(1001, reply=True, skip=True)
        other.hears_of(leaver)
        fresh.hears_of(leaver)
        busy.leave()
        s.wait_log("worker ended worker=")
        fresh.client.close()
        other.hears_of(fresh)
        other.client.close()


@suite.case("again", "the next one that is to be replaced serves until the one before has gone")
def _():
    with started(1) as s:
        first = Busy(s)
        terminate(s)
        wait_until(lambda: whom(s) != first.pid, what="the second serves")
        second = Busy(s)
        need(second.pid != first.pid, "the first has served again")
        os.kill(second.pid, signal.SIGTERM)
        need(whom(s) == second.pid and set(s.workers()) == {first.pid, second.pid}, "there is a third")
        first.leave()
        s.wait_log("worker ended worker=0 pid=%d" % first.pid)
        wait_until(lambda: whom(s) != second.pid, what="the third serves")
        second.leave()
        s.wait_log("worker ended worker=0 pid=%d" % second.pid)
        need(s.workers() == [whom(s)], repr(s.workers()))


@suite.case("insisted", "a second SIGTERM to a worker that waits for its successor has it leave at once")
def _():
    with tempfile.TemporaryDirectory() as folder:
        flag = os.path.join(folder, "flag")
        with started(1, "while io.open(%r) do end\n" % flag + APP) as s:
            open(flag, "w").close()
            old = whom(s)
            os.kill(old, signal.SIGTERM)
            new = wait_until(lambda: [pid for pid in s.workers() if pid != old], what="its successor loads")
            need(whom(s) == old, "the old one does not serve")
            os.kill(old, signal.SIGTERM)
            s.wait_log("worker ended worker=0 pid=%d" % old)
            os.remove(flag)
            need(whom(s) == new[0], "the new one does not serve")


@suite.case("broken", "an app that does not load any more: the old worker serves until one does")
def _():
    with tempfile.TemporaryDirectory() as folder:
        flag = os.path.join(folder, "flag")
        for workers in (1, 2):
            with started(workers, "if io.open(%r) then error 'not today' end\n" % flag + APP) as s:
                open(flag, "w").close()
                pids = s.workers()
                os.kill(pids[0], signal.SIGTERM)
                with Visitors(s) as visitors:
                    wait_until(lambda: visitors.error or s.log().count("worker died") == 3, SECONDS * 4, "three tries")
                    need(pids[0] in s.workers() and visitors.pids <= set(pids), "somebody else has served")
                    os.remove(flag)
                    s.wait_log("worker ended worker=. pid=%d" % pids[0], SECONDS * 4)
                need(len(s.workers()) == workers and pids[0] not in s.workers(), repr(s.workers()))


@suite.case("status", "neap status tells both, and neap stop ends both")
def _():
    with started(1) as s:
        busy = Busy(s)
        terminate(s)
        s.wait_log("worker ready worker=0")
        new = next(pid for pid in s.workers() if pid != busy.pid)
        told = run_neap("status").stdout
        need("worker 0 pid=%d state=ready restarts=1 " % new in told, told)
        need("worker 0 pid=%d state=leaving restarts=1 " % busy.pid in told, told)
        busy.leave()
        need(run_neap("stop").returncode == 0 and s.wait_exit() == 0, "status %s" % s.status)


@suite.case("killed", "either may die: the other goes on, and there is one again")
def _():
    with started(1) as s:
        for victim in ("old", "new"):
            busy = Busy(s)
            ready = s.log().count("worker ready")
            os.kill(busy.pid, signal.SIGTERM)
            wait_until(lambda: s.log().count("worker ready") > ready, what="the new one is ready")
            new = next(pid for pid in s.workers() if pid != busy.pid)
            os.kill(busy.pid if victim == "old" else new, signal.SIGKILL)
            s.wait_log("worker died worker=0 pid=%d signal=SIGKILL" % (busy.pid if victim == "old" else new))
            if victim == "new":
                wait_until(lambda: s.log().count("worker ready") > ready + 1, what="another new one")
                busy.leave()
            busy.end()
            wait_until(lambda: s.workers() == [whom(s)], what="one worker")


if __name__ == "__main__":
    suite.main()
