// SPDX-License-Identifier: MIT
/*
 * The life of the groups, and other workers that come and go.
 */
#include "group/groups.h"

#include "base/mem.h"
#include "group/group_private.h"

static void on_come(void *arg, unsigned other)
{
    struct groups *g = arg;
    struct group_other *p = &g->bus->others[other];
    p->there = true;
    p->since = g->bus->seq;
    p->came = loop_now(g->loop);
    g->bus->there++;
    g->bus->unsure++;
    if (other >= g->bus->limit)
        g->bus->limit = other + 1;
    group_other_check(g->bus);
    group_tell_soon(g);
}

static void on_room(void *arg, unsigned other)
{
    struct groups *g = arg;
    g->bus->others[other].full = false;
    group_tell_soon(g);
}

static void forget_other(struct groups *g, struct link *list, unsigned other)
{
    for (struct link *l = list->next; l != list;) {
        struct group *group = LIST_ITEM(l, struct group, link);
        l = l->next;
        group_share_drop(group, other);
        group_table_settle(g, group);
    }
}

static void on_gone(void *arg, unsigned other)
{
    struct groups *g = arg;
    g->bus->unsure -= !g->bus->others[other].sure;
    g->bus->there--;
    g->bus->others[other] = (struct group_other){.again = true};
    group_other_check(g->bus);
    forget_other(g, &g->announced, other);
    forget_other(g, &g->silent, other);
    group_tell_soon(g); /* what waited for it alone need not be kept */
    group_ask_gone(g, other);
}

static int on_message(void *arg, unsigned other, const uint8_t *bytes, size_t len)
{
    return group_hear(arg, other, bytes, len);
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
        .on_other = on_come,
        .on_message = on_message,
        .on_room = on_room,
        .on_gone = on_gone,
    };
    struct group_bus *b = mem_alloc(sizeof *b);
    b->bus = bus;
    loop_job_init(&b->tell, on_turn_end);
    loop_timer_init(&b->later, on_later);
    link_init(&b->question_list);
    g->bus = b;
    bus->hooks = &hooks;
    bus->arg = g;
    announce(g);
}

static void leave_bus(struct groups *g)
{
    struct group_bus *b = g->bus;
    if (!b)
        return;
    group_ask_deinit(g);
    loop_undefer(&b->tell);
    loop_timer_stop(g->loop, &b->later);
    map_deinit(&b->questions);
    mem_free(b);
    g->bus = NULL;
}

struct groups *groups_new(struct loop *loop, struct entropy *entropy)
{
    struct groups *g = mem_alloc(sizeof *g);
    g->loop = loop;
    entropy_take(entropy, &g->seed, sizeof g->seed);
    link_init(&g->announced);
    link_init(&g->silent);
    group_push_init(g);
    return g;
}

void groups_free(struct groups *g)
{
    group_push_deinit(g);
    leave_bus(g);
    group_table_deinit(g);
    map_deinit(&g->members);
    mem_free(g);
}
