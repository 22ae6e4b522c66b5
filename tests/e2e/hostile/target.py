# SPDX-License-Identifier: MIT
"""What the hostile-input tests share. A case passes when the answer is the expected one *and*
nobody else notices: same worker, memory and descriptors back to where they were, a bystander that
is answered quickly before, during and after, no sanitizer report in the end.

Each line of a table runs twice: alone, and among many idle connections.
"""
import os
import sys

sys.path.insert(0, os.path.abspath(__file__ + "/../../../support"))

from neaptest.client import machine_load  # noqa: E402,F401
from neaptest import (  # noqa: E402,F401
    BINARY, CLOSE, CONT, INSTRUMENTED, PING, PONG, TEXT, Bystander, Failed, Once, Raw, SECONDS,
    SLACK, Server, Suite, close_payload, frame, over, request, wait_until)

CROWD = 200 if INSTRUMENTED else 1000
MASK = bytes.fromhex("37fa213d")


class Target(Once):
    """The server under attack, its bystander, and the crowd."""

    def __init__(self, lua):
        super().__init__()
        self.lua, self.idle = lua, []

    def _start(self):
        self.server = Server(lua=self.lua, args=())
        self.bystander = Bystander(self.server.port)
        self.workers = self.server.workers()
        for _ in range(50):                       # what only the first use allocates is there now
            with Raw(self.server.port, "/echo") as c:
                c.send_frame(BINARY, b"x" * 60000)
                c.expect(BINARY, b"x" * 60000)

    def gather(self):
        """Opens the crowd, once."""
        while len(self.idle) < CROWD:
            self.idle.append(Raw(self.port, "/echo"))

    def attack(self, act, grow=1 << 20):
        server = self.get()
        with server.unharmed(grow, SECONDS * 2):
            self.bystander.check()
            act()
            self.bystander.check()
        if server.workers() != self.workers:
            raise Failed("another worker")

    def add(self, suite, ident, what, act, crowd=True, grow=1 << 20):
        """A case; with `crowd` a second one among idle connections, after all first ones."""
        suite.add(ident, what, lambda: self.attack(act, grow))
        if crowd:
            self.later.append((ident + ".crowd", what, act, grow))

    later = []

    def add_crowd(self, suite):
        for ident, what, act, grow in self.later:
            def run(act=act, grow=grow):
                self.gather()
                self.attack(act, grow)
            suite.add(ident, what, run)

    def add_finals(self, suite, errors):
        @suite.final("end.crowd", "the idle connections are all there, and answered")
        def _():
            self.get()
            for c in self.idle[::50]:
                c.text("x")
                c.expect(TEXT, "x")
            for c in self.idle:
                c.close()

        @suite.final("end.stop", "the server ends in order, without a sanitizer report")
        def _():
            self.get()
            self.bystander.close()
            if self.server.stop() != 0:
                raise Failed("ended with %r" % self.server.status)
            bad = [r for r in self.server.records("error") if not any(e in r.message for e in errors)]
            if bad:
                raise Failed("%d errors in the log, first %r" % (len(bad), bad[0]))


def cost(server, act):
    """Processor seconds that the worker used while `act` ran."""
    before = server.cpu()
    act()
    return server.cpu() - before
