# SPDX-License-Identifier: MIT
"""Harness of the end-to-end tests: start a server, speak raw WebSocket to it, count what passed.

    Server     one `neap run` in a session of its own: ports, workers, log, RSS, descriptors
    Raw        one client connection that can send any bytes, also wrong ones
    frame      encodes one frame, also a wrong one
    Bystander  a well-behaved connection that must stay quick whatever the others do
    Suite      a table of cases, run in order, `N passed, N failed` at the end

This is not a WebSocket library: nothing is corrected or answered behind the test's back. What
the *server* sends is checked strictly (RFC 6455 §5.1: unmasked, §5.2: minimal length, §5.5:
control frames short and whole), so that every test of any suite also tests that.

Environment:
    NEAP          the program (default: build/neap of this checkout)
    NEAP_SLACK    factor on time limits (default 1; 8 for a program in a folder named *asan* etc.)
    NEAP_WRAP     words put before the program, e.g. "valgrind -q"

Only Debian's /usr/bin/python3 and its standard library are needed.
"""
import atexit
import base64
import contextlib
import fnmatch
import hashlib
import json
import os
import re
import shlex
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import traceback

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
APPS = os.path.join(ROOT, "apps")
NEAP = os.path.abspath(os.environ.get("NEAP") or os.path.join(ROOT, "build", "neap"))
INSTRUMENTED = bool(re.search(r"/(asan|tsan|ubsan|cov|valgrind)[^/]*/", NEAP)) or \
    "NEAP_WRAP" in os.environ
SLACK = float(os.environ.get("NEAP_SLACK") or (8 if INSTRUMENTED else 1))
SECONDS = 5.0 * max(1.0, SLACK / 2)     # default deadline for anything that should just happen

CONT, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"     # RFC 6455 §1.3
SANITIZER = re.compile(r"ERROR: AddressSanitizer|runtime error:|LeakSanitizer|ThreadSanitizer"
                       r"|UndefinedBehaviorSanitizer|AddressSanitizer:DEADLYSIGNAL")


class Failed(AssertionError):
    """The server did something else than the test expected."""


def wait_until(fn, seconds=None, what=None):
    """Call fn until it returns something true, and return that. Fails after `seconds`."""
    seconds = SECONDS if seconds is None else seconds
    deadline = time.monotonic() + seconds
    pause = 0.001
    while True:
        value = fn()
        if value:
            return value
        if time.monotonic() > deadline:
            raise Failed("did not happen within %g s: %s" % (seconds, what or fn.__name__))
        time.sleep(pause)
        pause = min(pause * 1.5, 0.05)


def rss(pid):
    """Resident memory of a process in bytes; 0 when it is gone."""
    try:
        with open("/proc/%d/status" % pid) as f:
            found = re.search(r"VmRSS:\s+(\d+)", f.read())
    except OSError:
        return 0
    return int(found.group(1)) * 1024 if found else 0


def fds(pid):
    """Number of open descriptors of a process; 0 when it is gone."""
    try:
        return len(os.listdir("/proc/%d/fd" % pid))
    except OSError:
        return 0


def cpu(pid):
    """Processor time that a process has used, in seconds."""
    with open("/proc/%d/stat" % pid) as f:
        fields = f.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def alive(pid):
    """Whether a process exists and is no zombie."""
    try:
        with open("/proc/%d/stat" % pid) as f:
            return f.read().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


def children(pid):
    """Living child processes, in order of their ids."""
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open("/proc/%s/stat" % name) as f:
                fields = f.read().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid and fields[0] not in ("Z", "X"):
            found.append(int(name))
    return sorted(found)


def run_neap(*args, seconds=None, stdin=b"", env=None, cwd=None):
    """Run the program to its end. Returns a CompletedProcess with text in stdout and stderr."""
    result = subprocess.run(
        shlex.split(os.environ.get("NEAP_WRAP", "")) + [NEAP] + [str(a) for a in args],
        input=stdin, capture_output=True, cwd=cwd, timeout=seconds or SECONDS * 2,
        env=dict(os.environ, **(env or {})))
    result.stdout = result.stdout.decode("utf-8", "replace")
    result.stderr = result.stderr.decode("utf-8", "replace")
    no_sanitizer_report(result.stderr)
    return result


def no_sanitizer_report(text):
    found = SANITIZER.search(text)
    if found:
        start = max(0, found.start() - 200)
        raise Failed("sanitizer report in the log:\n" + text[start:start + 6000])


# ---------------------------------------------------------------------------------- the server

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


class Server:
    """A running `neap run`.

    app      path of the app, or None with lua="source text" for a temporary app
    args     what follows `--` (the app's port first, by custom)
    options  of `neap run`
    wait     False: do not wait for `ready` (for servers that shall fail to start)

    Usable as a context manager; leaving it stops the server and checks exit status and log.
    The process leads a session of its own, and nothing outside of it is ever signalled.
    """
    running = []

    def __init__(self, app=None, args=("0",), options=("--workers", "1"), lua=None, env=None,
                 wait=True, seconds=None, cwd=None, command="run", preexec=None):
        self.folder = None
        if lua is not None:
            self.folder = tempfile.TemporaryDirectory(prefix="neaptest-")
            app = os.path.join(self.folder.name, "app.lua")
            with open(app, "w") as f:
                f.write(lua)
        self.app = app
        line = shlex.split(os.environ.get("NEAP_WRAP", "")) + [NEAP, command, app]
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


@atexit.register
def _kill_all():
    for server in list(Server.running):
        server.kill()


# ---------------------------------------------------------------------------------- the client

def mask_bytes(data, key):
    """XOR with a four-byte key (RFC 6455 §5.3)."""
    size = len(data)
    if not size:
        return b""
    keys = (key * (size // 4 + 1))[:size]
    return (int.from_bytes(data, "little") ^ int.from_bytes(keys, "little")).to_bytes(
        size, "little")


def frame(op, payload=b"", fin=True, rsv=0, mask=True, length_form=None, length=None):
    """One frame as bytes (RFC 6455 §5.2).

    rsv          three bits: 4 is RSV1, 2 RSV2, 1 RSV3
    mask         True: a random key; four bytes: this key; None or False: unmasked
    length_form  7, 16 or 64 forces that form of the length, minimal or not
    length       a length to claim instead of the payload's
    """
    if isinstance(payload, str):
        payload = payload.encode()
    size = len(payload) if length is None else length
    form = length_form or (7 if size < 126 else 16 if size < 65536 else 64)
    bit = 0x80 if mask else 0
    head = bytes([(0x80 if fin else 0) | (rsv << 4) | op])
    if form == 7:
        head += bytes([bit | size])
    elif form == 16:
        head += bytes([bit | 126]) + struct.pack(">H", size)
    else:
        head += bytes([bit | 127]) + struct.pack(">Q", size)
    if not mask:
        return head + payload
    key = os.urandom(4) if mask is True else mask
    return head + key + mask_bytes(payload, key)


def close_payload(code, reason=b""):
    if isinstance(reason, str):
        reason = reason.encode()
    return struct.pack(">H", code) + reason


def accept_value(key):
    """What Sec-WebSocket-Accept must be for a key (RFC 6455 §4.2.2)."""
    if isinstance(key, str):
        key = key.encode()
    return base64.b64encode(hashlib.sha1(key + GUID.encode()).digest()).decode()


class Response:
    """An HTTP response head, and the body where it has one."""

    def __init__(self, head, body=b""):
        self.head, self.body = head, body
        lines = head.split(b"\r\n")
        found = re.match(rb"HTTP/1\.1 (\d{3}) ?(.*)$", lines[0])
        if not found:
            raise Failed("no HTTP response: %r" % head[:200])
        self.status, self.reason = int(found.group(1)), found.group(2).decode("latin-1")
        self.headers = []
        for line in lines[1:]:
            name, colon, value = line.partition(b":")
            if not colon or name.strip() != name:
                raise Failed("bad header line in the response: %r" % line)
            self.headers.append((name.decode("latin-1"), value.strip().decode("latin-1")))

    def values(self, name):
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def header(self, name):
        """The value of a header that must not be there twice, or None."""
        values = self.values(name)
        if len(values) > 1:
            raise Failed("header %s came %d times" % (name, len(values)))
        return values[0] if values else None

    def __repr__(self):
        return "%d %s %r %r" % (self.status, self.reason, self.headers, self.body[:200])


def request(path="/", headers=(), host="localhost", key=None, method="GET", version="HTTP/1.1"):
    """The bytes of an upgrade request.

    `headers` are pairs or a dict; a name that is among the usual ones replaces it (a value of
    None leaves it out, a list gives several lines), others are added after them.
    """
    lines = [("Host", host), ("Upgrade", "websocket"), ("Connection", "Upgrade"),
             ("Sec-WebSocket-Key", key or "dGhlIHNhbXBsZSBub25jZQ=="),
             ("Sec-WebSocket-Version", "13")]
    for name, value in (headers.items() if isinstance(headers, dict) else headers):
        at = next((i for i, (n, _) in enumerate(lines) if n.lower() == name.lower()), None)
        values = value if isinstance(value, list) else [] if value is None else [value]
        new = [(name, v) for v in values]
        if at is None:
            lines += new
        else:
            lines[at:at + 1] = new
    text = "%s %s %s\r\n" % (method, path, version)
    return (text + "".join("%s: %s\r\n" % l for l in lines) + "\r\n").encode("latin-1")


class Raw:
    """One connection to a server. With `path` the upgrade is done (and must succeed) at once.

    port      a TCP port, or a path string for a unix: listener
    tls       an ssl.SSLContext for wss
    seconds   default deadline of everything that waits
    """

    def __init__(self, port, path=None, headers=(), seconds=None, host="127.0.0.1", tls=None,
                 rcvbuf=None):
        self.seconds = seconds or SECONDS
        family = socket.AF_UNIX if isinstance(port, str) else \
            socket.AF_INET6 if ":" in host else socket.AF_INET
        self.sock = socket.socket(family, socket.SOCK_STREAM)
        if rcvbuf:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        self.sock.settimeout(self.seconds)
        self.sock.connect(port if isinstance(port, str) else (host, port))
        if family != socket.AF_UNIX:
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls:
            self.sock = tls.wrap_socket(self.sock, server_hostname="localhost")
        self.buf = bytearray()
        self.eof = None             # "eof" or "reset" once the server has closed
        self.response = None
        if path is not None:
            response = self.handshake(path, headers)
            if response.status != 101:
                self.close()
                raise Failed("upgrade of %s refused: %r" % (path, response))

    # -- bytes

    def send(self, data):
        """Send all of it. A server that has closed already is no error here; reads tell."""
        try:
            self.sock.settimeout(self.seconds)
            self.sock.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass

    def send_chops(self, data, size=1, pause=0):
        """Send in pieces of `size` bytes, each a segment of its own."""
        for at in range(0, len(data), size):
            self.send(data[at:at + size])
            if pause:
                time.sleep(pause)

    def _fill(self, deadline):
        """Read more into buf. False at the end of the stream; fails past the deadline."""
        if self.eof:
            return False
        left = deadline - time.monotonic()
        try:
            self.sock.settimeout(max(left, 0.001))
            data = self.sock.recv(262144)
        except (ConnectionResetError, BrokenPipeError):
            self.eof = "reset"
            return False
        except (TimeoutError, socket.timeout):
            raise Failed("nothing from the server in time; so far %r"
                         % bytes(self.buf[:200])) from None
        if not data:
            self.eof = "eof"
            return False
        self.buf += data
        return True

    def _deadline(self, seconds):
        return time.monotonic() + (self.seconds if seconds is None else seconds)

    def _need(self, size, deadline):
        while len(self.buf) < size:
            if not self._fill(deadline):
                raise Failed("connection ended (%s) with %d of %d bytes: %r"
                             % (self.eof, len(self.buf), size, bytes(self.buf[:200])))

    def recv_until(self, pred, seconds=None):
        """Read until `pred` (bytes to find, or a function of all bytes) holds.

        Returns and consumes everything up to the end of the found bytes, or everything.
        """
        deadline = self._deadline(seconds)
        while True:
            if callable(pred):
                if pred(bytes(self.buf)):
                    return self._take(len(self.buf))
            else:
                at = self.buf.find(pred)
                if at >= 0:
                    return self._take(at + len(pred))
            if not self._fill(deadline):
                raise Failed("connection ended (%s) after %r" % (self.eof, bytes(self.buf[-300:])))

    def _take(self, size):
        data = bytes(self.buf[:size])
        del self.buf[:size]
        return data

    def recv_all(self, seconds=None):
        """Everything until the server closes."""
        deadline = self._deadline(seconds)
        while self._fill(deadline):
            pass
        return self._take(len(self.buf))

    def arrived(self, seconds):
        """Whether anything arrives, or the connection ends, within `seconds`."""
        if not self.buf:
            with contextlib.suppress(Failed):
                self._fill(time.monotonic() + seconds)
        return bool(self.buf or self.eof)

    def silent(self, seconds=0.05):
        """Fails when anything arrives, or the connection ends, within `seconds`."""
        if self.arrived(seconds):
            raise Failed("expected silence, got %r %s" % (bytes(self.buf[:200]), self.eof or ""))

    # -- HTTP

    def handshake(self, path="/", headers=(), extra=b"", seconds=None, **options):
        """Send an upgrade request, `extra` in the same segment, and return the Response."""
        self.send(request(path, headers, **options) + extra)
        return self.recv_response(seconds)

    def recv_response(self, seconds=None, bodiless=False):
        """Read a response; its body as well unless it has none (101, the answer to a HEAD)."""
        head = self.recv_until(b"\r\n\r\n", seconds)[:-4]
        self.response = response = Response(head)
        if bodiless or response.status in (101, 204, 304):
            return response
        size = response.header("Content-Length")
        if size is not None:
            self._need(int(size), self._deadline(seconds))
            response.body = self._take(int(size))
        elif response.header("Transfer-Encoding") is None:
            response.body = self.recv_all(seconds)
        return response

    # -- frames

    def send_frame(self, op, payload=b"", fin=True, rsv=0, mask=True, length_form=None,
                   length=None):
        self.send(frame(op, payload, fin, rsv, mask, length_form, length))

    def text(self, text, **options):
        self.send_frame(TEXT, text, **options)

    def recv_frame(self, seconds=None):
        """The next frame as (fin, rsv, op, payload). What no server may send fails here."""
        deadline = self._deadline(seconds)
        self._need(2, deadline)
        fin, rsv, op = bool(self.buf[0] & 0x80), (self.buf[0] >> 4) & 7, self.buf[0] & 15
        if self.buf[1] & 0x80:
            raise Failed("server sent a masked frame (RFC 6455 §5.1)")
        size, head = self.buf[1] & 0x7F, 2
        if op >= 8 and (size > 125 or not fin):
            raise Failed("server sent a long or fragmented control frame (RFC 6455 §5.5)")
        if size == 126:
            self._need(4, deadline)
            size, head = struct.unpack_from(">H", self.buf, 2)[0], 4
            minimal = size >= 126
        elif size == 127:
            self._need(10, deadline)
            size, head = struct.unpack_from(">Q", self.buf, 2)[0], 10
            minimal = 65536 <= size < 1 << 63
        else:
            minimal = True
        if not minimal:
            raise Failed("server sent a length that is not minimal (RFC 6455 §5.2)")
        self._need(head + size, deadline)
        data = self._take(head + size)
        return fin, rsv, op, data[head:]

    def recv_message(self, seconds=None, controls=None):
        """The next whole message as (op, payload), fragments put together.

        Control frames fail, unless a list `controls` takes them as (op, payload).
        """
        deadline = self._deadline(seconds)
        kind, parts = None, []
        while True:
            fin, rsv, op, payload = self.recv_frame(max(0.001, deadline - time.monotonic()))
            if rsv:
                raise Failed("server set reserved bits %d" % rsv)
            if op >= 8:
                if controls is None:
                    raise Failed("expected a message, got control frame %X %r" % (op, payload))
                controls.append((op, payload))
                continue
            if op not in ((TEXT, BINARY) if kind is None else (CONT,)):
                raise Failed("server sent opcode %X in the wrong place" % op)
            kind = op if kind is None else kind
            parts.append(payload)
            if fin:
                return kind, b"".join(parts)

    def expect(self, op, payload, seconds=None):
        """The next message (op TEXT or BINARY) or control frame must be this one."""
        if isinstance(payload, str):
            payload = payload.encode()
        if op in (TEXT, BINARY):
            got = self.recv_message(seconds)
        else:
            fin, rsv, kind, data = self.recv_frame(seconds)
            got = (kind, data) if fin and not rsv else (fin, rsv, kind, data)
        if got != (op, payload):
            raise Failed("expected %s, got %s" % (brief(op, payload), brief(*got[-2:])))

    def expect_close(self, code=None, reason=None, seconds=None, reply=False, eof=True,
                     skip=False):
        """The next frame must be a close with this code (None: without any), then the end.

        reason  compared where given
        reply   answer the close frame (a close that the server began in order waits for that)
        eof     also wait for the end of the TCP connection, at most 5 s (times SLACK)
        skip    skip messages and pongs that come before
        Returns the reason.
        """
        deadline = self._deadline(seconds)
        while True:
            _, rsv, op, payload = self.recv_frame(max(0.001, deadline - time.monotonic()))
            if op == CLOSE or not skip:
                break
        if op != CLOSE or rsv:
            raise Failed("expected close %s, got %s" % (code, brief(op, payload)))
        if len(payload) == 1:
            raise Failed("server sent a close frame with one byte")
        got = struct.unpack(">H", payload[:2])[0] if payload else None
        if got != code:
            raise Failed("expected close %s, got close %s %r" % (code, got, payload[2:]))
        text = payload[2:].decode("utf-8")
        if reason is not None and text != reason:
            raise Failed("expected close reason %r, got %r" % (reason, text))
        if reply:
            self.send_frame(CLOSE, payload)
        if eof:
            self.expect_eof(5 * max(1.0, SLACK / 2))
        return text

    def expect_eof(self, seconds=None):
        """Nothing more may come, and the server must end the connection."""
        deadline = self._deadline(seconds)
        if self.buf or self._fill(deadline):
            raise Failed("expected the end, got %r" % bytes(self.buf[:200]))

    def shutdown(self):
        """Tell the server that nothing more will come; it can still send."""
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_WR)

    def reset(self):
        """End the connection with a TCP reset."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def close(self):
        """Close the socket without any WebSocket close."""
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def brief(op, payload):
    names = {0: "continuation", 1: "text", 2: "binary", 8: "close", 9: "ping", 10: "pong"}
    text = repr(payload) if len(payload) <= 80 else \
        "%r… (%d bytes)" % (payload[:60], len(payload))
    return "%s %s" % (names.get(op, "opcode %X" % op), text)


class Bystander(Raw):
    """A connection to an echo path; `check` asserts that it is answered within the limit."""

    def __init__(self, port, path="/echo", limit=0.05, **options):
        super().__init__(port, path, **options)
        self.limit, self.count, self.worst = limit, 0, 0.0

    def check(self, limit=None):
        """One echo; returns how long it took in seconds."""
        limit = (self.limit if limit is None else limit) * SLACK
        self.count += 1
        text = "bystander %d" % self.count
        began = time.monotonic()
        self.text(text)
        self.expect(TEXT, text)
        took = time.monotonic() - began
        self.worst = max(self.worst, took)
        if took > limit:
            raise Failed("the bystander waited %.1f ms, limit %.1f ms"
                         % (took * 1000, limit * 1000))
        return took


# ---------------------------------------------------------------------------------- the suite

class Suite:
    """A table of cases, each a function without arguments that raises when it fails.

        suite = Suite("name")

        @suite.case("group.what", "one line about it")
        def _(): ...

        sys.exit(suite.main())          # main() exits by itself when called plainly

    Arguments of the program: ids or patterns (`close.*`) to run only those, `-v` prints each
    case with its time, `-l` lists them, `-x` stops at the first failure.
    """

    def __init__(self, name):
        self.name, self.cases, self.finals = name, [], []
        self.ids = set()

    def add(self, ident, what, fn, background=False):
        """Add a case. Background cases (those that wait for a timeout) run beside the others."""
        if ident in self.ids:
            raise ValueError("two cases are called " + ident)
        self.ids.add(ident)
        self.cases.append((ident, what, fn, background))

    def case(self, ident, what="", background=False):
        def take(fn):
            self.add(ident, what, fn, background)
            return fn
        return take

    def final(self, ident, what=""):
        """A case that always runs, after all others (the log is clean, the worker the same)."""
        def take(fn):
            self.ids.add(ident)
            self.finals.append((ident, what, fn, False))
            return fn
        return take

    def main(self, argv=None):
        """Run, print, and exit: 0 when something ran and nothing failed."""
        argv = sys.argv[1:] if argv is None else argv
        flags = {a for a in argv if a.startswith("-")}
        wanted = [a for a in argv if not a.startswith("-")]
        chosen = [c for c in self.cases
                  if not wanted or any(fnmatch.fnmatch(c[0], w) for w in wanted)]
        if "-l" in flags:
            for ident, what, _, _ in chosen + self.finals:
                print("%-44s %s" % (ident, what))
            sys.exit(0)
        began = time.monotonic()
        results = self._run_all(chosen, flags)
        failed = sum(1 for ok in results if not ok)
        print("%s: %d cases in %.1f s" % (self.name, len(results), time.monotonic() - began))
        if not chosen:
            print("no case is called so: %s" % " ".join(wanted))
        print("%d passed, %d failed" % (len(results) - failed, failed), flush=True)
        _kill_all()
        sys.exit(1 if failed or not chosen else 0)

    def _run_all(self, chosen, flags):
        results, threads = [], []
        for case in chosen:
            if case[3]:
                thread = threading.Thread(
                    target=lambda c=case: results.append(self._run(c, flags)), daemon=True)
                thread.start()
                threads.append(thread)
        for case in chosen:
            if not case[3]:
                results.append(self._run(case, flags))
                if "-x" in flags and not results[-1]:
                    break
        for thread in threads:
            thread.join()
        if chosen:
            results += [self._run(case, flags) for case in self.finals]
        return results

    def _run(self, case, flags):
        ident, what, fn, _ = case
        began = time.monotonic()
        try:
            fn()
        except Exception as err:        # a case may fail in any way; the suite goes on
            text = "FAIL %s (%s)\n     %s" % (ident, what, str(err) or repr(err))
            if not isinstance(err, Failed):
                text += "\n" + "".join(traceback.format_exception(err)[-4:])
            print(text, flush=True)
            return False
        if "-v" in flags:
            print("ok   %s %.0f ms" % (ident, (time.monotonic() - began) * 1000), flush=True)
        return True
