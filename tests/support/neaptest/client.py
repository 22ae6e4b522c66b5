# SPDX-License-Identifier: MIT
"""A client connection that does only what the test says, and checks what the server sends.

What no server may send fails whatever the test is about: a masked frame (RFC 6455 §5.1), a
length that is not minimal (§5.2), a long or fragmented control frame (§5.5).
"""
import contextlib
import os
import select
import socket
import ssl
import struct
import threading
import time

from . import over
from .basics import SECONDS, SLACK, Failed
from .wire import BINARY, CLOSE, CONT, PING, PONG, TEXT, Response, brief, frame, request

RSV1 = 4        # the message is compressed (RFC 7692 §6)


class Raw:
    """One connection to a server. With `path` the upgrade is done (and must succeed) at once.

    port      a TCP port, or a path string for a unix: listener
    tls       an ssl.SSLContext for wss; without one, Raw.secure if that is set, or NEAP_OVER
    seconds   default deadline of everything that waits
    source    the address to come from
    compress  offer compression with the upgrade by `path`, and use it; default: Raw.compress
    """

    secure = None               # the context of all connections, for a suite that runs over TLS
    compress = over.DEFLATE

    def __init__(self, port, path=None, headers=(), seconds=None, host="127.0.0.1", tls=None,
                 rcvbuf=None, source=None, compress=None):
        self.seconds = seconds or SECONDS
        family = socket.AF_UNIX if isinstance(port, str) else \
            socket.AF_INET6 if ":" in host else socket.AF_INET
        self.sock = socket.socket(family, socket.SOCK_STREAM)
        if rcvbuf:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        if source:
            self.sock.bind((source, 0))
        self.sock.settimeout(self.seconds)
        self.sock.connect(port if isinstance(port, str) else (host, port))
        if family != socket.AF_UNIX:
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        tls = tls or Raw.secure or over.context()
        if tls:
            self.sock = tls.wrap_socket(self.sock, server_hostname="localhost")
            over.Run.secured += 1
        self.lock = threading.Lock()
        self.buf = bytearray()
        self.eof = None             # "eof" or "reset" once the server has closed
        self.response = None
        self.packs = False          # whole messages are sent compressed
        if path is not None:
            self._upgrade(path, headers, Raw.compress if compress is None else compress)

    def _upgrade(self, path, headers, compress):
        headers = list(headers.items() if isinstance(headers, dict) else headers)
        response = self.handshake(path, headers + [over.OFFER] * compress)
        if response.status != 101:
            self.close()
            raise Failed("upgrade of %s refused: %r" % (path, response))
        self.packs = compress
        if self.packs and not response.header("Sec-WebSocket-Extensions"):
            raise Failed("no compression was agreed upon")

    # -- bytes

    def send(self, data):
        """Send all of it. A server that has closed already is no error here; reads tell."""
        try:
            if not isinstance(self.sock, ssl.SSLSocket):
                self.sock.settimeout(self.seconds)
                self.sock.sendall(data)
                return
            rest, deadline = memoryview(data), self._deadline(None)
            while rest:
                rest = rest[self._tls(self.sock.send, rest, deadline):]
        except (BrokenPipeError, ConnectionResetError, ssl.SSLEOFError, ssl.SSLZeroReturnError):
            pass

    def _tls(self, fn, arg, deadline):
        """One operation of a TLS socket. Reader and sender may be two threads; OpenSSL's are not."""
        while True:
            with self.lock:
                self.sock.settimeout(0)
                try:
                    return fn(arg)
                except ssl.SSLWantReadError:
                    event = select.POLLIN
                except ssl.SSLWantWriteError:
                    event = select.POLLOUT
                finally:
                    self.sock.settimeout(self.seconds)
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            poll = select.poll()
            poll.register(self.sock, event)
            poll.poll(left * 1000)

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
        try:
            if isinstance(self.sock, ssl.SSLSocket):
                data = self._tls(self.sock.recv, 262144, deadline)
            else:
                self.sock.settimeout(max(deadline - time.monotonic(), 0.001))
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
        usual = fin and mask is True and not (rsv or length_form or length)
        if self.packs and usual and op in (TEXT, BINARY):
            rsv = RSV1
            over.Run.packed += 1
            payload = over.pack(payload.encode() if isinstance(payload, str) else payload)
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

        Control frames fail, unless a list `controls` takes them as (op, payload). The server's
        heartbeat (an empty ping) is answered, as any client does, and else ignored.
        """
        deadline = self._deadline(seconds)
        kind, parts, packed = None, [], False
        while True:
            fin, rsv, op, payload = self.recv_frame(max(0.001, deadline - time.monotonic()))
            if self.packs and rsv == RSV1 and kind is None and op in (TEXT, BINARY):
                packed, rsv = True, 0
            if rsv:
                raise Failed("server set reserved bits %d" % rsv)
            if op >= 8:
                if controls is None and (op, payload) == (PING, b""):
                    self.send_frame(PONG)
                    continue
                if controls is None:
                    raise Failed("expected a message, got control frame %X %r" % (op, payload))
                controls.append((op, payload))
                continue
            if op not in ((TEXT, BINARY) if kind is None else (CONT,)):
                raise Failed("server sent opcode %X in the wrong place" % op)
            kind = op if kind is None else kind
            parts.append(payload)
            if fin:
                over.Run.unpacked += packed
                return kind, over.unpack(b"".join(parts)) if packed else b"".join(parts)

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
        with contextlib.suppress(OSError):      # a TLS socket would forget its keys
            socket.socket.shutdown(self.sock, socket.SHUT_WR)

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


def machine_load():
    """How many runnable processes share a core, at least 1: others' load is not the server's."""
    return max(1.0, os.getloadavg()[0] / os.cpu_count())


class Bystander(Raw):
    """A connection to an echo path; `check` asserts that it is answered within the limit."""

    def __init__(self, port, path="/echo", limit=0.05, **options):
        super().__init__(port, path, **options)
        self.limit, self.count, self.worst = limit, 0, 0.0

    def check(self, limit=None):
        """One echo; returns how long it took in seconds."""
        limit = (self.limit if limit is None else limit) * SLACK * machine_load()
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
