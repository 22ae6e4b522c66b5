// SPDX-License-Identifier: MIT
/*
 * Whole responses with a body that is at hand: refusals and small answers. Not for streams, nor
 * for the 101 of a handshake (handshake.c). Dates are IMF-fixdate (RFC 9110 §5.6.7) with English
 * names whatever the locale.
 */
#include "proto/http/http.h"

#include "proto/http/http_out.h"

#include <stdio.h>
#include <time.h>

static const struct {
    short status;
    const char *phrase;
} reasons[] = {
    {100, "Continue"},
    {101, "Switching Protocols"},
    {103, "Early Hints"},
    {200, "OK"},
    {201, "Created"},
    {202, "Accepted"},
    {203, "Non-Authoritative Information"},
    {204, "No Content"},
    {205, "Reset Content"},
    {206, "Partial Content"},
    {300, "Multiple Choices"},
    {301, "Moved Permanently"},
    {302, "Found"},
    {303, "See Other"},
    {304, "Not Modified"},
    {307, "Temporary Redirect"},
    {308, "Permanent Redirect"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {402, "Payment Required"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {406, "Not Acceptable"},
    {407, "Proxy Authentication Required"},
    {408, "Request Timeout"},
    {409, "Conflict"},
    {410, "Gone"},
    {411, "Length Required"},
    {412, "Precondition Failed"},
    {413, "Content Too Large"},
    {414, "URI Too Long"},
    {415, "Unsupported Media Type"},
    {416, "Range Not Satisfiable"},
    {417, "Expectation Failed"},
    {421, "Misdirected Request"},
    {422, "Unprocessable Content"},
    {423, "Locked"},
    {424, "Failed Dependency"},
    {425, "Too Early"},
    {426, "Upgrade Required"},
    {428, "Precondition Required"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {451, "Unavailable For Legal Reasons"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {502, "Bad Gateway"},
    {503, "Service Unavailable"},
    {504, "Gateway Timeout"},
    {505, "HTTP Version Not Supported"},
    {511, "Network Authentication Required"},
};

const char *http_reason(int status)
{
    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++)
        if (reasons[i].status == status)
            return reasons[i].phrase;
    return "Status";
}

/* Responses that have no body, and so no Content-Length (RFC 9110 §8.6). */
static bool has_no_body(int status)
{
    return status < 200 || status == 204 || status == 304;
}

static void put_date(struct http_out *o, int64_t now)
{
    static const char days[][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char months[][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                     "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    time_t seconds = (time_t)now;
    struct tm t;
    char text[64];
    if (!gmtime_r(&seconds, &t) || t.tm_year < -1900 || t.tm_year > 9999 - 1900)
        return; /* a clock that shows no year of four digits: better no Date than a wrong one */
    snprintf(text, sizeof text, "%s, %02d %s %04d %02d:%02d:%02d GMT", days[t.tm_wday], t.tm_mday,
             months[t.tm_mon], t.tm_year + 1900, t.tm_hour, t.tm_min, t.tm_sec);
    http_out_line(o, "Date", text);
}

/* What describes the body. */
static void put_content(struct http_out *o, const struct http_reply *r)
{
    char length[24];
    if (has_no_body(r->status))
        return;
    if (r->body.len && !http_out_has(r->lines, r->line_count, "Content-Type"))
        http_out_line(o, "Content-Type",
                      r->content_type ? r->content_type : "text/plain; charset=utf-8");
    snprintf(length, sizeof length, "%zu", r->body.len);
    http_out_line(o, "Content-Length", length);
}

int http_reply_write(const struct http_reply *r, struct buf *out)
{
    static const char *const ours[] = {"Content-Length", "Transfer-Encoding", NULL};
    static const char *const ours_closing[] = {"Content-Length", "Transfer-Encoding", "Connection",
                                               NULL};
    /* Who sends Upgrade names it in Connection, too (RFC 9110 §7.8). */
    bool upgrade = http_out_has(r->lines, r->line_count, "Upgrade");
    const char *closing = upgrade ? "close, upgrade" : "close";
    char status[32];
    struct http_out o = http_out_begin(out, 256 + r->body.len);
    snprintf(status, sizeof status, "HTTP/1.1 %03d ", r->status);
    http_out_text(&o, status);
    http_out_text(&o, http_reason(r->status));
    http_out_text(&o, "\r\n");
    if (!http_out_has(r->lines, r->line_count, "Date"))
        put_date(&o, r->now);
    if (!http_out_has(r->lines, r->line_count, "Server"))
        http_out_line(&o, "Server", r->server);
    http_out_lines(&o, r->lines, r->line_count, r->close ? ours_closing : ours);
    put_content(&o, r);
    http_out_line(&o, "Connection", r->close ? closing : NULL);
    http_out_text(&o, "\r\n");
    if (!has_no_body(r->status) && !r->to_head)
        http_out_bytes(&o, r->body.s, r->body.len);
    return http_out_end(&o);
}
