#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Groups, services and stored names over four workers, against a model (model.py has the rules).

    tests/e2e/groups/model_test.py [--seconds 20] [--seed N]

Connections publish, join, leave, take names, come and go, and workers stand still and are killed,
at random, by a seed that is printed first. What the kernel and the server make of it is not the same in each run.
After each kill, and now and then without one, nobody comes or goes until every worker tells
the right members and numbers.
"""
import os
import random
import resource
import signal
import sys
import time

sys.path.insert(0, os.path.abspath(__file__ + "/../../../support"))
from neaptest.client import machine_load  # noqa: E402
from neaptest import (  # noqa: E402
    BINARY, INSTRUMENTED, TEXT, Failed, Server, Suite, wait_until)
from fleet import Fleet, Link, troubles, unexpected  # noqa: E402
from model import POOL, VISIBLE, Account, Model  # noqa: E402

WORKERS, LINKS, WINDOW = 4, 60, 40
GROUPS = ["small%d" % i for i in range(6)] + ["large%d" % i for i in range(6)]
NAMES = ["name%d" % i for i in range(6)]
SERVICES = {"/a": "A", "/b": "B"}
RIGHT = VISIBLE                 # seconds until a death is seen in all numbers, on a machine at rest
APP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "groups_app.lua")


class Member(Link, Account):
    """A connection, what the model keeps of it, and the calls that are to be answered."""

    def __init__(self, game, path):
        Account.__init__(self)
        self.waiting = {}       # by number: what to do with the answer
        self.busy = set()       # groups of which a join or leave is under way
        self.ident = None
        self.service = ("s", SERVICES[path])
        Link.__init__(self, game.fleet, game, game.server.port, path, game.rng.random() < 0.4)
        self.born = game.fleet.tick


class Game:
    def __init__(self, server, seed):
        self.server, self.rng, self.model, self.fleet = \
            server, random.Random(seed), Model(seed), Fleet()
        self.links, self.idents = [], set()
        self.calls = self.under_way = self.changes = 0      # calls: all; unanswered; changing ones
        self.killed, self.last_kill, self.killed_at = set(), -1, -1e9
        self.frozen = {}        # groups that were removed: (worker, tick)
        self.names_busy = set()
        self.still = {}         # workers that are stopped: until when
        self.churn, self.publish = True, True
        self.took = {"kill": [], "quiet": []}
        self.groups = list(GROUPS)

    # -- what the fleet tells

    def on_message(self, link, op, payload):
        if payload[:2] == b"A ":
            number, _, result = payload[2:].decode().partition(" ")
            self.under_way -= 1
            link.waiting.pop(int(number))(result)
        elif payload[:2] == b"H ":
            self.hello(link, payload.decode().split(" "))
        else:
            self.model.came(link, op, payload)

    def hello(self, link, words):
        if link.ident is not None or words[2] in self.idents:
            raise Failed("a connection has its id not for itself: %r" % words)
        link.worker, link.ident = int(words[1]), words[2]
        self.idents.add(link.ident)
        self.model.born.setdefault(link.worker, self.fleet.tick)
        stay = link.stays[link.service]
        stay.acked, stay.when = self.fleet.tick, time.monotonic()

    def on_end(self, link, how):
        dead = link.worker in self.killed or link.worker is None and link.born <= self.last_kill
        if not dead and how != "closed":
            raise Failed("connection %d in worker %s ended (%s) without a reason" % (
                link.number, link.worker, how))
        self.gone(link, dead)

    def gone(self, link, lost):
        self.links.remove(link)
        self.under_way -= len(link.waiting)
        for then in link.waiting.values():
            then(None)
        self.model.ended(link, self.fleet.tick, lost)

    # -- calls

    def call(self, link, call, name, then, op=TEXT, payload=b"", excepted=False):
        """Sends it; returns the tick. `then` gets the answer, or None when there will be none."""
        self.calls += 1
        self.under_way += 1
        link.waiting[self.calls] = then
        head = "%s %d %s %s\n" % (call, self.calls, name, "e" if excepted else "")
        link.send(op, head.encode() + payload)
        return self.fleet.tick

    def change(self, link, call, name, then):
        """A call that changes who is where: `then` is told only when it was answered."""
        self.changes += 1

        def told(result):
            self.changes -= 1
            then(result)
        return self.call(link, call, name, told)

    def size(self):
        """Of a message's body; -1 is an empty message."""
        most = self.rng.choices((0, 200, 4000, 20000, 70000), (4, 70, 20, 5, 1))[0]
        return self.rng.randrange(most // 3, most) if most else self.rng.choice((-1, 0, 1))

    def push(self, link, key, then=None, size=None, excepted=None):
        size = self.size() if size is None else size
        excepted = self.rng.random() < 0.2 if excepted is None else excepted
        if key[0] == "n":
            size = max(size, 0)         # of empty ones nobody could say whose they were
        op, offset = self.rng.choice((TEXT, BINARY)), self.rng.randrange(POOL // 2)
        call = {"g": "push", "s": "broadcast", "n": "tell"}[key[0]]
        if call == "broadcast" and key == link.service and not excepted and offset & 1:
            call = "all"
        p = self.model.push(link, key, op, offset, size, excepted and call != "tell")

        def told(result):
            if result is not None:
                p.acked = self.fleet.tick
                self.judge(p, result)
            if then:
                then(result)
        tick = self.call(link, call, key[1], told, op, p.payload(self.model.pool), p.excepted)
        self.model.sent(p, tick, time.monotonic())
        return p

    def judge(self, p, result):
        """The result of a push, as far as it is certain while people come and go."""
        quiet = time.monotonic() - self.killed_at > RIGHT
        if p.key[0] != "n":
            if result == "none":
                raise Failed("%r was refused" % p)
            members, delivered, dropped, closed = map(int, result.split())
            if delivered + dropped != members or closed or quiet and dropped:
                raise Failed("%r told %s" % (p, result))
            return
        claims = self.model.claims.get(p.key[1])
        last = claims[-1] if claims else None
        if last is None or not last.known_to(p) or last.worker in self.killed:
            return
        if last.link is None and result != "none":
            raise Failed("%r told %s, and nobody has that name" % (p, result))
        if last.link is not None and last.link.state == "open" and result != "1 1 0 0":
            raise Failed("%r told %s, and connection %d has that name" % (
                p, result, last.link.number))

    # -- changes

    def join(self, link, key):
        def told(result):
            if result is not None:
                self.expect(result, "true", "join", link, key)
                link.busy.discard(key)
                self.model.join(link, key, asked, self.fleet.tick, time.monotonic())
        link.busy.add(key)
        asked = self.change(link, "join", key[1], told)

    def leave(self, link, key):
        def told(result):
            if result is None:
                return
            if key[1] not in self.frozen:
                self.expect(result, "true", "leave", link, key)
            link.busy.discard(key)
            self.model.left(link, key, False)
        link.busy.add(key)
        self.model.leaving(link.stays[key], self.change(link, "leave", key[1], told))

    def remove(self, link, key):
        """The whole group. Its members ask to leave afterwards, which tells that they are out."""
        def told(result):
            if result is None:
                return              # done, or not, or for some: that group is not used again
            self.frozen[key[1]] = (link.worker, self.fleet.tick)
            for member in self.members(key):
                member.removed[key] = self.frozen[key[1]]
                self.leave(member, key)
        self.frozen[key[1]] = (None, 0)
        tick = self.change(link, "remove", key[1], told)
        for member in self.members(key):
            self.model.leaving(member.stays[key], tick)

    def thaw(self):
        """Groups that were removed can be used again when every worker knows of it."""
        for name, (worker, tick) in list(self.frozen.items()):
            live = {link.worker for link in self.links if link.worker}
            if worker is None and not self.changes or worker in self.killed:
                if name in self.groups:
                    self.groups[self.groups.index(name)] = name.split("-")[0] + "-%d" % tick
                    for member in self.members(("g", name)):
                        if ("g", name) not in member.busy:
                            self.leave(member, ("g", name))
            elif worker is not None and not self.members(("g", name)):
                live.discard(worker)
                if all(self.model.known.get(w, {}).get(worker, -1) > tick for w in live):
                    del self.frozen[name]

    def store(self, link, name, remove):
        def told(result):
            self.names_busy.discard(name)
            if result is not None:
                self.model.claimed(name, self.fleet.tick, time.monotonic())
        self.names_busy.add(name)
        tick = self.change(link, "unstore" if remove else "store", name, told)
        self.model.claim(name, None if remove else link, link.worker, tick)

    def expect(self, result, wanted, call, link, key):
        if result != wanted:
            raise Failed("%s of connection %d, %s: %s" % (call, link.number, key, result))

    # -- who is where

    def open(self):
        link = Member(self, self.rng.choice(sorted(SERVICES)))
        self.links.append(link)
        self.model.join(link, link.service, link.born, None, time.monotonic())

    def ready(self):
        return [link for link in self.links if link.worker and link.state == "open"]

    def members(self, key):
        return [link for link in self.links if key in link.stays]

    def close(self, link):
        for stay in link.stays.values():
            self.model.leaving(stay, self.fleet.tick)
        for claims in self.model.claims.values():
            for claim in claims:
                if claim.link is link and claim.stay:
                    self.model.leaving(claim.stay, self.fleet.tick)
        if self.rng.random() < 0.5:
            link.close()
        else:
            link.reset()
            self.gone(link, True)

    # -- the run

    def act(self):
        """One random thing."""
        link = self.rng.choice(self.ready() or [None])
        if link is None or len(link.waiting) > 6:
            return
        if not self.churn or self.rng.random() < 0.7:
            if self.publish:
                kind = self.rng.choices("gsn", (70, 12, 18))[0]
                among = {"g": self.groups, "s": list(SERVICES.values()), "n": NAMES}[kind]
                self.push(link, (kind, self.rng.choice(among)))
            return
        what = self.rng.choices(("member", "name", "close", "remove"), (80, 16, 4, 0.5))[0]
        if what == "member":
            self.move(link, ("g", self.rng.choice(self.groups)))
        elif what == "name":
            name = self.rng.choice(NAMES)
            if name not in self.names_busy:
                self.store(link, name, self.rng.random() < 0.2)
        elif what == "close":
            if not link.waiting:
                self.close(link)
        else:
            key = ("g", self.rng.choice(self.groups))
            if key[1] not in self.frozen and not any(key in other.busy for other in self.links):
                self.remove(link, key)

    def move(self, link, key):
        if key in link.busy or key[1] in self.frozen:
            return
        if key in link.stays:
            self.leave(link, key)
        elif len(self.members(key)) < (5 if key[1].startswith("small") else 20):
            self.join(link, key)

    def pause(self):
        """A worker stands still, as it may on a busy machine: it answers late, and hears late."""
        pid = self.rng.choice(self.server.workers())
        self.still[pid] = time.monotonic() + self.rng.uniform(0, 0.1)
        os.kill(pid, signal.SIGSTOP)

    def go_on(self, now):
        for pid in [pid for pid, until in self.still.items() if now >= until]:
            del self.still[pid]
            os.kill(pid, signal.SIGCONT)

    def turn(self):
        if self.still:
            self.go_on(time.monotonic())
        while self.churn and len(self.links) < LINKS:
            self.open()
        self.thaw()
        for _ in range(WINDOW):
            if self.under_way < WINDOW:
                self.act()
        self.fleet.turn(0.01)

    def until(self, done, seconds, what):
        began = time.monotonic()
        while not done():
            if time.monotonic() > began + seconds * machine_load():
                raise Failed("not within %.1f s: %s" % (time.monotonic() - began, what))
            self.turn()

    def census(self, why, began):
        """Nobody comes or goes, until every worker tells the right numbers."""
        self.churn = False
        self.go_on(float("inf"))
        self.until(lambda: not self.changes, RIGHT * 3, "changes answered")
        self.until(lambda: not any(link.worker in self.killed or link.state == "closing"
                                   for link in self.links), RIGHT * 3, "ends seen")
        settled = time.monotonic()
        wrong = {}
        for link in {link.worker: link for link in self.ready()}.values():
            for name in self.groups:
                if name not in self.frozen:
                    for call in ("size", "ids", "push"):
                        self.check(wrong, link, call, ("g", name))
            for name in NAMES:
                self.check(wrong, link, "tell", ("n", name))
            for name in SERVICES.values():
                self.check(wrong, link, "push", ("s", name))
        began = began if why == "kill" else settled
        while wrong:
            if time.monotonic() > began + RIGHT * machine_load():
                raise Failed("%.1f s after %s: %s" % (time.monotonic() - began, why,
                                                       list(wrong.values())[:5]))
            self.turn()
        self.took[why].append(time.monotonic() - began)
        self.churn = True

    def check(self, wrong, link, call, key):
        """Asks again and again until the answer is the right one."""
        def told(result):
            wanted = self.wanted(call, key)
            if result is None or wanted is None or result in wanted:
                del wrong[link, call, key]
                return
            wrong[link, call, key] = "%s of %s in worker %d: %s, not %s" % (
                call, key, link.worker, result, wanted)
            ask()

        def ask():
            if call in ("size", "ids"):
                self.call(link, call, key[1], told)
            else:
                self.push(link, key, told, size=20, excepted=False)
        wrong[link, call, key] = "%s of %s in worker %d: no answer" % (call, key, link.worker)
        ask()

    def wanted(self, call, key):
        """The right answers; None where it cannot be said."""
        if call == "tell":
            found = self.model.holders(key[1], self.killed)
            return ["none" if link is None else "1 1 0 0" for link in found]
        members = self.members(key)
        if any(link.worker is None for link in self.links) and key[0] == "s":
            return None
        if call == "ids":
            return [" ".join(sorted(link.ident for link in members))]
        count = len(members)
        return ["%d" % count if call == "size" else "%d %d 0 0" % (count, count)]

    def kill(self):
        self.go_on(float("inf"))
        live = self.server.workers()
        victim = self.rng.choice(live)
        number = signal.SIGKILL if INSTRUMENTED else self.rng.choice(
            (signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT))
        self.last_kill, self.killed_at = self.fleet.tick, time.monotonic()
        self.killed.add(victim)
        os.kill(victim, number)
        self.census("kill", self.killed_at)

    def finish(self):
        """Everything that was sent has come, and everybody leaves."""
        self.census("quiet", time.monotonic())      # so that everybody knows where the last members are
        self.churn = self.publish = False
        self.until(lambda: not self.under_way and all(link.worker for link in self.links),
                   RIGHT * 5, "everything answered")
        marks = []
        for link in {link.worker: link for link in self.ready()}.values():
            marks += [self.push(link, ("s", name), size=10, excepted=False)
                      for name in SERVICES.values()]

        def all_came():
            return not self.under_way and all(
                link.stays[link.service].last.get(mark.link.number) is mark
                for mark in marks for link in self.members(mark.key))
        self.until(all_came, RIGHT * 5, "the last message comes to everybody")
        for link in list(self.links):
            for stay in link.stays.values():
                self.model.leaving(stay, self.fleet.tick)
            link.close()
        self.until(lambda: not self.links, RIGHT * 5, "everybody leaves")

    def run(self, seconds):
        began = time.monotonic()
        kill, quiet, forget, pause = began + 3, began + 1.5, began, began
        self.until(lambda: len(self.ready()) == LINKS, RIGHT * 5, "connections")
        while time.monotonic() < began + seconds:
            self.turn()
            now = time.monotonic()
            if now > pause:
                self.pause()
                pause = now + self.rng.uniform(0, 0.3)
            if now > quiet:
                self.census("quiet", now)
                quiet = now + self.rng.uniform(1, 6)
            if now > kill and len(self.server.workers()) == WORKERS:
                self.kill()
                kill = now + self.rng.uniform(1, 5)
            if now > forget + 5:
                forget = now
                self.model.forget(now, self.links)
        self.finish()


suite = Suite("model")
settings = {"--seconds": 20, "--seed": random.randrange(1 << 31)}


def no_core():
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


@suite.case("random", "each member gets what it should, in order, whoever comes, goes or dies")
def _():
    seed = settings["--seed"]
    print("model: --seed %d" % seed, flush=True)
    with Server(APP, options=["--workers", WORKERS], preexec=no_core) as s:
        wait_until(lambda: len(s.workers()) == WORKERS)
        game = Game(s, seed)
        try:
            game.run(settings["--seconds"])
        except Failed as err:
            raise Failed("%s\n%s" % (err, troubles(s))) from None
        finally:
            game.fleet.end()
        counts = game.model.counts
        print("model: %s; %d calls; compressed %d" % (
            " ".join("%s %d" % item for item in counts.items()), game.calls, game.fleet.unpacked))
        print("model: numbers right after a kill, %d times, at worst in %.0f ms; "
              "else, %d times, %.0f ms" % tuple(
                  number for took in game.took.values()
                  for number in (len(took), 1000 * max(took, default=0))))
        if counts["certain"] < counts["came"] / 2 or not game.took["kill"] or not counts["empty"]:
            raise Failed("too little was proved: %r" % counts)
        if unexpected(s):
            raise Failed("in the log: %r" % unexpected(s)[:5])


if __name__ == "__main__":
    rest = sys.argv[1:]
    for name in settings:
        if name in rest:
            at = rest.index(name)
            settings[name] = int(rest[at + 1])
            del rest[at:at + 2]
    suite.main(rest)
