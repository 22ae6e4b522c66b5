#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Groups, stored connections and broadcasts over one worker and over four: who gets what, in which
order, when others see a change, and what is left when clients or workers go.

The app is tests/spec/support/playapp.lua: a client sends code, which runs as a callback of its
connection. What a single worker does with each function is tests/spec/group_spec.lua's business.
"""
import os
import random
import signal
import string
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from neaptest import (  # noqa: E402
    CLOSE, ROOT, SECONDS, SLACK, TEXT, Failed, Raw, Server, Suite, wait_until)

suite = Suite("groups")
with open(os.path.join(ROOT, "tests", "spec", "support", "playapp.lua"), encoding="utf-8") as source:
    APP = source.read()
ROUNDS = 1000 if SLACK == 1 else 200
PID = 'return io.open("/proc/self/stat"):read "*n"'


def need(condition, what):
    if not condition:
        raise Failed(what)


def same(got, expected, what="got"):
    if got != expected:
        raise Failed("%s %.300r, expected %.300r" % (what, got, expected))


class Client:
    """One connection whose code runs in the server; `got` has the messages that were pushed to it."""

    def __init__(self, server, path="/play", **options):
        self.server, self.raw, self.got = server, Raw(server.port, path, **options), []
        self.pid = int(self.ask(PID))

    def next(self, seconds=None):
        op, payload = self.raw.recv_message(seconds)
        return payload.decode() if op == TEXT else payload

    def answer(self):
        while True:
            message = self.next()
            if isinstance(message, str) and message[:2] in ("= ", "! "):
                return message[2:] if message[0] == "=" else message
            self.got.append(message)

    def ask(self, code, *args):
        self.raw.text(code % args if args else code)
        return self.answer()

    def member(self, *groups):
        for group in groups:
            same(self.ask('return websocket.addConnectionToGroup("%s", caller) == caller', group), "true")
        return self

    def push(self, group, text):
        """Pushes; members, delivered, dropped, closed."""
        return self.numbers('websocket.pushTextToGroup("%s", "%s")' % (group, text))

    def numbers(self, push):
        answer = self.ask("local r, err = %s if not r then return err end "
                          "return r.members, r.delivered, r.dropped, r.closed" % push)
        return tuple(map(int, answer.split(", "))) if answer[0].isdigit() else answer

    def size(self, group):
        return self.ask('return websocket.groupSize "%s"', group)

    def until(self, message, seconds=None):
        """Reads until this message; what was pushed up to it, without it."""
        while message not in self.got:
            self.got.append(self.next(seconds))
        at = self.got.index(message)
        before, self.got = self.got[:at], self.got[at + 1:]
        return before

    def close(self):
        self.raw.close()


class Play:
    """A server and clients of it, `each` on every worker, in `clients`; `by` has one of each worker."""

    def __init__(self, workers, each=1, path="/play", options=()):
        self.server = Server(lua=APP, options=["--workers", str(workers), *options])
        self.workers, self.clients, self.counts = workers, [], {}
        try:
            wait_until(lambda: self.another(each, path), SECONDS * 4, "clients on each worker")
        except BaseException:
            self.server.kill()
            raise
        self.by = list({client.pid: client for client in self.clients}.values())

    def another(self, each, path):
        client = Client(self.server, path)
        if self.counts.get(client.pid, 0) == each:
            client.close()
        else:
            self.counts[client.pid] = self.counts.get(client.pid, 0) + 1
            self.clients.append(client)
        return sum(self.counts.values()) == each * self.workers

    def on(self, pid, path="/play", **options):
        """One more client of that worker."""
        def another():
            client = Client(self.server, path, **options)
            if client.pid == pid:
                return client
            client.close()
            return None
        return wait_until(another, SECONDS * 4, "a client of that worker")

    def __enter__(self):
        self.server.__enter__()
        return self

    def __exit__(self, *why):
        for client in self.clients:
            client.close()
        return self.server.__exit__(*why)


def on_one_and_four(name, what, each=1, **options):
    """A case for one worker and for four, given a Play."""
    def both(test):
        for workers in (1, 4):
            def run(workers=workers):
                with Play(workers, each, **options) as play:
                    test(play)
            suite.case("%s.%d" % (name, workers), "%s; workers: %d" % (what, workers))(run)
        return test
    return both


# Others know a number of members some milliseconds later; that there are any, and who has a name, at once.
def knows(client, push, members):
    wait_until(lambda: client.numbers(push)[0] == members, None, "%s has %d members" % (push, members))


# --- Who gets what --------------------------------------------------------------------------------

@on_one_and_four("all", "a push reaches every member, in all workers, once, as text, binary and values", 4)
def _(play):
    for client in play.clients:
        client.member("g")
    total = len(play.clients)
    for pusher in play.by:
        same(pusher.size("g"), str(total))
        knows(pusher, 'websocket.pushTextToGroup("g", "probe")', total)
        same(pusher.push("g", "text"), (total, total, 0, 0))
        pusher.ask('websocket.pushBinaryToGroup("g", "\\0\\255")')
        pusher.ask('websocket.pushToGroup("g", { a = 1 })')
        pusher.ask('websocket.pushToGroup("g", websocket.bytes "")')
        pusher.ask('websocket.pushToGroup("g", ("x"):rep(100000))')
        same(pusher.numbers('websocket.pushTextToGroup("g", "end", { except = caller })')[:3],
             (total - 1, total - 1, 0))
        for client in play.clients:
            if client is pusher:
                client.ask("")
                before, client.got = client.got, []
            else:
                before = client.until("end")
            same([m for m in before if m != "probe"], ["text", b"\0\xff", '{"a":1}', b"", "x" * 100000])


@on_one_and_four("order", "what one connection pushes arrives in that order, at every member", 2)
def _(play):
    for client in play.clients:
        client.member("g")
    for pusher in play.by:
        knows(pusher, 'websocket.pushTextToGroup("g", "probe")', len(play.clients))
    for client in play.clients:
        client.raw.text('for i = 1, 500 do websocket.pushTextToGroup("g", "%d " .. i) end '
                        'websocket.pushTextToGroup("g", "over")' % id(client))
    for client in play.clients:
        got = []
        while got.count("over") < len(play.clients):
            message = client.next()
            if message != "= ":
                got.append(message)
        for sender in play.clients:
            mine = [m.split()[1] for m in got if m.startswith("%d " % id(sender))]
            same(mine, [str(i) for i in range(1, 501)], "of one sender")


@on_one_and_four("order.mixed", "large and small ones, to group, name and service, keep their order", 1)
def _(play):
    for client in play.by:
        client.member("g").ask('websocket.storeConnection("n%d", caller)', client.pid)
    pusher, last = play.by[0], play.by[-1]
    knows(pusher, 'websocket.pushTextToConnection("n%d", "probe")' % last.pid, 1)
    knows(pusher, 'websocket.broadcastText("Play", "probe")', len(play.by))
    pusher.ask("""
      for i = 1, 200 do
        websocket.pushTextToGroup("g", i .. " group " .. ("x"):rep(i %% 20 == 0 and 70000 or 10))
        websocket.pushTextToConnection("n%d", i .. " name")
        websocket.broadcastText("Play", i .. " service")
      end
      websocket.pushTextToGroup("g", "end")""", last.pid)
    got = [m.split()[:2] for m in last.until("end") if m != "probe"]
    same(got, [[str(i), kind] for i in range(1, 201) for kind in ("group", "name", "service")])


@on_one_and_four("broadcast", "reaches the clients of that service, and of a Caller's own", 2)
def _(play):
    others = [play.on(client.pid, "/other") for client in play.by]
    total = len(play.clients)
    for i, pusher in enumerate(play.by):
        knows(others[i], 'websocket.broadcastText("Play", "probe")', total)
        same(others[i].numbers('websocket.broadcastText("Play", "named")'), (total, total, 0, 0))
        same(pusher.numbers('websocket.broadcast("Play", { 1 }, { except = caller })')[0], total - 1)
        same(pusher.numbers('caller:broadcastText "own"')[0], total)
        same(pusher.numbers('caller:broadcastBinary "own"')[0], total)
        same(pusher.numbers('caller:broadcast { "end" }')[0], total)
        for client in play.clients:
            expected = ["named", "[1]", "own", b"own"]
            if client is pusher:
                expected.remove("[1]")
            same([m for m in client.until('["end"]') if m != "probe"], expected)
    for other in others:
        other.ask("")
        same(other.got, [])
        other.close()


@on_one_and_four("broadcast.unnamed", "of a service without a name reaches the clients of its path", 2,
                 path="/plain")
def _(play):
    elsewhere = play.on(play.by[0].pid, "/plain/two")
    for pusher in play.by:
        knows(pusher, 'caller:broadcastText "probe"', len(play.clients))
        pusher.ask('caller:broadcastText "end"')
        for client in play.clients:
            same([m for m in client.until("end") if m != "probe"], [])
    elsewhere.ask("")
    same(elsewhere.got, [])
    elsewhere.close()


# --- When others see a change ---------------------------------------------------------------------

@on_one_and_four("visible", "who joins and says so is reached by those who hear it, %d times" % ROUNDS, 2)
def _(play):
    here, there = play.by[0], play.by[-1]
    if here is there:
        here, there = play.clients
    there.member("g")
    knows(here, 'websocket.pushTextToGroup("g", "probe")', 1)
    here.ask('websocket.pushTextToGroup("g", "no more probes")')
    there.until("no more probes")
    there.got.clear()
    for i in range(ROUNDS):
        here.raw.text('websocket.addConnectionToGroup("g", caller) '
                      'websocket.pushTextToGroup("g", "here %d", { except = caller })' % i)
        same(there.next(), "here %d" % i)
        there.raw.text('websocket.pushTextToGroup("g", "answer %d", { except = caller }) '
                       'websocket.pushTextToConnection("here", "to you")' % i)
        there.answer()
        here.until("answer %d" % i)
        here.until("= ") if "= " in here.got else None
        here.ask('websocket.removeConnectionFromGroup("g", caller)')
        here.got.clear()


@on_one_and_four("visible.name", "who is stored and says so can be answered by name, %d times" % ROUNDS, 2)
def _(play):
    here, there = play.by[0], play.by[-1]
    if here is there:
        here, there = play.clients
    there.member("g")
    knows(here, 'websocket.pushTextToGroup("g", "probe")', 1)
    here.ask('websocket.pushTextToGroup("g", "no more probes")')
    there.until("no more probes")
    there.got.clear()
    for i in range(ROUNDS):
        here.ask('websocket.storeConnection("name %d", caller) websocket.pushTextToGroup("g", "%d")', i, i)
        there.until(str(i))
        same(there.numbers('websocket.pushTextToConnection("name %d", "hello %d")' % (i, i)), (1, 1, 0, 0))
        here.until("hello %d" % i)


@on_one_and_four("size", "groupSize and groupMembers count all workers, at once and exactly", 4)
def _(play):
    ids = {client: client.ask("return caller:getConnectionId()") for client in play.clients}
    inside = []
    for client in play.clients:
        client.member("g")
        inside.append(client)
        asker = play.by[len(inside) % len(play.by)]
        same(asker.size("g"), str(len(inside)))
    for asker in play.by:
        got = asker.ask('return table.concat(websocket.groupMembers "g", " ")').split()
        same(sorted(got), sorted(ids.values()))
    for client in play.clients[::2]:
        same(client.ask('return websocket.removeConnectionFromGroup("g", caller)'), "true")
        inside.remove(client)
        same(play.by[0].size("g"), str(len(inside)))
    for client in list(inside)[1:]:
        client.close()
        inside.remove(client)
        play.clients.remove(client)
        asker = next(c for c in play.clients)
        wait_until(lambda: asker.size("g") == str(len(inside)), None, "it has left")
    same(play.clients[0].ask('return websocket.groupMembers("g")[1]'), ids[inside[0]])


@on_one_and_four("dissolve", "a group that is removed is empty in all workers, and can be there again", 3)
def _(play):
    for round_, remover in enumerate(play.by):
        for client in play.clients:
            client.member("g")
        knows(remover, 'websocket.pushTextToGroup("g", "probe")', len(play.clients))
        same(remover.ask('return websocket.removeConnectionGroup "g"'), "true")
        for client in play.by:
            wait_until(lambda: client.size("g") == "0", None, "nobody is left")
            knows(client, 'websocket.pushTextToGroup("g", "late")', 0)
        for client in play.clients:
            same(client.ask("return caller:isOpen()"), "true")
            need("late" not in client.got or round_, "a member got what was pushed afterwards")
            client.got.clear()


@on_one_and_four("many", "a connection that is in 2,000 groups leaves them all", 1)
def _(play):
    client = play.on(play.by[0].pid)
    client.ask('for i = 1, 2000 do websocket.addConnectionToGroup("g" .. i, caller) end')
    count = """
      local n = 0
      for i = 1, 2000 do n = n + websocket.pushTextToGroup("g" .. i, "x").members end
      return n"""
    for other in play.by:
        wait_until(lambda: other.ask(count) == "2000", None, "all are known")
    client.close()
    for other in play.by:
        wait_until(lambda: other.ask(count) == "0", None, "all were left")


# --- Stored connections ---------------------------------------------------------------------------

def holder(play, name, among):
    """Who gets what is pushed to the name from every worker; None while that is not one and the same."""
    for pusher in play.by:
        if pusher.numbers('websocket.pushTextToConnection("%s", "from %d")' % (name, pusher.pid)) != (1, 1, 0, 0):
            return None
    # what was pushed before is under way; a message through the same lines comes behind it
    fences = {"fence %d" % pusher.pid for pusher in play.by}
    for pusher in play.by:
        pusher.ask('websocket.pushTextToGroup("fence", "fence %d")', pusher.pid)
    got = {}
    for client in among:
        while not fences <= set(client.got):
            client.got.append(client.next())
        for message in client.got:
            if message.startswith("from "):
                got.setdefault(client, []).append(message)
        client.got.clear()
    everybody = sorted("from %d" % pusher.pid for pusher in play.by)
    winners = [client for client in got if sorted(got[client]) == everybody]
    return winners[0] if len(got) == 1 and winners else None


def fenced(play, among):
    for client in among:
        client.member("fence")
    for pusher in play.by:
        knows(pusher, 'websocket.pushTextToGroup("fence", "probe")', len(among))


@on_one_and_four("name.taken", "a name goes to who was stored last, whichever worker that is on", 1)
def _(play):
    clients = play.by if len(play.by) > 1 else [*play.by, play.on(play.by[0].pid)]
    fenced(play, clients)
    order = [*clients, *reversed(clients), clients[0], clients[0]]
    for client in order:
        client.ask('websocket.storeConnection("n", caller)')
        wait_until(lambda: holder(play, "n", clients) is client, None, "the last one has it")
    same(sum(int(c.ask("return tostring(caller:isOpen())") == "true") for c in clients), len(clients))


@on_one_and_four("name.race", "of many who are stored at the same time one is left, the same for all", 4)
def _(play):
    fenced(play, play.clients)
    for round_ in range(20):
        for client in play.clients:
            client.raw.text('websocket.storeConnection("n%d", caller)' % round_)
        for client in play.clients:
            client.answer()
        wait_until(lambda: holder(play, "n%d" % round_, play.clients), None, "one holder")


@on_one_and_four("name.removed", "a name can be removed from any worker, and is free then", 1)
def _(play):
    for has in play.by:
        for remover in play.by:
            has.ask('websocket.storeConnection("n", caller)')
            knows(remover, 'websocket.pushTextToConnection("n", "x")', 1)
            same(remover.ask('return websocket.removeStoredConnection "n"'), "true")
            for client in play.by:
                wait_until(lambda: client.ask('return select(2, websocket.pushTextToConnection("n", "x"))')
                           == 'Error: no connection is stored under "n"', None, "nobody has it")
            same(remover.ask('return websocket.removeStoredConnection "n"'), "false")
            same(has.ask("return caller:isOpen()"), "true")


@on_one_and_four("name.closed", "a name whose connection closes is free in all workers", 1)
def _(play):
    for victim in play.by:
        client = play.on(victim.pid)
        client.ask('websocket.storeConnection("n", caller)')
        for other in play.by:
            wait_until(lambda: other.numbers('websocket.pushTextToConnection("n", "x")') == (1, 1, 0, 0))
        client.close()
        for other in play.by:
            wait_until(lambda: "no connection is stored" in str(
                other.numbers('websocket.pushTextToConnection("n", "x")')), None, "nobody has it")


# --- Clients that do not read ---------------------------------------------------------------------

# 120,000 bytes that do not get much smaller when they are compressed: the window has 32 KiB.
NOISE = "".join(random.Random(1).choices(string.ascii_letters + string.digits, k=40000))
LARGE = NOISE * 3
KEEP = 'kept.large = ("%s"):rep(3)' % NOISE

@on_one_and_four("slow.not", "who reads gets all that is pushed in one turn, though it is more than may be queued", 1)
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


@on_one_and_four("slow.close", "a client that does not read is closed, once, and the others get everything", 1)
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


@on_one_and_four("slow.drop", "a client that does not read misses messages, and gets later ones whole", 1)
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
        os.kill(next(other for other in server.workers() if other != pid), signal.SIGKILL)
        wait_until(lambda: len(server.workers()) == 2, None, "a new worker, which loads")
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


suite.main()
