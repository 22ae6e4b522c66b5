#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Finalizers (finalizers_app.lua): what they do, whenever they run, harms nothing but themselves."""
import os
import sys
import tempfile
import time

sys.path.insert(0, os.path.abspath(__file__ + "/../../../support"))
from neaptest import SECONDS, TEXT, Raw, Server, Suite, need, wait_until  # noqa: E402

suite = Suite("finalizers")
APP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "finalizers_app.lua")
LATE = SECONDS * 4


class Running:
    """A server whose workers shall stay the same."""

    def __init__(self, workers=1, options=()):
        self.folder = tempfile.TemporaryDirectory(prefix="neaptest-")
        self.server = Server(APP, args=["0", self.folder.name], options=["--workers", workers, *options])

    def __enter__(self):
        self.pids = self.server.workers()
        return self

    def __exit__(self, kind, value, trace):
        if kind is None:
            need(self.server.workers() == self.pids, "a worker was replaced:\n" + self.server.log()[-2000:])
        self.server.__exit__(kind, value, trace)
        self.folder.cleanup()

    def ask(self, path, text, answer):
        with Raw(self.server.port, path, seconds=LATE) as conn:
            conn.text(text)
            conn.expect(TEXT, answer, LATE)


@suite.case("woken.cancel", "a task is cancelled while finalizers raise")
def cancel():
    with Running() as run:
        run.ask("/cancel", "40", b"2000 true")


@suite.case("woken.twice", "a finalizer cancels the task that is being cancelled")
def twice():
    with Running() as run:
        run.ask("/twice", "40", b"2000 true")


@suite.case("woken.closing", "who waits for a close is woken while finalizers raise")
def closing():
    with Running() as run:
        for _ in range(4):
            with Raw(run.server.port, "/closing", seconds=LATE) as conn:
                conn.text("go")
                conn.recv_until(lambda data: b"\x88" in data, LATE)
                conn.expect_eof(LATE)
        wait_until(lambda: run.server.log().count("closed: ConnectionClosureError") == 4, LATE, "the closures")


@suite.case("woken.members", "an answer of other workers comes while finalizers raise")
def members():
    with Running(workers=2) as run:
        run.ask("/members", "300", b"done")


@suite.case("woken.stored", "a disk has written while finalizers raise")
def stored():
    with Running() as run:
        run.ask("/stored", "100", b"done")


@suite.case("dictionary.inside", "a finalizer uses a dictionary that is just being read or written")
def dictionary():
    with Running() as run:
        run.ask("/dictionary", "30", b"done true")


@suite.case("dictionary.cut", "a read without stack ends with an error and leaves nothing behind")
def cut():
    with Running() as run:
        run.ask("/cut", "5", b"done")


@suite.case("dictionary.last", "a finalizer uses a dictionary when the worker ends")
def last():
    run = Running()
    with run:
        run.ask("/echo", "hello", b"hello")
    need(run.server.log().count("at the end: 500 entries, 500 names") == 2, run.server.log()[-2000:])


# --- in tasks

WAYS = ("proxy", "shared", "callable", "later", "debug", "ffi", "metatype")


def turn(way):
    with Running() as run:
        run.ask("/turn", way, b"early 0, late 0")


def endless(way):
    with Running(options=["--handler-timeout", 0.1]) as run:
        run.ask("/endless", way, b"ran 6")
        log = run.server.log()
        need(log.count("error in a finalizer: ") == 6, log[-3000:])
        for what in ("exceeded its time limit of 0.1 s", "in %s" % way, "cannot wait here", "stack overflow"):
            need(what in log, "%r is not in the log:\n%s" % (what, log[-3000:]))


for one in WAYS:
    suite.add("turn." + one, "it runs once, not before the turn's end",
              lambda way=one: turn(way))
for one in ("proxy", "ffi", "metatype"):
    suite.add("ended." + one, "one without end, or that raises, ends alone",
              lambda way=one: endless(way))


@suite.case("wrong", "what cannot be called, or not with that object, is told in the log")
def wrong():
    with Running() as run:
        run.ask("/wrong", "go", b"done")
        run.server.wait_log("error in a finalizer: .*attempt to call a number value", LATE)
        run.server.wait_log("error in a finalizer: .*attempt to call a string value", LATE)
        run.server.wait_log("error in a finalizer: .*cannot convert 'struct .*' to 'int'", LATE)


@suite.case("metatable", "a proxy's metatable is what it was")
def metatable():
    with Running() as run:
        run.ask("/metatable", "go", b"done")


@suite.case("memory", "what waits to be finalized counts for the memory limit")
def memory():
    with Running(options=["--memory-limit", "48M"]) as run:
        with Raw(run.server.port, "/memory", seconds=LATE) as conn:
            conn.text("100")
            conn.expect_close(1011, seconds=LATE)
        run.server.wait_log("not enough memory", LATE)
        for _ in range(10):     # a turn's end between them
            run.ask("/memory", "5", b"done")


# --- at the end

def at_the_end(what, seconds=LATE, options=()):
    """The lines that the finalizers printed, the log, and how long it took."""
    run = Running(options=options)
    with run:
        run.ask("/last", what, b"kept")
        began = time.monotonic()
        run.server.stop(seconds)
        took = time.monotonic() - began
        run.pids = run.server.workers()
    return run.server.stdout().split("\n"), run.server.log(), took


@suite.case("last.all", "what lives when the worker ends is finalized, once")
def last_all():
    lines, log, _ = at_the_end("all")
    expected = ["finalized %s %d" % (way, i) for way in WAYS for i in (1, 2, 3) if way != "metatype"]
    expected += ["finalized shared %d" % i for i in (1, 2, 3)]      # two proxies have it
    expected += ["finalized metatype"] * 4
    need(sorted(line for line in lines if line) == sorted(expected), "%r\n%s" % (lines, log[-2000:]))


@suite.case("last.endless", "one without end does not keep the others from being finalized")
def last_endless():
    lines, log, _ = at_the_end("endless", options=["--handler-timeout", 0.1])
    need(sorted(line for line in lines if line) == ["finalized %d" % i for i in range(1, 6)], log[-2000:])


@suite.case("last.long", "they have what is left of the drain")
def last_long():
    _, log, took = at_the_end("long", options=["--drain", 1])
    need("there was no time left for" in log, log[-2000:])
    need(took < 20, "it took %.1f s" % took)


@suite.case("last.busy", "what they start then never runs, and harms nothing")
def last_busy():
    lines, log, _ = at_the_end("busy")
    need("made by a finalizer" in lines, "%r\n%s" % (lines, log[-2000:]))
    need(sum("the worker has ended" in line for line in lines) == 3, "%r" % lines)
    need(lines.count("true\t1\ttrue") == 2, "%r" % lines)


if __name__ == "__main__":
    suite.main()
