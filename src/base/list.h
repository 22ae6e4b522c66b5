// SPDX-License-Identifier: MIT
/*
 * Intrusive doubly linked list. A `struct link` inside an object puts it on one list at a time; an
 * unlinked link points at itself, so that unlinking twice is harmless and membership can be asked.
 */
#ifndef NEAP_BASE_LIST_H
#define NEAP_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct link {
    struct link *next, *prev;
};

/* The object of `type` whose field `member` is the link `l`. */
#define LIST_ITEM(l, type, member) ((type *)(void *)((char *)(l)-offsetof(type, member)))

/* Dies when its neighbours do not know it (in builds for tests). */
#ifdef NEAP_CHECKS
void link_check(const struct link *l);
#else
static inline void link_check(const struct link *l)
{
    (void)l;
}
#endif

/* An empty list head, or a link that is on no list. */
static inline void link_init(struct link *l)
{
    l->next = l->prev = l;
}

/* True when a head has no items, or an item is on no list. */
static inline bool link_empty(const struct link *l)
{
    return l->next == l;
}

/* Puts an unlinked item at the end of the list. */
static inline void list_append(struct link *head, struct link *item)
{
    link_check(head);
    item->prev = head->prev;
    item->next = head;
    head->prev->next = item;
    head->prev = item;
}

/* Takes an item off its list; harmless when it is on none. */
static inline void list_remove(struct link *item)
{
    link_check(item);
    item->prev->next = item->next;
    item->next->prev = item->prev;
    link_init(item);
}

/* Moves all items of `from` to the end of the empty head `to`. */
static inline void list_move(struct link *to, struct link *from)
{
    link_init(to);
    if (link_empty(from))
        return;
    *to = *from;
    to->next->prev = to;
    to->prev->next = to;
    link_init(from);
}

#endif
