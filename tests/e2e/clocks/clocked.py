# SPDX-License-Identifier: MIT
"""What the tests of clocks share: an app that floods, and clients that read nothing, or slowly.
"""
import threading
import time

from neaptest import CONT, PING, PONG, SECONDS, SLACK, TEXT, Failed
from neaptest.client import machine_load

# How much longer a busy machine may take to answer a ping, or to send one.
HEART = min(0.7 * SECONDS, max(2, SLACK / 2) * machine_load())
FLOOD = "local heart = %g\n" % HEART + r"""
local function flood(_, caller, data)
  local chunk = ("x"):rep(65536)
  for _ = 1, tonumber(data:match "%d+") do
    assert(caller:writeMessage(chunk))
  end
  return "done"
end
"""


def unread(app, name, text, **options):
    """A client that asks for much and reads nothing."""
    c = app.open(name, rcvbuf=4096, compress=False, **options)
    c.text(text)
    return c


def drain(c, size, piece=65536, pause=0.02, pings=True):
    """Reads `size` bytes of messages slowly, answers pings at once; returns the rest, unread."""
    got, began = 0, time.monotonic()
    while got < size:
        _, _, op, data = c.recv_frame(SECONDS * 2)
        if op == PING and pings:
            c.send_frame(PONG, data)
        elif op in (TEXT, CONT):
            got += len(data)
            if got % piece < len(data):
                c.arrived(0) if pause == 0 else wait_a_moment(pause)
        else:
            raise Failed("opcode %d after %d bytes: %r" % (op, got, data[:50]))
    return time.monotonic() - began


def wait_a_moment(seconds):
    """What a slow client does: time is what these cases are about."""
    threading.Event().wait(seconds)
