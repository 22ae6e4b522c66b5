# SPDX-License-Identifier: MIT
"""Many client connections in one thread: what model_test.py and kills_test.py are made of.

A Link is one connection. Whatever happens to it is told to its `owner` from inside Fleet.turn():

    owner.on_message(link, op, payload)     a whole message, decompressed
    owner.on_end(link, how)                 "closed" (close frames exchanged), "eof", "reset"

What no server may send is a failure, as in neaptest.Raw. Nothing here waits but Fleet.turn, for
the sockets; Fleet.tick counts what has happened, so that of any two events it is known which was
first here.
"""
import contextlib
import os
import re
import selectors
import socket
import struct
import zlib

from neaptest import (
    BINARY, CLOSE, CONT, PING, PONG, TEXT, Failed, close_payload, cpu, frame, request)
from neaptest.over import OFFER, pack

CHUNK = 256 * 1024
FRAME = 60000           # longer messages are sent in pieces, since fragments are to be tried, too


class Link:
    """One connection, from the first SYN on."""

    count = 0

    def __init__(self, fleet, owner, port, path="/", packs=False):
        Link.count += 1
        self.number = Link.count
        self.fleet, self.owner, self.path, self.packs = fleet, owner, path, packs
        self.state = "head"         # "open", "closing" (our close frame is sent), "gone"
        self.buf, self.out = bytearray(), bytearray()
        self.parts, self.kind, self.packed = [], None, False
        self.writing = False
        self.sock = socket.socket()
        self.sock.setblocking(False)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.connect_ex(("127.0.0.1", port))
        fleet.selector.register(self.sock, selectors.EVENT_READ, self)
        self._write(request(path, [OFFER] if packs else ()))

    # -- out

    def send(self, op, payload):
        """A message, compressed if this link does that; or a control frame."""
        self.fleet.tick += 1
        rsv = 0
        if self.packs and op in (TEXT, BINARY):
            payload, rsv = pack(payload), 4
        if len(payload) <= FRAME:
            self._write(frame(op, payload, rsv=rsv))
            return
        pieces = [payload[at:at + FRAME] for at in range(0, len(payload), FRAME)]
        for i, piece in enumerate(pieces):
            self._write(frame(op if i == 0 else CONT, piece, fin=i == len(pieces) - 1,
                              rsv=0 if i else rsv))

    def close(self):
        """The closing handshake; on_end comes when the server has answered."""
        self.state = "closing"
        self.send(CLOSE, close_payload(1000))

    def reset(self):
        """Ends it at once with a TCP reset. on_end is not told."""
        self.fleet.tick += 1
        self._forget()
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def _write(self, data):
        self.out += data
        if not self.writing:
            self.on_writable()

    def on_writable(self):
        try:
            del self.out[:self.sock.send(self.out)]
        except (BlockingIOError, InterruptedError):
            pass
        except OSError:             # not connected yet, or the end: reading tells
            if self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                self.out.clear()
        if bool(self.out) != self.writing and self.state != "gone":
            self.writing = bool(self.out)
            events = selectors.EVENT_READ | (selectors.EVENT_WRITE if self.writing else 0)
            self.fleet.selector.modify(self.sock, events, self)

    # -- in

    def on_readable(self):
        try:
            data = self.sock.recv(CHUNK)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self._end("reset")
            return
        if not data:
            self._end("closed" if self.state == "answered" else "eof")
            return
        self.buf += data
        if self.state == "head" and not self._head():
            return
        at = 0
        while self.state != "gone":
            size = self._frame(at)
            if not size:
                break
            at += size
        del self.buf[:at]

    def _head(self):
        end = self.buf.find(b"\r\n\r\n")
        if end < 0:
            return False
        head = bytes(self.buf[:end])
        if not head.startswith(b"HTTP/1.1 101 "):
            raise Failed("upgrade of %s refused: %r" % (self.path, head[:200]))
        if self.packs and b"permessage-deflate" not in head:
            raise Failed("no compression was agreed upon")
        del self.buf[:end + 4]
        self.state = "open"
        return True

    def _frame(self, at):
        """Takes the frame that begins there; how many bytes it has, or 0 when it is not whole."""
        buf = self.buf
        have = len(buf) - at
        if have < 2:
            return 0
        first, size, head = buf[at], buf[at + 1], 2
        if size >= 126:
            head = 4 if size == 126 else 10
            if have < head:
                return 0
            size, least = struct.unpack_from(">H" if head == 4 else ">Q", buf, at + 2)[0], \
                126 if head == 4 else 65536
            if size < least or buf[at + 1] & 0x80:
                raise Failed("a length that is not minimal, or a masked frame")
        if have < head + size:
            return 0
        self._take(first, bytes(buf[at + head:at + head + size]))
        return head + size

    def _take(self, first, payload):
        self.fleet.tick += 1
        op, fin, rsv = first & 15, first & 0x80, first >> 4 & 7
        if op >= 8:
            self._control(op, payload)
            return
        if (op == CONT) != (self.kind is not None) or rsv and (op == CONT or not self.packs):
            raise Failed("a frame %02X in the wrong place" % first)
        if op != CONT:
            self.kind, self.packed = op, bool(rsv)
        self.parts.append(payload)
        if fin:
            payload = b"".join(self.parts) if len(self.parts) > 1 else payload
            if self.packed:
                payload = zlib.decompressobj(-15).decompress(payload + b"\0\0\xff\xff")
                self.fleet.unpacked += 1
            kind, self.kind = self.kind, None
            self.parts.clear()
            self.owner.on_message(self, kind, payload)

    def _control(self, op, payload):
        if op == PING:
            self.send(PONG, payload)
        elif op == CLOSE:
            if self.state != "closing":
                raise Failed("the server closed a connection: %r" % payload)
            self.state = "answered"

    def _end(self, how):
        self._forget()
        self.sock.close()
        self.owner.on_end(self, how)

    def _forget(self):
        if self.state != "gone":
            self.fleet.selector.unregister(self.sock)
        self.state = "gone"


class Fleet:
    def __init__(self):
        self.selector = selectors.DefaultSelector()
        self.tick = 0
        self.unpacked = 0       # compressed messages that came

    def turn(self, seconds):
        """Waits for sockets at most so long, and handles what has come."""
        for key, events in self.selector.select(seconds):
            link = key.data
            if events & selectors.EVENT_WRITE and link.state != "gone":
                link.on_writable()
            if events & selectors.EVENT_READ and link.state != "gone":
                link.on_readable()

    def end(self):
        """Closes every socket; owners are not told."""
        for key in list(self.selector.get_map().values()):
            key.data._forget()
            key.data.sock.close()
        self.selector.close()


def troubles(server):
    """What may tell why: how the workers are, and the last warnings and errors of the log."""
    found = ["load %.1f" % os.getloadavg()[0]]
    for pid in server.workers():
        with contextlib.suppress(OSError, IndexError):
            with open("/proc/%d/stat" % pid) as f:
                state = f.read().rpartition(")")[2].split()[0]
            found.append("worker %d: %s, %.2f s of processor time" % (pid, state, cpu(pid)))
    lines = [line for line in server.log().split("\n") if " info  " not in line]
    return "\n".join(found + lines[-25:])


def unexpected(server):
    """Warnings and errors of the log, but for what belongs to a death: that it happened, and pushes
    to members of whom it was not yet known."""
    return [r for r in server.records() if r.level in ("warn", "error") and not re.match(
        r"worker died|\d+ pushes to other workers were dropped", r.message)]
