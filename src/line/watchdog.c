// SPDX-License-Identifier: MIT
/*
 * The page is written by a process that runs other people's code and has just gone wrong: its texts
 * are copied with a bound before they are logged.
 */
#include "line/watchdog.h"

#include "base/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

struct watchdog *watchdog_new(void)
{
    struct watchdog *page =
        mmap(NULL, sizeof *page, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) {
        fprintf(stderr, "neap: out of memory\n");
        exit(1);
    }
    return page;
}

void watchdog_free(struct watchdog *page)
{
    munmap(page, sizeof *page);
}

void watchdog_clear(struct watchdog *page)
{
    memset(page, 0, sizeof *page);
    page->pulse.slow = true; /* it loads the app */
}

void watchdog_log(const struct watchdog *page, int worker)
{
    char number[16];
    struct log_field fields[4];
    size_t count = 0;
    if (!page->told)
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
