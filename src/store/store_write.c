// SPDX-License-Identifier: MIT
/*
 * The store on LMDB 0.9: changing. What LMDB does for us: writers take a robust mutex in the
 * lock file, pages are copied before they are changed, and the page that says which version counts
 * is written last. So a process may be killed at any instant: the next writer finds the mutex
 * without its owner, looks at what was committed last, and goes on from there.
 *
 * What it leaves to us:
 *
 *   - In memory the file is written through the map (MDB_WRITEMAP, a fifth of the time), and a page
 *     of the map that the file system cannot give is a SIGBUS. So what a transaction may take is
 *     asked for before, which fails properly: store_back. What adds to the store asks for more to
 *     spare than what takes away, so that there is always enough to make it smaller, on a full disk
 *     as well.
 *   - A file whose every page is in use could not even be emptied, as changing a page takes another
 *     one. So an eighth of the file is left free for that: fits.
 *   - Readers that have died hold on to what they saw. They are looked for when there is no room,
 *     and when a process opens the file.
 */
#include "store/store_private.h"

#include "base/seconds.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <string.h>

enum {
    SWEEP = 4,          /* entries that a write looks at, if they have expired */
    SWEEP_FULL = 500,   /* the same when there is no room */
    SPARE = 64,         /* pages that a change may take beside those of its value */
    CHUNK = 256 * 1024, /* asked for at a time */
};

/* --- Transactions --------------------------------------------------------------------------- */

int store_begin(struct change *c)
{
    struct store *s = c->s;
    store_hold_map(s);
    int rc = mdb_txn_begin(s->env, NULL, 0, &c->txn);
    if (rc == MDB_MAP_RESIZED) {
        store_let_map(s);
        rc = store_resize(s);
        store_hold_map(s);
        if (rc == 0)
            rc = mdb_txn_begin(s->env, NULL, 0, &c->txn);
    }
    if (rc)
        store_let_map(s);
    c->now = store_now(s);
    return rc;
}

int store_end(struct change *c, int rc)
{
    if (rc == 0)
        rc = mdb_txn_commit(c->txn);
    else
        mdb_txn_abort(c->txn);
    store_let_map(c->s);
    return rc;
}

/* --- Room ----------------------------------------------------------------------------------- */

static size_t pages(const struct change *c)
{
    MDB_stat st, unused;
    if (mdb_stat(c->txn, c->s->dbi, &st) || mdb_stat(c->txn, 0, &unused))
        return 0;
    return st.ms_branch_pages + st.ms_leaf_pages + st.ms_overflow_pages + unused.ms_branch_pages +
           unused.ms_leaf_pages + unused.ms_overflow_pages;
}

static bool fits(const struct change *c)
{
    size_t used = pages(c);
    return used <= c->s->most || used <= c->used;
}

static size_t at_most(size_t n, size_t bound)
{
    return n < bound ? n : bound;
}

/* Asks for the file's bytes up to `end`. */
static int extend(struct store *s, size_t end)
{
    int fd, rc = mdb_env_get_fd(s->env, &fd);
    if (rc)
        return rc;
    while ((rc = posix_fallocate(fd, (off_t)s->backed, (off_t)(end - s->backed))) == EINTR)
        continue;
    if (rc == 0)
        s->backed = end;
    return rc;
}

/* At least half of the file's pages wait to be used again. */
static bool half_free(const struct change *c, size_t used)
{
    return pages(c) * 2 * c->s->page <= used;
}

int store_back(const struct change *c, size_t bytes)
{
    struct store *s = c->s;
    MDB_envinfo info;
    int rc = mdb_env_info(s->env, &info);
    if (rc)
        return rc;
    size_t used = (info.me_last_pgno + 1) * s->page, spare = SPARE * s->page;
    size_t must = at_most(used + spare + bytes, info.me_mapsize);
    size_t want = at_most(bytes ? must + spare + bytes : must, info.me_mapsize);
    size_t more = at_most((want + CHUNK - 1) / CHUNK * CHUNK, info.me_mapsize);
    if (s->backed < used)
        s->backed = used; /* asked for by those who use it */
    if (want <= s->backed || extend(s, more) == 0 || (rc = extend(s, want)) == 0)
        return 0;
    if (must > s->backed)
        rc = extend(s, must);
    return s->backed >= must && (bytes == 0 || half_free(c, used)) ? 0 : rc ? rc : ENOSPC;
}

static bool no_room(int rc)
{
    return rc == MDB_MAP_FULL || rc == MDB_TXN_FULL || rc == ENOSPC || rc == EFBIG || rc == EDQUOT;
}

/* --- Expiry --------------------------------------------------------------------------------- */

static void name_expiry(struct name *n, uint64_t when, const struct name *entry)
{
    n->bytes[0] = 't';
    for (int i = 0; i < 8; i++)
        n->bytes[1 + i] = (uint8_t)(when >> (56 - 8 * i));
    memcpy(n->bytes + 9, entry->bytes + 1, entry->len - 1);
    n->len = entry->len + 8;
}

static uint64_t when_of(const MDB_val *expiry)
{
    const uint8_t *p = expiry->mv_data;
    uint64_t when = 0;
    for (int i = 1; i <= 8; i++)
        when = when << 8 | p[i];
    return when;
}

static int put_expiry(struct change *c, uint64_t when, const struct name *entry)
{
    struct name expiry;
    MDB_val nothing = {0};
    if (when == 0)
        return 0;
    name_expiry(&expiry, when, entry);
    MDB_val k = name_val(&expiry);
    return mdb_put(c->txn, c->s->dbi, &k, &nothing, 0);
}

static int drop_expiry(struct change *c, uint64_t when, const struct name *entry)
{
    struct name expiry;
    if (when == 0)
        return 0;
    name_expiry(&expiry, when, entry);
    MDB_val k = name_val(&expiry);
    int rc = mdb_del(c->txn, c->s->dbi, &k, NULL);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

/* The first that has expired: 0 and its place, or MDB_NOTFOUND. */
static int first_expired(struct change *c, MDB_val *k)
{
    MDB_cursor *cursor;
    MDB_val nothing;
    int rc = mdb_cursor_open(c->txn, c->s->dbi, &cursor);
    if (rc)
        return rc;
    *k = (MDB_val){.mv_size = 1, .mv_data = (void *)(size_t) "t"};
    rc = mdb_cursor_get(cursor, k, &nothing, MDB_SET_RANGE);
    mdb_cursor_close(cursor);
    return rc == 0 && when_of(k) > c->now ? MDB_NOTFOUND : rc;
}

/* Takes out at most `most` entries that have expired; *swept tells how many there were. */
static int sweep(struct change *c, int most, int *swept)
{
    MDB_val k;
    int rc = 0;
    for (*swept = 0; *swept < most && (rc = first_expired(c, &k)) == 0; ++*swept) {
        struct name expiry = {.len = k.mv_size}, entry = {.len = k.mv_size - 8};
        memcpy(expiry.bytes, k.mv_data, k.mv_size); /* a deletion moves what `k` points to */
        entry.bytes[0] = 'd';
        memcpy(entry.bytes + 1, expiry.bytes + 9, entry.len - 1);
        MDB_val place = name_val(&expiry), key = name_val(&entry);
        rc = mdb_del(c->txn, c->s->dbi, &place, NULL);
        if (rc == 0)
            rc = mdb_del(c->txn, c->s->dbi, &key, NULL);
        if (rc)
            return rc;
    }
    return rc == MDB_NOTFOUND ? 0 : rc;
}

/* Makes room by what has expired, and by what the dead held on to. True when it made any. */
static bool make_room(struct store *s)
{
    struct change c = {.s = s};
    int swept = 0, dead = 0;
    mdb_reader_check(s->env, &dead);
    int rc = store_begin(&c);
    if (rc)
        return false;
    rc = store_back(&c, 0);
    rc = store_end(&c, rc ? rc : sweep(&c, SWEEP_FULL, &swept));
    return rc == 0 && (swept > 0 || dead > 0);
}

/* --- Changes -------------------------------------------------------------------------------- */

/* Takes a record and its place among those that expire out. */
static int drop(struct change *c, const struct name *entry, const MDB_val *record)
{
    int rc = drop_expiry(c, store_expiry(record), entry);
    MDB_val k = name_val(entry);
    return rc ? rc : mdb_del(c->txn, c->s->dbi, &k, NULL);
}

/* Writes a record, in place of an old one if there is one. */
static int put(struct change *c, const struct name *entry, const struct store_value *v,
               uint64_t when)
{
    MDB_val k = name_val(entry), record = {.mv_size = STORE_HEAD + v->len};
    int rc = mdb_put(c->txn, c->s->dbi, &k, &record, MDB_RESERVE);
    if (rc)
        return rc;
    uint8_t *p = record.mv_data;
    memcpy(p, &when, sizeof when);
    p[STORE_HEAD - 1] = v->kind;
    if (v->len)
        memcpy(p + STORE_HEAD, v->bytes, v->len);
    return 0;
}

static int set(struct change *c, const struct name *entry, const MDB_val *old,
               const struct store_write *w)
{
    uint64_t when = w->ttl > 0 ? c->now + (uint64_t)ceil(w->ttl * MS_PER_SECOND) : 0;
    int rc = old ? drop_expiry(c, store_expiry(old), entry) : 0;
    if (rc == 0)
        rc = put(c, entry, &w->value, when);
    return rc ? rc : put_expiry(c, when, entry);
}

/* The sum takes the place of the number; when it expires stays. */
static int add_to(struct change *c, const struct name *entry, const MDB_val *old,
                  struct store_write *w)
{
    double sum = w->initial;
    uint64_t when = old ? store_expiry(old) : 0;
    if (old) {
        const uint8_t *p = old->mv_data;
        if (p[STORE_HEAD - 1] != STORE_NUMBER || old->mv_size != STORE_HEAD + sizeof sum)
            return STORE_KIND;
        memcpy(&sum, p + STORE_HEAD, sizeof sum);
    }
    sum += w->number;
    if (!isfinite(sum))
        return STORE_RANGE;
    w->sum = sum;
    struct store_value v = {.kind = STORE_NUMBER, .bytes = &sum, .len = sizeof sum};
    return put(c, entry, &v, when);
}

/* Finds the live record of a key; one that has expired is taken out. 0 or an error. */
static int find(struct change *c, const struct name *entry, MDB_val *record, bool *found)
{
    MDB_val k = name_val(entry);
    int rc = mdb_get(c->txn, c->s->dbi, &k, record);
    *found = rc == 0 && store_alive(record, c->now);
    if (rc == 0 && !*found)
        rc = drop(c, entry, record);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

/* Returns 0, an error of LMDB or the system, or an enum store_result about this change alone. */
static int apply(struct change *c, struct store_write *w)
{
    struct name entry;
    MDB_val record;
    bool found;
    if (!store_good_key(&w->key) || w->value.len > STORE_VALUE_MAX)
        return STORE_ARGUMENT;
    store_name(&entry, &w->key);
    int rc = find(c, &entry, &record, &found);
    if (rc)
        return rc;
    const MDB_val *old = found ? &record : NULL;
    w->done = w->what == STORE_ADD ? !found : w->what == STORE_DELETE ? found : true;
    switch (w->what) {
    case STORE_SET: return set(c, &entry, old, w);
    case STORE_ADD: return found ? 0 : set(c, &entry, NULL, w);
    case STORE_INCR: return add_to(c, &entry, old, w);
    case STORE_DELETE: return found ? drop(c, &entry, old) : 0;
    }
    return STORE_ARGUMENT;
}

static int apply_all(struct change *c, struct store_write *const *writes, int *results, int count)
{
    int swept;
    size_t bytes = 0;
    for (int i = 0; i < count; i++)
        if (writes[i]->what != STORE_DELETE)
            bytes += writes[i]->value.len + c->s->page;
    int rc = store_back(c, bytes);
    if (rc)
        return rc;
    c->used = pages(c);
    for (int i = 0; i < count; i++) {
        rc = apply(c, writes[i]);
        if (rc > 0 || rc <= MDB_LAST_ERRCODE)
            return rc;
        results[i] = rc;
    }
    rc = sweep(c, SWEEP * count, &swept);
    return rc == 0 && !fits(c) ? MDB_MAP_FULL : rc;
}

static int attempt(struct store *s, struct store_write *const *writes, int *results, int count)
{
    struct change c = {.s = s};
    int rc = store_begin(&c);
    return rc ? rc : store_end(&c, apply_all(&c, writes, results, count));
}

int store_write_all(struct store *s, struct store_write *const *writes, int *results, int count)
{
    int rc = attempt(s, writes, results, count);
    if (no_room(rc) && make_room(s))
        rc = attempt(s, writes, results, count);
    for (int i = 0; i < count; i++)
        writes[i]->why = rc;
    return rc == 0 ? STORE_OK : no_room(rc) ? STORE_FULL : STORE_BROKEN;
}

int store_write(struct store *s, struct store_write *w)
{
    int result = STORE_OK;
    int all = store_write_all(s, &w, &result, 1);
    return all < 0 ? all : result;
}
