#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Finalizers (finalizers_app.lua): what they do, whenever they run, harms nothing but themselves."""
import os
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from neaptest import SECONDS, TEXT, Failed, Raw, Server, Suite, wait_until  # noqa: E402

suite = Suite("finalizers")
APP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "finalizers_app.lua")
LATE = SECONDS * 4


def need(condition, what):
    if not condition:
        raise Failed(what)


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
        for _ in range(10):
            with Raw(run.server.port, "/closing", seconds=LATE) as conn:
                conn.text("go")
                conn.recv_until(lambda data: b"\x88" in data, LATE)
                conn.expect_eof(LATE)
        wait_until(lambda: run.server.log().count("closed: ConnectionClosureError") == 10, LATE, "the closures")


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


if __name__ == "__main__":
    suite.main()
