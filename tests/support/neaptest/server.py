# SPDX-License-Identifier: MIT
"""A running server: started in a session of its own, read through its log, ended for certain.

Nothing outside of that session is ever signalled; whatever still runs when Python ends, or is
killed itself, is killed.
"""
import atexit
import contextlib
import json
import os
import re
import shlex
import signal
import subprocess
import tempfile
import threading

from .basics import INSTRUMENTED, NEAP, SECONDS, Failed, wait_until
from .over import prepared
from .process import SANITIZER, alive, children, cpu, fds, no_sanitizer_report, rss


class LogLine:
    """One parsed log line: time, level, message, fields (all text)."""
    TEXT_FORM = re.compile(r"^(\d{4}-\d\d-\d\dT\S+) (debug|info|warn|error) {1,2}(.*)$")
    FIELD = re.compile(r' ([A-Za-z_][A-Za-z0-9_.]*)=("(?:[^"\\]|\\.)*"|\S*)$')

    def __init__(self, time_, level, message, fields):
        self.time, self.level, self.message, self.fields = time_, level, message, fields

    def __repr__(self):
        return "%s %s %r" % (self.level, self.message, self.fields)

    @classmethod
    def parse(cls, line):
        """Returns None for what is no log line (a traceback's further lines, for instance)."""
        if line.startswith("{"):
            try:
                fields = json.loads(line)
            except ValueError:
                return None
            return cls(fields.pop("time", None), fields.pop("level", None),
                       fields.pop("message", None), fields)
        found = cls.TEXT_FORM.match(line)
        if not found:
            return None
        message, fields = found.group(3), {}
        while True:
            field = cls.FIELD.search(message)
            if not field:
                break
            value = field.group(2)
            fields[field.group(1)] = value[1:-1] if value.startswith('"') else value
            message = message[:field.start()]
        return cls(found.group(1), found.group(2), message, fields)


def guard(pid):
    """Ends a process group when this process is gone, however it went.

    Neither atexit nor a signal handler helps against SIGKILL; the end of a pipe does.
    """
    return subprocess.Popen(
        ["/bin/sh", "-c", 'read -r _; kill -s KILL -- "-$1"', "guard", str(pid)],
        stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True)


class Server:
    """A running `neap run`.

    app      path of the app, or None with lua="source text" for a temporary app
    args     what follows `--` (the app's port first, by custom)
    options  of `neap run`
    program  another one than NEAP
    wait     False: do not wait for `ready` (for servers that shall fail to start)

    Usable as a context manager; leaving it stops the server and checks exit status and log.
    The process leads a session of its own, and nothing outside of it is ever signalled.
    """
    running = []

    def __init__(self, app=None, args=("0",), options=("--workers", "1"), lua=None, env=None,
                 wait=True, seconds=None, cwd=None, command="run", preexec=None, program=NEAP):
        self.folder = None
        if lua is not None:
            self.folder = tempfile.TemporaryDirectory(prefix="neaptest-")
            app = os.path.join(self.folder.name, "app.lua")
            with open(app, "w") as f:
                f.write(prepared(lua))
        self.app = app
        line = shlex.split(os.environ.get("NEAP_WRAP", "")) + [program, command, app]
        line += [str(o) for o in options]
        if args:
            line += ["--"] + [str(a) for a in args]
        self.lines, self.out = [], []
        self.lock = threading.Lock()
        self.status = None
        self.known = set()
        self.proc = subprocess.Popen(
            line, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            start_new_session=True, cwd=cwd, env=dict(os.environ, **(env or {})),
            preexec_fn=preexec)
        Server.running.append(self)
        self.pid = self.proc.pid
        self.guard = guard(self.pid)
        self.readers = [self._reader(self.proc.stderr, self.lines),
                        self._reader(self.proc.stdout, self.out)]
        if wait:
            try:
                self.wait_ready(seconds)
            except BaseException:
                self.kill()
                raise

    def _reader(self, pipe, lines):
        def read():
            for line in pipe:
                with self.lock:
                    lines.append(line.decode("utf-8", "replace").rstrip("\n"))
        thread = threading.Thread(target=read, daemon=True)
        thread.start()
        return thread

    # -- log

    def log(self):
        """All of stderr so far."""
        with self.lock:
            return "\n".join(self.lines)

    def stdout(self):
        with self.lock:
            return "\n".join(self.out)

    def forget_log(self):
        """Drops what has been logged so far, except for addresses: in a long run it is too much."""
        no_sanitizer_report(self.log())
        with self.lock:
            self.lines[:] = [line for line in self.lines if "listening " in line]

    def records(self, level=None):
        """The log as LogLine objects, perhaps of one level only."""
        with self.lock:
            lines = list(self.lines)
        parsed = [record for record in map(LogLine.parse, lines) if record]
        return [r for r in parsed if level is None or r.level == level]

    def wait_log(self, regex, seconds=None):
        """Wait until a match of the regex (multi-line mode) is in the log; returns the match."""
        pattern = re.compile(regex, re.M)
        try:
            return wait_until(lambda: pattern.search(self.log()), seconds)
        except Failed:
            raise Failed("no %r in the log:\n%s" % (regex, self.log()[-3000:])) from None

    def wait_ready(self, seconds=None):
        seconds = seconds or SECONDS * 2
        ready = re.compile(r'^\S+ info +ready\b|"message":\s*"ready"', re.M)

        def done():
            return ready.search(self.log()) or self.proc.poll() is not None
        try:
            wait_until(done, seconds, "ready")
        except Failed:
            raise Failed("server not ready after %g s:\n%s" % (seconds, self.log())) from None
        if self.proc.poll() is not None:
            for reader in self.readers:
                reader.join(2)
            raise Failed("server ended with %s at start:\n%s" % (self.proc.returncode, self.log()))
        self.workers()

    # -- addresses

    @property
    def ports(self):
        """TCP ports in the order of the `listening` lines."""
        found = re.findall(r"\blistening \w+://(?:\[[^\]]*\]|[^\s\":/]+):(\d+)", self.log())
        return [int(port) for port in dict.fromkeys(found)]

    @property
    def port(self):
        return self.ports[0]

    @property
    def sockets(self):
        """Paths of unix: listeners."""
        return re.findall(r"\blistening \w+\+unix:([^\s\"]+)", self.log())

    def url(self, path="/", scheme="ws"):
        return "%s://127.0.0.1:%d%s" % (scheme, self.port, path)

    # -- processes

    def workers(self):
        """Ids of the living worker processes."""
        found = children(self.pid)
        self.known.update(found)
        return found

    def replaced(self, pids):
        """Whether others than `pids` serve, alone: a successor starts before the old worker has gone."""
        now = self.workers()
        return bool(now) and not set(now) & set(pids)

    def restored(self, count, dead):
        """Whether there are that many workers again, without the one that is dead, or will be in a moment."""
        now = self.workers()
        return len(now) == count and dead not in now

    def rss(self, pid=None):
        return rss(pid if pid is not None else self.workers()[0])

    def fds(self, pid=None):
        return fds(pid if pid is not None else self.workers()[0])

    def cpu(self, pid=None):
        return cpu(pid if pid is not None else self.workers()[0])

    @contextlib.contextmanager
    def unharmed(self, grow=1 << 20, seconds=None):
        """What runs inside must leave the workers the same: process ids, descriptors, memory.

        `grow` is the allowed growth of resident memory in bytes; it is not judged under a
        sanitizer, whose quarantine keeps freed memory.
        """
        pids = self.workers()
        before = {pid: (fds(pid), rss(pid)) for pid in pids}
        yield
        for pid in pids:
            wait_until(lambda: fds(pid) <= before[pid][0], seconds,
                       "worker's descriptors back to %d (now %d)" % (before[pid][0], fds(pid)))
            if not INSTRUMENTED:
                wait_until(lambda: rss(pid) <= before[pid][1] + grow, seconds,
                           "worker's memory back (grown by %d KiB)"
                           % ((rss(pid) - before[pid][1]) // 1024))
        if self.workers() != pids:
            raise Failed("workers changed from %r to %r" % (pids, self.workers()))

    def signal(self, number):
        os.kill(self.pid, number)

    def wait_exit(self, seconds=None):
        """Wait for the end by itself; returns the exit status (negative: signal)."""
        try:
            self.status = self.proc.wait(seconds or SECONDS * 3)
        except subprocess.TimeoutExpired:
            log = self.log()[-3000:]
            self.kill()
            raise Failed("server did not end:\n" + log) from None
        for reader in self.readers:
            reader.join(2)
        self._forget()
        return self.status

    def stop(self, seconds=None):
        """SIGTERM, wait, check. Returns the exit status; fails on a sanitizer report."""
        if self.status is None:
            self.workers()
            if self.proc.poll() is None:
                self.signal(signal.SIGTERM)
            self.wait_exit(seconds)
            left = [pid for pid in self.known if alive(pid) and self._ours(pid)]
            if left:
                wait_until(lambda: not any(alive(p) for p in left), 3, "workers %r end" % left)
        no_sanitizer_report(self.log())
        return self.status

    def kill(self):
        """End everything of this server at once, for cleaning up."""
        with contextlib.suppress(OSError):
            self.known.update(children(self.pid))
        with contextlib.suppress(OSError):
            if self.proc.poll() is None or self.known:
                os.killpg(self.pid, signal.SIGKILL)
        for pid in self.known:
            if self._ours(pid):
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.status = self.proc.wait(5)
        for reader in self.readers:
            reader.join(1)
        self._forget()

    def _ours(self, pid):
        """Whether pid is still in our session (process ids are used again)."""
        try:
            return os.getsid(pid) == self.pid
        except OSError:
            return False

    def _forget(self):
        if self in Server.running:
            Server.running.remove(self)
        self.guard.kill()
        self.guard.wait()
        self.guard.stdin.close()
        if self.folder:
            self.folder.cleanup()

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        if kind is not None:
            self.kill()
            found = SANITIZER.search(self.log())
            if found:
                print("  sanitizer:\n" + self.log()[found.start():found.start() + 6000])
        elif self.status is None:
            status = self.stop()
            if status != 0:
                raise Failed("server ended with %d:\n%s" % (status, self.log()[-3000:]))


class Once:
    """A server that the first case which needs it starts, by `_start`, which sets `server`.

    Why it could not be started is told to every case that wants it.
    """

    def __init__(self):
        self.lock = threading.Lock()
        self.server, self.failure = None, None

    def get(self):
        with self.lock:
            if self.failure:
                raise Failed("no server") from self.failure
            if self.server is None:
                try:
                    self._start()
                except Exception as err:
                    self.failure = err
                    raise
        return self.server

    @property
    def port(self):
        return self.get().port


@atexit.register
def kill_all():
    for server in list(Server.running):
        server.kill()
