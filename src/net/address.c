// SPDX-License-Identifier: MIT
/* IPv4 is kept in its mapped form, so that both families compare and hash alike. */
#include "net/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

static const uint8_t mapped_prefix[12] = {[10] = 0xff, [11] = 0xff};

void address_from(struct address *a, const struct sockaddr *sa)
{
    *a = (struct address){0};
    if (sa->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const void *)sa;
        memcpy(a->bytes, mapped_prefix, sizeof mapped_prefix);
        memcpy(a->bytes + 12, &in->sin_addr, 4);
        a->port = ntohs(in->sin_port);
    } else if (sa->sa_family == AF_INET6) {
        const struct sockaddr_in6 *in = (const void *)sa;
        memcpy(a->bytes, &in->sin6_addr, 16);
        a->port = ntohs(in->sin6_port);
    } else {
        a->local = true;
    }
}

static bool is_mapped(const struct address *a)
{
    return memcmp(a->bytes, mapped_prefix, sizeof mapped_prefix) == 0;
}

void address_text(const struct address *a, char out[ADDRESS_TEXT])
{
    if (a->local)
        snprintf(out, ADDRESS_TEXT, "unix");
    else if (is_mapped(a))
        inet_ntop(AF_INET, a->bytes + 12, out, ADDRESS_TEXT);
    else
        inet_ntop(AF_INET6, a->bytes, out, ADDRESS_TEXT);
}

struct address address_site(const struct address *a)
{
    struct address site = *a;
    site.port = 0;
    if (!is_mapped(a))
        memset(site.bytes + 8, 0, 8);
    return site;
}

uint64_t address_hash(const struct hash_seed *seed, const struct address *a)
{
    return hash_bytes(seed, a->bytes, sizeof a->bytes);
}

bool address_same_host(const struct address *a, const struct address *b)
{
    return a->local == b->local && memcmp(a->bytes, b->bytes, sizeof a->bytes) == 0;
}
