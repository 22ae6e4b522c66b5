#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Master and workers of the real program: start, death, end.

Faults L08, L09, L10 and L26. NEAP_KILLS is the number of worker deaths of L08 (20; the full
measure is 200).
"""
import contextlib
import datetime
import json
import os
import random
import re
import signal
import socket
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.abspath(__file__ + "/../../../support"))
from neaptest import SECONDS, SLACK, TEXT, Raw, Server, Suite, alive, cpu, fds, need, run_neap, wait_until  # noqa: E402
from common import BUSY, ECHO, answers, close_all, echoes  # noqa: E402

suite = Suite("processes")
KILLS = int(os.environ.get("NEAP_KILLS") or 20)


def listening_sockets(port):
    """How many sockets listen on a TCP port of 0.0.0.0 or 127.0.0.1."""
    return sum(1 for local, _, state, _ in tcp_rows() if local == port and state == "0A")


def zombies(pid):
    """Dead children that nobody has waited for."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError), open("/proc/%s/stat" % name) as f:
            fields = f.read().rpartition(")")[2].split()
            if int(fields[1]) == pid and fields[0] == "Z":
                found.append(int(name))
    return found


def tcp_rows():
    """(local port, remote port, state, inode) of every IPv4 TCP socket."""
    with open("/proc/net/tcp") as f:
        rows = [line.split() for line in f][1:]
    return [(int(r[1].rpartition(":")[2], 16), int(r[2].rpartition(":")[2], 16), r[3], r[9])
            for r in rows]


def owners(pids):
    """{inode: pid} of the sockets of these processes."""
    found = {}
    for pid in pids:
        for fd in os.listdir("/proc/%d/fd" % pid):
            with contextlib.suppress(OSError):
                target = os.readlink("/proc/%d/fd/%s" % (pid, fd))
                if target.startswith("socket:["):
                    found[target[8:-1]] = pid
    return found


def connected(server, count):
    """That many connections; returns [(client, pid of the worker that has it)]."""
    clients = [Raw(server.port, "/echo") for _ in range(count)]
    inodes = {remote: inode for local, remote, _, inode in tcp_rows() if local == server.port}
    pids = owners(server.workers())
    return [(c, pids[inodes[c.sock.getsockname()[1]]]) for c in clients]


# --- Starting -------------------------------------------------------------------------------------

@suite.case("start.lines", "one line for each listener, then ready, all by the master")
def _():
    two = BUSY + 'websocket.listener(arg[2])\n'
    with Server(lua=two, args=["0", "127.0.0.1:0"], options=["--workers", "3"]) as s:
        records = [r for r in s.records() if r.level == "info"]
        need([re.sub(r"\d+$", "N", r.message) for r in records] ==
             ["listening ws://0.0.0.0:N", "listening ws://127.0.0.1:N", "ready"], repr(records))
        need(not any("worker" in r.fields for r in records), repr(records))
        need(len(set(s.ports)) == 2, repr(s.ports))


@suite.case("start.workers", "every worker has its share of connections")
def _():
    with Server(ECHO, options=["--workers", "4"]) as s:
        need(len(s.workers()) == 4, "workers: %r" % s.workers())
        need(listening_sockets(s.port) == 4, "listening: %d" % listening_sockets(s.port))
        clients = connected(s, 80)
        need(len({pid for _, pid in clients}) == 4, "only some workers have connections")
        close_all(clients)


@suite.case("start.json", "each line of the JSON form is an object with the agreed keys")
def _():
    options = ["--log-format", "json", "--workers", "2"]
    with Server(lua=BUSY, options=options) as s:
        with Raw(s.port, "/log") as client:
            client.text('"quoted" \\ \n \x1b[31m \u202e \u2028')
            client.expect(TEXT, "logged")
        s.wait_log(r'"said"')
        lines = [json.loads(line) for line in s.log().splitlines()]
        need(all({"time", "level", "message"} <= set(line) for line in lines), repr(lines))
        said = next(line for line in lines if line["message"] == "said")
        need(said["text"] == '"quoted" \\ \n \x1b[31m \u202e \u2028', repr(said))
        need(said["worker"] in (0, 1), repr(said))
        need(all(c not in s.log() for c in "\x1b\u202e\u2028"), "unescaped")


@suite.case("start.port-in-use", "a second server on the port says so and exits 1")
def _():
    for workers in (1, 2):
        with Server(ECHO, options=["--workers", workers]) as s:
            result = run_neap("run", ECHO, "--workers", workers, "--", s.port)
            need(result.returncode == 1, "status %d" % result.returncode)
            need("cannot listen on 0.0.0.0:%d: address already in use" % s.port in result.stderr,
                 result.stderr)
            need(answers(s.port), "the first server does not answer")


@suite.case("start.unix", "a unix: listener: named in the log, removed at the end, stale replaced")
def _():
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "app.sock")
        with socket.socket(socket.AF_UNIX) as old:
            old.bind(path)      # and nobody listens there
        with Server(ECHO, args=["unix:" + path], options=["--workers", "2"]) as s:
            need(s.sockets == [path], repr(s.sockets))
            with Raw(path, "/echo") as client:
                need(echoes(client), "no echo")
        need(not os.path.exists(path), "the socket file is left")


# --- Deaths of workers ----------------------------------------------------------------------------

@suite.case("worker.killed", "L08: killed again and again under load; the others notice nothing")
def _():
    rng = random.Random(8)
    # The signals are ours: no sanitizer is to take them for faults of the program.
    env = {"ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":handle_segv=0:handle_abort=0"}
    with Server(ECHO, options=["--workers", "3"], env=env) as s:
        master_fds = fds(s.pid)
        clients = connected(s, 60)
        for round_ in range(KILLS):
            victim = rng.choice(s.workers())
            began = time.monotonic()
            os.kill(victim, rng.choice([signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT]))
            wait_until(lambda: not alive(victim), what="the worker is gone")
            wait_until(lambda: s.restored(3, victim), 1 * SLACK, "a new worker within a second")
            need(answers(s.port), "not answered in round %d" % round_)
            need(time.monotonic() - began < 1 * SLACK, "took longer than a second")
            lost = [pair for pair in clients if pair[1] == victim]
            kept = [pair for pair in clients if pair[1] != victim]
            bad = [pair for pair in kept if not echoes(pair[0])]
            need(not bad, "%d connections of other workers were lost" % len(bad))
            close_all(lost)
            wait_until(lambda: s.log().count("info  worker ready worker=") > round_,
                       what="the new worker is ready")
            clients = kept + connected(s, len(lost))
        need(listening_sockets(s.port) == 3, "listening: %d" % listening_sockets(s.port))
        close_all(clients)
        wait_until(lambda: fds(s.pid) == master_fds, what="the master's descriptors are back")
        need(not zombies(s.pid), "zombies")


@suite.case("worker.terminated", "SIGTERM to one worker: it drains and is replaced")
def _():
    with Server(ECHO, options=["--workers", "1"]) as s:
        client, pid = connected(s, 1)[0]
        os.kill(pid, signal.SIGTERM)
        client.expect_close(1001, reply=True)
        wait_until(lambda: s.replaced([pid]), what="another worker")
        wait_until(lambda: answers(s.port), what="the other worker answers")
        s.wait_log(r"worker ended worker=0 .*status=0")


@suite.case("worker.queue", "connections that wait to be accepted by a worker that dies are served")
def _():
    with Server(ECHO, options=["--workers", "1"]) as s:
        pid = s.workers()[0]
        os.kill(pid, signal.SIGSTOP)
        waiting = [Raw(s.port) for _ in range(50)]
        os.kill(pid, signal.SIGKILL)
        for client in waiting:
            need(client.handshake("/echo").status == 101, "not upgraded")
            need(echoes(client), "no echo")
        close_all(waiting)


# What os.exit leaves behind is no leak.
NO_LEAKS = {"ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0"}


def started_in_vain(lua, options=()):
    began = time.monotonic()
    s = Server(lua=lua, options=options, env=NO_LEAKS if "os.exit" in lua else None, wait=False)
    status = s.wait_exit()
    return s, status, time.monotonic() - began


@suite.case("worker.crash-loop", "L09: workers that die at start: five attempts with back-off, then 1")
def _():
    listens = 'require("neap.websocket").listener(0)\n'
    for lua in (listens + "os.exit(3)", listens + "os.exit(0)",
                'local ffi = require "ffi" ffi.cdef "int raise(int);" ffi.C.raise(9)'):
        s, status, took = started_in_vain(lua)
        need(status == 1, "%s: status %d" % (lua, status))
        died = re.findall(r"worker (?:died|ended) worker=0", s.log())
        need(len(died) == 5, "%s: %d deaths\n%s" % (lua, len(died), s.log()))
        need(took > 1.4, "no back-off: %.2f s" % took)
        need(s.records()[-1].message == "giving up: no worker became ready in 5 attempts", s.log())


@suite.case("worker.broken-app", "an app that does not load: its error once, at once, status 1")
def _():
    for lua in ("this is no Lua", 'error("not today")',
                'require("neap.websocket").listener(0) error("not today")'):
        s, status, took = started_in_vain(lua)
        need(status == 1, "%s: status %d" % (lua, status))
        need("app.lua:1" in s.log(), s.log())
        need("died" not in s.log() and took < 1.4 * SLACK, "tried again:\n" + s.log())


@suite.case("worker.script", "a script's end is the program's end")
def _():
    need(started_in_vain('print("hello")')[1] == 0, "a good script")
    s, status, _ = started_in_vain('error("bad luck")', ["--workers", "2"])
    need(status == 1 and "bad luck" in s.log(), "status %d\n%s" % (status, s.log()))


@suite.case("worker.script.status", "os.exit where nothing listens: the program's status, and no second try")
def _():
    stops = """local listener = require("neap.websocket").listener(0)
require("neap.task").after(0.01, function() listener:gracefulStop() os.exit(4) end)"""
    for lua, wanted in (("os.exit(0)", 0), ("os.exit(1)", 1), ("os.exit(3)", 3), ("os.exit(7)", 7),
                        ("require('neap.task').sleep(0.01) os.exit(77)", 77), (stops, 4)):
        for options in ((), ("--workers", "2")):
            s, status, _ = started_in_vain('print("once")\n' + lua, options)
            need(status == wanted, "%s: status %d" % (lua, status))
            need(s.stdout().count("once") <= 2 and "died" not in s.log(), s.log())


@suite.case("worker.exits", "os.exit while it listens is a death: the worker is replaced")
def _():
    with Server(lua=BUSY + """attach("/exit", { onMessage = function(_, _, status) os.exit(tonumber(status)) end })""",
                options=["--workers", "2"], env=NO_LEAKS) as s:
        for n, status in enumerate((3, 0, 1)):
            with Raw(s.port, "/exit") as client:
                client.text(str(status))
                client.expect_eof()
            s.wait_log(r"worker (died|ended) .*status=%d" % status)
            wait_until(lambda: s.log().count("worker ready worker=") > n, what="the new worker is ready")
            need(len(s.workers()) == 2 and answers(s.port), "not answered")


@suite.case("worker.cannot-return", "a worker that fails before it listens, beside one that serves, is tried again")
def _():
    with tempfile.TemporaryDirectory() as folder:
        flag = os.path.join(folder, "flag")
        lua = "local f = io.open(%r) if f then f:close() os.exit(5) end\n" % flag
        with Server(lua=lua + BUSY, options=["--workers", "2"], env=NO_LEAKS) as s:
            open(flag, "w").close()
            victim = s.workers()[0]
            os.kill(victim, signal.SIGKILL)
            s.wait_log(r"worker died .*status=5")
            os.remove(flag)
            s.wait_log("worker ready worker=")
            wait_until(lambda: s.restored(2, victim), what="two workers again")


def seconds_of(record):
    return datetime.datetime.fromisoformat(record.time.replace("Z", "+00:00")).timestamp()


@suite.case("worker.crash-loop-beside", "L09: one worker dies at each start: backed off, the others serve all")
def _():
    with tempfile.TemporaryDirectory() as folder:
        flag = os.path.join(folder, "flag")
        lua = BUSY + "local f = io.open(%r) if f then f:close() os.exit(5) end\n" % flag
        with Server(lua=lua, options=["--workers", "3"], env=NO_LEAKS) as s:
            old = s.workers()
            victim = old[0]
            before = fds(victim)
            others = [Raw(s.port, "/echo") for _ in range(30)]
            mine = fds(victim) - before
            open(flag, "w").close()
            os.kill(victim, signal.SIGKILL)
            s.wait_log("worker 0 does not start: new connections go to the others", SECONDS * 2)
            left = [client for client in others if echoes(client)]
            need(len(left) == len(others) - mine, "%d of %d are left, %d were its" % (len(left), len(others), mine))
            for _ in range(50):
                with Raw(s.port) as client:
                    need(client.handshake("/echo").status == 101 and echoes(client), "not served")

            def deaths():
                return [seconds_of(r) for r in s.records("error") if r.message == "worker died"]
            wait_until(lambda: len(deaths()) >= 6, SECONDS * 3, "it is tried again")
            gaps = [b - a for a, b in zip(deaths(), deaths()[1:])]
            need(all(gap >= 0.1 * 2 ** i for i, gap in enumerate(gaps)), "lives began %r s apart" % gaps)
            need(s.log().count("does not start") == 1, "told more than once")
            os.remove(flag)
            s.wait_log("worker ready worker=0", SECONDS * 3)
            late, fresh = [], next(p for p in s.workers() if p not in old)
            before = fds(fresh)
            wait_until(lambda: late.append(Raw(s.port, "/echo")) or fds(fresh) > before,
                       what="its share of the clients")
            need(all(map(echoes, late + left)), "no echo")
            close_all(late + left)


# --- The master -----------------------------------------------------------------------------------

@suite.case("master.killed", "L10: without a master the workers drain; a new server binds at once")
def _():
    s = Server(ECHO, options=["--workers", "3", "--drain", "5"])
    port, pids = s.port, s.workers()
    clients = connected(s, 12)
    s.signal(signal.SIGKILL)
    for client, _ in clients:
        client.expect_close(1001, reply=True)
    wait_until(lambda: not any(alive(pid) for pid in pids), what="the workers end")
    need(s.wait_exit() == -signal.SIGKILL, "exit status")
    with Server(ECHO, args=[port], options=["--workers", "3"]):
        need(answers(port), "the new server does not answer")


@suite.case("master.idle", "an idle server uses no processor time and wakes up for nothing")
def _():
    def switches(pid):
        with open("/proc/%d/status" % pid) as f:
            return int(re.search(r"^voluntary_ctxt_switches:\s*(\d+)", f.read(), re.M).group(1))
    with Server(ECHO, options=["--workers", "2"]) as s:
        need(answers(s.port), "no answer")
        pids = [s.pid] + s.workers()

        def quiet():        # a period without a single wake-up, once what the start left is done
            before = [(switches(p), cpu(p)) for p in pids]
            threading.Event().wait(1)
            return before == [(switches(p), cpu(p)) for p in pids]
        wait_until(quiet, 10 * SLACK, "a second without a wake-up")


@suite.case("master.sighup", "SIGHUP, with nothing to read again, disturbs nobody")
def _():
    with Server(ECHO) as s:
        s.signal(signal.SIGHUP)
        s.wait_log("SIGHUP: certificates are read again")
        need(answers(s.port), "no answer")


@suite.case("master.pid-file", "written, refused to a second server, removed")
def _():
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "neap.pid")
        with Server(ECHO, options=["--pid-file", path]) as s:
            need(open(path).read() == "%d\n" % s.pid, "what it holds")
            result = run_neap("run", ECHO, "--pid-file", path, "--", "0")
            need(result.returncode == 1, "status %d" % result.returncode)
            need("names a running server, process %d" % s.pid in result.stderr, result.stderr)
        need(os.listdir(folder) == [], repr(os.listdir(folder)))


# --- Stopping -------------------------------------------------------------------------------------

@suite.case("stop.drain", "L26: idle, stuck and slow connections; 1001 to all reachable, status 0")
def _():
    options = ["--workers", "2", "--drain", "2"]
    with Server(lua=BUSY, options=options, seconds=SECONDS * 2) as s:
        idle = [Raw(s.port, "/echo") for _ in range(200)]
        stuck = [Raw(s.port, "/flood", rcvbuf=4096) for _ in range(20)]
        for client in stuck:
            client.text("go")
        slow = [Raw(s.port, "/slow") for _ in range(10)]
        for client in slow:
            client.text("0.5")
            client.expect(TEXT, "begun")
        for client in stuck:
            client.recv_until(lambda data: len(data) > 1024)
        began = time.monotonic()
        s.signal(signal.SIGTERM)
        for client in idle:
            client.expect_close(1001, "server shutting down", reply=True, eof=False)
        for client in slow:
            client.expect_close(1001, "server shutting down", reply=True, eof=False)
        need(s.wait_exit() == 0, "status %d\n%s" % (s.status, s.log()[-2000:]))
        took = time.monotonic() - began
        need(took < 3.5 * SLACK, "took %.1f s" % took)
        close_all(idle + stuck + slow)


@suite.case("stop.interrupt", "SIGINT to the whole group, as a terminal sends it, is one stop")
def _():
    s = Server(ECHO, options=["--workers", "2"])
    clients = connected(s, 10)
    os.killpg(s.pid, signal.SIGINT)
    for client, _ in clients:
        client.expect_close(1001, reply=True)
    need(s.wait_exit() == 0, "status %d" % s.status)
    need("died" not in s.log(), s.log())


if __name__ == "__main__":
    suite.main()
