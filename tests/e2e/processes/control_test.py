#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The control socket and the log of the real program, also a log that cannot be written (fault L17).
"""
import contextlib
import os
import re
import resource
import socket
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.abspath(__file__ + "/../../../support"))
from neaptest import NEAP, RUNTIME, SECONDS, SLACK, TEXT, Raw, Server, Suite, need, run_neap, wait_until  # noqa: E402
from common import BUSY, ECHO, answers  # noqa: E402

suite = Suite("control")


def free_port():
    """A port that was free just now, for servers whose log cannot be read."""
    with socket.create_server(("127.0.0.1", 0)) as s:
        return s.getsockname()[1]


# --- The control socket ---------------------------------------------------------------------------

@suite.case("control.status", "neap status, by itself and with --control")
def _():
    with tempfile.TemporaryDirectory() as folder:
        env = {"XDG_RUNTIME_DIR": folder, "TMPDIR": folder}
        result = run_neap("status", env=env)
        need(result.returncode == 1 and "no server" in result.stderr, result.stderr)
        with Server(ECHO, options=["--workers", "2"], env=env) as s:
            result = run_neap("status", env=env)
            need(result.returncode == 0, result.stderr)
            need("pid %d\n" % s.pid in result.stdout, result.stdout)
            need(re.search(r"^version neap \d", result.stdout, re.M), result.stdout)
            need("listener ws://0.0.0.0:%d\n" % s.port in result.stdout, result.stdout)
            for number, pid in enumerate(s.workers()):
                need(re.search(r"^worker %d pid=%d state=ready restarts=0 uptime=\d+$" %
                               (number, pid), result.stdout, re.M), result.stdout)
            own = os.path.join(folder, "own.sock")
            with Server(ECHO, options=["--control", own], env=env) as other:
                result = run_neap("status", "--control", own, env=env)
                need("pid %d\n" % other.pid in result.stdout, result.stdout)
                need(run_neap("status", env=env).returncode == 0, "found both")
            need(not os.path.exists(own), "the socket file is left")
            with Server(ECHO, env=env) as other:
                result = run_neap("status", env=env)
                need(result.returncode == 2, "status %d" % result.returncode)
                need(all("%d.sock" % pid in result.stderr for pid in (s.pid, other.pid)),
                     result.stderr)
        need(os.listdir(os.path.join(folder, "neap")) == [], "socket files are left")


@suite.case("control.own", "servers of a test are found by nobody else")
def _():
    with Server(ECHO) as s:
        need(os.environ["XDG_RUNTIME_DIR"] == RUNTIME.name, "the folder")
        need(os.listdir(os.path.join(RUNTIME.name, "neap")) == ["%d.sock" % s.pid], "what is there")
        need(run_neap("status").returncode == 0, "not found by its own test")


@suite.case("control.stop", "neap stop returns when the server has ended in order")
def _():
    with tempfile.TemporaryDirectory() as folder:
        env = {"XDG_RUNTIME_DIR": folder, "TMPDIR": folder}
        s = Server(lua=BUSY, env=env)
        client = Raw(s.port, "/slow")
        client.text("0.2")
        client.expect(TEXT, "begun")
        stopping = subprocess.Popen([NEAP, "stop"], env=dict(os.environ, **env),
                                    stdout=subprocess.PIPE)
        client.expect_close(1001, reply=True)
        need(stopping.communicate(timeout=SECONDS * 3)[0] == b"stopping\n", "what it prints")
        need(stopping.returncode == 0, "status %d" % stopping.returncode)
        need(s.wait_exit(SECONDS) == 0, "the server's status")


@suite.case("control.reload", "neap reload is refused for now, and nothing happens")
def _():
    with tempfile.TemporaryDirectory() as folder:
        env = {"XDG_RUNTIME_DIR": folder, "TMPDIR": folder}
        with Server(ECHO, env=env) as s, s.unharmed():
            result = run_neap("reload", env=env)
            need(result.returncode == 1, "status %d" % result.returncode)
            need("this version cannot reload" in result.stderr, result.stderr)


# --- The log --------------------------------------------------------------------------------------

def served_without_log(redirect, port):
    """A server whose stderr `redirect` replaces (in the child), found by its port."""
    s = Server(lua=BUSY, args=["127.0.0.1:%d" % port], wait=False, preexec=redirect)
    wait_until(lambda: answers(port), what="the server answers")
    s.workers()
    return s


def log_much(port, count, size=1000):
    """Messages that the server logs; each must be answered quickly. Returns the longest wait."""
    worst = 0
    with Raw(port, "/log") as client:
        for i in range(count):
            began = time.monotonic()
            client.text("%d %s" % (i, "x" * size))
            client.expect(TEXT, "logged")
            worst = max(worst, time.monotonic() - began)
    return worst


@suite.case("log.blocked", "L17: a blocked FIFO costs no traffic; what was dropped is counted")
def _():
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "fifo")
        os.mkfifo(path)
        reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)

        def redirect():
            os.dup2(os.open(path, os.O_WRONLY), 2)
        with served_without_log(redirect, free_port()) as s:
            port = int(re.search(r":(\d+)", " ".join(s.proc.args)).group(1))
            total = 3000
            need(log_much(port, total) < 1 * SLACK, "traffic waited for the log")
            text = bytearray()

            def drained():
                with contextlib.suppress(BlockingIOError):
                    text.extend(os.read(reader, 1 << 20))
                return b"the log dropped" in text and text.endswith(b"\n")
            wait_until(drained, SECONDS * 2, "the number of dropped lines")
            kept = [int(n) for n in re.findall(rb' said text="(\d+) x{1000}" ', text)]
            dropped = sum(int(n) for n in re.findall(rb"the log dropped (\d+) lines", text))
            need(kept == sorted(set(kept)), "lines twice or out of order")
            need(len(kept) + dropped == total, "%d kept, %d dropped" % (len(kept), dropped))
            need(log_much(port, 1) < 1 * SLACK, "after it")
        os.close(reader)


@suite.case("log.full", "L17: no space for the log costs no traffic; it goes on when there is some")
def _():
    with tempfile.TemporaryDirectory() as folder:
        path, limit = os.path.join(folder, "log"), 100000

        def redirect():
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), 2)
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        port = free_port()
        with served_without_log(redirect, port) as s:
            need(log_much(port, 3000) < 1 * SLACK, "traffic waited for the log")
            need(os.path.getsize(path) == limit, "size %d" % os.path.getsize(path))
            for pid in [s.pid] + s.workers():
                resource.prlimit(pid, resource.RLIMIT_FSIZE,
                                 (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            wait_until(lambda: b"the log dropped" in open(path, "rb").read(), SECONDS * 2,
                       "the number of dropped lines")


@suite.case("log.gone", "L17: reader gone, file and folder removed, a device without space")
def _():
    def no_reader():
        reader, writer = os.pipe()
        os.dup2(writer, 2)
        os.close(reader)

    def full_device():
        os.dup2(os.open("/dev/full", os.O_WRONLY), 2)

    def removed_file():
        folder = tempfile.mkdtemp()
        path = os.path.join(folder, "log")
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), 2)
        os.unlink(path)
        os.rmdir(folder)

    def closed():
        os.close(2)
    for redirect in (no_reader, full_device, removed_file, closed):
        port = free_port()
        with served_without_log(redirect, port) as s, s.unharmed(grow=2 << 20):
            need(log_much(port, 300) < 1 * SLACK, "traffic waited for the log")

if __name__ == "__main__":
    suite.main()
