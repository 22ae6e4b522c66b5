// SPDX-License-Identifier: MIT
/* Addresses of peers: as text, what counts as one client, hashes; and a listener that counts. */
#include "net/address.h"
#include "server/listener.h"
#include "support.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/un.h>

static struct address address(const char *text)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(1234)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(1234)};
    struct sockaddr_un local = {.sun_family = AF_UNIX};
    struct address a;
    if (inet_pton(AF_INET, text, &v4.sin_addr) == 1)
        address_from(&a, (const struct sockaddr *)&v4);
    else if (inet_pton(AF_INET6, text, &v6.sin6_addr) == 1)
        address_from(&a, (const struct sockaddr *)&v6);
    else
        address_from(&a, (const struct sockaddr *)&local);
    return a;
}

static void as_text(void)
{
    static const char *const pairs[][2] = {
        {"192.0.2.1", "192.0.2.1"},
        {"::ffff:192.0.2.1", "192.0.2.1"},
        {"2001:db8::1", "2001:db8::1"},
        {"unix", "unix"},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        char text[ADDRESS_TEXT];
        struct address a = address(pairs[i][0]);
        address_text(&a, text);
        CHECK_TEXT(text, pairs[i][1]);
        CHECK_INT(a.port, a.local ? 0 : 1234);
    }
}

static bool one_site(const char *one, const char *other)
{
    struct address a = address(one), b = address(other);
    a = address_site(&a);
    b = address_site(&b);
    CHECK(a.port == 0 && b.port == 0);
    return address_same_host(&a, &b);
}

static void sites(void)
{
    CHECK(one_site("192.0.2.1", "192.0.2.1"));
    CHECK(one_site("192.0.2.1", "::ffff:192.0.2.1"));
    CHECK(!one_site("192.0.2.1", "192.0.2.2"));
    CHECK(!one_site("::ffff:192.0.2.1", "::ffff:192.0.2.2"));
    CHECK(one_site("2001:db8:0:1::1", "2001:db8:0:1:ffff:ffff:ffff:ffff"));
    CHECK(!one_site("2001:db8:0:1::1", "2001:db8:0:2::1"));
    CHECK(!one_site("2001:db8::1", "2001:db9::1"));
    CHECK(!one_site("::1", "unix"));
    CHECK(!one_site("::1", "0.0.0.0"));
    CHECK(one_site("unix", "unix"));
}

static void hashes(void)
{
    struct hash_seed one = {1, 2}, other = {1, 3};
    struct address a = address("192.0.2.1"), same = a, b = address("192.0.2.2");
    same.port = 99;
    CHECK(address_hash(&one, &a) == address_hash(&one, &same));
    CHECK(address_hash(&one, &a) != address_hash(&one, &b));
    CHECK(address_hash(&one, &a) != address_hash(&other, &a));
}

enum { CLIENTS = 7 };

/* A listener that takes two of each. */
static void listener_counts(void)
{
    const struct http_settings settings = {0};
    const struct listener_limits limits = {.max_per_address = 2};
    struct loop loop;
    struct server first, second;
    loop_init(&loop);
    server_init(&first, &loop);
    server_init(&second, &loop);
    CHECK(first.address_seed.k0 != second.address_seed.k0);
    server_deinit(&second);
    struct listener *listener = listener_new(&first, -1, &settings, &limits);
    for (int i = 0; i < CLIENTS; i++)
        listener_ref(listener); /* as those who bring connections do */
    struct http_site *site = &listener->site;
    struct address a = address("2001:db8::1"), b = address("2001:db8::2");
    struct address c = address("2001:db8::3"), away = address("2001:db8:0:1::1");
    struct address v4 = address("192.0.2.1"), v4_away = address("192.0.2.2");
    CHECK_INT(site->hooks->enter(site, &a), 0);
    CHECK_INT(site->hooks->enter(site, &b), 0);
    CHECK_INT(site->hooks->enter(site, &c), 429);
    CHECK_INT(site->hooks->enter(site, &away), 0);
    site->hooks->leave(site, &b);
    CHECK_INT(site->hooks->enter(site, &c), 0);
    CHECK_INT(site->hooks->enter(site, &v4), 0);
    CHECK_INT(site->hooks->enter(site, &v4), 0);
    CHECK_INT(site->hooks->enter(site, &v4), 429);
    CHECK_INT(site->hooks->enter(site, &v4_away), 0);
    site->hooks->leave(site, &a);
    site->hooks->leave(site, &c);
    site->hooks->leave(site, &away);
    site->hooks->leave(site, &v4);
    site->hooks->leave(site, &v4);
    site->hooks->leave(site, &v4_away);
    CHECK_INT(listener->count, 0);
    for (int i = 0; i < CLIENTS; i++)
        listener_unref(listener);
    listener_unref(listener);
    server_deinit(&first);
    loop_deinit(&loop);
}

int main(void)
{
    test("as text", as_text);
    test("sites", sites);
    test("hashes", hashes);
    test("a listener counts", listener_counts);
    return test_end();
}
