#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The guard: handlers that use up the memory (fault L05), and its options.
"""
import os
import re
import sys

sys.path.insert(0, os.path.abspath(__file__ + "/../../../support"))
from neaptest import INSTRUMENTED, TEXT, Failed, Raw, Suite, need, rss, run_neap, wait_until  # noqa: E402
from guarded import APP, LATE, Watcher, guarded  # noqa: E402

suite = Suite("memory")


def eat(server, kind):
    conn = Raw(server.port, "/memory/" + kind.replace(" ", "%20"), seconds=LATE)
    conn.text("go")
    return conn


@suite.case("L05", "what needs too much memory ends with an error, alone; the worker lives")
def memory():
    for kind in ("table", "string", "one string", "ffi", "swallowed"):
        with guarded(limit=60) as server:
            watcher = Watcher(server)
            eat(server, kind).expect_close(1011, seconds=LATE)
            watcher.check()
            server.wait_log("not enough memory: .* limit of 64 MiB", LATE)
            record = next(r for r in server.records("error") if "not enough memory" in r.message)
            need(record.message.startswith("error in onMessage: "), record.message)
            need(re.search(r"guard_app\.lua:\d+: ", record.message), record.message)
            need(len(record.fields.get("connection", "")) == 16, repr(record))
            rss = server.rss(server.workers()[0])
            need(rss < (110 << 20) * (3 if INSTRUMENTED else 1), "%s: %d MiB" % (kind, rss >> 20))


@suite.case("L05-garbage", "what is garbage does not count")
def garbage():
    with guarded(limit=60) as server:
        for _ in range(3):
            conn = eat(server, "garbage")
            conn.expect(TEXT, b"true", LATE)


@suite.case("L05-twice", "the second time within a minute the worker is replaced, in order")
def twice():
    with guarded(limit=60) as server:
        watcher = Watcher(server)
        eat(server, "table").expect_close(1011, seconds=LATE)
        watcher.check()
        eat(server, "table").expect_close(1011, seconds=LATE)
        watcher.conn.expect_close(1001, seconds=LATE, reply=True)
        server.wait_log("the memory limit was reached again .*this worker is replaced", LATE)
        wait_until(lambda: server.replaced(watcher.pids), LATE, "a new worker")
        Watcher(server).check()


@suite.case("L05-kept", "a heap that stays full does not keep the worker from going on")
def kept():
    with guarded(limit=60) as server:
        eat(server, "kept").expect_close(1011, seconds=LATE)
        pids = server.workers()
        # Not longer: the successor would be filled as well.
        wait_until(lambda: refused(server) and "this worker is replaced" in server.log(), LATE, "it is full again")
        wait_until(lambda: server.replaced(pids), LATE, "a new worker")
        Watcher(server).check()


def refused(server):
    """Has the app's table grow by a little more."""
    try:
        conn = eat(server, "kept")
        conn.expect_close(None, seconds=LATE)
    except (Failed, OSError):
        pass
    return True


@suite.case("options", "wrong limits are told before anything starts")
def options():
    for option, value in (("--handler-timeout", "-1"), ("--handler-timeout", "soon"),
                          ("--handler-timeout", "nan"), ("--memory-limit", "12"),
                          ("--memory-limit", "1T"), ("--memory-limit", "1GB"),
                          ("--memory-limit", "-8M"), ("--memory-limit", "M")):
        done = run_neap("run", option, value, APP)
        need(done.returncode == 2 and option in done.stderr,
             "%s %s: %r" % (option, value, done))
    for value in ("0", "16M", "1G", "0.5G", "16384K", "16777216"):
        done = run_neap("check", "--memory-limit", value, APP, "--", "0")
        need(done.returncode == 0, "--memory-limit %s: %r" % (value, done))


@suite.case("L01-finalizer", "a finalizer that raises is logged, wherever the collector ran")
def raising_finalizer():
    with guarded(limit=5) as server:
        watcher = Watcher(server)
        conn = Raw(server.port, "/finalizers", seconds=LATE)
        conn.text("go")
        conn.expect(TEXT, b"go", LATE)

        def collected():
            for _ in range(50):
                watcher.conn.text(os.urandom(2500).hex())   # no two alike, so each is a new string
                watcher.conn.recv_message(LATE)
            return "in a proxy" in server.log() and "in a cdata" in server.log()
        wait_until(collected, LATE, "the finalizers")
        watcher.check()
        need(all("error in a finalizer" in r.message for r in server.records("error")),
             server.log()[-1000:])


if __name__ == "__main__":
    suite.main()
