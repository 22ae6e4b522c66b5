#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Crowds of clients: idle ones by the thousand, all at once, again and again, more than there are
descriptors for.

Faults L11, L29 and L31, and the measure of idle connections. `--full` runs them in their full
size, which takes two minutes and this of the machine: 20,000 descriptors a process, 3 GB, nobody
else at work.

              normal, and over the sanitizers' build    --full
    idle      600 connections, 3 workers                100,000, 6 workers
    burst     1,500 at once                             20,000 within a second
    storm     1,000 vanish and return at once           10,000
    limit     100 beyond a limit of 400 descriptors     2,000 beyond the real one of 20,000

The clients are processes of crowd.c, each from an address of its own (127.0.0.2, .3, …), since
one address has not ports enough.
"""
import datetime
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.abspath(__file__ + "/../../../support"))
from neaptest import (  # noqa: E402
    INSTRUMENTED, SECONDS, SLACK, Bystander, Failed, Server, Suite, cpu, fds, need, rss, wait_until)
from neaptest.client import machine_load  # noqa: E402

suite = Suite("crowd")
FULL = "--full" in sys.argv
SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "crowd.c")
PATIENCE = 180 if FULL else SECONDS * 6

APP = r"""
local websocket = require "neap.websocket"

local Member = websocket.service("Member", {
  onMessage = function(self, caller, data)
    local number = data:match "^ping (%d+)$"
    if number then
      caller:ping(number)
      return
    end
    return data
  end,
  onPong = function(self, caller, data)
    caller:writeMessage("pong " .. data)
  end,
})

local listener = websocket.listener(arg[1], { host = "127.0.0.1" })
listener:attach("/member", function() return Member {} end)
listener:attach("/echo", { onMessage = function(_, _, data) return data end })
"""


def say(text, *values):
    print("  " + text % values, flush=True)


class Built:
    """The client program, compiled when it is first needed."""
    folder = path = None


def program():
    if Built.path is None:
        Built.folder = tempfile.TemporaryDirectory(prefix="crowd-")
        Built.path = os.path.join(Built.folder.name, "crowd")
        subprocess.run(["cc", "-std=gnu11", "-D_GNU_SOURCE=", "-O2", "-o", Built.path, SOURCE], check=True)
    return Built.path


class Crowd:
    """So many clients of some processes; all of them do the same at the same time."""

    def __init__(self, port, processes):
        self.crowds = [subprocess.Popen(
            [program(), "127.0.0.%d" % (2 + i), str(port), "/member"], text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for i in range(processes)]

    def begin(self, line, number):
        crowd = self.crowds[number]
        crowd.stdin.write(line + "\n")
        crowd.stdin.flush()

    def answer(self, number):
        """The words of its answer; numbers as such."""
        crowd = self.crowds[number]
        line = crowd.stdout.readline().split()
        need(line, "a process of the crowd ended: %s" % crowd.stderr.read() if not line else "")
        return dict(zip(line[::2], map(float, line[1::2])))

    def do(self, line):
        """All of them do it. Returns the sums of what they answer, of times the longest."""
        for i in range(len(self.crowds)):
            self.begin(line, i)
        answers = [self.answer(i) for i in range(len(self.crowds))]
        return {key: (max if key in ("seconds", "connecting") else sum)(a[key] for a in answers)
                for key in answers[0]}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for crowd in self.crowds:
            crowd.kill()
            crowd.communicate()


class Watch(threading.Thread):
    """A well-behaved client that goes on all the time: how long it had to wait at most."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self.client = Bystander(port, "/echo", seconds=PATIENCE)
        self.over, self.failure = threading.Event(), None

    def run(self):
        try:
            while not self.over.wait(0.01):
                self.client.check(PATIENCE)
        except Failed as err:
            self.failure = err

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.join()
        self.client.close()
        if self.failure:
            raise self.failure

    @property
    def worst(self):
        return self.client.worst


def unspoilt(server):
    need("died" not in server.log() and "killed" not in server.log() and "interrupted" not in server.log(),
         server.log()[-2000:])


# --- Idle -----------------------------------------------------------------------------------------

def switches(pid):
    with open("/proc/%d/status" % pid) as f:
        return next(int(line.split()[1]) for line in f if line.startswith("voluntary_ctxt_switches"))


def ready_at(server):
    record = next(r for r in server.records("info") if r.message == "ready")
    return datetime.datetime.fromisoformat(record.time.replace("Z", "+00:00")).timestamp()


def available():
    with open("/proc/meminfo") as f:
        return next(int(line.split()[1]) * 1024 for line in f if line.startswith("MemAvailable"))


@suite.case("S1.idle", "idle connections of many workers: all answer a ping, what each costs")
def _():
    workers, processes, total = (6, 6, 100000) if FULL else (3, 2, 600)
    began = time.time()
    with Server(lua=APP, options=["--workers", workers]) as s:
        ready = ready_at(s) - began
        pids = s.workers()
        before = {pid: (rss(pid), fds(pid), cpu(pid)) for pid in pids}
        free = available()
        with Crowd(s.port, processes) as crowd:
            shares = [total // processes + (i < total % processes) for i in range(processes)]
            for i, share in enumerate(shares):
                crowd.begin("open %d 200" % share, i)
            answers = [crowd.answer(i) for i in range(processes)]
            opened = sum(a["opened"] for a in answers)
            need(opened == total, "%d of %d are in: %r" % (opened, total, answers))
            took = max(a["seconds"] for a in answers)
            held = {pid: fds(pid) - before[pid][1] for pid in pids}
            need(sum(held.values()) == total, "the workers hold %r" % held)
            used = sum(cpu(pid) - before[pid][2] for pid in pids)
            full = {pid: rss(pid) for pid in pids}
            say("ready after %.0f ms with %d workers; %d connected in %.1f s, each for %.1f µs of processor time of "
                "a worker", ready * 1000, workers, total, took, used / total * 1e6)
            say("a worker holds %d to %d of them and has %d to %d MiB resident, %d to %d at the start: %.0f bytes each",
                min(held.values()), max(held.values()), min(full.values()) >> 20, max(full.values()) >> 20,
                min(b[0] for b in before.values()) >> 20, max(b[0] for b in before.values()) >> 20,
                sum(full[pid] - before[pid][0] for pid in pids) / total)
            say("the machine has %d MiB less, both ends and the kernel's part of them", (free - available()) >> 20)
            for what in ("ping", "asked"):
                done = crowd.do(what)
                need(done["answered"] == total, "%s: %r" % (what, done))
                say("%s: %d of %d in %.1f s", {"ping": "the server's pongs", "asked": "pongs to the server"}[what],
                    done["answered"], total, done["seconds"])
            say("resident afterwards: %.0f bytes each",
                sum(rss(pid) - before[pid][0] for pid in pids) / total)

            def calm():
                first = [switches(pid) for pid in pids]
                time.sleep(1)
                return [switches(pid) for pid in pids] == first
            wait_until(calm, SECONDS * 4, "a second in which no worker wakes up")
            need(crowd.do("alive")["alive"] == total, "some were ended")
            need(s.workers() == pids, "a worker was replaced")
            if not INSTRUMENTED and FULL:
                each = sum(rss(pid) - before[pid][0] for pid in pids) / total
                need(each <= 2048, "%.0f bytes a connection" % each)
        wait_until(lambda: all(fds(pid) <= before[pid][1] for pid in pids), PATIENCE, "descriptors are back")
        unspoilt(s)


# --- Everybody at once ----------------------------------------------------------------------------

@suite.case("L29.burst", "all connect within a second: served, or refused by the kernel; traffic goes on")
def _():
    processes, each = (2, 10000) if FULL else (2, 750)
    with Server(lua=APP, options=["--workers", "2" if FULL else "1"]) as s, Watch(s.port) as watch:
        pids = s.workers()
        before = [fds(pid) for pid in pids]
        with Crowd(s.port, processes) as crowd:
            done = crowd.do("open %d %d" % (each, each))
            say("%d connects within %.2f s: %d in, %d refused, after %.1f s; the bystander waited %.0f ms at most",
                processes * each, done["connecting"], done["opened"], done["refused"], done["seconds"],
                watch.worst * 1000)
            need(done["opened"] + done["refused"] == processes * each, repr(done))
            need(done["opened"] >= processes * each * 0.8, repr(done))
            need(watch.worst < 1 * SLACK * 2, "the bystander waited %.2f s" % watch.worst)
            need(crowd.do("echo")["answered"] == done["opened"], "some do not answer")
            need(sum(fds(pid) for pid in pids) == sum(before) + done["opened"], "descriptors")
        wait_until(lambda: [fds(pid) for pid in pids] == before, PATIENCE, "descriptors are back")
        unspoilt(s)


@suite.case("L31.storm", "all vanish and return at once, three times: in again within 10 s")
def _():
    processes, each = (2, 5000) if FULL else (2, 500)
    with Server(lua=APP, options=["--workers", "2"]) as s:
        pids = s.workers()
        before, memory = [fds(pid) for pid in pids], []
        with Crowd(s.port, processes) as crowd:
            for n in range(4):
                done = crowd.do("open %d %d" % (each, each))
                say("%d %s within %.2f s, in after %.2f s", processes * each, "return" if n else "come",
                    done["connecting"], done["seconds"])
                need(done["opened"] == processes * each and done["refused"] == 0, repr(done))
                need(done["seconds"] < 10 * max(1, SLACK / 2), "in after %.1f s" % done["seconds"])
                need(crowd.do("echo")["answered"] == processes * each, "some do not answer")
                memory.append(sum(map(rss, pids)))
                need(crowd.do("drop %d" % each)["dropped"] == processes * each, "not all were there")
        wait_until(lambda: [fds(pid) for pid in pids] == before, PATIENCE, "descriptors are back")
        need(s.workers() == pids, "a worker was replaced")
        need(INSTRUMENTED or memory[-1] - memory[1] < 4 << 20, "resident: %r" % memory)
        unspoilt(s)


# --- More than there are descriptors for ----------------------------------------------------------

def complaints(server):
    return server.log().count("cannot accept connections")


@suite.case("L11.limit", "more come than there are descriptors: they wait, nothing spins, then they are in")
def _():
    limit, beyond = (20000, 2000) if FULL else (400, 100)

    def few():
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    with Server(lua=APP, preexec=None if FULL else few) as s, Watch(s.port) as watch:
        pid = s.workers()[0]
        room = limit - fds(pid)
        with Crowd(s.port, 2) as crowd:
            crowd.begin("open %d 500" % (room - beyond), 0)
            need(crowd.answer(0)["opened"] == room - beyond, "not all are in")
            crowd.begin("open %d %d" % (2 * beyond, 2 * beyond), 1)
            s.wait_log("cannot accept connections: Too many open files", PATIENCE)
            wait_until(lambda: fds(pid) == limit, PATIENCE, "the limit")
            told = complaints(s)
            wait_until(lambda: complaints(s) > told, PATIENCE, "it is told again")
            told, used, began = complaints(s), cpu(pid), time.monotonic()
            wait_until(lambda: complaints(s) >= told + 3, PATIENCE, "and again")
            seconds = time.monotonic() - began
            used = cpu(pid) - used
            say("at the limit: %.1f %% of a processor, the bystander's traffic included; 3 lines in %.1f s",
                used / seconds * 100, seconds)
            need(used <= 0.05 * SLACK * seconds, "it spins: %.2f s of processor time in %.1f s" % (used, seconds))
            need(seconds > 2.8, "three lines in %.1f s" % seconds)
            began = time.monotonic()
            crowd.begin("drop %d" % (beyond + 10), 0)
            crowd.answer(0)
            done = crowd.answer(1)
            took = time.monotonic() - began
            say("%d that waited were in %.2f s after descriptors were free", beyond, took)
            need(done["opened"] == 2 * beyond and done["refused"] == 0, repr(done))
            need(took < max(1, SLACK) * machine_load(), "accepting resumed after %.1f s" % took)
            need(crowd.do("echo")["answered"] == room - 10, "some do not answer")
        need(watch.worst < 1 * SLACK * 2, "the bystander waited %.2f s" % watch.worst)
        unspoilt(s)


if __name__ == "__main__":
    suite.main()
