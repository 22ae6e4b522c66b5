// SPDX-License-Identifier: MIT
/* TLS as apps see it: the secureSocket settings of a listener, the certificates of clients. */
#ifndef NEAP_BIND_HTTP_LTLS_H
#define NEAP_BIND_HTTP_LTLS_H

#include "bind/core/lvm.h"
#include "net/tls.h"

/*
 * A context of the settings at `table`, which lua/neap/config/secure.lua has completed; the caller
 * owns the reference. Reads all files. NULL with `error` filled. May raise (no memory).
 */
struct tls_context *ltls_context(struct lvm *vm, lua_State *L, int table,
                                 char error[TLS_ERROR_SIZE]);

/* Pushes what request.clientCertificate is: a table, or nil for NULL. May raise (no memory). */
void ltls_push_certificate(lua_State *L, const struct tls_cert *cert);

#endif
