#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Groups with members that do not read, and with workers that die, stand still, load or stop (play.py).
"""
import os
import random
import signal
import string
import sys
import threading

sys.path.insert(0, os.path.abspath(__file__ + "/../../../support"))
from neaptest import CLOSE, SECONDS, SLACK, Raw, Server, Suite, need, wait_until  # noqa: E402
from play import Play, knows, on_one_and_four, same  # noqa: E402

suite = Suite("hindered")
NOISE = "".join(random.Random(1).choices(string.ascii_letters + string.digits, k=40000))
LARGE = NOISE * 3
KEEP = 'kept.large = ("%s"):rep(3)' % NOISE

@on_one_and_four(suite, "slow.not",
                 "who reads gets all that is pushed in one turn, though it is more than may be queued", 1)
def _(play):
    pusher, reader = play.by[0], play.on(play.by[0].pid, "/close")
    pushed = []

    def push():
        pushed.append(pusher.ask("""
          local dropped = 0
          for i = 1, 200 do dropped = dropped + websocket.pushTextToGroup("g", i .. ("x"):rep(2000)).dropped end
          return dropped"""))
    reader.member("g")
    thread = threading.Thread(target=push)
    thread.start()
    for i in range(1, 201):
        same(reader.next(), "%d%s" % (i, "x" * 2000))
    thread.join()
    same(pushed, ["0"])
    reader.close()


@on_one_and_four(suite, "slow.close", "a client that does not read is closed, once, and the others get everything", 1)
def _(play):
    pusher, last = play.by[0], play.by[-1]
    slow = play.on(last.pid, "/close", rcvbuf=4096)
    witness = play.on(last.pid).member("g")
    slow.ask('self.name = "slow"')
    slow.member("g")
    pusher.ask(KEEP)
    knows(pusher, 'websocket.pushTextToGroup("g", "probe")', 2)
    for i in range(500):
        pusher.ask('websocket.pushTextToGroup("g", "%d " .. kept.large)', i)
        same([m for m in witness.until("%d %s" % (i, LARGE)) if m != "probe"], [])
        if pusher.size("g") == "1":
            break
    same(pusher.size("g"), "1")
    play.server.wait_log(r"slow clients: 0 pushed messages were dropped, 1 connections closed group=g",
                         SECONDS * 2)
    wait_until(lambda: last.ask("return #kept.notes") == "2", None, "onError and onClose")
    notes = last.ask('return table.concat(kept.notes, "; ")')
    need(notes.startswith("slow error ") and notes.endswith("; slow closed 1013"), notes)
    op = payload = None
    while op != CLOSE:
        _, _, op, payload = slow.raw.recv_frame(SECONDS * 4)
    same(payload, b"\x03\xf5too slow")
    slow.close()


@on_one_and_four(suite, "slow.drop", "a client that does not read misses messages, and gets later ones whole", 1)
def _(play):
    pusher, last = play.by[0], play.by[-1]
    slow = play.on(last.pid, "/drop", rcvbuf=4096).member("g")
    knows(pusher, 'websocket.pushTextToGroup("g", "probe")', 1)
    pusher.ask(KEEP)
    for i in range(150):
        pusher.ask('websocket.pushTextToGroup("g", "%d " .. kept.large)', i)
    play.server.wait_log(r"slow clients: [1-9]\d* pushed messages were dropped, 0 connections closed group=g",
                         SECONDS * 2)
    done = threading.Event()

    def go_on():
        with_ends = play.on(pusher.pid)
        while not done.is_set():
            with_ends.ask('websocket.pushTextToGroup("g", "end") task.sleep(0.01)')
        with_ends.close()
    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        got = [m for m in slow.until("end", SECONDS * 4) if m != "probe"]
    finally:
        done.set()
        thread.join()
    numbers = [int(m.split()[0]) for m in got]
    need(all(m.endswith(" " + LARGE) for m in got), "a message is cut")
    need(numbers == sorted(set(numbers)) and 0 < len(numbers) < 150, "got %r" % numbers)
    same(numbers[:10], list(range(10)))
    slow.close()


# --- Workers that go, and that are stuck ----------------------------------------------------------

@suite.case("worker.killed", "members and names of a worker that dies are gone everywhere, and come again")
def _():
    with Play(4, 3) as play:
        for client in play.clients:
            client.member("g").ask('websocket.storeConnection("n%d", caller)', client.pid)
        for _ in range(3):
            victim = play.by[-1]
            left = [client for client in play.clients if client.pid != victim.pid]
            os.kill(victim.pid, signal.SIGKILL)
            play.by.remove(victim)
            for client in play.by:
                wait_until(lambda: client.numbers('websocket.pushTextToGroup("g", "x")')[0] == len(left),
                           2 * SLACK, "its members are gone")
                need("no connection is stored" in client.numbers(
                    'websocket.pushTextToConnection("n%d", "x")' % victim.pid), "its name is there")
                same(client.size("g"), str(len(left)))
            others = {victim.pid} | {client.pid for client in play.by}
            newcomer = wait_until(lambda: set(play.server.workers()) - others, SECONDS * 4, "a worker in its place")
            fresh = [play.on(pid).member("g") for pid in newcomer for _ in range(3)]
            play.clients = left + fresh
            play.by.append(fresh[0])
            same(fresh[0].size("g"), str(len(play.clients)))
            for pusher in play.by:
                knows(pusher, 'websocket.pushTextToGroup("g", "probe")', len(play.clients))
                pusher.ask('websocket.pushTextToGroup("g", "end")')
                for client in play.clients:
                    client.until("end")
            fresh[0].ask('websocket.storeConnection("n%d", caller)', fresh[0].pid)


@suite.case("worker.stopped", "a worker that stands still holds up nobody, and gets all when it goes on")
def _():
    with Play(3, 2) as play:
        for client in play.clients:
            client.member("g")
        pusher, stuck = play.by[0], play.by[-1]
        knows(pusher, 'websocket.pushTextToGroup("g", "probe")', 6)
        os.kill(stuck.pid, signal.SIGSTOP)
        try:
            for i in range(200):
                same(pusher.push("g", "message %d" % i), (6, 6, 0, 0))
            pusher.ask('websocket.pushTextToGroup("g", "end")')
            for client in play.clients:
                if client.pid != stuck.pid:
                    client.until("end")
            same(pusher.ask('return websocket.groupSize "g"'),
                 "nil, Timeout: not all workers have told their members within 2 s")
            same(pusher.ask('return task.timeout(0.01, websocket.groupMembers, "g")').split(":")[0],
                 "nil, Timeout")
        finally:
            os.kill(stuck.pid, signal.SIGCONT)
        for client in play.clients:
            if client.pid == stuck.pid:
                got = [m for m in client.until("end") if m.startswith("message ")]
                same(got, ["message %d" % i for i in range(200)])
        same(pusher.size("g"), "6")


@suite.case("worker.stopped.name", "a name is removed for all who know of it, though its holder's worker does not")
def _():
    with Play(3) as play:
        remover, other, holder = play.by
        tell = 'websocket.pushTextToConnection("anna", "hello")'
        holder.ask('websocket.storeConnection("anna", caller)')
        for client in (remover, other):
            knows(client, tell, 1)
            other.member("all")
        os.kill(holder.pid, signal.SIGSTOP)
        try:
            same(remover.ask('return websocket.removeStoredConnection "anna"'), "true")
            remover.ask('websocket.pushTextToGroup("all", "removed")')
            other.until("removed")      # so the removal has come, too
            for client in (remover, other):
                need("no connection is stored" in client.numbers(tell), "somebody has the name")
        finally:
            os.kill(holder.pid, signal.SIGCONT)
        holder.ask('websocket.storeConnection("anna", caller)')
        for client in (remover, other):
            knows(client, tell, 1)


LOADING = r"""
local shared = require "neap.shared"
local websocket = require "neap.websocket"
local pid = io.open("/proc/self/stat"):read "*n"
if shared.dict("lives"):incr "n" > 2 then
  os.execute "sleep 4"
end
websocket.listener(0):attach("/", {}, websocket.service("S", {
  onOpen = function(_, caller)
    websocket.addConnectionToGroup("g", caller)
    return tostring(pid)
  end,
  onMessage = function()
    local size, err = websocket.groupSize "g"
    return tostring(size or err)
  end,
}))
"""


@suite.case("worker.loading", "questions do not fail while another worker loads its app, nor wait for it")
def _():
    with Server(lua=LOADING, options=["--workers", "2"]) as server:
        client = Raw(server.port, "/")
        pid = int(client.recv_message()[1])
        victim = next(other for other in server.workers() if other != pid)
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda: server.restored(2, victim), None, "a new worker, which loads")
        answers = 0
        while "worker ready" not in server.log():
            client.text("size")
            same(client.recv_message()[1], b"1")
            answers += 1
        need(answers > 20, "there were %d answers" % answers)
        client.close()


@suite.case("stop", "a server with groups, names and questions under way ends well")
def _():
    with Play(4, 2, options=["--drain", "1"]) as play:
        for client in play.clients:
            client.member("g", "h").ask('websocket.storeConnection("n%d", caller)', client.pid)
            client.ask('task.every(0.001, function() websocket.pushTextToGroup("g", "x") '
                       'websocket.groupSize "h" end)')
        for client in play.clients:
            client.until("x")
        same(play.server.stop(), 0)


if __name__ == "__main__":
    suite.main()
