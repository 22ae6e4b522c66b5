// SPDX-License-Identifier: MIT
/* Splitting by hand, numbers strictly, and the rest by getaddrinfo. */
#include "master/bindaddr.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

enum { UNIX_PREFIX = 5 }; /* "unix:" */

const char *bindaddr_why(int error)
{
    static char words[128];
    snprintf(words, sizeof words, "%s", strerror(error));
    words[0] = (char)tolower((unsigned char)words[0]);
    return words;
}

static const char *parse_unix(struct bindaddr *a, const char *path)
{
    struct sockaddr_un *un = (struct sockaddr_un *)(void *)&a->sa;
    if (!*path)
        return "the path is missing";
    if (strlen(path) >= sizeof un->sun_path)
        return "the path of a Unix socket has at most 107 bytes";
    un->sun_family = AF_UNIX;
    snprintf(un->sun_path, sizeof un->sun_path, "%s", path);
    snprintf(a->host, sizeof a->host, "%s", path);
    a->len = sizeof *un;
    a->local = true;
    return NULL;
}

/* A decimal number from 0 to 65535 and nothing else, or -1. */
static int parse_port(const char *s)
{
    int port = 0;
    if (!*s || strlen(s) > 5)
        return -1;
    for (; *s; s++) {
        if (*s < '0' || *s > '9')
            return -1;
        port = port * 10 + (*s - '0');
    }
    return port <= 65535 ? port : -1;
}

/* Copies the host to a->host, and without its brackets to `bare`. Returns as bindaddr_parse. */
static const char *split(struct bindaddr *a, const char *text, char *bare, size_t size)
{
    const char *colon = strrchr(text, ':');
    if (!colon)
        return "the port is missing (HOST:PORT)";
    a->port = parse_port(colon + 1);
    if (a->port < 0)
        return "the port must be a number from 0 to 65535";
    size_t len = (size_t)(colon - text);
    if (len == 0 || len >= sizeof a->host || len >= size)
        return len ? "the host name is too long" : "the host is missing (HOST:PORT)";
    memcpy(a->host, text, len);
    a->host[len] = '\0';
    bool bracketed = text[0] == '[' && text[len - 1] == ']';
    if (!bracketed && memchr(text, ':', len))
        return "an IPv6 address stands in brackets ([::1]:9090)";
    memcpy(bare, text + bracketed, len - 2 * bracketed);
    bare[len - 2 * bracketed] = '\0';
    return NULL;
}

static const struct addrinfo *choose(const struct addrinfo *all)
{
    for (const struct addrinfo *i = all; i; i = i->ai_next)
        if (i->ai_family == AF_INET)
            return i;
    return all;
}

static const char *resolve(struct bindaddr *a, const char *host)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    struct addrinfo *all = NULL;
    if (a->host[0] == '[') {
        hints.ai_family = AF_INET6;
        hints.ai_flags |= AI_NUMERICHOST;
    }
    int error = getaddrinfo(host, NULL, &hints, &all);
    if (error && a->host[0] == '[')
        return "the brackets hold no IPv6 address";
    if (error == EAI_NONAME)
        return "no such host";
    if (error)
        return gai_strerror(error);
    const struct addrinfo *chosen = choose(all);
    memcpy(&a->sa, chosen->ai_addr, chosen->ai_addrlen);
    a->len = chosen->ai_addrlen;
    bindaddr_set_port(a, a->port);
    freeaddrinfo(all);
    return NULL;
}

const char *bindaddr_parse(struct bindaddr *a, const char *text)
{
    char bare[sizeof a->host];
    *a = (struct bindaddr){0};
    if (strncmp(text, "unix:", UNIX_PREFIX) == 0)
        return parse_unix(a, text + UNIX_PREFIX);
    const char *why = split(a, text, bare, sizeof bare);
    return why ? why : resolve(a, bare);
}

int bindaddr_port(const struct sockaddr_storage *sa)
{
    if (sa->ss_family == AF_INET6)
        return ntohs(((const struct sockaddr_in6 *)(const void *)sa)->sin6_port);
    return ntohs(((const struct sockaddr_in *)(const void *)sa)->sin_port);
}

void bindaddr_set_port(struct bindaddr *a, int port)
{
    a->port = port;
    if (a->sa.ss_family == AF_INET6)
        ((struct sockaddr_in6 *)(void *)&a->sa)->sin6_port = htons((uint16_t)port);
    else
        ((struct sockaddr_in *)(void *)&a->sa)->sin_port = htons((uint16_t)port);
}
