// SPDX-License-Identifier: MIT
/* Two-tier allocation over the C library: see mem.h for the rule that decides between them. */
#include "base/mem.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void die(size_t size)
{
    fprintf(stderr, "neap: out of memory (%zu bytes)\n", size);
    abort();
}

void *mem_alloc(size_t size)
{
    void *p = calloc(1, size);
    if (!p)
        die(size);
    return p;
}

char *mem_strdup(const char *s)
{
    size_t size = strlen(s) + 1;
    return memcpy(mem_alloc(size), s, size);
}

void *mem_try(size_t size)
{
    return malloc(size);
}

void *mem_try_resize(void *p, size_t size)
{
    return realloc(p, size);
}

void mem_free(void *p)
{
    free(p);
}

/*
 * By itself the C library learns the sizes from what is freed, and gives back what is at the end of
 * its heap as soon as that is twice as much: two blocks of one size.
 */
void mem_keep_large(void)
{
    mallopt(M_MMAP_THRESHOLD, 32 << 20); /* the most it takes */
    mallopt(M_TRIM_THRESHOLD, 128 << 20);
}

void mem_trim(void)
{
    malloc_trim(0);
}
