// SPDX-License-Identifier: MIT
/*
 * Frame headers both ways, errors at the byte that proves them, and masking against the definition
 * of RFC 6455 §5.3.
 */
#include "base/err.h"
#include "proto/ws/frame.h"
#include "support.h"

#include <string.h>

/* Decodes every prefix from a guarded place: 0 before `proved` bytes, then `result`. */
static void check_decode(const char *hex, size_t proved, int result)
{
    uint8_t bytes[FRAME_HEADER_MAX];
    struct frame f;
    size_t len = unhex(hex, bytes, sizeof bytes);
    for (size_t n = 0; n <= len; n++) {
        test_context("%s, %zu bytes", hex, n);
        CHECK_INT(frame_decode(&f, guard_copy(bytes, n), n), n < proved ? 0 : result);
    }
}

/* A header that is refused once `proved` bytes are there, with the text that says why. */
static void check_fault(const char *hex, size_t proved, const char *fault)
{
    uint8_t bytes[FRAME_HEADER_MAX];
    check_decode(hex, proved, ERR_PROTOCOL);
    unhex(hex, bytes, sizeof bytes);
    CHECK_TEXT(frame_fault(guard_copy(bytes, proved)), fault);
}

static void legal_headers(void)
{
    check_decode("8100", 2, 2);
    check_decode("817D", 2, 2);
    check_decode("817E007E", 4, 4);
    check_decode("817EFFFF", 4, 4);
    check_decode("817F0000000000010000", 10, 10);
    check_decode("827F7FFFFFFFFFFFFFFF", 10, 10);
    check_decode("818500000000", 6, 6);
    check_decode("01FE 0100 11223344", 8, 8);
    check_decode("00FF 0000000100000000 11223344", 14, 14);
    check_decode("8000", 2, 2);
    check_decode("8800", 2, 2);
    check_decode("897D", 2, 2);
    check_decode("8A80 11223344", 6, 6);
    check_decode("F100", 2, 2); /* RSV bits are the session's business */
}

static void broken_headers(void)
{
    const char *fragmented = "control frame is fragmented";
    const char *long_control = "control frame is too long";
    const char *not_shortest = "frame length is not in its shortest form";
    const char *top_bit = "frame length has its top bit set";
    for (unsigned opcode = 0; opcode < 16; opcode++) {
        char hex[8] = {'8', "0123456789ABCDEF"[opcode], '0', '0', '\0'};
        bool control = opcode >= 8 && opcode <= 10;
        if (opcode <= 2 || control)
            check_decode(hex, 2, 2);
        else
            check_fault(hex, 1, "reserved opcode");
        hex[0] = '0'; /* a fragment: not for control frames */
        if (opcode <= 2)
            check_decode(hex, 2, 2);
        else
            check_fault(hex, 1, control ? fragmented : "reserved opcode");
    }
    check_fault("897E007E", 2, long_control);
    check_fault("88FF0000000000010000", 2, long_control);
    check_fault("817E007D", 4, not_shortest);
    check_fault("82FE0005", 4, not_shortest);
    check_fault("82FF8000000000000000", 3, top_bit);
    check_fault("82FFFFFFFFFFFFFFFFFC", 3, top_bit);
    check_fault("82FF0000000000000005", 8, not_shortest);
    check_fault("82FF000000000000FFFF", 8, not_shortest);
}

static void fields(void)
{
    uint8_t bytes[FRAME_HEADER_MAX];
    struct frame f;
    size_t len = unhex("61FE 1234 A1B2C3D4", bytes, sizeof bytes);
    CHECK_INT(frame_decode(&f, bytes, len), 8);
    CHECK(!f.fin && f.masked);
    CHECK_INT(f.rsv, FRAME_RSV1 | FRAME_RSV2);
    CHECK_INT(f.opcode, FRAME_TEXT);
    CHECK_INT(f.length, 0x1234);
    CHECK_BYTES(f.mask, 4, "\xA1\xB2\xC3\xD4", 4);
    len = unhex("9A 01", bytes, sizeof bytes);
    CHECK_INT(frame_decode(&f, bytes, len), 2);
    CHECK(f.fin && !f.masked);
    CHECK_INT(f.rsv, FRAME_RSV3);
    CHECK_INT(f.opcode, FRAME_PONG);
    CHECK_BYTES(f.mask, 4, "\0\0\0\0", 4);
}

static void there_and_back(void)
{
    static const uint64_t lengths[] = {0,     1,        124,        125,        126,
                                       127,   128,      65534,      65535,      65536,
                                       65537, 1u << 24, UINT32_MAX, 1ull << 40, INT64_MAX};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        for (unsigned bits = 0; bits < 8; bits++) {
            uint8_t out[FRAME_HEADER_MAX];
            struct frame g, f = {.length = lengths[i],
                                 .opcode = bits & 4 ? FRAME_BINARY : FRAME_CONTINUATION,
                                 .rsv = bits & 4 ? FRAME_RSV1 : 0,
                                 .fin = bits & 1,
                                 .masked = bits & 2};
            if (f.masked)
                memcpy(f.mask, "\x37\xFA\x21\x3D", 4);
            size_t size = frame_encode(&f, out);
            CHECK_INT(size, frame_header_size(f.length, f.masked));
            CHECK_INT(frame_decode(&g, out, size), size);
            CHECK(g.length == f.length && g.opcode == f.opcode && g.rsv == f.rsv);
            CHECK(g.fin == f.fin && g.masked == f.masked && memcmp(g.mask, f.mask, 4) == 0);
        }
    }
}

static void masking_at_every_alignment(void)
{
    static const uint8_t key[4] = {0x37, 0xFA, 0x21, 0x3D};
    uint8_t plain[400], expected[400], out[400];
    for (size_t i = 0; i < sizeof plain; i++)
        plain[i] = (uint8_t)(i * 7 + 3);
    for (size_t len = 0; len < 200; len++) {
        for (size_t start = 0; start < 17; start++) {
            size_t offset = (len + start) % 9;
            for (size_t i = 0; i < len; i++)
                expected[i] = plain[start + i] ^ key[(offset + i) % 4];
            memset(out, 0x55, sizeof out);
            frame_mask(out + start, guard_copy(plain + start, len), len, key, offset);
            CHECK_BYTES(out + start, len, expected, len);
            CHECK_INT(out[start + len], 0x55);
            CHECK_INT(start ? out[start - 1] : 0x55, 0x55);
            memcpy(out, plain, sizeof out);
            frame_mask(out + start, out + start, len, key, offset);
            CHECK_BYTES(out + start, len, expected, len);
        }
    }
}

/* The answer about ASCII, with one byte that is none at every place, and without. */
static void masking_tells_ascii(void)
{
    static const uint8_t key[4] = {0xB7, 0xFA, 0x21, 0x3D};
    uint8_t plain[150], masked[150], out[150];
    for (size_t len = 0; len < sizeof plain; len++) {
        for (size_t at = 0; at <= len; at++) {
            memset(plain, 'a', sizeof plain);
            if (at < len)
                plain[at] = 0x80;
            for (size_t i = 0; i < len; i++)
                masked[i] = plain[i] ^ key[i % 4];
            CHECK_INT(frame_mask(out, guard_copy(masked, len), len, key, 0), at == len);
        }
    }
}

int main(void)
{
    test("legal headers", legal_headers);
    test("broken headers", broken_headers);
    test("fields", fields);
    test("there and back", there_and_back);
    test("masking at every alignment", masking_at_every_alignment);
    test("masking tells ASCII", masking_tells_ascii);
    return test_end();
}
