#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Workers killed under load, again and again: what the others notice, and what is left behind.

    tests/e2e/groups/kills_test.py [--kills 10] [--seed N]

80 connections in four workers push to groups, to each other by name, and count in neap.shared. A
random worker gets SIGKILL, SIGSEGV or SIGABRT at a random moment. Then a probe is served by its
replacement, all numbers are right in the other workers, the dead connections come back, and all
numbers are right everywhere; then the next one. The full measure is --kills 200.
"""
import glob
import os
import random
import resource
import signal
import sys
import tempfile
import time

sys.path.insert(0, os.path.abspath(__file__ + "/../../../support"))
from neaptest.client import machine_load  # noqa: E402
from neaptest import (  # noqa: E402
    INSTRUMENTED, SLACK, TEXT, Failed, Server, Suite, fds, wait_until)
from fleet import Fleet, Link, troubles, unexpected  # noqa: E402

WORKERS, LINKS, WINDOW = 4, 80, 30
GROUPS = ["group%d" % i for i in range(8)]
ACCEPTED, RIGHT = 1.0 * SLACK, 2.0 * SLACK      # seconds: what is promised
APP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "groups_app.lua")


class Client(Link):
    """A connection that is in two groups and has a name; a probe is in none and has none."""

    def __init__(self, game, slot):
        self.slot, self.worker, self.waiting, self.began = slot, None, {}, time.monotonic()
        self.settled = slot is None         # its joins have been answered
        Link.__init__(self, game.fleet, game, game.server.port, "/a")

    def groups(self):
        return () if self.slot is None else (
            GROUPS[self.slot % len(GROUPS)], GROUPS[self.slot // len(GROUPS) % len(GROUPS)])


class Game:
    def __init__(self, server, seed):
        self.server, self.rng, self.fleet = server, random.Random(seed), Fleet()
        self.links = {}             # by slot
        self.probes = set()
        self.killed, self.kill_number = set(), 0
        self.calls = self.under_way = self.came = 0
        self.coming_back = True
        self.served = {}            # by worker: when it first answered a connection
        self.worst = dict.fromkeys(("probe", "accepted", "right", "whole"), 0.0)

    # -- what the fleet tells

    def on_message(self, link, op, payload):
        if payload[:2] == b"A ":
            number, _, result = payload[2:].decode().partition(" ")
            self.under_way -= 1
            link.waiting.pop(int(number))(result)
        elif payload[:2] == b"H ":
            self.hello(link, int(payload.split(b" ")[1]))
        else:
            self.came += 1

    def hello(self, link, worker):
        now = time.monotonic()
        link.worker = worker
        self.served.setdefault(worker, now)
        self.worst["probe"] = max(self.worst["probe"], now - link.began)
        if link.slot is None:
            self.probes.discard(link)
            link.close()
            return
        for group in set(link.groups()):
            self.call(link, "join", group, lambda _: None)

        def settled(result):
            link.settled = result is not None
        self.call(link, "store", "name%d" % link.slot, settled)

    def on_end(self, link, how):
        if how != "closed" and link.worker not in self.killed and link.worker is not None:
            raise Failed("a connection to the living worker %d ended: %s" % (link.worker, how))
        self.probes.discard(link)
        if self.links.get(link.slot) is link:
            del self.links[link.slot]
        self.under_way -= len(link.waiting)
        for then in link.waiting.values():
            then(None)

    def call(self, link, call, name, then, payload=b""):
        self.calls += 1
        self.under_way += 1
        link.waiting[self.calls] = then
        link.send(TEXT, b"%s %d %s \n%s" % (call.encode(), self.calls, name.encode(), payload))

    # -- the load

    def turn(self):
        for slot in range(LINKS):
            if self.coming_back and slot not in self.links:
                self.links[slot] = Client(self, slot)
        if len(self.probes) < 3:
            self.probes.add(Client(self, None))
        ready = [link for link in self.links.values() if link.settled]
        for _ in range(WINDOW):
            if ready and self.under_way < WINDOW:
                self.load(self.rng.choice(ready))
        self.fleet.turn(0.01)

    def load(self, link):
        what = self.rng.choices(("push", "tell", "broadcast", "incr"), (60, 20, 2, 20))[0]
        name = {"push": self.rng.choice(GROUPS), "tell": "name%d" % self.rng.randrange(LINKS),
                "broadcast": "A", "incr": "n"}[what]
        self.call(link, what, name, lambda _: None, b"x" * self.rng.randrange(400))

    def until(self, done, began, seconds, what):
        while not done():
            if time.monotonic() > began + seconds * machine_load():
                raise Failed("kill %d: %.2f s later, not %s" % (
                    self.kill_number, time.monotonic() - began, what() if callable(what) else what))
            self.turn()
        return time.monotonic() - began

    # -- the numbers

    def right(self, began):
        """Until every worker that has connections tells the numbers of those that there are."""
        wrong = {}
        for link in {link.worker: link for link in self.links.values() if link.settled}.values():
            for group in GROUPS:
                self.check(wrong, link, "size", group)
                self.check(wrong, link, "push", group)
            for slot in range(LINKS):
                self.check(wrong, link, "tell", "name%d" % slot)
        return self.until(lambda: not wrong, began, RIGHT,
                          lambda: "right: %r" % list(wrong.values())[:5])

    def check(self, wrong, link, call, name):
        """Asks again and again until the answer is the right one."""
        def told(result):
            if result is None or result == self.wanted(call, name):
                del wrong[link, call, name]
            else:
                wrong[link, call, name] = "%s of %s in worker %d: %s, not %s" % (
                    call, name, link.worker, result, self.wanted(call, name))
                self.call(link, call, name, told, b"x")
        wrong[link, call, name] = "%s of %s in worker %d: no answer" % (call, name, link.worker)
        self.call(link, call, name, told, b"x")

    def wanted(self, call, name):
        if call == "tell":
            return "1 1 0 0" if int(name[4:]) in self.links else "none"
        count = sum(name in link.groups() for link in self.links.values())
        return "%d" % count if call == "size" else "%d %d 0 0" % (count, count)

    def all_back(self):
        return len(self.links) == LINKS and all(link.settled for link in self.links.values())

    def kill(self):
        self.kill_number += 1
        for _ in range(self.rng.randrange(20)):
            self.turn()                 # so that it is at any moment
        before = set(self.server.workers())
        victim = self.rng.choice(sorted(before))
        number = signal.SIGKILL if INSTRUMENTED else self.rng.choice(
            (signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT))
        self.killed.add(victim)
        self.coming_back = False
        began = time.monotonic()
        os.kill(victim, number)
        self.until(lambda: not any(link.worker == victim for link in self.links.values()),
                   began, RIGHT, "all its connections ended")
        right = self.right(began)
        accepted = self.until(lambda: set(self.served) - before - self.killed, began, RIGHT,
                              "served by a new worker")
        new = min(self.served[worker] for worker in set(self.served) - before - self.killed)
        accepted = min(accepted, new - began)
        if accepted > ACCEPTED * machine_load():
            raise Failed("kill %d: accepting again after %.2f s" % (self.kill_number, accepted))
        self.coming_back = True
        self.until(self.all_back, began, RIGHT * 3, "everybody back")
        whole = self.right(time.monotonic())
        for name, took in (("accepted", accepted), ("right", right), ("whole", whole)):
            self.worst[name] = max(self.worst[name], took)
        self.served = {w: at for w, at in self.served.items() if w not in self.killed}


def unix_sockets(pids=None):
    """Inodes of the machine's Unix sockets: all, or those that these processes have open."""
    with open("/proc/net/unix") as f:
        known = {line.split()[6] for line in f.readlines()[1:]}
    if pids is None:
        return known
    found = set()
    for fd in [fd for pid in pids for fd in glob.glob("/proc/%d/fd/*" % pid)]:
        try:
            found.add(os.readlink(fd))
        except OSError:
            pass                        # closed meanwhile
    return {inode for inode in known if "socket:[%s]" % inode in found}


def memory_files(pid):
    """The server's files in memory, by the one that the master holds."""
    for fd in glob.glob("/proc/%d/fd/*" % pid):
        folder, name = os.path.split(os.readlink(fd))
        if name == "owner":
            return folder, sorted(os.listdir(folder))
    raise Failed("the master has no folder in memory")


suite = Suite("kills")
settings = {"--kills": 10, "--seed": random.randrange(1 << 31)}


def no_core():
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def state(server):
    """What must be the same after any number of deaths."""
    pids = [server.pid] + server.workers()
    return {"master's descriptors": fds(server.pid), "Unix sockets": len(unix_sockets(pids)),
            "files in memory": memory_files(server.pid)}


@suite.case("many", "killed workers are replaced; others notice nothing; nothing is left behind")
def _():
    print("kills: --kills %d --seed %d" % (settings["--kills"], settings["--seed"]), flush=True)
    with tempfile.TemporaryDirectory(prefix="neaptest-") as folder:
        env = {"TMPDIR": folder, "XDG_RUNTIME_DIR": folder}
        with Server(APP, options=["--workers", WORKERS], env=env, preexec=no_core) as s:
            game = Game(s, settings["--seed"])
            try:
                began = time.monotonic()
                game.until(game.all_back, began, RIGHT * 3, "everybody there")
                before = state(s)
                for _ in range(settings["--kills"]):
                    game.kill()
                wait_until(lambda: state(s) == before, None,
                           "as before: %r, %r" % (before, state(s)))
                took = time.monotonic() - began
            except Failed as err:
                raise Failed("%s\n%s" % (err, troubles(s))) from None
            finally:
                game.fleet.end()
            left, _ = memory_files(s.pid)
            sockets = unix_sockets([s.pid] + s.workers())
            s.stop()
            files = [name for _, _, names in os.walk(folder) for name in names]
            if os.path.exists(left) or files or sockets & unix_sockets():
                raise Failed("left behind: %s %r %r" % (left, files, sockets & unix_sockets()))
            died = sum(r.message == "worker died" for r in s.records("error"))
            if died != settings["--kills"] or unexpected(s):
                raise Failed("%d deaths in the log; %r" % (died, unexpected(s)[:5]))
    print("kills: %d in %.0f s, %d calls, %d messages came; at worst: a probe waited %.0f ms, "
          "accepting again after %.0f ms, numbers right after %.0f ms, with the new worker "
          "%.0f ms" % (settings["--kills"], took, game.calls, game.came, *(
              1000 * game.worst[name] for name in ("probe", "accepted", "right", "whole"))))


if __name__ == "__main__":
    rest = sys.argv[1:]
    for name in settings:
        if name in rest:
            at = rest.index(name)
            settings[name] = int(rest[at + 1])
            del rest[at:at + 2]
    suite.main(rest)
