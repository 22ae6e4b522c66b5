// SPDX-License-Identifier: MIT
/*
 * The timer's signal comes at any instruction, also inside LuaJIT. What the handler does there is
 * what LuaJIT itself allows in one: lua_sethook, and the handler of its own profiler. Both write a
 * few flags and a table of entry points; had they just been about to be written anew, the hook may
 * be lost. So it is set again with every tick, off and on, which writes everything whatever was
 * there.
 *
 * Compiled code looks at no hook. But with the profiler on, traces are compiled with a look, at
 * every new line and in every loop, at the flag that the profiler's handler sets; a trace that sees
 * it returns to the interpreter. LuaJIT's own timer is stopped at once, and its handler is called
 * from ours, when a run is past its limit and never before.
 */
#include "bind/core/lguard.h"

#include "base/log.h"
#include "base/quiet.h"
#include "base/seconds.h"
#include "bind/core/lcancel.h"
#include "bind/core/ltask.h"

#include <errno.h>
#include <lauxlib.h>
#include <luajit.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

/* Ticks in the time of a run; so much may an interruption come late. */
enum { TICKS = 10 };
/* Between ticks while a run is being ended. */
#define AGAIN_SECONDS 0.01
/* Between ticks while none is, at least. */
#define PACE_MIN_SECONDS 0.001
/* Past the limit: from then on the library is no longer spared; the process ends. */
#define INSIST_SECONDS 1.0
#define STUCK_SECONDS 2.0
/* A second breach of the heap's limit within so many seconds is one too many. */
#define BREACH_AGAIN_SECONDS 60.0
/* Its address is the key in the registry. */
static char key;
/* The one of this process, for the master's signal. */
static struct lguard *watched;

static void set_timer(struct lguard *g, double seconds)
{
    struct timespec t = seconds_to(seconds);
    struct itimerspec both = {.it_interval = t, .it_value = t};
    timer_settime(g->timer, 0, &both, NULL);
}

/* The time between two ticks. */
static double pace(const struct lguard *g)
{
    double seconds = g->config.seconds / TICKS;
    return seconds < PACE_MIN_SECONDS ? PACE_MIN_SECONDS : seconds;
}

static bool loading(const struct lguard *g)
{
    return g->inside && g->vm->running && g->vm->running->loads;
}

static double limit_of(const struct lguard *g)
{
    return loading(g) || g->pulse->slow ? g->config.seconds * PULSE_SLOW : g->config.seconds;
}

/* Processor time of this thread, in seconds. */
static double processor_time(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return seconds_from(&now);
}

/* --- The heap --------------------------------------------------------------------------------- */

/* A collection takes time that is not the run's. */
static void collect(struct lguard *g, lua_State *L)
{
    struct pulse *pulse = g->pulse;
    bool slow = pulse->slow;
    double before = processor_time();
    pulse->slow = true;
    lheap_collect(&g->heap, L);
    double took = processor_time() - before;
    g->since += took;
    pulse->excused += took;
    pulse->slow = slow;
}

static void on_collect(struct loop_job *job)
{
    struct lguard *g = LIST_ITEM(job, struct lguard, collect);
    collect(g, g->vm->L);
    if (g->again && g->config.on_breach)
        g->config.on_breach(g->vm);
    g->again = false;
}

/* In the allocator: see lheap.h. */
static bool may_grow(struct lheap *h, bool large)
{
    struct lguard *g = LIST_ITEM(h, struct lguard, heap);
    if (!g->inside) {
        loop_defer(g->vm->loop, LOOP_FREE, &g->collect);
    } else if (!h->collecting) {
        if (large)
            return false;
        lguard_arm(g, LGUARD_MEMORY);
    }
    return true;
}

/* A handler was ended for its use of memory. */
static void breached(struct lguard *g)
{
    double before = g->breached;
    g->breached = loop_now(g->vm->loop);
    loop_defer(g->vm->loop, LOOP_FREE, &g->collect);
    if (before > 0 && g->breached - before < BREACH_AGAIN_SECONDS)
        g->again = true;
}

/* For the hook: collects. True when too much is left even so. */
static bool exceeded(struct lguard *g, lua_State *L)
{
    collect(g, L);
    return lheap_is_full(&g->heap);
}

/* --- Raising ---------------------------------------------------------------------------------- */

static struct lguard *guard_of(lua_State *L)
{
    lua_pushlightuserdata(L, &key);
    lua_rawget(L, LUA_REGISTRYINDEX);
    struct lguard *g = lua_touserdata(L, -1);
    lua_pop(L, 1);
    return g;
}

/*
 * The library is not torn out of what it is about to write down: its functions go on until they
 * return to the app's code or call it.
 */
static bool spared(const struct lguard *g, lua_State *L, lua_Debug *ar)
{
    lua_getinfo(L, "S", ar);
    return !g->insist && strncmp(ar->source, g->spare, strlen(g->spare)) == 0;
}

static void push_text(struct lguard *g, lua_State *L)
{
    luaL_where(L, 0);
    if (g->why & LGUARD_MEMORY)
        lua_pushfstring(L, "not enough memory: the Lua heap has reached its limit of %d MiB",
                        (int)(g->heap.limit >> 20));
    else if (loading(g))
        lua_pushfstring(L, "the app exceeded its time limit of %f s for loading", limit_of(g));
    else
        lua_pushfstring(L, "handler exceeded its time limit of %f s", limit_of(g));
    lua_concat(L, 2);
}

static void stop_hook(struct lguard *g)
{
    g->armed = false;
    lua_sethook(g->vm->L, g->app_hook, g->app_mask, g->app_count);
    if (g->config.seconds > 0)
        set_timer(g, pace(g));
}

/* Raises what a cancelled wait raises, once it is back where that was. */
static void raise_cancelled(struct lguard *g, lua_State *L)
{
    struct ltask *t = g->vm->running;
    if (!t || t->raise_in != L)
        return;
    g->why &= ~LGUARD_CANCEL;
    if (!g->why)
        stop_hook(g);
    lcancel_inject(L, t);
}

/* The hook: called at each instruction of the interpreter. */
static void on_hook(lua_State *L, lua_Debug *ar)
{
    struct lguard *g = guard_of(L);
    if (!g->armed || !g->inside)
        return;
    if (g->why & LGUARD_CANCEL)
        raise_cancelled(g, L);
    if (g->why == LGUARD_CANCEL || spared(g, L, ar))
        return;
    if ((g->why & LGUARD_MEMORY) && !g->raised && !exceeded(g, L))
        g->why &= ~LGUARD_MEMORY;
    if (!g->why) {
        stop_hook(g);
        return;
    }
    push_text(g, L);
    if (!g->raised)
        snprintf(g->text, sizeof g->text, "%s", lua_tostring(L, -1));
    g->raised |= g->why;
    lua_error(L);
}

void lguard_arm(struct lguard *g, enum lguard_why why)
{
    lua_State *L = g->vm->L;
    g->why |= (int)why;
    if (!g->armed) {
        g->app_hook = lua_gethook(L);
        g->app_mask = lua_gethookmask(L);
        g->app_count = lua_gethookcount(L);
        g->armed = true;
        if (g->config.seconds > 0)
            set_timer(g, AGAIN_SECONDS);
    }
    lua_sethook(L, NULL, 0, 0);
    lua_sethook(L, on_hook, LUA_MASKCOUNT, 1);
    if (g->pull)
        g->pull(SIGPROF);
}

bool lguard_end(struct lguard *g)
{
    bool raised = g->raised != 0;
    if (g->raised & LGUARD_MEMORY)
        breached(g);
    g->why = 0;
    g->insist = false;
    stop_hook(g);
    return raised;
}

/* How the run ended, when the guard has a word in it. */
static int settled(const struct lguard *g, struct ltask *t, int status)
{
    if (status == LUA_YIELD) {
        t->overdue =
            (uint8_t)g->raised; /* it waits instead of leaving: its next run ends at once */
        return status;
    }
    lua_State *L = g->vm->L;
    if (status == 0 && (g->failed_inside || !t->conn))
        return 0; /* it has been told and logged, by the run inside or by neap.task */
    if (status != 0 && lua_type(L, -1) == LUA_TSTRING && strstr(lua_tostring(L, -1), " limit of "))
        return LUA_ERRRUN;
    if (status != 0)
        lua_pop(L, 1);
    lua_pushstring(L, g->text);
    return LUA_ERRRUN;
}

int lguard_settle(struct lguard *g, struct ltask *t, int status)
{
    if (g->raised)
        status = settled(g, t, status);
    else if (status == LUA_ERRMEM && g->heap.limit) {
        breached(g);
        lua_pop(g->vm->L, 1);
        lua_pushfstring(g->vm->L,
                        "not enough memory: a value would have taken the Lua heap far "
                        "beyond its limit of %d MiB",
                        (int)(g->heap.limit >> 20));
    }
    lguard_forget(g);
    return status;
}

void lguard_forget(struct lguard *g)
{
    g->raised = 0;
    g->failed_inside = false;
}

/* --- Judging ---------------------------------------------------------------------------------- */

/*
 * Where in the app it is. The stack is read in a signal handler; should that fail, the process ends
 * as it was to end, and the rest has been told before.
 */
static void find_line(lua_State *co, char out[LGUARD_WHERE])
{
    lua_Debug ar;
    for (int level = 0; level < 50 && lua_getstack(co, level, &ar); level++) {
        if (lua_getinfo(co, "Sl", &ar) && ar.currentline > 0) {
            snprintf(out, LGUARD_WHERE, "%s:%d", ar.short_src, ar.currentline);
            return;
        }
    }
}

static void stuck(struct lguard *g)
{
    struct lguard_stuck report = {.handler = "", .loading = loading(g)};
    struct ltask *t = g->inside ? g->vm->running : NULL;
    struct lvm *vm = g->vm;
    if (t) {
        report.handler = t->name;
        if (t->conn)
            vm->conn_id(t->conn, report.connection);
        g->config.on_stuck(vm, &report, false);
        find_line(t->co, report.where);
    }
    g->config.on_stuck(vm, &report, true);
}

static void judge(struct lguard *g, double took)
{
    double limit = limit_of(g);
    if (took >= limit + STUCK_SECONDS && g->config.on_stuck)
        stuck(g);
    if (!g->inside || took < limit)
        return;
    g->insist = took >= limit + INSIST_SECONDS;
    lguard_arm(g, LGUARD_TIME);
}

/* A tick that finds what the one before has seen judges it; else it begins to count. */
static void on_tick(int number, siginfo_t *info, void *context)
{
    (void)number, (void)context;
    if (info->si_code != SI_TIMER)
        return;
    struct lguard *g = info->si_value.sival_ptr;
    int error = errno;
    double now = processor_time();
    unsigned long seen = g->pulse->beats;
    if (seen == g->seen) {
        judge(g, now - g->since);
    } else {
        g->seen = seen;
        g->since = now;
    }
    errno = error;
}

/*
 * The master has found the worker stuck (master/heartbeat.h). Anybody else's signal, as the
 * kernel's at the limit that ulimit -t sets, ends the process as it always does.
 */
static void on_told(int number, siginfo_t *info, void *context)
{
    (void)context;
    if (info->si_code == SI_USER && info->si_pid == getppid() && watched->config.on_stuck)
        stuck(watched);
    signal(number, SIG_DFL);
    raise(number);
}

/* --- Starting --------------------------------------------------------------------------------- */

/* Our own sample: nothing. */
static void on_profile(void *arg, lua_State *L, int samples, int state)
{
    (void)arg, (void)L, (void)samples, (void)state;
}

/* Has traces compiled with looks at the flag; takes the handler that sets it, stops the timer. */
static void take_profiler(struct lguard *g)
{
    static const struct itimerval never;
    struct sigaction theirs;
    luaJIT_profile_start(g->vm->L, "li1000", on_profile, NULL);
    setitimer(ITIMER_PROF, &never, NULL);
    sigaction(SIGPROF, NULL, &theirs);
    g->pull = theirs.sa_handler;
}

static void die(const char *what)
{
    log_error("cannot watch the time of handlers: %s: %s", what, strerror(errno));
    log_close(LOG_CLOSE_SECONDS);
    exit(1);
}

static void start_timer(struct lguard *g)
{
    struct sigaction ours = {.sa_sigaction = on_tick, .sa_flags = SA_RESTART | SA_SIGINFO};
    struct sigevent event = {
        .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGPROF, .sigev_value.sival_ptr = g};
    event._sigev_un._tid = (pid_t)syscall(SYS_gettid);
    sigemptyset(&ours.sa_mask);
    if (sigaction(SIGPROF, &ours, NULL) < 0)
        die("sigaction");
    if (timer_create(CLOCK_THREAD_CPUTIME_ID, &event, &g->timer) < 0)
        die("timer_create");
    set_timer(g, pace(g));
    watched = g;
    struct sigaction stuck = {.sa_sigaction = on_told, .sa_flags = SA_SIGINFO};
    sigaction(SIGXCPU, &stuck, NULL);
}

void lguard_start(struct lvm *vm, const struct lguard_config *config)
{
    struct lguard *g = lguard_of(vm);
    bool timed = config->seconds > 0;
    g->config = *config;
    if (timed || config->bytes)
        take_profiler(g);
    if (config->bytes)
        lheap_start(&g->heap, vm->L, config->bytes, may_grow);
    if (timed)
        start_timer(g);
    else if (config->bytes)
        quiet_signal(SIGPROF);
}

/* raising() → true while an error of the guard is on its way: no time for message handlers */
static int core_raising(lua_State *L)
{
    const struct lguard *g = lguard_of(lvm_of(L));
    lua_pushboolean(L, g->inside && g->raised);
    return 1;
}

/* guarded() → true when it uses LuaJIT's profiler */
static int core_guarded(lua_State *L)
{
    lua_pushboolean(L, lguard_of(lvm_of(L))->pull != NULL);
    return 1;
}

static const struct luaL_Reg functions[] = {
    {"raising", core_raising}, {"guarded", core_guarded}, {NULL, NULL}};

static void module_open(struct lvm *vm, lua_State *L)
{
    struct lguard *g = lguard_of(vm);
    g->vm = vm;
    g->pulse = vm->loop->pulse;
    snprintf(g->spare, sizeof g->spare, "@%s/neap/", vm->library);
    loop_job_init(&g->collect, on_collect);
    lvm_register(vm, L, functions);
    lua_pushlightuserdata(L, &key);
    lua_pushlightuserdata(L, g);
    lua_rawset(L, LUA_REGISTRYINDEX);
}

/* Ends watching, before the state is closed. */
static void module_stop(struct lvm *vm)
{
    struct lguard *g = lguard_of(vm);
    if (g->config.seconds > 0)
        timer_delete(g->timer);
    if (g->pull)
        luaJIT_profile_stop(vm->L);
    if (g->pull)
        quiet_signal(SIGPROF);
    signal(SIGXCPU, SIG_DFL);
    loop_undefer(&g->collect);
    lheap_stop(&g->heap, vm->L);
}

const struct lmodule *lguard_module(void)
{
    static const struct lmodule module = {.name = "guard",
                                          .slot = LGUARD_SLOT,
                                          .size = sizeof(struct lguard),
                                          .open = module_open,
                                          .stop = module_stop};
    return &module;
}
