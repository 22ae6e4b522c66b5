// SPDX-License-Identifier: MIT
/*
 * Opening and closing the file of a store. Several processes may do so at the same time, and
 * one of them finds the file new and marks it. What is no file of ours is refused and left alone.
 */
#include "store/store_private.h"

#include "base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MARK "neap shared 1"
#define READERS 1024     /* processes */
#define MAGIC 0xBEEFC0DE /* behind the 16 bytes with which a page of LMDB begins */
#define PATH_ROOM 4200

/* Makes the file if need be. Before anything is written: may it be one of LMDB's? */
static int check_file(const char *path)
{
    struct stat st;
    uint32_t head[5] = {0};
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0600);
    if (fd < 0)
        return errno;
    int rc = fstat(fd, &st) < 0 ? errno : 0;
    if (rc == 0 && !S_ISREG(st.st_mode))
        rc = MDB_INVALID;
    else if (rc == 0 && st.st_size > 0 && pread(fd, head, sizeof head, 0) < 0)
        rc = errno;
    else if (rc == 0 && st.st_size > 0 && head[4] != MAGIC)
        rc = MDB_INVALID;
    close(fd);
    return rc;
}

/*
 * LMDB maps its lock file as well, so its room is asked for before. This must not happen while the
 * file is open in this process: closing any descriptor of it would give up LMDB's locks.
 */
static int back_locks(const char *file)
{
    char path[PATH_ROOM];
    if (snprintf(path, sizeof path, "%s-lock", file) >= (int)sizeof path)
        return ENAMETOOLONG;
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return errno;
    int rc = posix_fallocate(fd, 0, (off_t)(READERS + 1) * 64);
    close(fd);
    return rc;
}

/*
 * LMDB leaves its descriptors open in programs that an app runs, and shows one of two only. So they
 * are looked for by the file.
 */
static int close_on_exec(const struct stat *file)
{
    DIR *d = opendir("/proc/self/fd");
    struct dirent *e;
    struct stat st;
    if (!d)
        return errno;
    while ((e = readdir(d))) {
        int fd = atoi(e->d_name);
        if (e->d_name[0] != '.' && fstat(fd, &st) == 0 && st.st_dev == file->st_dev &&
            st.st_ino == file->st_ino)
            fcntl(fd, F_SETFD, FD_CLOEXEC);
    }
    closedir(d);
    return 0;
}

static int open_env(struct store *s, const struct store_config *config, const char *path)
{
    unsigned flags = MDB_NOSUBDIR | MDB_NOTLS | MDB_NOMEMINIT;
    int dead, rc = back_locks(path);
    if (!config->disk)
        flags |= MDB_NOSYNC | MDB_WRITEMAP | MDB_NORDAHEAD;
    if (rc == 0)
        rc = mdb_env_create(&s->env);
    if (rc == 0)
        rc = mdb_env_set_mapsize(s->env, config->size);
    if (rc == 0)
        rc = mdb_env_set_maxreaders(s->env, READERS);
    if (rc == 0)
        rc = mdb_env_open(s->env, path, flags, 0600);
    if (rc == 0)
        rc = mdb_reader_check(s->env, &dead);
    if (rc == 0 && stat(path, &s->st) < 0)
        rc = errno;
    return rc ? rc : close_on_exec(&s->st);
}

/* The lock file lies beside the file itself, by whatever name (a symbolic link) it was opened. */
static int open_file(struct store *s, const struct store_config *config)
{
    int rc = check_file(config->path);
    if (rc)
        return rc;
    char *path = realpath(config->path, NULL);
    if (!path)
        return errno;
    rc = open_env(s, config, path);
    free(path);
    return rc;
}

static bool is_mark(const MDB_val *v)
{
    return v->mv_size == sizeof MARK - 1 && memcmp(v->mv_data, MARK, sizeof MARK - 1) == 0;
}

/* In one transaction, so that one process marks a new file and the others find it marked. */
static int mark(struct change *c)
{
    MDB_val k = {.mv_size = 1, .mv_data = (void *)(size_t) "m"}, found;
    MDB_val ours = {.mv_size = sizeof MARK - 1, .mv_data = (void *)(size_t)MARK};
    MDB_stat st;
    int rc = store_back(c, 0);
    if (rc == 0)
        rc = mdb_dbi_open(c->txn, NULL, 0, &c->s->dbi);
    if (rc == 0)
        rc = mdb_stat(c->txn, c->s->dbi, &st);
    if (rc)
        return rc;
    if (st.ms_entries == 0)
        return mdb_put(c->txn, c->s->dbi, &k, &ours, 0);
    rc = mdb_get(c->txn, c->s->dbi, &k, &found);
    return rc == 0 && !is_mark(&found) ? MDB_VERSION_MISMATCH : rc;
}

static int check_mark(struct store *s)
{
    struct change c = {.s = s};
    int rc = store_begin(&c);
    return rc ? rc : store_end(&c, mark(&c));
}

static const char *explain(int rc)
{
    switch (rc) {
    case MDB_INVALID: return "the file is not one of neap.shared";
    case MDB_NOTFOUND: return "the file is an LMDB file of something else";
    case MDB_VERSION_MISMATCH: return "the file is of another version of neap.shared or LMDB";
    default: return mdb_strerror(rc);
    }
}

struct store *store_open(const struct store_config *config, char error[256])
{
    struct store *s = mem_alloc(sizeof *s);
    s->disk = config->disk;
    s->page = (size_t)sysconf(_SC_PAGESIZE);
    s->most = config->size / s->page / 8 * 7;
    pthread_rwlock_init(&s->map_lock, NULL);
    int rc = open_file(s, config);
    if (rc == 0)
        rc = check_mark(s);
    if (rc == 0)
        return s;
    snprintf(error, 256, "%.160s: %s", config->path, explain(rc));
    store_close(s);
    return NULL;
}

void store_close(struct store *s)
{
    if (s->reader)
        mdb_txn_abort(s->reader);
    if (s->env)
        mdb_env_close(s->env);
    pthread_rwlock_destroy(&s->map_lock);
    mem_free(s);
}

bool store_is(const struct store *s, const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && st.st_dev == s->st.st_dev && st.st_ino == s->st.st_ino;
}
