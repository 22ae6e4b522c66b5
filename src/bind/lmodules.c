// SPDX-License-Identifier: MIT
/*
 * The list of modules, from the bottom up: what each rests on comes before it. This is the order in
 * which they are opened and stopped; they are closed from its end (bind/core/lmodule.h).
 */
#include "bind/lmodules.h"

#include "bind/core/lcancel.h"
#include "bind/core/lerror.h"
#include "bind/core/lfinal.h"
#include "bind/core/lguard.h"
#include "bind/core/lload.h"
#include "bind/core/llog.h"
#include "bind/core/lstack.h"
#include "bind/core/ltask.h"
#include "bind/core/ltell.h"
#include "bind/core/ltext.h"
#include "bind/core/ltimer.h"
#include "bind/data/ljson.h"
#include "bind/data/lshared.h"
#include "bind/http/llistener.h"
#include "bind/http/lrequest.h"
#include "bind/http/lserver.h"
#include "bind/ws/lcaller_methods.h"
#include "bind/ws/lconn.h"
#include "bind/ws/lgroup.h"
#include "bind/ws/lhandler.h"
#include "bind/ws/lmessage.h"
#include "bind/ws/lservice.h"
#include "bind/ws/lstream.h"

#include <stddef.h>

/* Functions, because each struct is private to its file. */
static const struct lmodule *(*const modules[])(void) = {
    ltask_module,    lcancel_module,  lguard_module,          lerror_module,   ltell_module,
    lfinal_module,   lstack_module,   ltimer_module,          lload_module,    llog_module,
    ltext_module,    ljson_module,    lshared_module,         lserver_module,  llistener_module,
    lrequest_module, lservice_module, lcaller_methods_module, lmessage_module, lgroup_module,
    lstream_module,  lhandler_module, lconn_module,
};

enum { COUNT = sizeof modules / sizeof *modules };

const struct lmodule *const *lmodules(void)
{
    static const struct lmodule *list[COUNT + 1];
    for (int i = 0; i < COUNT; i++)
        list[i] = modules[i]();
    return list;
}
