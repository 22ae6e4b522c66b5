#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Chaos: an app that does everything at random (chaos_app.lua), and clients that are no better.

usage: tests/long/chaos.py [--seconds N] [--seed N] [--without ACT,...]

An hour, unless told otherwise, with a seed by chance. To leave acts out finds out which it is.

Two workers, over ws and wss, compressed too. Callbacks, timers, tasks, streams, upgrade functions
and finalizers of all kinds close, push, detach, raise, recurse, loop, run out of memory. What must
hold: no sanitizer's report, no panic, the same two workers at the end as at the beginning, every
client of /echo is served all the while, an orderly stop.

Environment: NEAP names the program (build/asan/neap).
"""
import argparse
import contextlib
import json
import os
import random
import re
import resource
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(ROOT, "tests", "support"))
os.environ.setdefault("NEAP", os.path.join(ROOT, "build", "asan", "neap"))
os.environ.setdefault("ASAN_OPTIONS", "detect_leaks=1:allocator_may_return_null=1")

from neaptest import (  # noqa: E402
    BINARY, CLOSE, CONT, PING, PONG, TEXT, Authority, Failed, Raw, Server, close_payload, frame)

PATHS = ("/chaos", "/chaos", "/fn", "/side", "/spare")
CLIENTS, BYSTANDERS = 8, 4
OPTIONS = ("--workers", "2", "--handler-timeout", "0.3", "--memory-limit", "96M", "--drain", "2")
# Until a bystander has its answer: others' loops and collections keep it waiting for some seconds of its worker's
# processor time. How long that takes is the machine's business, but not for ever.
PATIENCE, FOR_EVER = 10.0, 600.0
BAD = re.compile(r".*(?:PANIC|unprotected|AddressSanitizer|runtime error:|LeakSanitizer"
                 r"|cannot be interrupted|event loop does not turn|this worker is replaced).*")
REPORT_EVERY = 60
STACK = 64 << 20


def tall():
    """The stack that a worker gives itself, from the beginning: the sanitizer looks only then."""
    hard = resource.getrlimit(resource.RLIMIT_STACK)[1]
    resource.setrlimit(resource.RLIMIT_STACK, (STACK if hard == resource.RLIM_INFINITY else min(STACK, hard), hard))


class Client(threading.Thread):
    """Opens one connection after the other, and sends what nobody should."""

    def __init__(self, run, number):
        super().__init__(daemon=True)
        self.run_, self.random = run, random.Random(run.seed * 1000 + number)
        self.opened = self.refused = self.sent = 0
        self.failure = None
        self.start()

    def run(self):
        try:
            while not self.run_.over():
                self.one()
        except Exception as err:
            self.failure = "client: %r" % err

    def one(self):
        dice, secure = self.random, self.random.random() < 0.5
        try:
            conn = Raw(self.run_.ports[secure], dice.choice(PATHS), seconds=2, compress=dice.random() < 0.5,
                       tls=self.run_.tls if secure else None)
        except (OSError, AssertionError):       # refused, or closed while it was asked for
            self.refused += 1
            return
        self.opened += 1
        with contextlib.suppress(OSError, AssertionError), contextlib.closing(conn):
            for _ in range(dice.randrange(40)):
                self.sent += 1
                self.act(conn)
                self.read(conn)
            dice.choice((conn.reset, conn.close, conn.shutdown, lambda: self.good_bye(conn)))()

    def text(self):
        return self.random.choice(("hello", "x" * self.random.randrange(3000), '{"event":"go","id":%d}'
                                   % self.random.randrange(5), '{"event":"spot","x":%d}' % self.random.randrange(9)))

    def act(self, conn):
        dice = self.random
        what = dice.randrange(100)
        if what < 60:
            conn.text(self.text())
        elif what < 75:
            conn.send_frame(BINARY, os.urandom(dice.randrange(2000)))
        elif what < 80:
            conn.send(b"".join(frame(TEXT, self.text()) for _ in range(20)) if not conn.packs else b"")
        elif what < 85:
            conn.send_frame(dice.choice((PING, PONG)), b"p" * dice.randrange(126))
        elif what < 90:
            conn.send_frame(TEXT, "par", fin=False)
            conn.send_frame(CONT, "ts")
        elif what < 92:
            conn.send(os.urandom(dice.randrange(1, 40)))
        elif what < 93:
            time.sleep(0.7)

    def read(self, conn):
        """What has come, which may be anything; a client that does not read, now and then."""
        if self.random.random() < 0.1:
            return
        conn.sock.settimeout(0.01)
        with contextlib.suppress(TimeoutError, OSError):
            while conn.sock.recv(65536):
                pass

    def good_bye(self, conn):
        conn.send_frame(CLOSE, close_payload(1000, "bye"))
        self.read(conn)


class Witness(threading.Thread):
    """A client of /echo, who must not notice."""

    def __init__(self, run, secure):
        super().__init__(daemon=True)
        self.run_, self.failure, self.count, self.worst = run, None, 0, 0.0
        self.conn = Raw(run.ports[secure], "/echo", seconds=FOR_EVER, tls=run.tls if secure else None,
                        compress=not secure)   # wss keeps contexts, which Raw does not
        self.start()

    def run(self):
        try:
            while not self.run_.over():
                self.check()
                time.sleep(0.05)
        except Exception as err:
            self.failure = "a bystander: %s" % (str(err) or repr(err))

    def check(self):
        """One echo. Which worker has it is unknown: the one that used less is given the benefit of the doubt."""
        self.count += 1
        text, before = "bystander %d" % self.count, self.run_.used()
        self.conn.text(text)
        self.conn.expect(TEXT, text)
        took = min(now - then for now, then in zip(self.run_.used(), before))
        self.worst = max(self.worst, took)
        if took > PATIENCE:
            raise Failed("the answer took %.2f s of processor time, %g at most" % (took, PATIENCE))


class Run:
    """One server, its clients, and what must hold."""

    def __init__(self, seconds, seed, without):
        self.seconds, self.seed, self.without, self.stopped = seconds, seed, without, False
        self.bad, self.tail = [], []
        self.authority = Authority()
        self.tls = self.authority.client()

    def over(self):
        return self.stopped or time.monotonic() > self.deadline

    def used(self):
        """Seconds of processor time of each worker so far."""
        return [self.server.cpu(pid) for pid in self.pids]

    def go(self):
        """Returns what was wrong, as a list of texts."""
        args = ("0", self.seed, *self.authority.issue("server"), self.without)
        with Server(os.path.join(HERE, "chaos_app.lua"), args=args, options=OPTIONS, preexec=tall) as server:
            self.server, self.ports, self.pids = server, server.ports, server.workers()
            self.deadline = time.monotonic() + self.seconds
            witnesses = [Witness(self, number % 2 == 1) for number in range(BYSTANDERS)]
            clients = [Client(self, number) for number in range(CLIENTS)]
            self.watch(witnesses + clients)
            self.stopped = True
            for thread in witnesses + clients:
                thread.join(30)
            wrong = [t.failure for t in witnesses + clients if t.failure] + self.bad
            if not wrong:
                wrong += self.told(clients)
                status = server.stop(60)
                self.look_at_log()
                wrong += ["ended with status %d" % status] * (status != 0) + self.bad
            if wrong:
                wrong.append("the log:\n" + "\n".join(self.excerpt()))
                server.kill()
        self.report(witnesses, clients)
        return wrong

    def watch(self, threads):
        """Until the time is over or something is wrong."""
        next_report = time.monotonic() + REPORT_EVERY
        while not self.over() and not self.bad and not any(t.failure for t in threads):
            time.sleep(0.1)
            self.look_at_log()
            if self.server.workers() != self.pids:
                self.bad.append("workers were %r and are %r" % (self.pids, self.server.workers()))
            if time.monotonic() > next_report:
                next_report += REPORT_EVERY
                self.report([t for t in threads if isinstance(t, Witness)],
                            [t for t in threads if isinstance(t, Client)])

    def look_at_log(self):
        """Takes what was logged, so that it does not pile up."""
        server = self.server
        with server.lock:
            lines, server.lines[:] = list(server.lines), []
        self.tail = (self.tail + lines)[-3000:]
        self.bad += [line for line in lines if BAD.match(line)][:5]
        if self.bad and any("Sanitizer" in line or "runtime error" in line for line in self.bad):
            time.sleep(2)               # the report is several lines long
            with server.lock:
                self.tail += server.lines

    def excerpt(self):
        """Some of the log from shortly before the first bad line on; its end when there is none."""
        first = next((n for n, line in enumerate(self.tail) if BAD.match(line)), len(self.tail))
        return [line[:1000] for line in self.tail[max(0, first - 40):first + 60]]

    def told(self, clients):
        """What was never done although there was time for it: then this would prove nothing."""
        counts = {}
        for _ in range(20):             # whichever workers answer
            with Raw(self.ports[0], "/told", seconds=20, compress=False) as conn:
                conn.text("?")
                for name, n in json.loads(conn.recv_message()[1]).items():
                    counts[name] = max(n, counts.get(name, 0))
        print("acts of a worker: %s" % ", ".join("%s %d" % pair for pair in sorted(counts.items())))
        with open(os.path.join(HERE, "chaos_acts.lua"), encoding="utf-8") as f:
            names = re.findall(r"^function acts\.(\w+)", f.read(), re.M)
        never = [name for name in [*names, "finalizers"] if name != "any" and not counts.get(name)]
        return ["never done: %s" % " ".join(never)] * bool(never and not self.without) + \
            ["no client was let in"] * (not sum(c.opened for c in clients))

    def report(self, witnesses, clients):
        print("seed %d: %d connections, %d refused, %d times sent, %d answers to bystanders, the slowest after %.2f s "
              "of its worker"
              % (self.seed, sum(c.opened for c in clients), sum(c.refused for c in clients),
                 sum(c.sent for c in clients), sum(w.count for w in witnesses),
                 max(w.worst for w in witnesses)), flush=True)


def main():
    parser = argparse.ArgumentParser(usage="tests/long/chaos.py [--seconds N] [--seed N] [--without ACT,...]")
    parser.add_argument("--seconds", type=float, default=3600)
    parser.add_argument("--seed", type=int, default=random.randrange(1, 1000000))
    parser.add_argument("--without", default="")
    options = parser.parse_args()
    print("chaos for %g s, seed %d" % (options.seconds, options.seed), flush=True)
    try:
        wrong = Run(options.seconds, options.seed, options.without).go()
    except Failed as err:
        wrong = [str(err)]
    for what in wrong:
        print("FAIL chaos (seed %d): %s" % (options.seed, what))
    print("%d passed, %d failed" % (not wrong, bool(wrong)))
    sys.exit(1 if wrong else 0)


main()
