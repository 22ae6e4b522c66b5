#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Faults of the world around the server: descriptors run out, crowds come at once, workers die under load.

Faults L11, L29, L31 and L08 under load. What happens to processes themselves is in
processes/processes_test.py.
"""
import contextlib
import datetime
import os
import resource
import signal
import ssl
import sys
import threading
import time

sys.path.insert(0, os.path.abspath(__file__ + "/../../../support"))
from neaptest import (  # noqa: E402
    BINARY, INSTRUMENTED, PING, SECONDS, SLACK, TEXT, Bystander, Failed, Raw, Server, Suite, cpu, fds, frame, need,
    over, request, rss, wait_until)
from counted import APP, Crowd, scaled  # noqa: E402

suite = Suite("faults")


def few_descriptors():
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))


def complaints(server):
    """Times of the log's lines about accepting, in seconds."""
    return [datetime.datetime.fromisoformat(r.time.replace("Z", "+00:00")).timestamp()
            for r in server.records("warn") if "cannot accept connections" in r.message]


@suite.case("L11.no-descriptors", "no spin, a line a second, traffic goes on, accepts resume")
def _():
    with Server(lua=APP, preexec=few_descriptors) as s:
        pid = s.workers()[0]
        start = fds(pid)
        inside = [Raw(s.port, "/echo") for _ in range(10)]
        crowd = [Raw(s.port) for _ in range(100)]
        for client in crowd:
            client.send(request("/echo"))
        wait_until(lambda: len(complaints(s)) >= 1, SECONDS * 2, "the log tells of it")
        before = cpu(pid)
        wait_until(lambda: len(complaints(s)) >= 4, SECONDS * 3, "it is still told after 3 s")
        used, times = cpu(pid) - before, complaints(s)
        need(used <= 0.15 * SLACK, "used %.2f s of processor time in %.1f s at the limit" % (
            used, times[-1] - times[0]))
        gaps = [b - a for a, b in zip(times, times[1:])]
        need(min(gaps) > 0.98, "log lines %r s apart" % gaps)
        for client in inside:
            client.text("still here")
            client.expect(TEXT, "still here")
        # In the order of the queue some are in and the others wait; leave, and all come in.
        began, served = time.monotonic(), 0
        for client in inside:
            client.close()
        for client in crowd:
            need(client.recv_response(SECONDS * 2).status == 101, "refused: %r" % client.response)
            served += 1
            if served == 30:
                took = time.monotonic() - began
            client.close()
        need(took < 1 * SLACK + 1, "accepting resumed after %.1f s" % took)
        need(s.workers() == [pid], "the worker was replaced")
        wait_until(lambda: fds(pid) <= start, what="descriptors are back")
        with Bystander(s.port) as late:
            late.check(1)


@suite.case("L11.at-start", "too few descriptors to open the port at all: said once, exit 1")
def _():
    def none():
        resource.setrlimit(resource.RLIMIT_NOFILE, (7, 7))
    s = Server(lua=APP, preexec=none, wait=False)
    need(s.wait_exit() == 1, "status %d\n%s" % (s.status, s.log()))
    need(s.log(), "nothing was said")


@suite.case("L29.backlog", "5,000 connect at once: served, or refused by the kernel")
def _():
    with Server(lua=APP) as s, Bystander(s.port) as bystander, s.unharmed(grow=8 << 20):
        before = fds(s.workers()[0])
        with Crowd(s.port, scaled(5000)) as crowd:
            crowd.start()
            worst, over = [0.0], threading.Event()

            def watch():
                while not over.is_set():
                    worst[0] = max(worst[0], bystander.check(30))
            watcher = threading.Thread(target=watch)
            watcher.start()
            try:
                served = crowd.upgraded(SECONDS * 6)
            finally:
                over.set()
                watcher.join()
            need(served + crowd.refused == crowd.count, "some are missing")
            need(served >= crowd.count * 0.8, "only %d of %d were served" % (served, crowd.count))
            need(worst[0] < 0.5 * SLACK * 2, "the bystander waited %.2f s" % worst[0])
            crowd.echo(SECONDS * 4)
            need(fds(s.workers()[0]) == before + served, "descriptors")


@suite.case("L31.storm", "2,000 clients vanish and return at once, three times")
def _():
    with Server(lua=APP, options=["--workers", "2"]) as s:
        pids = s.workers()
        with Crowd(s.port, scaled(2000)) as warm:     # the memory that such a crowd takes
            warm.start()
            warm.upgraded(SECONDS * 6)
        wait_until(lambda: sum(map(fds, pids)) < 100, what="the first crowd has gone")
        with s.unharmed(grow=2 << 20):
            crowd = Crowd(s.port, scaled(2000))
            for n in range(3):
                began = time.monotonic()
                crowd.start()
                need(crowd.upgraded(SECONDS * 4) == crowd.count, "%d refused" % crowd.refused)
                need(time.monotonic() - began < 10 * SLACK, "not back within 10 s")
                crowd.echo(SECONDS * 4)
                crowd.vanish(reset=n % 2 == 0)
            crowd.poll.close()
        need("died" not in s.log() and "killed" not in s.log(), s.log()[-2000:])


class Traffic(threading.Thread):
    """Echoes on its connections, one after the other, until told to stop; keeps who was lost."""

    def __init__(self, clients):
        super().__init__(daemon=True)
        self.clients, self.lost = dict(enumerate(clients)), []
        self.over = threading.Event()
        self.rounds, self.worst = 0, 0.0

    def run(self):
        while not self.over.is_set():
            for number, client in list(self.clients.items()):
                began = time.monotonic()
                try:
                    client.text("round %d" % self.rounds)
                    client.expect(TEXT, "round %d" % self.rounds)
                    self.worst = max(self.worst, time.monotonic() - began)
                except (Failed, OSError):
                    self.lost.append(self.clients.pop(number))
            self.rounds += 1

    def stop(self):
        self.over.set()
        self.join(SECONDS * 4)


@suite.case("L08.under-load", "kill -9 one of three workers, under load: the others' go on")
def _():
    with Server(lua=APP, options=["--workers", "3"]) as s:
        by_worker = {pid: [] for pid in s.workers()}
        have = {pid: fds(pid) for pid in by_worker}
        while min(map(len, by_worker.values())) < 5:
            client = Raw(s.port, "/echo")
            owner = wait_until(lambda: next((p for p in have if fds(p) > have[p]), None),
                               what="a worker has one more descriptor")
            have[owner] += 1
            by_worker[owner].append(client)
        victim = max(by_worker, key=lambda pid: len(by_worker[pid]))
        doomed = set(by_worker[victim])
        traffic = Traffic([c for clients in by_worker.values() for c in clients])
        traffic.start()
        wait_until(lambda: traffic.rounds > 3, what="traffic runs")
        os.kill(victim, signal.SIGSTOP)         # so that some wait for just this worker
        waiting = [Raw(s.port) for _ in range(30)]
        for client in waiting:
            client.send(request("/echo"))
        began = time.monotonic()
        os.kill(victim, signal.SIGKILL)
        for client in waiting:
            need(client.recv_response().status == 101, "a waiting connection was refused")
        took = time.monotonic() - began
        need(took < 1 + 1 * SLACK, "the replacement served after %.1f s" % took)
        rounds = traffic.rounds
        wait_until(lambda: traffic.rounds > rounds + 3, what="traffic goes on")
        traffic.stop()
        need(set(traffic.lost) == doomed, "%d were lost, the worker had %d" % (
            len(traffic.lost), len(doomed)))
        for client in list(traffic.clients.values()) + waiting:
            client.text("bye")
            client.expect(TEXT, "bye")
            client.close()


def hostile(port, kind):
    """One connection that does something bad; it is left to the server to end it."""
    if kind == "drip":
        client = Raw(port)
        client.send(request("/echo")[:30])
    elif kind == "slow-reader":
        client = Raw(port, "/floods", rcvbuf=4096, compress=False)
        client.text("go")
    elif kind == "ping-flood":
        client = Raw(port, "/echo", rcvbuf=4096)
        client.sock.setblocking(False)
        with contextlib.suppress(BlockingIOError, ssl.SSLWantWriteError, ConnectionError):
            for _ in range(200):
                client.sock.send(frame(PING, b"p" * 125, mask=b"\0\0\0\0") * 500)
    elif kind == "huge-frame":
        client = Raw(port, "/echo")
        client.send(frame(BINARY, b"", length_form=64, length=1 << 40))
    elif kind == "unmasked":
        client = Raw(port, "/echo")
        client.send(frame(TEXT, "x", mask=None))
    else:
        client = Raw(port, "/echo")
        client.send(frame(TEXT, "x", fin=False) * 1100)
    return client


@suite.case("bystanders", "1,000 idle connections notice nothing of what the others do")
def _():
    with Server(lua=APP, options=["--drain", "2"]) as s:
        with Crowd(s.port, scaled(1000)) as crowd, Bystander(s.port) as bystander:
            crowd.start()
            need(crowd.upgraded(SECONDS * 6) == crowd.count, "not all came in")
            before, resident = fds(s.workers()[0]), rss(s.workers()[0])
            bad = []
            for kind in ("drip", "slow-reader", "ping-flood", "huge-frame", "unmasked",
                         "fragments"):
                for _ in range(15):
                    bad.append(hostile(s.port, kind))
                    bystander.check(0.5)
            crowd.echo(SECONDS * 4)
            for client in bad:
                client.reset()
            wait_until(lambda: fds(s.workers()[0]) == before, what="their descriptors are back")
            if not INSTRUMENTED:
                grown = rss(s.workers()[0]) - resident
                need(grown < 40 << 20, "grown by %d KiB" % (grown >> 10))
            crowd.echo(SECONDS * 4)
            bystander.check(0.5)


suite.not_over("tls", {
    "L11.no-descriptors": "its clients wait in the queue, and a handshake over TLS waits for the server",
    "L08.under-load": "the same",
})


if __name__ == "__main__":
    suite.main()
