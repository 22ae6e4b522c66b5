// SPDX-License-Identifier: MIT
/*
 * A store is what apps call a shared dictionary (bind/data/lshared.h): keys and values in one file
 * of LMDB, opened by several processes. Every call is one transaction, so each is atomic over all
 * processes, and a process that dies in the middle of one leaves nothing half done. There is no Lua
 * here; lmdb.h is seen in store_private.h alone.
 *
 *      in memory   the file lies in /dev/shm, is written through the map and never synced: a write
 *                  takes some microseconds, and what the last process leaves behind is removed by
 *                  who made its folder (line/scratch.h)
 *      on disk     a write returns when the disk has it: milliseconds; store_queue.h is for those
 *
 * In the file there are three kinds of keys, told apart by their first byte:
 *
 *      'd' key                    8 bytes: when it expires, in ms, 0 never; 1 byte: kind; the value
 *      'm'                        the mark by which the file is known to be ours
 *      't' when (8, big-endian) key    empty: who expires first stands first
 *
 * One that has expired is gone for all calls at once. Its space is taken back by later writes, each
 * of which looks at a few, so that no call does more than bounded work.
 *
 * One process opens a file once only (LMDB's locks belong to the process), after fork, not before.
 * A struct store is used by one thread, but for store_write, which another one may call meanwhile.
 */
#ifndef NEAP_STORE_STORE_H
#define NEAP_STORE_STORE_H

#include "base/buf.h"

#include <stdbool.h>
#include <stdint.h>

struct store;

enum {
    STORE_KEY_MAX = 500,          /* LMDB's bound of 511 bytes, less what stands in front */
    STORE_VALUE_MAX = 1024 * 1024 /* bytes of a value: what can be copied in well under 1 ms */
};
#define STORE_SIZE_MIN ((size_t)1 << 20)
#define STORE_SIZE_MAX ((size_t)1 << 36)

/* Kinds of values. The store knows the number (8 bytes, a double) and passes the others through. */
enum { STORE_NUMBER = 'n' };

/* What calls return. */
enum store_result {
    STORE_OK = 0,
    STORE_FULL = -1,     /* no room left; nothing was changed */
    STORE_ARGUMENT = -2, /* the key is empty or too long, or the value too long */
    STORE_KIND = -3,     /* it is there, but not a number */
    STORE_RANGE = -4,    /* the sum is not a finite number */
    STORE_NOMEM = -5,    /* no memory for a copy */
    STORE_BROKEN = -6,   /* LMDB or the system refused */
};

struct store_config {
    const char *path; /* of the file; a second one, PATH-lock, lies beside it */
    size_t size;      /* most bytes that the file will have; STORE_SIZE_MIN to STORE_SIZE_MAX */
    bool disk;        /* not in memory */
};

/* Opens the file, making it (mode 0600) when it is missing; or NULL and one line in `error`. */
struct store *store_open(const struct store_config *config, char error[256]);

/* Closes the file; what is in it stays. */
void store_close(struct store *s);

/* Why the last call that reads returned STORE_BROKEN; a struct store_write has its own reason. */
const char *store_error(const struct store *s);
const char *store_reason(int why);

struct store_key {
    const void *bytes;
    size_t len; /* 1 to STORE_KEY_MAX */
};

struct store_value {
    uint8_t kind; /* STORE_NUMBER, or the caller's own */
    const void *bytes;
    size_t len; /* at most STORE_VALUE_MAX */
};

enum store_what { STORE_SET, STORE_ADD, STORE_INCR, STORE_DELETE };

/* A change, and what came of it. */
struct store_write {
    enum store_what what;
    struct store_key key;
    struct store_value value; /* SET, ADD */
    double ttl;               /* SET, ADD: seconds from now, 0: for ever; INCR keeps what it was */
    double number;            /* INCR: how much is added */
    double initial;           /* INCR: to what, when it is not there */
    double sum;               /* out: INCR */
    int why;                  /* out: of STORE_BROKEN, for store_reason */
    bool done;                /* out: ADD: it was not there; DELETE: it was; else true */
};

/*
 * Makes one change. Waits for the writer before it: in memory that takes microseconds, unless that
 * process is stopped or starved just there.
 */
int store_write(struct store *s, struct store_write *w);

/*
 * Makes several changes in one transaction, in their order: all of them, or, when this returns less
 * than STORE_OK, none (they may be tried one by one then). Each change's own result (STORE_KIND,
 * STORE_RANGE, STORE_ARGUMENT) goes into `results` and does not hold up the others.
 */
int store_write_all(struct store *s, struct store_write *const *writes, int *results, int count);

/*
 * Appends the value to `out` and tells its kind; *kind is 0 when it is not there. Never waits for a
 * writer.
 */
int store_get(struct store *s, const struct store_key *key, struct buf *out, uint8_t *kind);

/* Seconds until it expires; HUGE_VAL: never; -1: it is not there. */
int store_ttl(struct store *s, const struct store_key *key, double *seconds);

struct store_keys {
    struct store_key prefix; /* may be empty */
    unsigned limit;
    void (*found)(void *arg, const void *key, size_t len); /* in the order of their bytes */
    void *arg;
    bool more; /* out: it ended before the last; after `limit`, or too many that had expired */
};

/* Tells the keys with that prefix. `found` must not call the store, nor leave by longjmp. */
int store_keys(struct store *s, struct store_keys *k);

/* True when both names mean the file that `s` has open. */
bool store_is(const struct store *s, const char *path);

#endif
