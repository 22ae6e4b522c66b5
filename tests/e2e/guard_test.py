#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The guard: handlers that never end or use up the memory, in every place (guard_app.lua).

Faults L02, L04, L05 and L22 (an endless loop at load), also where only the master can end them.
NEAP_INTERRUPTIONS is the number of handlers that are interrupted in one worker (300; the full
measure is 100000).
"""
import os
import random
import re
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from neaptest import (  # noqa: E402
    BINARY, CLOSE, INSTRUMENTED, PING, PONG, SECONDS, SLACK, TEXT, Failed, Raw, Server, Suite, alive, cpu,
    request, run_neap, wait_until)

suite = Suite("guard")
APP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "guard_app.lua")
with open(APP, encoding="utf-8") as source:
    KINDS = re.findall(r'^loops\["(.*)"\]', source.read(), re.M)
STUCK = ("pattern", "finalizer", "c function", "blind", "deaf")
ENDLESS = [kind for kind in KINDS if kind not in STUCK]
FEW = ("while", "pcall", "coroutines", "sort")
INTERRUPTIONS = int(os.environ.get("NEAP_INTERRUPTIONS") or 300)
LIMIT = 0.05
LATE = SECONDS * 4      # the machine may be busy, and it is processor time that counts
PAST = r"handler exceeded its time limit of %g s" % LIMIT


def need(condition, what):
    if not condition:
        raise Failed(what)


def guarded(*args, limit=LIMIT, workers=1, options=(), **more):
    line = ["--workers", workers, "--handler-timeout", limit, "--memory-limit", "64M",
            "--drain", "0.5", *options]
    return Server(APP, args=["0", *args], options=line, **more)


def replaced(server, pids):
    """True when others than `pids` serve, alone: a successor starts before the old one has gone."""
    now = server.workers()
    return now and not set(now) & set(pids)


def path(place, kind):
    return "/%s/%s" % (place, kind.replace(" ", "%20"))


class Watcher:
    """A connection of the same worker, and the worker itself: both shall outlive what happens."""

    def __init__(self, server):
        self.server, self.pids = server, server.workers()
        self.conn = Raw(server.port, "/echo", seconds=LATE)
        self.count = 0

    def check(self):
        self.count += 1
        self.conn.text("still here %d" % self.count)
        self.conn.expect(TEXT, b"still here %d" % self.count)
        need(self.server.workers() == self.pids, "the worker was replaced")


def ended(server, conn):
    conn.expect_close(1011, seconds=LATE)
    conn.close()


def loop_in(place, op=TEXT, payload=b"go"):
    """A callback that is ended by an error ends its connection; `op` None: nothing is sent."""
    def run(server, kind):
        conn = Raw(server.port, path(place, kind), seconds=LATE)
        if op is not None:
            conn.send_frame(op, payload)
        ended(server, conn)
    return run


def logged_times(server, what):
    return len(re.findall(r"error in %s:.*%s" % (what, PAST), server.log()))


def loop_in_close(server, kind):
    before = logged_times(server, "onClose")
    conn = Raw(server.port, path("onClose", kind), seconds=LATE)
    conn.send_frame(CLOSE, b"\x03\xe8")
    conn.expect_close(1000, seconds=LATE)
    wait_until(lambda: logged_times(server, "onClose") > before, LATE, "an onClose that was ended")


def loop_in_error(server, kind):
    before = logged_times(server, "onError")
    loop_in("onError")(server, kind)
    wait_until(lambda: logged_times(server, "onError") > before, LATE, "an onError that was ended")


def loop_in_upgrade(server, kind):
    conn = Raw(server.port, seconds=LATE)
    conn.send(request(path("upgrade", kind)))
    need(conn.recv_response(LATE).status == 500, "the upgrade was not refused with 500")
    conn.close()


def loop_in_task(server, kind):
    conn = Raw(server.port, path("task", kind), seconds=LATE)
    conn.text("go")
    _, told = conn.recv_message(LATE)
    need(re.search(PAST.encode(), told) and b"joined: nil" in told, "the joiner got %r" % told)
    conn.close()


def loop_in_timer(server, kind):
    before = logged_times(server, "timer")
    conn = Raw(server.port, path("timer", kind), seconds=LATE)
    conn.text("go")
    conn.expect(TEXT, b"set", LATE)
    wait_until(lambda: logged_times(server, "timer") > before, LATE, "a timer that was ended")
    conn.close()


PLACES = {
    "onOpen": loop_in("onOpen", None), "onMessage": loop_in("onMessage"), "onTextMessage": loop_in("onTextMessage"),
    "onBinaryMessage": loop_in("onBinaryMessage", BINARY), "onPing": loop_in("onPing", PING),
    "onPong": loop_in("onPong", PONG), "onIdleTimeout": loop_in("onIdleTimeout", None), "onClose": loop_in_close,
    "onError": loop_in_error, "upgrade": loop_in_upgrade, "task": loop_in_task,
    "timer": loop_in_timer, "stream": loop_in("stream"), "bound": loop_in("bound", TEXT, b"{}"),
    "dispatched": loop_in("dispatched", TEXT, b'{"event":"go"}'),
    "beside": loop_in("beside", TEXT, b'{"event":"go","id":1}'),
}
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


def used(pid):
    """Processor time of a process to the microsecond (clock_getcpuclockid)."""
    return time.clock_gettime((~pid << 3) | 2)


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


# --- where no error can be raised


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
        wait_until(lambda: replaced(server, pids), LATE, "a new worker")
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


# --- at load


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


# --- memory


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
        wait_until(lambda: replaced(server, watcher.pids), LATE, "a new worker")
        Watcher(server).check()


@suite.case("L05-kept", "a heap that stays full does not keep the worker from going on")
def kept():
    with guarded(limit=60) as server:
        eat(server, "kept").expect_close(1011, seconds=LATE)
        pids = server.workers()
        wait_until(lambda: refused(server) and replaced(server, pids), LATE, "a new worker")
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


# --- many


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
