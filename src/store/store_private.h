// SPDX-License-Identifier: MIT
/*
 * What the files of the store share. Nobody else includes this.
 *
 *      store.c         reading                 store_open.c    opening and closing the file
 *      store_write.c   changing, expiry, room
 */
#ifndef NEAP_STORE_STORE_PRIVATE_H
#define NEAP_STORE_STORE_PRIVATE_H

#include "store/store.h"

#include <lmdb.h>
#include <pthread.h>
#include <sys/stat.h>

enum {
    STORE_HEAD = 9, /* bytes of a record before the value: when it expires, and the kind */
    STORE_NAME_ROOM = STORE_KEY_MAX + 9,
};

struct store {
    MDB_env *env;
    MDB_txn *reader; /* reset between two calls */
    MDB_dbi dbi;
    /* On disk, where two threads use it: held for writing while the map is moved. */
    pthread_rwlock_t map_lock;
    bool disk;
    size_t page;   /* bytes */
    size_t most;   /* pages in use */
    size_t backed; /* bytes from the file's beginning that the file system has given */
    struct stat st;
    int why; /* of the last STORE_BROKEN while reading */
};

/* A key as it stands in the file. */
struct name {
    uint8_t bytes[STORE_NAME_ROOM];
    size_t len;
};

/* One write transaction, and what its changes share. */
struct change {
    struct store *s;
    MDB_txn *txn;
    uint64_t now;
    size_t used; /* pages in use when it began */
};

static inline MDB_val name_val(const struct name *n)
{
    return (MDB_val){.mv_size = n->len, .mv_data = (void *)(size_t)n->bytes};
}

/* A key of LMDB is never empty, nor longer than 511 bytes. */
static inline bool store_good_key(const struct store_key *key)
{
    return key->len >= 1 && key->len <= STORE_KEY_MAX;
}

/* store.c */
void store_name(struct name *n, const struct store_key *key);
/* Milliseconds. */
uint64_t store_now(const struct store *s);
/* When the record expires, or 0; and whether it has not. */
uint64_t store_expiry(const MDB_val *record);
bool store_alive(const MDB_val *record, uint64_t now);
/* Around every transaction. */
void store_hold_map(struct store *s);
void store_let_map(struct store *s);
/* Another process has opened the file with more room: we take as much. The map is not held. */
int store_resize(struct store *s);

/* store_write.c: these return 0 or an error of LMDB. */
int store_begin(struct change *c);
/* Ends a transaction, for good when `rc` is 0. */
int store_end(struct change *c, int rc);
/*
 * Has the file system give the room that the coming changes may take at the end of the file;
 * `bytes` is what they add, 0 when they only take away. In memory, writing to a page that it cannot
 * give would kill the process.
 */
int store_back(const struct change *c, size_t bytes);

#endif
