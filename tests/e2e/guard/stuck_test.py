#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The guard where no error can be raised (faults L04 and L22): the worker ends, or the master ends it.
"""
import os
import re
import signal
import sys

sys.path.insert(0, os.path.abspath(__file__ + "/../../../support"))
from neaptest import (  # noqa: E402
    INSTRUMENTED, TEXT, Failed, Raw, Server, Suite, alive, cpu, need, run_neap, wait_until)
from guarded import APP, ENDLESS, FEW, LATE, LIMIT, Watcher, guarded  # noqa: E402

suite = Suite("stuck")


def doomed(server, words, begin):
    """A worker that is stuck is replaced; connections of the others do not notice."""
    there = {}
    while len(there) < 2:
        conn = Raw(server.port, "/who", seconds=LATE)
        conn.text("?")
        there.setdefault(conn.recv_message()[1], []).append(conn)
    pids = set(server.workers())
    begin()
    server.wait_log(words, LATE)
    wait_until(lambda: len(server.workers()) == 2 and set(server.workers()) != pids, LATE,
               "a new worker")
    need(len(set(server.workers()) & pids) == 1, "more than one worker was replaced")
    answers = 0
    for name, conns in there.items():
        for conn in conns:
            conn.text("?")
            try:
                answers += conn.recv_message()[1] == name
            except Failed:
                pass
    need(answers >= min(map(len, there.values())), "connections of the other worker were lost")


ENDS = "cannot be interrupted: the worker ends .*handler=%s"


@suite.case("L04-pattern", "a string pattern without end: the worker is replaced")
def stuck_pattern():
    with guarded(workers=2) as server:
        def begin():
            conn = Raw(server.port, "/onMessage/pattern", seconds=LATE)
            conn.text("go")
        doomed(server, ENDS % "onMessage", begin)
        told_where(server, "return found")


def told_where(server, line):
    """The log's line about the worker's end names all that there is to name."""
    record = next(r for r in server.records("error") if "interrupted" in r.message)
    with open(APP, encoding="utf-8") as text:
        number = 1 + next(i for i, s in enumerate(text) if line in s)
    at = int(re.search(r"guard_app\.lua:(\d+)$", record.fields["at"]).group(1))
    need(number - 1 <= at <= number, "line %d, expected %d: %r" % (at, number, record.fields))
    need(len(record.fields["connection"]) == 16, repr(record.fields))
    need(record.fields["worker"] in "01", repr(record.fields))


@suite.case("L04-c", "a C function that never returns: the worker is replaced")
def stuck_c_function():
    with guarded(workers=2) as server:
        def begin():
            conn = Raw(server.port, "/onMessage/c function".replace(" ", "%20"), seconds=LATE)
            conn.text("go")
        doomed(server, ENDS % "onMessage", begin)
        told_where(server, 'ffi.cast("void (*)(void)", code)()')


@suite.case("L04-blind", "where the guard's timer is blocked the master ends it, and it says where it was")
def stuck_blind():
    with guarded(workers=2) as server:
        def begin():
            conn = Raw(server.port, "/onMessage/blind", seconds=LATE)
            conn.text("go")
        doomed(server, ENDS % "onMessage", begin)
        told_where(server, "nobody is told")


@suite.case("L04-deaf", "one that hears no signal at all is killed")
def stuck_deaf():
    with guarded(workers=2) as server:
        def begin():
            conn = Raw(server.port, "/onMessage/deaf", seconds=LATE)
            conn.text("go")
        doomed(server, "event loop does not turn .*: it is killed worker=[01]", begin)
        server.wait_log("worker died .*signal=SIGKILL", LATE)


@suite.case("L04-last", "a finalizer without end when the worker ends: the next one comes all the same")
def stuck_at_the_end():
    with guarded() as server:
        conn = Raw(server.port, "/lasts", seconds=LATE)
        conn.text("go")
        conn.expect(TEXT, b"kept", LATE)
        pids = server.workers()
        os.kill(pids[0], signal.SIGTERM)
        wait_until(lambda: server.replaced(pids), LATE, "a new worker")
        Watcher(server).check()


@suite.case("blocks", "a worker that waits in a blocking call is left alone")
def blocks():
    with guarded(limit=0.01) as server:
        conn, pids = Raw(server.port, "/blocks", seconds=LATE), server.workers()
        conn.text("4000")
        conn.expect(TEXT, b"done", LATE)
        need(server.workers() == pids, "the worker was replaced")


@suite.case("L04-finalizer", "a finalizer without end, set as C modules do: the worker is replaced")
def stuck_finalizer():
    with guarded(workers=2) as server:
        def begin():
            conn = Raw(server.port, "/timer/finalizer", seconds=LATE)
            conn.text("go")
        doomed(server, ENDS % "timer", begin)


@suite.case("L04-time", "it is replaced within 3.5 s of processor time, by default")
def stuck_time():
    with Server(APP, options=["--drain", "0.5"]) as server:
        conn = Raw(server.port, "/onMessage/pattern", seconds=LATE * 4)
        pid, before = server.workers()[0], server.cpu(server.workers()[0])
        used = [before]
        conn.text("go")

        def gone():
            if not alive(pid):
                return True
            try:
                used.append(cpu(pid))
            except (OSError, IndexError, ValueError):
                pass
            return False
        wait_until(gone, LATE * 4, "the end of the worker")
        need(used[-1] - before <= 3.5, "it took %.2f s" % (used[-1] - before))
        wait_until(lambda: len(server.workers()) == 1, LATE, "a new worker")


def at_load(command, kind):
    args = [command, "--handler-timeout", str(LIMIT), APP, "--", "0", kind]
    done = run_neap(*args, seconds=LATE * 2)
    text = done.stdout + done.stderr
    need(done.returncode == 1, "%s %s: exit status %d: %s" % (command, kind, done.returncode, text))
    return text


@suite.case("L22-load", "an endless loop at load is an error of the app")
def load():
    for kind in FEW if INSTRUMENTED else ENDLESS[::2]:
        text = at_load("run", kind)
        need("the app exceeded its time limit of 0.5 s for loading" in text, kind + ": " + text)
        need("guard_app.lua:" in text, kind + ": " + text)


@suite.case("L22-check", "neap check finds it, too")
def check():
    for kind in ("while", "pcall", "xpcall"):
        text = at_load("check", kind)
        need("the app exceeded its time limit of 0.5 s for loading" in text, kind + ": " + text)


@suite.case("L22-stuck", "so is a C function without end")
def load_stuck():
    text = at_load("run", "pattern")
    need("cannot be interrupted" in text and "handler=load" in text, text)
    for kind in ("blind", "deaf"):
        text = at_load("run", kind)
        need(("cannot be interrupted" if kind == "blind" else "it is killed") in text, text)
        need("giving up" not in text and text.count("worker died") == 0, text)
    text = at_load("check", "pattern")
    need("in a function that cannot be interrupted" in text, text)


if __name__ == "__main__":
    suite.main()
