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

void address_text(const struct address *a, char out[ADDRESS_TEXT])
{
    if (a->local)
        snprintf(out, ADDRESS_TEXT, "unix");
    else if (memcmp(a->bytes, mapped_prefix, sizeof mapped_prefix) == 0)
        inet_ntop(AF_INET, a->bytes + 12, out, ADDRESS_TEXT);
    else
        inet_ntop(AF_INET6, a->bytes, out, ADDRESS_TEXT);
}

uint64_t address_hash(const struct address *a)
{
    uint64_t half[2];
    memcpy(half, a->bytes, sizeof half);
    uint64_t h = (half[0] ^ (half[1] * 0x9e3779b97f4a7c15u)) * 0xff51afd7ed558ccdu;
    return h ^ (h >> 32);
}

bool address_same_host(const struct address *a, const struct address *b)
{
    return a->local == b->local && memcmp(a->bytes, b->bytes, sizeof a->bytes) == 0;
}
