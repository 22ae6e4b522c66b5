// SPDX-License-Identifier: MIT
/*
 * A private folder in memory for files that the processes of one server share: made before the
 * workers are, removed with all that is in it when the server has ended. It lies in /dev/shm, or
 * where TMPDIR says when there is no such place:
 *
 *      /dev/shm/neap-1000-Xy3kQp/     mode 0700; the user's number, six random characters
 *          owner                      locked (flock) while any process of that server lives
 *          ...                        whatever the workers put there
 *
 * A server that was killed leaves its folder behind. Whoever makes one next removes the folders of
 * the same user whose `owner` nobody has locked.
 */
#ifndef NEAP_LINE_SCRATCH_H
#define NEAP_LINE_SCRATCH_H

struct scratch;

/* Makes the folder, removes what is left of the dead. NULL when there is no place; see errno. */
struct scratch *scratch_open(void);

const char *scratch_path(const struct scratch *s);

/* Removes the folder and what is in it; NULL is allowed. */
void scratch_close(struct scratch *s);

/* The descriptor of the lock. Who has a copy of it keeps the folder, whoever else has ended. */
int scratch_lock(const struct scratch *s);

#endif
