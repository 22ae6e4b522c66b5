#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Streams and their readers: clients that do not read, that read fast, that start streams without end.
"""
import os
import sys
import threading
import time

sys.path.insert(0, os.path.abspath(__file__ + "/../../../support"))
from neaptest import INSTRUMENTED, SECONDS, TEXT, Failed, Suite, frame, wait_until  # noqa: E402
from neaptest.behaviour import App  # noqa: E402
from watched import MOST, WATCHED, asked, live, none_left  # noqa: E402

suite = Suite("stream_readers")
app = App(WATCHED + r"""
local refused = {}
listener:attach("/refused", { onTextMessage = function(_, _, id) return refused[id] or {} end })
recorded("writes", { maxBufferedBytes = 50000 }, { onMessage = function(self, caller)
  for t = 1, 8 do
    task.spawn(function()
      for i = 1, 80 do
        local sent, err = caller:writeMessage(("%d %02d "):format(t, i) .. ("x"):rep(9995))
        if not sent then
          refused[self.id] = refused[self.id] or {}
          table.insert(refused[self.id], err.kind)
          return
        end
      end
      self.note("task " .. t)
    end)
  end
end })
""")


@suite.case("slow", "a client that does not read: no more is made than may be queued")
def _():
    with app.open("endless", rcvbuf=4096) as c:
        c.text("x")
        count = settled(c.id)
        before = app.get().rss()
        for _ in range(3):
            app.barrier()
        if int(asked(app, "made", c.id)) > count + 3:
            raise Failed("values are made although nobody reads")
        c.recv_until(lambda data: len(data) > 3000000)      # it goes on when the client does
        wait_until(lambda: int(asked(app, "made", c.id)) > 250)
        settled(c.id)
        if not INSTRUMENTED and app.get().rss() > before + (1 << 20):
            raise Failed("memory grew by %d" % (app.get().rss() - before))
        c.reset()
    app.noted(c.id, "close 1006")
    none_left(app)


def settled(ident):
    """Waits until the stream makes no more values; returns how many there were."""
    last = [-1]

    def same():
        app.barrier()
        time.sleep(0.05)
        now = int(asked(app, "made", ident))
        was, last[0] = last[0], now
        return now > 0 and now == was
    wait_until(same, SECONDS * 4)
    return last[0]


@suite.case("slow.several", "several streams of such a client: each has one value more at most")
def _():
    with app.open("endless", rcvbuf=4096) as c:
        c.send(frame(TEXT, "x") * 10)
        first = settled(c.id)
        with app.open("endless", rcvbuf=4096) as d:
            d.text("x")
            one = settled(d.id)
            d.reset()
        if first > one + 12:
            raise Failed("ten streams queued %d values, one %d" % (first, one))
        c.reset()
    none_left(app)


def reader(c, stop):
    """Reads and throws away, as fast as it can."""
    c.sock.settimeout(0.2)
    while not stop.is_set():
        try:
            if not c.sock.recv(1 << 20):
                return
        except TimeoutError:
            pass
        except OSError:
            return


def with_readers(name, connections, streams, check):
    stop, open_ = threading.Event(), []
    threads = []
    try:
        for _ in range(connections):
            c = app.open(name)
            open_.append(c)
            c.send(frame(TEXT, "x") * streams)
            threads.append(threading.Thread(target=reader, args=(c, stop), daemon=True))
            threads[-1].start()
        for c in open_:
            wait_until(lambda c=c: int(asked(app, "made", c.id)) > 100 * streams, SECONDS * 6)
        check()
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        for c in open_:
            c.reset()
    none_left(app, SECONDS * 4)


for name, connections, streams in (("one", 1, 1), ("some", 4, 8), ("all", 6, MOST)):
    @suite.case("fast." + name, "endless streams to fast readers starve nobody: %d times %d"
                % (connections, streams))
    def _(connections=connections, streams=streams):
        def check():
            for _ in range(20):
                app.bystander.check()
        with app.lock:
            pass
        with_readers("fast", connections, streams, check)


@suite.case("fast.large", "values of a mebibyte to a fast reader")
def _():
    stop = threading.Event()
    with app.open("large") as c:
        c.text("x")
        thread = threading.Thread(target=reader, args=(c, stop), daemon=True)
        thread.start()
        try:
            wait_until(lambda: int(asked(app, "made", c.id)) > 50, SECONDS * 6)
            for _ in range(10):
                app.bystander.check(0.1)
        finally:
            stop.set()
            thread.join()
        c.reset()
    none_left(app, SECONDS * 2)


@suite.case("writes", "several tasks that wait to write to one client: all get through, each in order")
def _():
    with app.open("writes", rcvbuf=8192) as c:
        c.text("x")
        app.noted(c.id, "message x")
        app.barrier()
        last = {}
        for _ in range(640):
            text = c.recv_message()[1].decode()[:5]
            task, i = int(text[0]), int(text[2:])
            if i != last.get(task, 0) + 1:
                raise Failed("task %d wrote %d after %d" % (task, i, last.get(task, 0)))
            last[task] = i
        app.finish(c)
    if set(last.values()) != {80} or len(last) != 8:
        raise Failed("not all was written: %r" % last)


@suite.case("writes.gone", "and when the client goes, all of them are told")
def _():
    with app.open("writes", rcvbuf=8192) as c:
        c.text("x")
        app.noted(c.id, "message x")
        c.recv_until(lambda data: len(data) > 100000)
        if len([n for n in app.seen(c.id) if n.startswith("task")]) == 8:
            raise Failed("nothing waited")
        c.reset()
    app.noted(c.id, "close 1006")
    done = len([n for n in app.seen(c.id) if n.startswith("task")])
    want = '["%s"]' % '","'.join(["ConnectionError"] * (8 - done))
    wait_until(lambda: asked(app, "refused", c.id) == want, None, "all are told")


@suite.case("most.flood", "clients that start streams without end and never read")
def _():
    resident, before = app.get().rss(), live(app)["kilobytes"]
    open_ = []
    for _ in range(20):
        c = app.open("endless", rcvbuf=4096)
        open_.append(c)
        c.sock.settimeout(0.1)
        try:
            for _ in range(20):
                c.sock.send(frame(TEXT, "x") * 2000)
        except TimeoutError:
            pass
    app.bystander.check()
    streams = live(app)["streams"]
    if streams > 20 * MOST:
        raise Failed("%d streams of 20 connections" % streams)
    if not INSTRUMENTED and app.get().rss() > resident + 20 * (1 << 20):
        raise Failed("memory grew by %d" % (app.get().rss() - resident))
    for c in open_:
        c.reset()
    none_left(app, SECONDS * 4)
    wait_until(lambda: live(app)["kilobytes"] < before + 3000, None, "Lua's memory is back")


app.add_finals(suite, r"expected|cannot resume")

if __name__ == "__main__":
    suite.main()
