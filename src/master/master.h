// SPDX-License-Identifier: MIT
/*
 * The master: a small process without Lua that binds sockets, starts workers and starts them again,
 * passes signals on, and ends when they have ended. A worker is a fork that runs the program again
 * (birth.h).
 *
 *      SIGTERM, SIGINT,   stop: every worker drains; past the time it is killed; exit status 0.
 *      SIGQUIT            One more kills every worker at once, with exit status 1; signals.h tells
 *                         what is one more
 *      SIGHUP             every worker reads its certificates again
 *      SIGUSR1, SIGUSR2   nothing yet
 *      SIGKILL            each worker sees end of file on its line, drains and exits
 *
 * In a worker these do nothing, because a terminal sends them to the whole group and the master
 * decides; a worker listens to SIGTERM itself. All other signals have their default, but for those
 * that would end a process for a write that fails (log.h). None is ignored or blocked, which what
 * an app starts would inherit.
 */
#ifndef NEAP_MASTER_MASTER_H
#define NEAP_MASTER_MASTER_H

struct master_config {
    int workers;              /* 1 and up */
    double drain;             /* seconds for draining at SIGTERM/SIGINT; default 10 */
    double handler_timeout;   /* seconds of processor time; 0: stuck workers are not looked for */
    const char *pid_file;     /* or NULL */
    const char *control_path; /* or NULL: the default place, see control.h */
    const char *version;      /* of the program, which its workers must have, too; or NULL */
    double ticket_period;     /* seconds that a key encrypts session tickets; 0: 12 hours */
    /*
     * In the fork for worker `number`, with its end of the line and all signals blocked: becomes
     * the worker, by birth_exec, or, in tests, by being one and calling exit. Returns when it
     * cannot, with errno.
     */
    void (*become)(int line, int number, void *arg);
    void *arg;
};

/*
 * Runs until all is over; returns the exit status of the program: 0, 1, or a script's own. The
 * caller has opened the log, and closes it.
 */
int master_run(const struct master_config *config);

#endif
