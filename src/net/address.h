// SPDX-License-Identifier: MIT
/*
 * The address of a peer in twenty bytes: kept for each connection, for logs, limits and requests.
 */
#ifndef NEAP_NET_ADDRESS_H
#define NEAP_NET_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/hash.h"

struct sockaddr;

enum { ADDRESS_TEXT = 46 };

struct address {
    /* IPv4 as an IPv4-mapped IPv6 address (RFC 4291 §2.5.5.2); zero for Unix sockets */
    uint8_t bytes[16];
    uint16_t port; /* host byte order */
    bool local;    /* a Unix socket */
};

/* Reads a socket address of any family. */
void address_from(struct address *a, const struct sockaddr *sa);

/* The address without port as text ("192.0.2.1", "2001:db8::1", "unix"). */
void address_text(const struct address *a, char out[ADDRESS_TEXT]);

/*
 * What limits count as one client: an IPv4 address; of an IPv6 one its /64, since whoever has one
 * of these addresses has all of them (RFC 6177 §2); all Unix sockets. Without a port.
 */
struct address address_site(const struct address *a);

/* A hash and comparison of the address without its port. Clients choose theirs: the seed is secret.
 */
uint64_t address_hash(const struct hash_seed *seed, const struct address *a);
bool address_same_host(const struct address *a, const struct address *b);

#endif
