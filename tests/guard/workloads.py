# SPDX-License-Identifier: MIT
"""The workloads of the guard: what clients send, and how often.

Everything is done one after the other: before the next bytes leave, the worker must have been
awake and have fallen asleep again. So how many messages one read finds, and how often the loop
turns, is the same however busy the machine is.
"""
import json
import random
import re
import time

from neaptest import BINARY, CLOSE, SECONDS, TEXT, Failed, Raw, close_payload, frame, over, wait_until

LETTERS = b"abcdefghijklmnopqrstuvwxyz ABCDEFGHIJKLMNOPQRSTUVWXYZ"
KEY, RSV1 = b"\x15\x2a\x37\x4c", 4


class Worker:
    """The worker process, seen from outside: `settled` waits until it has done its work."""

    def __init__(self, server, tls=None):
        self.port, self.tls = server.port, tls
        self.status = "/proc/%d/status" % server.workers()[0]
        self.slept = 0
        wait_until(lambda: self._look()[0], what="the worker asleep")
        self.slept = self._look()[1]

    def _look(self):
        with open(self.status) as f:
            text = f.read()
        state = re.search(r"^State:\s+(\w)", text, re.M).group(1)
        return state == "S", int(re.search(r"^voluntary_ctxt_switches:\s+(\d+)", text, re.M).group(1))

    def _settled(self):
        asleep, slept = self._look()
        if asleep and slept > self.slept:
            self.slept = slept
            return True
        return False

    def settled(self):
        deadline = time.monotonic() + SECONDS
        while not self._settled():
            if time.monotonic() > deadline:
                raise Failed("the worker has not been awake and asleep again")
            time.sleep(0.0001)

    def connect(self, path, headers=()):
        """A connection on which nothing is under way any more."""
        conn = Raw(self.port, tls=self.tls)
        self.settled()
        response = conn.handshake(path, headers)
        if response.status != 101:
            raise Failed("upgrade of %s refused: %r" % (path, response))
        self.settled()
        return conn


class Echo:
    """Messages that come back as they are, `batch` of them written at once."""
    path, headers = "/echo", ()

    def __init__(self, size, op=TEXT, batch=1):
        self.size, self.op, self.batch = size, op, batch

    def begin(self, worker):
        self.worker, self.count, self.random = worker, 0, random.Random(1)
        self.conn = worker.connect(self.path, self.headers)

    def payload(self):
        self.count += 1
        start = b"%d " % self.count
        return start + bytes(self.random.choices(LETTERS, k=self.size - len(start)))

    def answer(self, payload):
        return payload

    def once(self):
        sent = [self.payload() for _ in range(self.batch)]
        self.conn.send(b"".join(self.encoded(payload) for payload in sent))
        for payload in sent:
            if self.received() != (self.op, self.answer(payload)):
                raise Failed("another answer than expected to %r" % payload)
        self.worker.settled()

    def encoded(self, payload):
        return frame(self.op, payload, mask=KEY)

    def received(self):
        return self.conn.recv_message()

    def end(self):
        self.conn.close()


class Compressed(Echo):
    """JSON of some 1,100 bytes, compressed both ways."""
    headers = [over.OFFER]

    def payload(self):
        self.count += 1
        n = self.count
        return json.dumps([{"id": n * 100 + i, "name": "item %d" % (i * 7 + n), "price": i * n % 97, "paid": i % 3 == 0}
                           for i in range(18)]).encode()

    def encoded(self, payload):
        return frame(self.op, over.pack(payload), rsv=RSV1, mask=KEY)

    def received(self):
        _, rsv, op, payload = self.conn.recv_frame()
        if (rsv, op) != (RSV1, self.op):
            raise Failed("expected a compressed message, got bits %d, opcode %X" % (rsv, op))
        return op, over.unpack(payload)


class Fan(Echo):
    """A text to a group; a message is one delivery."""
    path = "/fan"

    def __init__(self, size, members):
        super().__init__(size)
        self.batch = members

    def begin(self, worker):
        super().begin(worker)
        self.members = [worker.connect(self.path) for _ in range(self.batch)]

    def once(self):
        payload = self.payload()
        self.conn.send(self.encoded(payload))
        for member in self.members:
            member.expect(self.op, payload)
        self.worker.settled()

    def end(self):
        for conn in [self.conn, *self.members]:
            conn.close()


class Dispatch(Echo):
    """JSON, dispatched by a field and held against a constraint."""
    path = "/shop"

    def payload(self):
        self.count += 1
        n = self.count
        return (b'{"event":"place_order","id":%d,"customer":{"name":"Ann Example %d","age":%d},'
                b'"items":["apple","pear","plum"],"paid":true}' % (n, n, n % 100))

    def answer(self, payload):
        return b"Ann Example %d" % self.count


class Connect:
    """Connect, upgrade, close with a close frame, end."""
    batch = 1

    def begin(self, worker):
        self.worker = worker

    def once(self):
        conn = self.worker.connect("/echo")
        conn.send(frame(CLOSE, close_payload(1000), mask=KEY))
        conn.expect_close(1000)
        conn.close()
        self.worker.settled()

    def end(self):
        pass


# name: (workload, the app's mode, how often before it is measured, how often in the shorter measure)
WORKLOADS = {
    "echo20": (lambda: Echo(20), None, 400, 200),
    "echo512": (lambda: Echo(512), None, 400, 200),
    "pipelined": (lambda: Echo(512, batch=16), None, 40, 25),
    "echo16k": (lambda: Echo(16384, op=BINARY), None, 200, 25),
    "fan-out": (lambda: Fan(64, 50), None, 200, 25),
    "compressed": (lambda: Compressed(1100), "deflate", 200, 50),
    "tls": (lambda: Echo(512), "tls", 300, 100),
    "connect": (Connect, None, 150, 50),
    "dispatch": (lambda: Dispatch(150), None, 400, 100),
}
