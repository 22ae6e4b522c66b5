// SPDX-License-Identifier: MIT
/*
 * The store on LMDB 0.9: reading. A reader takes a snapshot and waits for nobody; nothing of
 * it is held when a call returns, because a snapshot that stays keeps all later pages from being
 * used again.
 */
#include "store/store.h"

#include "base/seconds.h"
#include "store/store_private.h"

#include <math.h>
#include <string.h>
#include <time.h>

#define LOOK_MAX 10000 /* entries that have expired, and that store_keys passes over */

/* --- Small things --------------------------------------------------------------------------- */

/* Notes what LMDB said. */
static int broken(struct store *s, int rc)
{
    s->why = rc;
    return STORE_BROKEN;
}

const char *store_error(const struct store *s)
{
    return store_reason(s->why);
}

const char *store_reason(int why)
{
    return mdb_strerror(why);
}

/* In memory by a clock that nobody can set; on disk by one that goes on when the machine is off. */
uint64_t store_now(const struct store *s)
{
    struct timespec t;
    clock_gettime(s->disk ? CLOCK_REALTIME : CLOCK_BOOTTIME, &t);
    return seconds_ms(&t);
}

void store_name(struct name *n, const struct store_key *key)
{
    n->bytes[0] = 'd';
    if (key->len)
        memcpy(n->bytes + 1, key->bytes, key->len);
    n->len = key->len + 1;
}

uint64_t store_expiry(const MDB_val *record)
{
    uint64_t when;
    memcpy(&when, record->mv_data, sizeof when);
    return when;
}

bool store_alive(const MDB_val *record, uint64_t now)
{
    uint64_t when = store_expiry(record);
    return when == 0 || when > now;
}

void store_hold_map(struct store *s)
{
    if (s->disk)
        pthread_rwlock_rdlock(&s->map_lock);
}

void store_let_map(struct store *s)
{
    if (s->disk)
        pthread_rwlock_unlock(&s->map_lock);
}

int store_resize(struct store *s)
{
    pthread_rwlock_wrlock(&s->map_lock);
    int rc = mdb_env_set_mapsize(s->env, 0);
    pthread_rwlock_unlock(&s->map_lock);
    return rc;
}

/* --- Reading -------------------------------------------------------------------------------- */

static int renew(struct store *s)
{
    return s->reader ? mdb_txn_renew(s->reader)
                     : mdb_txn_begin(s->env, NULL, MDB_RDONLY, &s->reader);
}

/* 0: there is a snapshot, and end_read gives it up. */
static int begin_read(struct store *s)
{
    store_hold_map(s);
    int rc = renew(s);
    if (rc == 0)
        return 0;
    store_let_map(s);
    if (rc != MDB_MAP_RESIZED || (rc = store_resize(s)) != 0)
        return rc;
    store_hold_map(s);
    rc = renew(s);
    if (rc)
        store_let_map(s);
    return rc;
}

static void end_read(struct store *s)
{
    mdb_txn_reset(s->reader);
    store_let_map(s);
}

/* The live record of a key; 0, MDB_NOTFOUND or an error. */
static int look(struct store *s, const struct store_key *key, MDB_val *record)
{
    struct name name;
    store_name(&name, key);
    MDB_val k = name_val(&name);
    int rc = mdb_get(s->reader, s->dbi, &k, record);
    return rc == 0 && !store_alive(record, store_now(s)) ? MDB_NOTFOUND : rc;
}

int store_get(struct store *s, const struct store_key *key, struct buf *out, uint8_t *kind)
{
    MDB_val record;
    *kind = 0;
    if (!store_good_key(key))
        return STORE_ARGUMENT;
    int rc = begin_read(s);
    if (rc)
        return broken(s, rc);
    int result = STORE_OK;
    rc = look(s, key, &record);
    if (rc == 0) {
        const uint8_t *p = record.mv_data;
        *kind = p[STORE_HEAD - 1];
        if (buf_append(out, p + STORE_HEAD, record.mv_size - STORE_HEAD) < 0)
            result = STORE_NOMEM;
    } else if (rc != MDB_NOTFOUND) {
        result = broken(s, rc);
    }
    end_read(s);
    return result;
}

int store_ttl(struct store *s, const struct store_key *key, double *seconds)
{
    MDB_val record;
    *seconds = -1;
    if (!store_good_key(key))
        return STORE_ARGUMENT;
    int rc = begin_read(s);
    if (rc)
        return broken(s, rc);
    rc = look(s, key, &record);
    if (rc == 0) {
        uint64_t when = store_expiry(&record), now = store_now(s);
        *seconds = when == 0 ? HUGE_VAL : when > now ? (double)(when - now) / MS_PER_SECOND : 0;
    }
    end_read(s);
    return rc == 0 || rc == MDB_NOTFOUND ? STORE_OK : broken(s, rc);
}

static bool begins_with(const MDB_val *k, const struct name *prefix)
{
    return k->mv_size >= prefix->len && memcmp(k->mv_data, prefix->bytes, prefix->len) == 0;
}

static int list(struct store *s, struct store_keys *q, MDB_cursor *cursor)
{
    struct name prefix;
    MDB_val record;
    uint64_t now = store_now(s);
    unsigned found = 0, dead = 0;
    store_name(&prefix, &q->prefix);
    MDB_val k = name_val(&prefix);
    int rc = mdb_cursor_get(cursor, &k, &record, MDB_SET_RANGE);
    while (rc == 0 && begins_with(&k, &prefix)) {
        bool lives = store_alive(&record, now);
        q->more = (lives && found == q->limit) || dead == LOOK_MAX;
        if (q->more)
            return 0;
        found += lives;
        dead += !lives;
        if (lives)
            q->found(q->arg, (const uint8_t *)k.mv_data + 1, k.mv_size - 1);
        rc = mdb_cursor_get(cursor, &k, &record, MDB_NEXT);
    }
    return rc == MDB_NOTFOUND ? 0 : rc;
}

int store_keys(struct store *s, struct store_keys *q)
{
    MDB_cursor *cursor;
    q->more = false;
    if (q->prefix.len > STORE_KEY_MAX)
        return STORE_OK; /* no key is as long */
    int rc = begin_read(s);
    if (rc)
        return broken(s, rc);
    if ((rc = mdb_cursor_open(s->reader, s->dbi, &cursor)) == 0) {
        rc = list(s, q, cursor);
        mdb_cursor_close(cursor);
    }
    end_read(s);
    return rc ? broken(s, rc) : STORE_OK;
}
