#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The guard: handlers that never end, in every place (guard_app.lua); each is ended by an error (fault L02).

NEAP_INTERRUPTIONS is the number of handlers that are interrupted in one worker (300; the full
measure is 100000).
"""
import os
import random
import re
import signal
import sys
import time

sys.path.insert(0, os.path.abspath(__file__ + "/../../../support"))
from neaptest import INSTRUMENTED, SECONDS, TEXT, Failed, Raw, Server, Suite, cpu, need, wait_until  # noqa: E402
from guarded import APP, ENDLESS, FEW, LATE, PAST, PLACES, Watcher, guarded  # noqa: E402

suite = Suite("loops")
INTERRUPTIONS = int(os.environ.get("NEAP_INTERRUPTIONS") or 300)


# As the log calls them, where it is not their own name; and those that belong to no connection.
CALLED = {"stream": "stream of onMessage", "bound": "onMessage", "dispatched": "onGo", "beside": "onGo"}
OF_NOBODY = ("task", "timer")


def told(server, place, times):
    """The log says which handler it was, in which line and of which connection: once each time."""
    def records():
        return [r for r in server.records("error") if "exceeded its time limit" in r.message]
    wait_until(lambda: len(records()) >= times, LATE, "a line in the log")
    need(len(records()) == times, "logged twice: %r" % records()[-2:])
    record = records()[-1]
    need(record.message.startswith("error in %s: " % CALLED.get(place, place)), record.message)
    need(re.search(r"guard_app\.lua:\d+: " + PAST, record.message), record.message)
    need(place in OF_NOBODY or len(record.fields.get("connection", "")) == 16, repr(record))


def in_place(place, kinds):
    def run():
        with guarded() as server:
            watcher = Watcher(server)
            for times, kind in enumerate(kinds):
                try:
                    PLACES[place](server, kind)
                    watcher.check()
                    told(server, place, times + 1)
                except Failed as error:
                    raise Failed("%s: %s\n%s" % (kind, error, server.log()[-1500:])) from None
    return run


for name in PLACES:
    some = ENDLESS if name in ("onMessage", "task") and not INSTRUMENTED else FEW
    suite.add("L02-" + name, "an endless loop in %s ends with an error, alone" % name,
              in_place(name, some))


@suite.case("L02-log", "the log names the handler, the line and the connection")
def logged():
    with guarded() as server:
        conn = Raw(server.port, "/onMessage/while", seconds=LATE)
        conn.text("go")
        conn.expect_close(1011, seconds=LATE)
        server.wait_log("exceeded its time limit", LATE)
        record = next(r for r in server.records("error") if "exceeded" in r.message)
        with open(APP, encoding="utf-8") as text:
            line = 1 + [s.strip() for s in text].index("while true do end")
        need(record.message.startswith("error in onMessage: "), record.message)
        need("guard_app.lua:%d: handler exceeded" % line in record.message, record.message)
        need(len(record.fields["connection"]) == 16, repr(record.fields))


@suite.case("L02-second", "with the default limit it takes no more than 1.2 s of processor time")
def default_limit():
    with Server(APP, options=["--workers", "1"]) as server:
        conn = Raw(server.port, "/onMessage/while", seconds=LATE * 4)
        before = server.cpu(server.workers()[0])
        conn.text("go")
        conn.expect_close(1011, seconds=LATE * 4)
        took = server.cpu(server.workers()[0]) - before
        need(0.98 <= took <= 1.25, "it took %.2f s" % took)


@suite.case("off", "--handler-timeout 0 lets a handler take its time")
def off():
    with guarded(limit=0) as server:
        conn = Raw(server.port, "/busy", seconds=LATE)
        conn.text("2.5 1")      # longer than any line of defence would wait
        conn.expect(TEXT, b"done", LATE)


@suite.case("waits", "the time of a handler counts from wait to wait")
def waits():
    with guarded(limit=0.2) as server:
        conn = Raw(server.port, "/busy", seconds=LATE)
        conn.text("0.1 5")
        conn.expect(TEXT, b"done", LATE)


@suite.case("starved", "a worker that was stopped is not judged")
def starved():
    with guarded(limit=0.5) as server:
        conn = Raw(server.port, "/busy", seconds=LATE)
        pid = server.workers()[0]
        before = cpu(pid)
        conn.text("0.3 1")
        wait_until(lambda: cpu(pid) > before + 0.02, LATE, "the handler runs")
        os.kill(pid, signal.SIGSTOP)
        time.sleep(1.2)
        os.kill(pid, signal.SIGCONT)
        conn.expect(TEXT, b"done", LATE)


def switches(pid):
    with open("/proc/%d/status" % pid) as f:
        return int(re.search(r"^voluntary_ctxt_switches:\s*(\d+)", f.read(), re.M).group(1))


@suite.case("rest", "neither a worker nor the master wakes up while nothing happens")
def rest():
    with guarded() as server:
        conn = Raw(server.port, "/good", seconds=LATE)
        for i in range(50):
            conn.text(str(i))
            conn.expect(TEXT, b"%d" % i, LATE)
        pids = server.workers() + [server.pid]

        def calm():
            before = [switches(pid) for pid in pids]
            time.sleep(1)
            return [switches(pid) for pid in pids] == before
        wait_until(calm, 10 * SECONDS, "a second without waking up")


def used(pid):
    """Processor time of a process to the microsecond (clock_getcpuclockid)."""
    return time.clock_gettime((~pid << 3) | 2)


@suite.case("many", "interruptions in one worker, beside handlers that are checked")
def many():
    seed = int(os.environ.get("NEAP_SEED") or random.randrange(1 << 30))
    chance = random.Random(seed)
    count = INTERRUPTIONS // (5 if INSTRUMENTED else 1)
    kinds = [kind for kind in ENDLESS if kind not in ("recursion",)]
    limit, worst = 0.01, (0, "")
    with guarded(limit=limit) as server:
        good, watcher = Raw(server.port, "/good", seconds=LATE), Watcher(server)
        pid = watcher.pids[0]
        start, begun = server.rss(pid), time.monotonic()
        for i in range(count):
            place = chance.choice(("onMessage", "onMessage", "onMessage", "onOpen", "stream"))
            kind = chance.choice(kinds)
            before = used(pid)
            try:
                good.text(str(i))
                PLACES[place](server, kind)
                good.expect(TEXT, b"%d" % i, LATE)
            except Failed as error:
                raise Failed("seed %d, %d: %s in %s: %s\n%s" % (
                    seed, i, kind, place, error, server.log()[-2000:])) from None
            worst = max(worst, (used(pid) - before - limit, "%s in %s" % (kind, place)))
            if i % 100 == 99:
                watcher.check()
                server.forget_log()
            if i % 2000 == 1999:
                progress(i + 1, begun, start, server.rss(pid), worst)
        grown = server.rss(pid) - start
        progress(count, begun, start, server.rss(pid), worst)
        need(server.workers() == [pid], "the worker was replaced")
        need(grown < (48 << 20) * (4 if INSTRUMENTED else 1), "memory grew by %d" % grown)


def progress(done, begun, start, now, worst):
    print("  %d interruptions, %.0f s, resident %d KiB, %d at the start; at most %.1f ms of processor "
          "time past the limit, the other handlers' counted (%s)" % (
              done, time.monotonic() - begun, now >> 10, start >> 10, worst[0] * 1000, worst[1]),
          flush=True)


if __name__ == "__main__":
    suite.main()
