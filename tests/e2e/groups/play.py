# SPDX-License-Identifier: MIT
"""Play: a server of tests/spec/support/playapp.lua, to which clients send code that runs as a callback of theirs.
"""
import os

from neaptest import ROOT, SECONDS, TEXT, Failed, Raw, Server, wait_until

with open(os.path.join(ROOT, "tests", "spec", "support", "playapp.lua"), encoding="utf-8") as source:
    APP = source.read()
PID = 'return io.open("/proc/self/stat"):read "*n"'


def same(got, expected, what="got"):
    if got != expected:
        raise Failed("%s %.300r, expected %.300r" % (what, got, expected))


class Client:
    """One connection whose code runs in the server; `got` has the messages that were pushed to it."""

    def __init__(self, server, path="/play", **options):
        self.server, self.raw, self.got = server, Raw(server.port, path, **options), []
        self.pid = int(self.ask(PID))

    def next(self, seconds=None):
        op, payload = self.raw.recv_message(seconds)
        return payload.decode() if op == TEXT else payload

    def answer(self):
        while True:
            message = self.next()
            if isinstance(message, str) and message[:2] in ("= ", "! "):
                return message[2:] if message[0] == "=" else message
            self.got.append(message)

    def ask(self, code, *args):
        self.raw.text(code % args if args else code)
        return self.answer()

    def member(self, *groups):
        for group in groups:
            same(self.ask('return websocket.addConnectionToGroup("%s", caller) == caller', group), "true")
        return self

    def push(self, group, text):
        """Pushes; members, delivered, dropped, closed."""
        return self.numbers('websocket.pushTextToGroup("%s", "%s")' % (group, text))

    def numbers(self, push):
        answer = self.ask("local r, err = %s if not r then return err end "
                          "return r.members, r.delivered, r.dropped, r.closed" % push)
        return tuple(map(int, answer.split(", "))) if answer[0].isdigit() else answer

    def size(self, group):
        return self.ask('return websocket.groupSize "%s"', group)

    def until(self, message, seconds=None):
        """Reads until this message; what was pushed up to it, without it."""
        while message not in self.got:
            self.got.append(self.next(seconds))
        at = self.got.index(message)
        before, self.got = self.got[:at], self.got[at + 1:]
        return before

    def close(self):
        self.raw.close()


class Play:
    """A server and clients of it, `each` on every worker, in `clients`; `by` has one of each worker."""

    def __init__(self, workers, each=1, path="/play", options=()):
        self.server = Server(lua=APP, options=["--workers", str(workers), *options])
        self.workers, self.clients, self.counts = workers, [], {}
        try:
            wait_until(lambda: self.another(each, path), SECONDS * 4, "clients on each worker")
        except BaseException:
            self.server.kill()
            raise
        self.by = list({client.pid: client for client in self.clients}.values())

    def another(self, each, path):
        client = Client(self.server, path)
        if self.counts.get(client.pid, 0) == each:
            client.close()
        else:
            self.counts[client.pid] = self.counts.get(client.pid, 0) + 1
            self.clients.append(client)
        return sum(self.counts.values()) == each * self.workers

    def on(self, pid, path="/play", **options):
        """One more client of that worker."""
        def another():
            client = Client(self.server, path, **options)
            if client.pid == pid:
                return client
            client.close()
            return None
        return wait_until(another, SECONDS * 4, "a client of that worker")

    def __enter__(self):
        self.server.__enter__()
        return self

    def __exit__(self, *why):
        for client in self.clients:
            client.close()
        return self.server.__exit__(*why)


def on_one_and_four(suite, name, what, each=1, **options):
    """A case for one worker and for four, given a Play."""
    def both(test):
        for workers in (1, 4):
            def run(workers=workers):
                with Play(workers, each, **options) as play:
                    test(play)
            suite.case("%s.%d" % (name, workers), "%s; workers: %d" % (what, workers))(run)
        return test
    return both


# Others know a number of members some milliseconds later; that there are any, and who has a name, at once.
def knows(client, push, members):
    wait_until(lambda: client.numbers(push)[0] == members, None, "%s has %d members" % (push, members))
