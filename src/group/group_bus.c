// SPDX-License-Identifier: MIT
/*
 * The other workers as the groups see them: what each has told of its members and names, and what
 * it sends.
 *
 * A stored name has one holder. Claims have stamps, and the newest wins; of equal ones, that of the
 * higher worker. Only the worker of a holder speaks of its claim: when it hears of a better one it
 * drops its own and says so. group_dissolve has a stamp, too, so that a claim that was made after
 * it survives wherever the two meet. Who hears of the removal first does not wait for the holder to
 * say so: of a claim that is older, heard before or after, nothing is believed (group_bury).
 */
#include "group/group_private.h"

#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "group/group_wire.h"

struct chunk *group_bus_encode(const struct group_wire *m)
{
    size_t size = group_wire_size(m);
    struct chunk *c = size <= BUS_MESSAGE_MAX ? chunk_new(size) : NULL;
    if (c)
        group_wire_write(m, c->bytes);
    return c;
}

/*
 * A peer whose queue was full once gets nothing until half of it is free, so that no push overtakes
 * what was to be told before it.
 */
bool group_bus_send(struct groups *g, unsigned peer, struct chunk *message)
{
    struct group_peer *p = &g->bus->peers[peer];
    if (p->full)
        return false;
    int err = bus_send(g->bus->bus, peer, message);
    p->full = err == ERR_POLICY || err == ERR_CLOSED;
    p->ending = err == ERR_CLOSED;
    return err == 0;
}

/* --- What others have ------------------------------------------------------------------------- */

struct group_share *group_share_of(const struct group *group, unsigned peer)
{
    for (unsigned i = 0; i < group->share_count; i++)
        if (group->shares[i].peer == peer)
            return &group->shares[i];
    return NULL;
}

void group_forget_shares(struct group *group)
{
    mem_free(group->shares);
    group->shares = NULL;
    group->share_count = 0;
}

static void drop_share(struct group *group, unsigned peer)
{
    struct group_share *s = group_share_of(group, peer);
    if (!s)
        return;
    *s = group->shares[--group->share_count];
    if (!group->share_count)
        group_forget_shares(group);
}

static struct group_share *add_share(struct group *group, unsigned peer)
{
    size_t size = (group->share_count + 1u) * sizeof(struct group_share);
    struct group_share *shares = mem_try_resize(group->shares, size);
    if (!shares)
        return NULL;
    group->shares = shares;
    shares[group->share_count] = (struct group_share){.peer = (uint8_t)peer};
    return &shares[group->share_count++];
}

static void set_sure(struct group_bus *b, unsigned peer, bool sure)
{
    b->unsure += b->peers[peer].sure;
    b->unsure -= sure;
    b->peers[peer].sure = sure;
}

/* From now on it gets every push, as we do not know which ones it needs. */
static void lose_track(struct groups *g, unsigned peer)
{
    if (g->bus->peers[peer].lost)
        return;
    g->bus->peers[peer].lost = true;
    set_sure(g->bus, peer, false);
    log_warn("no memory for what worker %u has told of its groups: it gets all pushes",
             bus_worker(g->bus->bus, peer));
}

static void note_share(struct groups *g, struct group *group, unsigned peer,
                       const struct group_wire_entry *e)
{
    if (!e->members) {
        drop_share(group, peer);
        return;
    }
    struct group_share *s = group_share_of(group, peer);
    if (!s)
        s = add_share(group, peer);
    if (!s) {
        lose_track(g, peer);
        return;
    }
    s->count = e->members;
    s->claim = e->claim;
}

/*
 * Of names that were removed a long time ago nobody can have news that are older; so a few of the
 * latest are enough, and cost no memory that grows.
 */
static struct group_grave *grave_of(const struct groups *g, uint64_t hash)
{
    return &g->bus->graves[hash % GROUP_GRAVES];
}

static uint64_t name_hash(const struct groups *g, const struct group_key *key)
{
    return hash_bytes(&g->seed, key->name, key->len);
}

void group_bury(struct groups *g, const struct group_key *name, uint64_t stamp)
{
    uint64_t hash = name_hash(g, name);
    struct group_grave *grave = grave_of(g, hash);
    if (grave->hash != hash || grave->stamp < stamp)
        *grave = (struct group_grave){hash, stamp};
}

/* True for a claim from before the name was removed. */
static bool buried(const struct groups *g, const struct group_wire_entry *e)
{
    if (e->key.kind != GROUP_STORED || !e->members)
        return false;
    uint64_t hash = name_hash(g, &e->key);
    const struct group_grave *grave = grave_of(g, hash);
    return grave->hash == hash && e->claim < grave->stamp;
}

static void note_stamp(struct group_bus *b, uint64_t stamp)
{
    if (stamp > b->stamp)
        b->stamp = stamp;
}

/* True when our members have to go: the peer has the better claim, or has dissolved the group. */
static bool ends_ours(const struct groups *g, const struct group *group, unsigned peer,
                      const struct group_wire_entry *e)
{
    if (group->kind != GROUP_STORED)
        return e->dissolved;
    if (e->claim == group->claim)
        return peer > g->bus->bus->self || e->dissolved > group->claim;
    return e->claim > group->claim || e->dissolved > group->claim;
}

/* A stored name was removed: what others have told of older claims is void. */
static void hear_removal(struct groups *g, const struct group_wire_entry *e)
{
    group_bury(g, &e->key, e->dissolved);
    struct group *group = group_find(g, &e->key);
    for (unsigned i = group ? group->share_count : 0; i-- > 0;)
        if (group->shares[i].claim < e->dissolved)
            drop_share(group, group->shares[i].peer);
}

/*
 * Whoever makes a claim that is void has not heard of the removal: the line to it was broken at
 * that time, perhaps. It would hold the name for ever, and nobody would know; so it is told.
 */
static void tell_removal(struct groups *g, const struct group_key *name)
{
    struct group *group = group_get(g, name);
    if (!group)
        return; /* out of memory: the next claim is another chance */
    group->dissolved = grave_of(g, name_hash(g, name))->stamp;
    group_changed(g, group, true);
    group->dissolved_seq = group->seq;
}

static void hear_entry(struct groups *g, unsigned peer, struct group_wire_entry *e)
{
    note_stamp(g->bus, e->claim);
    note_stamp(g->bus, e->dissolved);
    if (e->dissolved && e->key.kind == GROUP_STORED)
        hear_removal(g, e);
    if (buried(g, e)) {
        e->members = 0;
        tell_removal(g, &e->key);
    }
    struct group *group = e->members ? group_get(g, &e->key) : group_find(g, &e->key);
    if (!group) {
        if (e->members)
            lose_track(g, peer);
        return;
    }
    note_share(g, group, peer, e);
    if (group->count && ends_ours(g, group, peer, e))
        group_clear(g, group);
    group_settle(g, group);
}

static int hear_state(struct groups *g, unsigned peer, struct group_wire *m)
{
    struct group_wire_entry e;
    int r;
    while ((r = group_wire_next(m, &e)) > 0)
        hear_entry(g, peer, &e);
    return r;
}

static void hear_push(struct groups *g, const struct group_wire *m)
{
    struct group *group = group_find(g, &m->key);
    struct group_pushed pushed = {0};
    const struct group_push push = {
        .key = m->key, .type = m->ws_type, .bytes = m->bytes, .len = m->len};
    if (group)
        group_push_here(g, group, &push, &pushed);
}

static int on_message(void *arg, unsigned peer, const uint8_t *bytes, size_t len)
{
    struct groups *g = arg;
    struct group_wire m;
    int err = group_wire_read(bytes, len, &m);
    if (err < 0)
        return err;
    g->bus->peers[peer].heard = true;
    switch (m.type) {
    case GROUP_WIRE_STATE: return hear_state(g, peer, &m);
    case GROUP_WIRE_END: set_sure(g->bus, peer, !g->bus->peers[peer].lost); break;
    case GROUP_WIRE_PUSH: hear_push(g, &m); break;
    case GROUP_WIRE_ASK: group_ask_answer(g, peer, &m); break;
    case GROUP_WIRE_ANSWER: group_ask_hear(g, peer, &m); break;
    }
    return 0;
}

/* --- Coming and going ------------------------------------------------------------------------- */

static void tell_soon(struct groups *g)
{
    g->bus->urgent = true;
    loop_defer(g->loop, LOOP_RUN, &g->bus->tell);
}

static void on_peer(void *arg, unsigned peer)
{
    struct groups *g = arg;
    struct group_peer *p = &g->bus->peers[peer];
    p->there = true;
    p->since = g->bus->seq;
    p->came = loop_now(g->loop);
    g->bus->there++;
    g->bus->unsure++;
    if (peer >= g->bus->limit)
        g->bus->limit = peer + 1;
    tell_soon(g);
}

static void on_room(void *arg, unsigned peer)
{
    struct groups *g = arg;
    g->bus->peers[peer].full = false;
    tell_soon(g);
}

static void forget_peer(struct groups *g, struct link *list, unsigned peer)
{
    for (struct link *l = list->next; l != list;) {
        struct group *group = LIST_ITEM(l, struct group, link);
        l = l->next;
        drop_share(group, peer);
        group_settle(g, group);
    }
}

static void on_gone(void *arg, unsigned peer)
{
    struct groups *g = arg;
    g->bus->unsure -= !g->bus->peers[peer].sure;
    g->bus->there--;
    g->bus->peers[peer] = (struct group_peer){.again = true};
    forget_peer(g, &g->told, peer);
    forget_peer(g, &g->silent, peer);
    tell_soon(g); /* what waited for it alone need not be kept */
    group_ask_gone(g, peer);
}

static void on_turn_end(struct loop_job *job)
{
    struct group_bus *b = LIST_ITEM(job, struct group_bus, tell);
    group_tell(b->bus->arg);
}

static void on_later(struct loop_timer *timer)
{
    struct group_bus *b = LIST_ITEM(timer, struct group_bus, later);
    group_tell(b->bus->arg);
}

/* Groups that were there before the bus. */
static void announce(struct groups *g)
{
    struct link all;
    list_move(&all, &g->silent);
    while (!link_empty(&all)) {
        struct group *group = LIST_ITEM(all.next, struct group, link);
        if (group->kind == GROUP_STORED)
            group->claim = group_stamp(g);
        group_changed(g, group, true);
    }
}

void groups_use_bus(struct groups *g, struct bus *bus)
{
    static const struct bus_hooks hooks = {
        .on_peer = on_peer,
        .on_message = on_message,
        .on_room = on_room,
        .on_gone = on_gone,
    };
    struct group_bus *b = mem_alloc(sizeof *b);
    b->bus = bus;
    loop_job_init(&b->tell, on_turn_end);
    loop_timer_init(&b->later, on_later);
    link_init(&b->asking);
    g->bus = b;
    bus->hooks = &hooks;
    bus->arg = g;
    announce(g);
}

void group_bus_deinit(struct groups *g)
{
    struct group_bus *b = g->bus;
    if (!b)
        return;
    group_ask_deinit(g);
    loop_undefer(&b->tell);
    loop_timer_stop(g->loop, &b->later);
    map_deinit(&b->asks);
    mem_free(b);
    g->bus = NULL;
}
