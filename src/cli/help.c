// SPDX-License-Identifier: MIT
/* The help pages: kept short enough to be read; docs/ has the rest. */
#include "cli/help.h"

#include <stdio.h>
#include <string.h>

struct page {
    const char *command;
    const char *summary;
    const char *text;
};

static const char run_text[] =
    "usage: neap run APP [options] [-- ARGUMENTS]\n"
    "\n"
    "Runs an app: a .lua file, or a folder with init.lua. An app that opens no listener is a\n"
    "script: it runs to its end. What follows \"--\" reaches the app as arg.\n"
    "\n"
    "  --workers N|auto     worker processes (default 1; auto: one for each processor)\n"
    "  --drain SECONDS      time for connections to end when the server is stopped (default 10)\n"
    "  --handler-timeout SECONDS\n"
    "                       processor time that a handler may take at a time (default 1; 0: any)\n"
    "  --memory-limit BYTES size of a worker's Lua heap (default 1G; 0: any)\n"
    "  --log-level LEVEL    debug, info (default), warn, error\n"
    "  --log-format FORMAT  text (default), json\n"
    "  --pid-file PATH      writes the master's process id there\n"
    "  --control PATH       control socket (default: in a folder of the user's, see\n"
    "                       docs/operations.md)\n"
    "\n"
    "SIGTERM and SIGINT stop it: no new connections, every client is told 1001. A second signal\n"
    "ends it at once.\n";

static const char check_text[] =
    "usage: neap check APP [-- ARGUMENTS]\n"
    "\n"
    "Loads the app without opening a port and prints every mistake it finds as\n"
    "\"file:line: message\": syntax errors, misspelt callbacks, wrong config keys and values.\n"
    "The app's top level runs, with all that it does. When it raises, runs out of memory or\n"
    "calls os.exit, that is told as well, after what was found before.\n"
    "Exit status 1 when there are any.\n";

static const char status_text[] =
    "usage: neap status [--control PATH]\n"
    "\n"
    "Prints the state of a running server: its listeners and its workers. Without --control it\n"
    "is the only running server of this user; when there are several, they are listed.\n";

static const char stop_text[] =
    "usage: neap stop [--control PATH]\n"
    "\n"
    "Stops a running server as SIGTERM does: no new connections, every client is told 1001,\n"
    "exit when all are gone.\n";

static const char reload_text[] =
    "usage: neap reload [--control PATH]\n"
    "\n"
    "Asks a running server to load its app anew. Servers of this version refuse and say so;\n"
    "restart them instead.\n";

static const char help_text[] = "usage: neap help [COMMAND]\n";

static const struct page pages[] = {
    {"run", "run an app", run_text},
    {"check", "look for mistakes in an app without serving it", check_text},
    {"status", "show the state of a running server", status_text},
    {"stop", "stop a running server", stop_text},
    {"reload", "ask a running server to load its app anew", reload_text},
    {"help", "show this, or the page of a command", help_text},
};

enum { PAGES = sizeof pages / sizeof *pages };

static void overview(void)
{
    printf("Neap is a WebSocket application server whose applications are Lua.\n"
           "\n"
           "usage: neap COMMAND …\n"
           "\n");
    for (int i = 0; i < PAGES; i++)
        printf("  %-8s %s\n", pages[i].command, pages[i].summary);
    printf("\n"
           "  neap --version, neap --help\n"
           "\n"
           "Start with: neap run apps/echo\n");
}

int help_command(const char *command)
{
    if (!command) {
        overview();
        return 0;
    }
    for (int i = 0; i < PAGES; i++) {
        if (strcmp(pages[i].command, command) == 0) {
            fputs(pages[i].text, stdout);
            return 0;
        }
    }
    fprintf(stderr, "neap: no command \"%s\"; `neap help` lists the commands\n", command);
    return 2;
}
