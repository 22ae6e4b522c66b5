#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""neap.shared over several workers: sums, claims, deaths of writers, files, what is left behind.

NEAP_KILLS is the number of worker deaths (20; the full measure is 200).
"""
import glob
import os
import random
import select
import signal
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.abspath(__file__ + "/../../../support"))
from neaptest import (  # noqa: E402
    INSTRUMENTED, SECONDS, TEXT, Failed, Raw, Server, Suite, alive, fds, need, rss, run_neap, wait_until)

suite = Suite("shared")
KILLS = int(os.environ.get("NEAP_KILLS") or 20)
WORKERS = ["--workers", "4"]

# Each message is a call: `incr key 3`, of which the result comes back; `many key 50` is fifty.
APP = """
local websocket = require "neap.websocket"
local shared = require "neap.shared"
local options = arg[2] and { persist = arg[2] } or { maxSize = 4 * 2 ^ 20 }
local d = shared.dict("test", options)
local calls = {
  get = function(key) return d:get(key) end,
  set = function(key, ttl) return d:set(key, "value", tonumber(ttl)) end,
  add = function(key) return d:add(key, true) end,
  incr = function(key, n) return d:incr(key, tonumber(n)) end,
  many = function(key, n)
    local sum
    for i = 1, tonumber(n) do
      sum = assert(d:incr(key))
      local ttl = i % 2 == 0 and 0.01 or nil
      assert(d:set("filler" .. sum % 300, { sum, text = ("x"):rep(sum % 200) }, ttl))
    end
    return sum
  end,
  delete = function(key) return d:delete(key) end,
  fill = function(key)
    local n, ok, err = 0, nil, nil
    repeat
      n = n + 1
      ok, err = d:set(key .. n, ("x"):rep(1000))
    until not ok
    return tostring(err) .. " " .. n - 1
  end,
  empty = function(key)
    local n = 0
    for _, name in ipairs(d:keys(key, 100000)) do n = n + (d:delete(name) and 1 or 0) end
    return n
  end,
  pid = function() return io.open("/proc/self/stat"):read "*n" end,
}
websocket.listener(arg[1]):attach("/", { onMessage = function(self, caller, data)
  local call, key, n = data:match "^(%S+) ?(%S*) ?(%S*)$"
  return tostring((calls[call](key, n)))
end })
"""


def ask(client, call):
    client.text(call)
    fin, _, op, payload = client.recv_frame()
    need(fin and op == TEXT, "a %r instead of the answer to %r" % ((op, payload), call))
    return payload.decode()


def once(server, call):
    with Raw(server.port, "/") as client:
        return ask(client, call)


def one_of_each(server):
    """A client of each worker, by its process id."""
    clients = {}

    def another():
        client = Raw(server.port, "/")
        pid = int(ask(client, "pid"))
        if pid in clients:
            client.close()
        clients.setdefault(pid, client)
        return len(clients) == len(server.workers())
    wait_until(another, None, "a connection to each worker")
    return clients


def folders_of(server):
    """Its folders in memory, by the file that the master holds."""
    found = set()
    for fd in glob.glob("/proc/%d/fd/*" % server.pid):
        target = os.readlink(fd)
        if os.path.basename(target) == "owner":
            found.add(os.path.dirname(target))
    return found


def folder_of(server):
    found = folders_of(server)
    need(len(found) == 1, "folders of the server: %r" % found)
    return found.pop()


def together(count, work):
    """Runs work(i) in threads; what one raises is raised."""
    failures = []

    def run(i):
        try:
            work(i)
        except Exception as err:
            failures.append(err)
    threads = [threading.Thread(target=run, args=(i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


# --- Several workers ------------------------------------------------------------------------------

@suite.case("incr", "sums of many connections to four workers add up exactly")
def _():
    with Server(lua=APP, options=WORKERS) as s:
        seen = []

        def add(_):
            with Raw(s.port, "/") as client:
                seen.extend([int(ask(client, "incr n 1")) for _ in range(200)])
        together(16, add)
        need(sorted(seen) == list(range(1, 16 * 200 + 1)), "not each sum once")
        need(once(s, "get n") == "3200", once(s, "get n"))


@suite.case("all-see-it", "what one worker stores, removes or lets expire is so for all of them")
def _():
    with Server(lua=APP, options=WORKERS) as s:
        clients = one_of_each(s)
        for client in clients.values():
            ask(client, "set k")
            need([ask(c, "get k") for c in clients.values()] == ["value"] * 4, "not all see it")
            need(ask(client, "delete k") == "true", "not there")
            need([ask(c, "get k") for c in clients.values()] == ["nil"] * 4, "some still see it")
            ask(client, "set k 0.001")
            wait_until(lambda: ask(client, "get k") == "nil")
            need([ask(c, "get k") for c in clients.values()] == ["nil"] * 4, "not expired for all")
        for client in clients.values():
            client.close()


@suite.case("add", "of those who claim a key at the same time, one gets it")
def _():
    with Server(lua=APP, options=WORKERS) as s:
        won = [0] * 100

        def claim(_):
            with Raw(s.port, "/") as client:
                for key in range(100):
                    if ask(client, "add lock%d" % key) == "true":
                        won[key] += 1
        together(12, claim)
        need(won == [1] * 100, repr(won))


@suite.case("full", "a full dictionary is an error in one handler, and can be emptied")
def _():
    with Server(lua=APP, options=WORKERS) as s:
        clients = list(one_of_each(s).values())
        said, _, count = ask(clients[0], "fill k").rpartition(" ")
        need(said == 'Error: shared.dict "test" is full (maxSize 4 MiB)', said)
        need(int(count) > 1000, count)
        more = ask(clients[1], "fill other").split()[-1]
        need(int(more) < 10, "another worker finds room for %s more" % more)
        need(ask(clients[2], "empty k") == count, "not all could be removed")
        need(ask(clients[2], "empty other") == more, "not all could be removed")
        need(int(ask(clients[3], "fill k").split()[-1]) > int(count) * 0.8, "less fits than before")


# --- Deaths ---------------------------------------------------------------------------------------

class Writers:
    """Clients that have the workers write without end, and count what they were told."""

    def __init__(self, server, count):
        self.server, self.sent, self.told, self.ends = server, [0] * count, [0] * count, []
        self.over = threading.Event()
        self.threads = [threading.Thread(target=self.write, args=(i,)) for i in range(count)]
        for thread in self.threads:
            thread.start()

    def write(self, i):
        while not self.over.is_set():
            try:
                with Raw(self.server.port, "/") as client:
                    self.go_on(client, i)
            except (Failed, OSError) as err:
                self.ends.append(err)       # its worker was killed

    def go_on(self, client, i):
        while not self.over.is_set():
            self.sent[i] += 1
            ask(client, "many n 50")
            self.told[i] += 1

    def end(self):
        self.over.set()
        for thread in self.threads:
            thread.join()


@suite.case("worker.killed", "killed while they write: each call counts whole or not at all")
def _():
    rng = random.Random(5)
    with Server(lua=APP, options=WORKERS) as s:
        folder = folder_of(s)
        before = sorted(os.listdir(folder))
        writers = Writers(s, 8)
        try:
            for round_ in range(KILLS):
                goal = sum(writers.told) + 5
                wait_until(lambda: sum(writers.told) >= goal, SECONDS * 4, "writing goes on")
                time.sleep(rng.random() * 0.02)     # so that it is at any instant
                victim = rng.choice(s.workers())
                os.kill(victim, signal.SIGKILL)
                wait_until(lambda: s.restored(4, victim), SECONDS * 4, "four workers again")
        finally:
            writers.end()
        value = int(once(s, "incr n 0"))
        told, sent = sum(writers.told) * 50, sum(writers.sent) * 50
        need(told <= value <= sent, "%d, with %d told of %d" % (value, told, sent))
        need(once(s, "fill k").startswith("Error: shared.dict"), "not full in the end")
        need(int(once(s, "empty k")) > 1000, "what the dead held on to is not free")
        need(sorted(os.listdir(folder)) == before, "files: %r" % os.listdir(folder))


@suite.case("stuck.none", "while workers are killed, those that live answer in time")
def _():
    with Server(lua=APP, options=WORKERS) as s:
        clients = one_of_each(s)
        pid, witness = clients.popitem()
        writers = Writers(s, 4)
        slowest = 0
        try:
            for _ in range(10):
                victim = next(p for p in s.workers() if p != pid)
                os.kill(victim, signal.SIGKILL)
                began = time.monotonic()
                for _ in range(20):
                    ask(witness, "incr w 1")
                slowest = max(slowest, time.monotonic() - began)
                wait_until(lambda: s.restored(4, victim), SECONDS * 4, "four workers again")
        finally:
            writers.end()
        need(int(ask(witness, "get w")) == 200, "not all counted")
        need(slowest < SECONDS, "twenty calls took %.1f s" % slowest)


@suite.case("leak.none", "forty thousand calls leave memory and descriptors as they were")
def _():
    with Server(lua=APP) as s:
        with Raw(s.port, "/") as client:
            ask(client, "many n 1000")
            pid = s.workers()[0]
            before = fds(pid), rss(pid)
            for _ in range(20):
                ask(client, "many n 1000")
            need(fds(pid) == before[0], "descriptors: %d, before %d" % (fds(pid), before[0]))
            grown = rss(pid) - before[1]
            need(INSTRUMENTED or grown < 8 << 20, "memory has grown by %d KiB" % (grown >> 10))


# --- What is left behind --------------------------------------------------------------------------

@suite.case("stop.nothing-left", "an orderly end removes the files in memory")
def _():
    for number in (signal.SIGTERM, signal.SIGINT):
        with Server(lua=APP, options=WORKERS) as s:
            folder = folder_of(s)
            need(os.stat(folder).st_mode & 0o7777 == 0o700, "mode of the folder")
            once(s, "set k")
            need(sorted(os.listdir(folder)) == ["owner", "test.dict", "test.dict-lock"],
                 repr(os.listdir(folder)))
            s.signal(number)
            need(s.wait_exit() == 0, "status %r" % s.status)
            need(not os.path.exists(folder), "the folder is left")


@suite.case("kill.next-start-cleans", "what a killed server left is removed by the next one")
def _():
    with Server(lua=APP, options=WORKERS) as other:
        s = Server(lua=APP, options=WORKERS)
        folder = folder_of(s)
        once(other, "set k")
        s.kill()
        need(os.path.exists(folder), "the folder went with a killed server")
        with Server(lua=APP):
            need(not os.path.exists(folder), "the folder of the dead server is left")
            need(once(other, "get k") == "value", "a living server lost what it stored")
        need(os.path.exists(folder_of(other)), "a living server's folder is gone")


@suite.case("kill.master-only", "workers without their master have their files to the end")
def _():
    with Server(lua=APP, options=WORKERS) as other:
        s = Server(lua=APP, options=["--workers", "2", "--drain", "5"])
        try:
            folder, workers = folder_of(s), s.workers()
            os.kill(s.pid, signal.SIGKILL)
            wait_until(lambda: not any(alive(pid) for pid in workers), SECONDS * 2, "workers end")
        finally:
            s.kill()
        need(run_neap("run", "/dev/stdin").returncode in (0, 1, 2), "a further start")
        wait_until(lambda: not os.path.exists(folder), None, "the folder is removed")
        need(once(other, "incr n 1") == "1", "another server is disturbed")


@suite.case("script", "a script that ends leaves nothing, also when it fails")
def _():
    for end, status in (("", 0), ("error 'boom'", 1), ("os.exit(0)", 0)):
        source = 'local d = require("neap.shared").dict "d" assert(d:incr "n" == 1) ' \
            'local f = io.open(arg[1], "w") ' \
            'f:write((io.popen("ls -l /proc/$PPID/fd"):read "*a")) f:close() ' \
            'f = io.open(arg[1] .. 2, "w") ' \
            'f:write((io.popen("ls -l /proc/self/fd"):read "*a")) f:close() ' + end
        with tempfile.TemporaryDirectory() as folder:
            app, out = os.path.join(folder, "script.lua"), os.path.join(folder, "out")
            with open(app, "w") as f:
                f.write(source)
            result = run_neap("run", app, "--", out)
            need(result.returncode == status, "status %d: %s" % (result.returncode, result.stderr))
            with open(out) as f:
                files = [line.split(" -> ")[1].strip() for line in f if ".dict" in line]
            need(files, "no file of the dictionary is open")
            with open(out + "2") as f:
                inherited = f.read()
            need("neap-" not in inherited, "a program of the app has it open: " + inherited)
            need(not any(os.path.exists(file) for file in files), "left: %r" % files)


# --- On disk --------------------------------------------------------------------------------------

@suite.case("persist", "what was stored is there after a stop, and after everything was killed")
def _():
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "store")
        for round_, end in enumerate(("stop", "kill", "kill", "stop")):
            s = Server(lua=APP, args=["0", path], options=WORKERS)
            try:
                def add(_):
                    with Raw(s.port, "/") as client:
                        for _ in range(20):
                            ask(client, "incr n 1")
                before = once(s, "incr n 0")
                need(before == str(round_ * 160), "%s at start %d" % (before, round_))
                together(8, add)
                s.stop() if end == "stop" else s.kill()
            finally:
                s.kill()
        need(sorted(os.listdir(folder)) == ["store", "store-lock"], repr(os.listdir(folder)))


@suite.case("persist.killed", "workers killed while they write to the disk: nothing told is lost")
def _():
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "store")
        with Server(lua=APP, args=["0", path], options=WORKERS) as s:
            writers = Writers(s, 6)
            try:
                for _ in range(max(KILLS // 4, 5)):
                    goal = sum(writers.told) + 2
                    wait_until(lambda: sum(writers.told) >= goal, SECONDS * 10, "writing goes on")
                    victim = random.choice(s.workers())
                    os.kill(victim, signal.SIGKILL)
                    wait_until(lambda: s.restored(4, victim), SECONDS * 4, "four workers again")
            finally:
                writers.end()
            value = int(once(s, "incr n 0"))
            told, sent = sum(writers.told) * 50, sum(writers.sent) * 50
            need(told <= value <= sent, "%d, with %d told of %d" % (value, told, sent))
        with Server(lua=APP, args=["0", path]) as s:
            need(int(once(s, "incr n 0")) == value, "another value after the restart")


@suite.case("persist.two-servers", "two servers on one file share it")
def _():
    with tempfile.TemporaryDirectory() as folder:
        args = ["0", os.path.join(folder, "store")]
        with Server(lua=APP, args=args, options=WORKERS) as a, \
                Server(lua=APP, args=args, options=["--workers", "2"]) as b:
            def add(i):
                with Raw((a, b)[i % 2].port, "/") as client:
                    for _ in range(30):
                        ask(client, "incr n 1")
            together(8, add)
            need(once(a, "get n") == once(b, "get n") == "240", once(a, "get n"))


@suite.case("persist.loop", "while the disk is waited for, others are answered")
def _():
    with tempfile.TemporaryDirectory() as folder:
        with Server(lua=APP, args=["0", os.path.join(folder, "store")]) as s, \
                Raw(s.port, "/") as writer, Raw(s.port, "/") as reader:
            ask(writer, "incr n 1")
            writer.text("many n 200")
            answers = 0
            while not select.select([writer.sock], [], [], 0)[0]:
                ask(reader, "get none")
                answers += 1
            need(answers > 20, "only %d answers while 400 writes went on" % answers)


@suite.case("persist.refused", "a file that cannot be written: no start, and it is named")
def _():
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "missing", "store")
        s = Server(lua=APP, args=["0", path], options=WORKERS, wait=False)
        need(s.wait_exit() == 1, "status %r" % s.status)
        need('shared.dict \\"test\\": cannot open %s: No such file or directory' % path in s.log()
             or 'shared.dict "test": cannot open %s: No such file or directory' % path in s.log(),
             s.log())


suite.main()
