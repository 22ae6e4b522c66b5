#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Groups and stored connections over many workers of the real program: how they find each other.

What becomes of them when workers come, are killed, or stand still; that nothing is left behind,
and that workers at rest sleep. NEAP_DEATHS is the number of deaths that must leave no trace (20;
the full measure is 50).
"""
import contextlib
import json
import os
import re
import resource
import signal
import sys
import threading
import time

sys.path.insert(0, os.path.abspath(__file__ + "/../../../support"))
from neaptest import (  # noqa: E402
    BINARY, INSTRUMENTED, SECONDS, SLACK, TEXT, Failed, Raw, Server, Suite, alive, fds, need, request, rss, wait_until)

suite = Suite("workers")
DEATHS = int(os.environ.get("NEAP_DEATHS") or 20)
MIB = 1 << 20
PROBE = "probe"         # what `reaches` pushes; clients pass over it

# A command is a JSON array; its answer is a JSON array in a text message. Pushes are binary.
APP = """
local websocket = require "neap.websocket"
local json = require "neap.json"

local file = assert(io.open("/proc/self/stat"))
local pid = file:read("*n")
file:close()

local function pushed(result, err)
  if not result then return { error = err.message } end
  return { members = result.members, delivered = result.delivered, dropped = result.dropped }
end

local commands = {
  pid = function() return pid end,
  join = function(caller, group) return assert(websocket.addConnectionToGroup(group, caller)) and true end,
  leave = function(caller, group) return websocket.removeConnectionFromGroup(group, caller) end,
  store = function(caller, name) return assert(websocket.storeConnection(name, caller)) and true end,
  push = function(caller, group, text) return pushed(websocket.pushBinaryToGroup(group, text)) end,
  tell = function(caller, name, text) return pushed(websocket.pushBinaryToConnection(name, text)) end,
  size = function(caller, group) return (assert(websocket.groupSize(group))) end,
  -- Numbered messages of a size, from one to another number.
  flood = function(caller, group, from, to, size)
    local dropped = 0
    for i = from, to do
      local text = ("%010d"):format(i)
      dropped = dropped + websocket.pushBinaryToGroup(group, text .. ("x"):rep(size - #text)).dropped
    end
    return { dropped = dropped }
  end,
}

local listener = websocket.listener(arg[1])
listener:attach("/", { maxBufferedBytes = 256 * 1024 * 1024 }, {
  onTextMessage = function(self, caller, data)
    local command = json.decode(data)
    return { commands[command[1]](caller, command[2], command[3], command[4], command[5]) }
  end,
})
"""


class Client(Raw):
    """A connection; `worker` is the process id of its worker."""

    def __init__(self, port, **options):
        super().__init__(port, "/", **options)
        self.pushes = []
        self.worker = self.ask("pid")

    def ask(self, *command, seconds=None):
        """The answer to a command; pushes that come before it are kept."""
        self.text(json.dumps(command))
        while True:
            op, payload = self.recv_message(seconds)
            if op == TEXT:
                return json.loads(payload)[0]
            self.pushes.append(payload.decode())

    def next_push(self, seconds=None):
        if not self.pushes:
            op, payload = self.recv_message(seconds)
            need(op == BINARY, "a push, not %r" % payload)
            self.pushes.append(payload.decode())
        text = self.pushes.pop(0)
        return text if text != PROBE else self.next_push(seconds)


class Crowd:
    """A server, and clients of which each worker has as many as asked for."""

    def __init__(self, workers, each=1, **options):
        arguments = ["--workers", str(workers), "--log-level", "debug"]
        self.server = Server(lua=APP, options=arguments, **options)
        self.workers, self.each = workers, each
        self.clients = {}
        self.stack = contextlib.ExitStack()
        self.gather()

    def __enter__(self):
        self.server.__enter__()
        return self

    def __exit__(self, *failure):
        self.stack.close()
        return self.server.__exit__(*failure)

    def gather(self):
        """Connects until each worker has its clients. Returns the new ones by worker."""
        pids = wait_until(lambda: self.all_workers(), what="%d workers" % self.workers)
        new = {}
        deadline = time.monotonic() + 4 * SECONDS
        while any(len(self.clients.get(pid, [])) < self.each for pid in pids):
            need(time.monotonic() < deadline, "each worker gets clients")
            client = Client(self.server.port)
            if len(self.clients.setdefault(client.worker, [])) < self.each:
                self.clients[client.worker].append(client)
                new.setdefault(client.worker, []).append(self.stack.enter_context(client))
            else:
                client.close()
        return new

    def all_workers(self):
        pids = self.server.workers()
        return pids if len(pids) == self.workers else None

    def everybody(self):
        return [client for clients in self.clients.values() for client in clients]

    def kill(self, pid):
        """Kills a worker; its clients see the end."""
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not alive(pid), what="it is dead")
        for client in self.clients.pop(pid):
            client.recv_all()


def counts(result):
    return result.get("members"), result.get("delivered"), result.get("dropped")


def reaches(client, group, expected):
    """Waits until a push of the client reaches so many members."""
    def right():
        return counts(client.ask("push", group, PROBE)) == (expected, expected, 0)
    wait_until(right, what="a push to %r reaches %d" % (group, expected))


@suite.case("start", "groups and names work over all workers from the first client on")
def start():
    with Crowd(4, each=2) as crowd:
        for i, client in enumerate(crowd.everybody()):
            need(client.ask("join", "all") is True, "joins")
            need(client.ask("store", "name %d" % i) is True, "is stored")
        for i, client in enumerate(crowd.everybody()):
            reaches(client, "all", 8)
        for i, client in enumerate(crowd.everybody()):
            need(client.ask("size", "all") == 8, "size")
            need(counts(client.ask("push", "all", "from %d" % i)) == (8, 8, 0), "push")
            for member in crowd.everybody():
                got = member.next_push()
                need(got == "from %d" % i, "%r instead of %d's push" % (got, i))
            for k, holder in enumerate(crowd.everybody()):
                need(counts(client.ask("tell", "name %d" % k, "to %d" % k)) == (1, 1, 0), "tell")
                need(holder.next_push() == "to %d" % k, "told")


@suite.case("answers", "who is told of a join may push to it at once, wherever it is")
def answers():
    with Crowd(4) as crowd:
        clients = crowd.everybody()
        for client in clients:
            reaches(client, "nobody", 0)
        for i in range(200 if not INSTRUMENTED else 40):
            a, b = clients[i % 4], clients[(i + 1 + i // 4 % 3) % 4]
            a.ask("join", "room %d" % i)
            a.ask("store", "b %d" % i)
            b.ask("store", "back %d" % i)
            wait_until(lambda: counts(a.ask("tell", "back %d" % i, "come")) == (1, 1, 0))
            need(b.next_push() == "come", "told")
            need(counts(b.ask("push", "room %d" % i, "hello")) == (1, 1, 0), "the room is known")
            need(a.next_push() == "hello", "pushed")


@suite.case("deaths", "a worker that is killed takes its members along, and its next life knows all")
def deaths():
    with Crowd(4, each=3) as crowd:
        order = {}
        for pid, clients in crowd.clients.items():
            for i, client in enumerate(clients):
                client.ask("join", "all")
                client.ask("join", "of %d" % pid)
                client.ask("store", "%d in %d" % (i, pid))
        for client in crowd.everybody():
            reaches(client, "all", 12)
        for pid in list(crowd.clients):
            others = {other: list(clients) for other, clients in crowd.clients.items() if other != pid}
            crowd.kill(pid)
            for client in crowd.everybody():
                reaches(client, "all", 9)
                reaches(client, "of %d" % pid, 0)
                need(client.ask("tell", "0 in %d" % pid, "?").get("error"), "its names are gone")
            new = crowd.gather()
            need(len(new) == 1 and len(next(iter(new.values()))) == 3, "one worker is new")
            newcomer = next(iter(new.values()))[0]
            need(counts(newcomer.ask("push", "all", "hello")) == (9, 9, 0), "it knows the group")
            for other, clients in others.items():
                need(newcomer.ask("size", "of %d" % other) == 3, "it knows each group")
                for i, client in enumerate(clients):
                    need(counts(newcomer.ask("tell", "%d in %d" % (i, other), "you")) == (1, 1, 0),
                         "it knows each name")
                    need([client.next_push(), client.next_push()] == ["hello", "you"], "they got it")
            number = order.setdefault(pid, newcomer.worker)
            for i, client in enumerate(next(iter(new.values()))):
                client.ask("join", "all")
                client.ask("join", "of %d" % number)
                client.ask("store", "%d in %d" % (i, number))
            for client in crowd.everybody():
                reaches(client, "all", 12)


class Reader(threading.Thread):
    """Takes all pushes of a client in a thread."""

    def __init__(self, client):
        super().__init__(daemon=True)
        self.client, self.numbers, self.failure = client, [], None
        self.start()

    def run(self):
        try:
            while not self.numbers or self.numbers[-1] >= 0:
                op, payload = self.client.recv_message(12 * SECONDS)
                if op == BINARY and payload != PROBE.encode():
                    self.numbers.append(int(payload[:10]))
        except (Failed, OSError) as err:
            self.failure = err


@suite.case("stopped", "a worker that stands still loses what is too much, in order, and nothing else")
def stopped():
    size, most = 32768, 4000        # 125 MiB, twice what may wait
    with Crowd(3) as crowd:
        sender, healthy, still = crowd.everybody()
        for client in (healthy, still):
            client.ask("join", "all")
        sender.ask("join", "early")
        reaches(sender, "all", 2)
        reaches(still, "early", 1)
        before = rss(sender.worker)
        readers = [Reader(healthy), Reader(still)]
        os.kill(still.worker, signal.SIGSTOP)
        dropped = 0
        for first in range(0, most, 250):
            dropped += sender.ask("flood", "all", first, first + 249, size)["dropped"]
            wait_until(lambda: readers[0].numbers[-1:] == [first + 249], what="the other gets it")
        need(readers[0].numbers == list(range(most)),
             "all of it in order: %d, %r" % (len(readers[0].numbers), readers[0].failure))
        need(dropped > 0, "something was dropped")
        grown = rss(sender.worker) - before
        need(INSTRUMENTED or grown < 80 * MIB, "its queue is bounded, grown by %d" % (grown // MIB))
        crowd.server.wait_log(r"warn .* takes no messages: its queue is full")
        crowd.server.wait_log(r"warn .* pushes to other workers were dropped")
        sender.ask("leave", "early")
        sender.ask("join", "late")
        os.kill(still.worker, signal.SIGCONT)
        crowd.server.wait_log(r"takes messages again", 4 * SECONDS)
        reaches(sender, "all", 2)
        sender.ask("push", "all", "%010d" % -1)
        for reader in readers:
            reader.join(8 * SECONDS)
            need(reader.failure is None and not reader.is_alive(), "read: %r" % reader.failure)
        numbers = [n for n in readers[1].numbers if 0 <= n < most]
        need(numbers == sorted(set(numbers)), "what it got is in order")
        need(len(numbers) == most - dropped, "%d, not %d" % (len(numbers), most - dropped))
        need(numbers[:1000] == list(range(1000)), "from the first on")
        reaches(still, "late", 1)
        reaches(still, "early", 0)
        if not INSTRUMENTED:
            wait_until(lambda: rss(sender.worker) < before + 16 * MIB, what="memory is given back")


@suite.case("leaks", "many deaths leave no descriptor and no memory behind")
def leaks():
    with Crowd(4) as crowd:
        for client in crowd.everybody():
            client.ask("join", "all")
            client.ask("store", "name %d" % client.worker)
        master, victims = crowd.server.pid, crowd.all_workers()
        kept = victims[0]
        start_fds, start_rss = {}, {}
        for i in range(DEATHS):
            pid = crowd.all_workers()[1 + i % 3]
            need(pid != kept, "the kept one is the oldest")
            crowd.kill(pid)
            for clients in crowd.gather().values():
                for client in clients:
                    client.ask("join", "all")
                    client.ask("store", "name %d" % client.worker)
            reaches(crowd.clients[kept][0], "all", 4)
            if i == 4:      # by now what is allocated once is there
                start_fds = {pid: fds(pid) for pid in (master, kept)}
                start_rss = {pid: rss(pid) for pid in (master, kept)}
        for pid in (master, kept):
            wait_until(lambda: fds(pid) <= start_fds[pid], what="no descriptor is left")
            grown = rss(pid) - start_rss[pid]
            need(INSTRUMENTED or grown < MIB, "%d KiB more after %d deaths" % (grown // 1024, DEATHS))
        later = {fds(pid) for pid in crowd.all_workers()}
        need(len(later) == 1, "all workers have as many descriptors: %r" % later)


@suite.case("many", "32 workers find each other")
def many():
    began = time.monotonic()
    with Crowd(32) as crowd:
        found = re.search(r"^(\S+) info  ready$", crowd.server.log(), re.M)
        need(found, "ready")
        wait_until(lambda: len(re.findall("there is a line to worker", crowd.server.log())) == 32 * 31,
                   4 * SECONDS, "all lines")
        for client in crowd.everybody():
            client.ask("join", "all")
        for client in crowd.everybody():
            reaches(client, "all", 32)
        need(crowd.everybody()[0].ask("push", "all", "hello") ==
             {"members": 32, "delivered": 32, "dropped": 0}, "push")
        for client in crowd.everybody():
            need(client.next_push() == "hello", "everybody hears")
        need(crowd.everybody()[0].ask("size", "all") == 32, "size")
    need(time.monotonic() - began < 20 * SLACK, "took %.1f s" % (time.monotonic() - began))


@suite.case("descriptors", "a worker without a free descriptor gets its line once it has one (L11)")
def descriptors():
    limit = 40

    def few():
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    with Crowd(2, preexec=few) as crowd, contextlib.ExitStack() as stack:
        full, other = crowd.everybody()
        full.ask("join", "all")
        held = []

        def hold():
            held.append(stack.enter_context(Raw(crowd.server.port)))
            held[-1].send(request("/"))
            return fds(full.worker) >= limit
        wait_until(hold, what="it is full")
        for _ in range(20):         # wait at its door for whatever gets free
            hold()
        crowd.kill(other.worker)
        ended = "the line to worker . has ended"
        wait_until(lambda: len(re.findall(ended, crowd.server.log())) >= 2, SECONDS * 4,
                   "the new line is lost on the way, after the old one has ended")
        need(full.ask("size", "all") == 1, "the full one goes on")
        for client in held:
            client.close()
        newcomers = crowd.gather()
        need(len(newcomers) == 1, "one worker is new")
        for clients in newcomers.values():
            reaches(clients[0], "all", 1)
        need(not [r for r in crowd.server.records("error") if r.message != "worker died"],
             "no other complaint")


def switches(pid):
    """How often all threads of a process have gone to sleep."""
    total = 0
    for thread in os.listdir("/proc/%d/task" % pid):
        with open("/proc/%d/task/%s/status" % (pid, thread)) as f:
            total += int(re.search(r"^voluntary_ctxt_switches:\s+(\d+)", f.read(), re.M).group(1))
    return total


@suite.case("rest", "workers with members and names that have nothing to say sleep")
def rest():
    with Crowd(4) as crowd:
        for client in crowd.everybody():
            client.ask("join", "all")
            client.ask("store", "name %d" % client.worker)
            reaches(client, "all", len(crowd.everybody()[:crowd.everybody().index(client) + 1]))

        def quiet():
            before = [switches(pid) for pid in crowd.all_workers()]
            time.sleep(1)           # what is measured is that nothing happens in a time
            return [switches(pid) for pid in crowd.all_workers()] == before
        wait_until(quiet, 3 * SECONDS, "a second in which no worker wakes up")


@suite.case("stop", "a server of many workers ends in order, and at once")
def stop():
    with Crowd(8) as crowd:
        for client in crowd.everybody():
            client.ask("join", "all")
        reaches(crowd.everybody()[0], "all", 8)
        began = time.monotonic()
        crowd.server.signal(signal.SIGTERM)
        for client in crowd.everybody():
            client.expect_close(1001, reply=True, eof=False, skip=True)
            client.close()
        need(crowd.server.wait_exit() == 0, "exit status")
        need(time.monotonic() - began < 3 * SLACK, "took %.1f s" % (time.monotonic() - began))
        need(not [r for r in crowd.server.records() if r.level in ("warn", "error")],
             "nothing to complain about:\n" + crowd.server.log()[-2000:])


if __name__ == "__main__":
    suite.main()
