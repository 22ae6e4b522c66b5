#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Groups, stored connections and broadcasts over one worker and over four: who gets what, in which
order, and when others see a change.

The app is tests/spec/support/playapp.lua: a client sends code, which runs as a callback of its
connection. What a single worker does with each function is tests/spec/group_spec.lua's business.
"""
import os
import sys

sys.path.insert(0, os.path.abspath(__file__ + "/../../../support"))
from neaptest import SLACK, Suite, need, wait_until  # noqa: E402
from play import knows, on_one_and_four, same  # noqa: E402

suite = Suite("groups")
ROUNDS = 1000 if SLACK == 1 else 200


# --- Who gets what --------------------------------------------------------------------------------

@on_one_and_four(suite, "all", "a push reaches every member, in all workers, once, as text, binary and values", 4)
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


@on_one_and_four(suite, "order", "what one connection pushes arrives in that order, at every member", 2)
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


@on_one_and_four(suite, "order.mixed", "large and small ones, to group, name and service, keep their order", 1)
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


@on_one_and_four(suite, "broadcast", "reaches the clients of that service, and of a Caller's own", 2)
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


@on_one_and_four(suite, "broadcast.unnamed", "of a service without a name reaches the clients of its path", 2,
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

@on_one_and_four(suite, "visible", "who joins and says so is reached by those who hear it, %d times" % ROUNDS, 2)
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


@on_one_and_four(suite, "visible.name", "who is stored and says so can be answered by name, %d times" % ROUNDS, 2)
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


@on_one_and_four(suite, "size", "groupSize and groupMembers count all workers, at once and exactly", 4)
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


@on_one_and_four(suite, "dissolve", "a group that is removed is empty in all workers, and can be there again", 3)
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


@on_one_and_four(suite, "many", "a connection that is in 2,000 groups leaves them all", 1)
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


@on_one_and_four(suite, "name.taken", "a name goes to who was stored last, whichever worker that is on", 1)
def _(play):
    clients = play.by if len(play.by) > 1 else [*play.by, play.on(play.by[0].pid)]
    fenced(play, clients)
    order = [*clients, *reversed(clients), clients[0], clients[0]]
    for client in order:
        client.ask('websocket.storeConnection("n", caller)')
        wait_until(lambda: holder(play, "n", clients) is client, None, "the last one has it")
    same(sum(int(c.ask("return tostring(caller:isOpen())") == "true") for c in clients), len(clients))


@on_one_and_four(suite, "name.race", "of many who are stored at the same time one is left, the same for all", 4)
def _(play):
    fenced(play, play.clients)
    for round_ in range(20):
        for client in play.clients:
            client.raw.text('websocket.storeConnection("n%d", caller)' % round_)
        for client in play.clients:
            client.answer()
        wait_until(lambda: holder(play, "n%d" % round_, play.clients), None, "one holder")


@on_one_and_four(suite, "name.removed", "a name can be removed from any worker, and is free then", 1)
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


@on_one_and_four(suite, "name.closed", "a name whose connection closes is free in all workers", 1)
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


if __name__ == "__main__":
    suite.main()
