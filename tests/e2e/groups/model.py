# SPDX-License-Identifier: MIT
"""What each member of a group must get, and must not: the oracle of model_test.py. No sockets.

All events have a tick, the order in which the client program saw them: it sent a message, an
answer came. From these alone it is often certain in which order the server did things:

    same connection   its messages are handled, and its answers come, in the order sent
    same worker       what was answered before something else was sent, was done before it
    two workers       a push of worker V, sent after a change there was answered, came to somebody
                      in worker W: it has brought the change along, as the line between two workers
                      keeps the order. `known[W][V]` is the tick of the latest such push

So a membership (Stay) obliges. Of the pushes to its group those must come that were sent when
their worker knew of it, and that had reached the member's worker when the member wanted to leave.
Those between may come. None may come before the join was answered or after the leave was, nor
twice, nor out of its sender's order, nor changed.

Empty messages do not say who sent them: they are counted.
"""
import bisect
import hashlib

from neaptest import SLACK, TEXT, Failed
from neaptest.client import machine_load

POOL = 160000
WORDS = "group member push naïve größer 漢字 🙂 worker order ".split(" ")
VISIBLE = 2.0 * SLACK   # seconds after which a change is known everywhere, on a machine at rest
UNDERWAY = 5.0          # seconds after which a push has come, or never will
KEPT = 30.0             # seconds for which pushes are remembered in any case
CLAIMS = 50             # of a name, likewise


def pools(seed):
    data = hashlib.shake_128(b"%d" % seed).digest(POOL)
    return data, " ".join(WORDS[byte % len(WORDS)] for byte in data[:POOL // 2])


class Push:
    """A message to a group ("g", name), a service ("s", name) or a stored name ("n", name)."""

    def __init__(self, uid, key, link, op, offset, size, excepted):
        self.uid, self.key, self.link, self.worker = uid, key, link, link.worker
        self.op, self.offset, self.size, self.excepted = op, offset, size, excepted
        self.empty = size < 0
        self.number, self.before = 1, None      # of its sender's to this key; the one before it
        self.sent = self.acked = None           # ticks
        self.known = self.when = None           # what its worker knew; the time
        self.visible = 0.0                      # after how long it must know of a change
        self.born = None                        # the tick when its worker was first heard of
        self.taken = None                       # a stored name's: who got it

    def payload(self, pool):
        if self.empty:
            return b""
        data, text = pool
        part = slice(self.offset, self.offset + self.size)
        return b"%d:" % self.uid + (text[part].encode() if self.op == TEXT else data[part])

    def __repr__(self):
        return "push %d to %s (no. %d of connection %d in worker %d, %d bytes, sent %s, done %s)" \
            % (self.uid, self.key, self.number, self.link.number, self.worker, self.size,
               self.sent, self.acked)


class Stay:
    """A connection in a group. `asked` and `acked`: the ticks of its join; None: not yet."""

    def __init__(self, link, key, asked, acked, when):
        self.link, self.key = link, key
        self.asked, self.acked, self.when = asked, acked, when
        self.last = {}          # by sender's number: the latest of its pushes that came
        self.until = None       # (tick, what was known) when its end was asked for
        self.over = False       # the whole group was removed, and its worker knows
        self.empties = 0        # how many must have come

    def sees(self, push):
        """Whether the push was sent when its worker certainly knew of this member."""
        if self.acked is None or push.sent < self.acked or push.excepted and push.link is self.link:
            return False
        worker = self.link.worker
        return worker == push.worker or push.known.get(worker, -1) >= self.acked \
            or push.when - self.when > push.visible

    def owes(self, push):
        """Whether it also had reached the member's worker when the end was asked for."""
        tick, known = self.until
        if push.acked is None or not self.sees(push):
            return False
        same = push.worker == self.link.worker
        return push.acked < (tick if same else known.get(push.worker, -1))

    def __repr__(self):
        return "connection %d in worker %d, in %s since %s (asked %s) until %s" % (
            self.link.number, self.link.worker, self.key, self.acked, self.asked, self.until)


class Claim:
    """A stored name given to a connection, or taken from whoever had it (link None)."""

    def __init__(self, link, worker, sent):
        self.link, self.worker, self.sent = link, worker, sent
        self.acked, self.stay = None, None

    def __repr__(self):
        return "%s in worker %d, sent %s, done %s" % (
            "connection %d" % self.link.number if self.link else "nobody", self.worker, self.sent, self.acked)

    def known_to(self, push):
        """A worker that came after a removal hears of names from their holders' workers alone."""
        if self.acked is None or push.sent <= self.acked:
            return False
        return push.worker == self.worker or push.known.get(self.worker, -1) >= self.acked and (
            self.link is not None or push.born < self.sent)


class Account:
    """What the model keeps of a connection; the driver's connections have these."""

    def __init__(self):
        self.worker = None      # process id, once it is known
        self.stays = {}         # by key
        self.removed = {}       # by key: (worker, tick) of a removal of the whole group
        self.owed, self.named = {}, {}
        self.empties = self.empties_least = self.empties_most = 0


class Model:
    def __init__(self, seed):
        self.pool = pools(seed)
        self.pushes = {}        # by uid
        self.sent_to = {}       # by key: pushes in the order sent
        self.latest = {}        # by (sender's number, key)
        self.known = {}         # by worker: {worker: tick}
        self.born = {}          # by worker: tick
        self.claims = {}        # by name: [Claim], oldest first
        self.uid = 0
        self.counts = dict.fromkeys(
            ("pushes", "came", "certain", "empty", "text", "binary", "largest", "stays"), 0)

    # -- pushes

    def push(self, link, key, op, offset, size, excepted):
        """A new one; whoever sends it tells `sent` before anything else happens."""
        self.uid += 1
        p = self.pushes[self.uid] = Push(self.uid, key, link, op, offset, size, excepted)
        p.before = self.latest.get((link.number, key))
        p.number = p.before.number + 1 if p.before else 1
        self.latest[link.number, key] = p
        return p

    def sent(self, p, tick, now):
        p.sent, p.when, p.known = tick, now, self.known.setdefault(p.worker, {})
        p.visible = VISIBLE * machine_load()
        p.born = self.born[p.worker]
        self.sent_to.setdefault(p.key, []).append(p)
        self.counts["pushes"] += 1

    def since(self, key, tick):
        pushes = self.sent_to.get(key, [])
        return pushes[bisect.bisect_left(pushes, tick, key=lambda p: p.sent):]

    def came(self, link, op, payload):
        """A message that came."""
        self.counts["came"] += 1
        if not payload:
            link.empties += 1
            self.counts["empty"] += 1
            return
        uid = payload[:20].split(b":")[0]
        p = self.pushes.get(int(uid)) if uid.isdigit() else None
        if p is None or p.empty:
            raise Failed("connection %d got what nobody sent: %r" % (link.number, payload[:80]))
        if op != p.op or payload != p.payload(self.pool):
            raise Failed("connection %d got %r changed: %d %r" % (link.number, p, op, payload[:80]))
        self.counts["text" if op == TEXT else "binary"] += 1
        self.counts["largest"] = max(self.counts["largest"], len(payload))
        for key, (worker, at) in list(link.removed.items()):
            if p.worker == worker and p.sent > at and key in link.stays:
                link.stays[key].over = True         # the removal is here by now
        if p.key[0] == "n":
            self._came_to_name(link, p)
        else:
            self._came_to_member(link, p)
        seen = self.known.setdefault(link.worker, {})
        if link.worker != p.worker and seen.get(p.worker, -1) < p.sent:
            self.known[link.worker] = {**seen, p.worker: p.sent}    # pushes hold on to the old one

    def _came_to_member(self, link, p):
        stay = link.stays.get(p.key)
        if stay is None or stay.over:
            raise Failed("connection %d is no member, and got %r" % (link.number, p))
        if p.excepted and p.link is link:
            raise Failed("connection %d is its excepted sender, and got %r" % (link.number, p))
        if p.worker == link.worker and p.acked is not None and p.acked < stay.asked:
            raise Failed("%r got what was done before it joined: %r" % (stay, p))
        last = stay.last.get(p.link.number)
        if last is not None and p.number <= last.number:
            raise Failed("%r got %r after %r" % (stay, p, last))
        q = p.before
        while q is not None and (last is None or q.number > last.number) and stay.sees(q):
            if not q.empty:
                raise Failed("%r got %r, and not before it %r" % (stay, p, q))
            stay.empties += 1
            q = q.before
        stay.last[p.link.number] = p
        self.counts["certain"] += stay.sees(p)

    # -- memberships

    def join(self, link, key, asked, acked, now):
        if key not in link.stays:
            link.stays[key] = Stay(link, key, asked, acked, now)
            self.counts["stays"] += 1

    def leaving(self, stay, tick):
        """Its end is asked for now: what is here by now must come."""
        if stay.until is None:
            stay.until = (tick, self.known.get(stay.link.worker, {}))

    def left(self, link, key, lost):
        """It is over, and so is, when `lost`, whatever was on its way: checks."""
        stay = link.stays.pop(key)
        link.removed.pop(key, None)
        link.empties_least += stay.empties
        for p in reversed(self.sent_to.get(key, [])):
            if p.when < stay.when - UNDERWAY:
                break
            if p.empty:
                link.empties_most += 1
            last = stay.last.get(p.link.number)
            if lost or last is not None and p.number <= last.number or not stay.owes(p):
                continue
            if not p.empty:
                raise Failed("%r did not get %r, whose worker knew %r" % (stay, p, p.known))
            link.empties_least += 1

    def ended(self, link, tick, lost):
        """A connection is gone."""
        for key, stay in list(link.stays.items()):
            self.leaving(stay, tick)
            self.left(link, key, lost)
        for claims in self.claims.values():
            for claim in claims:
                if claim.link is link and claim.stay:
                    self.leaving(claim.stay, tick)
                    self._settle(claim)
        if link.owed and not lost:
            raise Failed("nobody got %r" % list(link.owed.values())[0])
        if link.empties > link.empties_most or not lost and link.empties < link.empties_least:
            raise Failed("connection %d got %d empty messages, not %d to %d" % (
                link.number, link.empties, link.empties_least, link.empties_most))

    # -- stored names

    def claim(self, name, link, worker, sent):
        """The name is given to a connection, or removed. One such change at a time."""
        claims = self.claims.setdefault(name, [])
        if claims and claims[-1].stay:
            self.leaving(claims[-1].stay, sent)
        del claims[:-CLAIMS]
        claims.append(Claim(link, worker, sent))

    def claimed(self, name, tick, now):
        claims = self.claims[name]
        claims[-1].acked = tick
        for claim in claims[:-1]:
            if claim.stay:
                self._settle(claim)
        if claims[-1].link is not None:
            claims[-1].stay = Stay(claims[-1].link, ("n", name), claims[-1].sent, tick, now)

    def _settle(self, claim):
        """What should have come to this holder may lie in its socket: it is owed until its end."""
        stay, claim.stay = claim.stay, None
        for p in self.since(stay.key, stay.acked):
            if not p.empty and p.taken is None and stay.owes(p):
                stay.link.owed[p.uid] = p

    def _came_to_name(self, link, p):
        if p.taken is not None:
            raise Failed("connections %d and %d got %r" % (p.taken.number, link.number, p))
        claims = self.claims.get(p.key[1], [])
        newest = max((i for i, claim in enumerate(claims) if claim.known_to(p)), default=0)
        if all(claim.link is not link for claim in claims[newest:]):
            raise Failed("connection %d has not that name, and got %r, whose worker knew %r; %r" % (
                link.number, p, p.known, claims[newest - 1:]))
        last = link.named.get((p.key, p.link.number))
        if last is not None and last.number > p.number:
            raise Failed("connection %d got %r after %r" % (link.number, p, last))
        link.named[p.key, p.link.number] = p
        p.taken = link
        link.owed.pop(p.uid, None)

    def holders(self, name, killed):
        """Who may have the name, when nothing is on its way: connections, None for nobody."""
        found = set()
        for i, claim in reversed(list(enumerate(self.claims.get(name, [])))):
            gone = claim.link is None or claim.link.state != "open"
            found.add(None if gone else claim.link)
            if claim.acked is not None and (claim.worker not in killed or self._spread(name, i)):
                return found        # it is known, so nobody before it has the name
        return found | {None}

    def _spread(self, name, i):
        """Whether the claim was known in the workers of all who claimed the name before."""
        claim = self.claims[name][i]
        return all(c.worker == claim.worker or
                   self.known.get(c.worker, {}).get(claim.worker, -1) >= claim.acked
                   for c in self.claims[name][:i] if c.link is not None and c.link.state == "open")

    # -- memory

    def forget(self, now, links):
        """Drops pushes of long ago that were sent before every membership there is."""
        least = {}
        stays = [stay for link in links for stay in link.stays.values()]
        stays += [c.stay for claims in self.claims.values() for c in claims if c.stay]
        for stay in stays:
            least[stay.key] = min(least.get(stay.key, stay.asked), stay.asked)
        for key, pushes in self.sent_to.items():
            bound = least.get(key, pushes[-1].sent if pushes else 0)
            count = 0
            while count < len(pushes) and pushes[count].sent < bound \
                    and now - pushes[count].when > KEPT:
                self.pushes.pop(pushes[count].uid).before = None
                count += 1
            del pushes[:count]
