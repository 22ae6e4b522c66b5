// SPDX-License-Identifier: MIT
/*
 * The log: one line an event on stderr, as text or JSON. It is the one process-wide object of the
 * program. Writing never blocks: what the system does not take waits in memory (1 MiB), past that
 * lines are dropped and their number is told once there is room again. A line has at most 8 KiB.
 * Control characters (C0, C1, DEL), bidirectional controls and bytes that are not UTF-8 are escaped
 * (escape.h), so that nothing a client sends can forge a line or drive a terminal.
 *
 *      2026-11-22T03:00:00.123Z info  listening ws://127.0.0.1:9090 worker=0
 *      {"time":"2026-11-22T03:00:00.123Z","level":"info","message":"listening …","worker":0}
 *
 * No full disk, blocked or broken pipe, closed terminal or deleted file disturbs the program: such
 * a log loses lines, and nothing else happens. A forked child goes on with the same log; what
 * waited in memory is written by the parent alone. One thread only.
 */
#ifndef NEAP_BASE_LOG_H
#define NEAP_BASE_LOG_H

#include <stdbool.h>
#include <stddef.h>

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

/* A field of an event: `key=value`. The key is ours; the value may come from anywhere and is
 * escaped. */
struct log_field {
    const char *key;
    const char *value; /* NULL: the field is left out */
    size_t len;        /* 0: value is NUL-terminated */
};

/*
 * Starts the log on what descriptor 2 is now. Called before anything is logged; the level filters,
 * `json` selects the form. Quiets SIGPIPE and SIGXFSZ for the process, so that a reader that went
 * away or a file at its limit is an error of write alone. Opens /dev/null as descriptor 2 when that
 * is closed, lest a client's socket get its number and somebody's complaint.
 */
void log_open(enum log_level level, bool json);

/* Adds `worker=N` to every line of this process from now on; -1 (the master) adds nothing. */
void log_set_worker(int worker);

/* True when events of this level are written: to spare the work of making them. */
bool log_enabled(enum log_level level);

/*
 * Logs one event. The message is formatted as printf does; it is escaped as a whole. `fields` may
 * be NULL. What does not fit the line is cut and marked with "…".
 */
void log_event(enum log_level level, const struct log_field *fields, size_t field_count,
               const char *format, ...) __attribute__((format(printf, 4, 5)));

#define log_debug(...) log_event(LOG_DEBUG, NULL, 0, __VA_ARGS__)
#define log_info(...) log_event(LOG_INFO, NULL, 0, __VA_ARGS__)
#define log_warn(...) log_event(LOG_WARN, NULL, 0, __VA_ARGS__)
#define log_error(...) log_event(LOG_ERROR, NULL, 0, __VA_ARGS__)

/* As log_event with the message and its length (may hold NULs). For apps' own lines. */
void log_bytes(enum log_level level, const struct log_field *fields, size_t field_count,
               const char *message, size_t len);

/* Parses "debug", "info", "warn", "error". Returns false for anything else. */
bool log_parse_level(const char *s, enum log_level *level);

/*
 * Tries to write what waits; returns true when something still does. The loop calls it now and then
 * while so (a few times a second; what to watch for differs with what stderr is). Costs nothing
 * when nothing waits.
 */
bool log_flush(void);

/*
 * Has `fn` called when lines begin to wait, from within the call that logs: it starts a timer that
 * calls log_flush until that returns false. NULL: nobody is told, which is also how a forked child
 * begins.
 */
void log_on_wait(void (*fn)(void *arg), void *arg);

/* What an ending process gives its log. */
#define LOG_CLOSE_SECONDS 1.0

/* Waits at most `seconds` for what is pending to be written; before the process ends. */
void log_close(double seconds);

#endif
