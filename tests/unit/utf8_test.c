// SPDX-License-Identifier: MIT
/*
 * The UTF-8 check against a naive reference that decodes code points by their definition (RFC 3629
 * §3): exhaustively where that is possible, else over all sequences of the bytes at which the rules
 * change. Fed whole, split at every point, after ASCII runs of every length up to two blocks, and
 * against an unreadable page.
 */
#include "base/err.h"
#include "proto/ws/utf8.h"
#include "support.h"

#include <string.h>

/* Bytes on both sides of every border in the grammar. */
static const uint8_t border[] = {0x00, 0x41, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF,
                                 0xC0, 0xC1, 0xC2, 0xDF, 0xE0, 0xE1, 0xEC, 0xED, 0xEE,
                                 0xEF, 0xF0, 0xF1, 0xF3, 0xF4, 0xF5, 0xF7, 0xF8, 0xFF};
enum { BORDERS = sizeof border };

/* Length of the character at the start of the bytes, 0 when there is none. */
static size_t character(const uint8_t *b, size_t len)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t n = b[0] < 0x80 ? 1 : b[0] >> 5 == 6 ? 2 : b[0] >> 4 == 14 ? 3 : b[0] >> 3 == 30 ? 4 : 0;
    if (n == 0 || n > len)
        return 0;
    uint32_t code = n == 1 ? b[0] : b[0] & (0x7Fu >> n);
    for (size_t i = 1; i < n; i++) {
        if ((b[i] & 0xC0) != 0x80)
            return 0;
        code = code << 6 | (b[i] & 0x3F);
    }
    bool surrogate = code >= 0xD800 && code <= 0xDFFF;
    return code < least[n] || code > 0x10FFFF || surrogate ? 0 : n;
}

static bool naive_valid(const uint8_t *b, size_t len)
{
    while (len > 0) {
        size_t n = character(b, len);
        if (n == 0)
            return false;
        b += n;
        len -= n;
    }
    return true;
}

/* True when some bytes that follow would make it valid. Tries them. */
static bool naive_mendable(const uint8_t *b, size_t len)
{
    static const uint8_t tail[] = {0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF};
    uint8_t t[16];
    if (naive_valid(b, len))
        return true;
    memcpy(t, b, len);
    for (size_t i = 0; i < sizeof tail * sizeof tail * sizeof tail; i++) {
        t[len] = tail[i % 6];
        t[len + 1] = tail[i / 6 % 6];
        t[len + 2] = tail[i / 36];
        for (size_t more = 1; more <= 3; more++)
            if (naive_valid(t, len + more))
                return true;
    }
    return false;
}

static void code_points(void)
{
    unsigned long wrong = 0;
    for (uint32_t c = 0; c < 0x200000; c++) {
        uint8_t b[4];
        size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
        static const uint8_t mark[] = {0, 0, 0xC0, 0xE0, 0xF0};
        for (size_t i = n; i-- > 1;)
            b[i] = (uint8_t)(0x80 | (c >> 6 * (n - 1 - i) & 0x3F));
        b[0] = (uint8_t)(mark[n] | c >> 6 * (n - 1));
        bool legal = c <= 0x10FFFF && !(c >= 0xD800 && c <= 0xDFFF);
        wrong += utf8_valid(b, n) != legal;
    }
    CHECK_INT(wrong, 0);
}

static void all_pairs(void)
{
    unsigned long wrong = 0;
    for (unsigned i = 0; i < 65536; i++) {
        uint8_t b[2] = {(uint8_t)(i >> 8), (uint8_t)i};
        wrong += utf8_valid(b, 2) != naive_valid(b, 2);
    }
    CHECK_INT(wrong, 0);
}

static void sequences_of_border_bytes(void)
{
    unsigned long wrong = 0, valid = 0;
    for (unsigned i = 0; i < BORDERS * BORDERS * BORDERS * BORDERS; i++) {
        uint8_t b[4] = {border[i % BORDERS], border[i / BORDERS % BORDERS],
                        border[i / BORDERS / BORDERS % BORDERS],
                        border[i / BORDERS / BORDERS / BORDERS]};
        for (size_t len = 1; len <= 4; len++)
            wrong += utf8_valid(b, len) != naive_valid(b, len);
        valid += utf8_valid(b, 4);
        for (size_t at = 1; at < 4; at++) {
            int state = utf8_feed(UTF8_START, b, at);
            if (state >= 0)
                state = utf8_feed(state, b + at, 4 - at);
            wrong += (state == UTF8_START) != naive_valid(b, 4);
        }
    }
    CHECK_INT(wrong, 0);
    CHECK(valid > 100);
}

/* ERR_UTF8 must come with the byte that no continuation can mend, neither earlier nor later. */
static void fails_at_the_first_bad_byte(void)
{
    unsigned long wrong = 0;
    for (unsigned i = 0; i < BORDERS * BORDERS * BORDERS; i++) {
        uint8_t b[3] = {border[i % BORDERS], border[i / BORDERS % BORDERS],
                        border[i / BORDERS / BORDERS]};
        for (size_t len = 1; len <= 3; len++)
            wrong += (utf8_feed(UTF8_START, b, len) >= 0) != naive_mendable(b, len);
    }
    CHECK_INT(wrong, 0);
}

static void after_ascii_of_every_length(void)
{
    static const char *const samples[] = {"\xC3\xA4",         "\xE2\x82\xAC", "\xF0\x9F\x92\xA9",
                                          "\xC0\x80",         "\xED\xA0\x80", "\xF4\x90\x80\x80",
                                          "\xE2\x82",         "\x80",         "\xFF",
                                          "\xF0\x9F\x92\xA9z"};
    for (size_t s = 0; s < sizeof samples / sizeof *samples; s++) {
        for (size_t before = 0; before < 70; before++) {
            for (size_t after = 0; after < 70; after += 3) {
                uint8_t b[160];
                size_t n = strlen(samples[s]);
                memset(b, 'a', sizeof b);
                memcpy(b + before, samples[s], n);
                const uint8_t *p = guard_copy(b, before + n + after);
                CHECK_INT(utf8_valid(p, before + n + after), naive_valid(b, before + n + after));
            }
        }
    }
}

static void split_at_every_point(void)
{
    static const char text[] =
        "na\xC3\xAFve \xE2\x82\xAC 100, \xF0\x9F\x92\xA9, plain ASCII that is long "
        "enough for whole blocks, \xE4\xB8\xAD\xE6\x96\x87 and an end \xF4\x8F\xBF\xBF";
    size_t len = sizeof text - 1;
    for (size_t a = 0; a <= len; a++) {
        for (size_t b = a; b <= len; b++) {
            int state = utf8_feed(UTF8_START, guard_copy(text, a), a);
            if (CHECK(state >= 0))
                state = utf8_feed(state, guard_copy(text + a, b - a), b - a);
            if (CHECK(state >= 0))
                state = utf8_feed(state, guard_copy(text + b, len - b), len - b);
            CHECK_INT(state, UTF8_START);
        }
    }
}

/* Random mixtures of borders and ASCII, longer than a block, one byte more or less at each end. */
static void random_mixtures(void)
{
    uint64_t seed = 99;
    unsigned long valid = 0;
    for (int i = 0; i < 200000; i++) {
        uint8_t b[96];
        size_t len = random_next(&seed) % sizeof b;
        for (size_t j = 0; j < len; j++)
            b[j] = 'a';
        for (uint64_t k = random_next(&seed) % 3; k > 0 && len > 4; k--) {
            size_t at = random_next(&seed) % (len - 3);
            for (size_t j = 0; j < 4; j++)
                b[at + j] = border[random_next(&seed) % BORDERS];
        }
        bool expected = naive_valid(b, len);
        valid += expected;
        CHECK_INT(utf8_valid(guard_copy(b, len), len), expected);
    }
    CHECK(valid > 1000);
}

static void cutting(void)
{
    static const char text[] = "a\xC3\xA4\xE2\x82\xAC\xF0\x9F\x92\xA9z";
    static const size_t expected[] = {0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10, 11, 11, 11};
    for (size_t max = 0; max < sizeof expected / sizeof *expected; max++) {
        test_context("max %zu", max);
        CHECK_INT(utf8_cut((const uint8_t *)text, sizeof text - 1, max), expected[max]);
    }
    CHECK_INT(utf8_cut((const uint8_t *)"", 0, 10), 0);
}

int main(void)
{
    test("all code points, surrogates and beyond", code_points);
    test("all pairs of bytes", all_pairs);
    test("all sequences of border bytes", sequences_of_border_bytes);
    test("fails at the first bad byte", fails_at_the_first_bad_byte);
    test("after ASCII of every length", after_ascii_of_every_length);
    test("split at every point", split_at_every_point);
    test("random mixtures", random_mixtures);
    test("cutting at a character", cutting);
    return test_end();
}
