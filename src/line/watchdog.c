// SPDX-License-Identifier: MIT
/*
 * The page is written by a process that runs other people's code and has just gone wrong: its texts
 * are copied with a bound before they are logged.
 */
#include "line/watchdog.h"

#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* Of linux/memfd.h, which the C library's header may not have yet: it is data, never run. */
#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif

static int give_up(int fd)
{
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

/*
 * A file in memory of the page's size, for good: code in a worker that cuts it short would have the
 * master die of reading it.
 */
static int new_file(void)
{
    int fd = memfd_create("neap-watchdog", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);
    if (fd < 0 && errno == EINVAL) /* an older kernel */
        fd = memfd_create("neap-watchdog", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd >= 0 && (ftruncate(fd, sizeof(struct watchdog)) < 0 ||
                    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0))
        return give_up(fd);
    return fd;
}

static struct watchdog *map(int fd)
{
    void *page = mmap(NULL, sizeof(struct watchdog), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    return page == MAP_FAILED ? NULL : page;
}

struct watchdog *watchdog_new(int *fd)
{
    *fd = new_file();
    struct watchdog *page = *fd < 0 ? NULL : map(*fd);
    if (page)
        page->pulse.slow = true; /* it loads the app */
    else if (*fd >= 0)
        give_up(*fd);
    return page;
}

struct watchdog *watchdog_open(int fd)
{
    struct stat st;
    bool right =
        fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size == (off_t)sizeof(struct watchdog);
    return right ? map(fd) : NULL;
}

void watchdog_free(struct watchdog *page)
{
    if (page)
        munmap(page, sizeof *page);
}

void watchdog_log(const struct watchdog *page, int worker)
{
    char number[16];
    struct log_field fields[4];
    size_t count = 0;
    if (!page->written)
        return;
    snprintf(number, sizeof number, "%d", worker);
    fields[count++] = (struct log_field){.key = "worker", .value = number};
    const struct {
        const char *key, *text;
        size_t size;
    } texts[] = {
        {"handler", page->handler, sizeof page->handler},
        {"connection", page->connection, sizeof page->connection},
        {"at", page->where, sizeof page->where},
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (*texts[i].text)
            fields[count++] = (struct log_field){texts[i].key, texts[i].text,
                                                 strnlen(texts[i].text, texts[i].size)};
    log_event(LOG_ERROR, fields, count,
              "%s is past its time limit and cannot be interrupted: the worker ends",
              *page->handler ? "a handler" : "what runs between two handlers");
}
