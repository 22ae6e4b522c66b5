// SPDX-License-Identifier: MIT
/*
 * Memory in two tiers. What is small, fixed in size or needed at start-up comes from `mem_alloc`
 * and dies with a message when the system has none left: there is nothing sensible to do then.
 * What the peer's bytes size comes from `mem_try…`, which fails; the caller must answer that,
 * usually by closing the connection with 1009 or 1011. Limits are checked before either is called.
 */
#ifndef NEAP_BASE_MEM_H
#define NEAP_BASE_MEM_H

#include <stddef.h>

/* Zeroed memory of `size` bytes; never NULL: prints a line on stderr and aborts instead. */
void *mem_alloc(size_t size);

/* A copy of the string, or abort, as mem_alloc. */
char *mem_strdup(const char *s);

/* Memory of `size` bytes, contents undefined, or NULL. */
void *mem_try(size_t size) __attribute__((warn_unused_result, malloc));

/* As realloc: NULL leaves `p` as it was. */
void *mem_try_resize(void *p, size_t size) __attribute__((warn_unused_result));

/* Frees what any of the above returned; NULL is allowed. */
void mem_free(void *p);

/*
 * Gives memory that is free back to the system, which the allocator does by itself only at the end
 * of its heap. Takes some milliseconds for each 100 MB: for after a storm.
 */
void mem_trim(void);

/*
 * From now on memory of large blocks (up to 32 MiB each, some 128 MiB in all) stays with the
 * process when it is freed: whoever uses such for a moment, again and again, need not have the
 * kernel clear every page of it again. mem_trim gives it back.
 */
void mem_keep_large(void);

#endif
