# SPDX-License-Identifier: MIT
"""Closing (RFC 6455 §5.5.1, §7).

Codes that a peer may send are those that RFC 6455 §7.4 and the registry of IANA assign, and
3000 to 4999; they are echoed, with their reason. 1004, 1005, 1006, 1015 and everything else is
1002. After a close frame nothing counts any more, and the TCP connection ends within five seconds.
"""
import itertools

from common import (
    CLOSE, CONT, PING, PONG, TEXT, Failed, add, add_bystander, barrier, chop, close_payload, cut,
    frame, lasting, refused, send_parts, suite, wait_until, ws)

VALID = (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014,
         3000, 3001, 3999, 4000, 4001, 4998, 4999)
INVALID = (0, 1, 125, 999, 1004, 1005, 1006, 1015, 1016, 1017, 1099, 1100, 1999, 2000, 2001, 2999,
           5000, 5001, 9999, 10000, 32768, 65534, 65535)
numbers = itertools.count(1)


def closes(code, *parts, path="/big", before=(), reason=None):
    """The server echoes the close with this code (and reason), sends nothing more, and ends."""
    with ws(path) as c:
        send_parts(c, list(parts))
        for op, payload in before:
            c.expect(op, payload)
        c.expect_close(code, reason)


def ask(ident):
    """What the app's onClose was told, as text."""
    with ws("/seen") as c:
        c.text(ident)
        return c.recv_message()[1].decode()


def goes_on_sending(data, code):
    """A reset could destroy the close frame on its way, so the server has to read on."""
    with ws() as c:
        c.send(data)
        c.expect_close(code)
        if c.eof != "eof":
            raise Failed("ended by a reset")


def app_sees(expected, end):
    """onClose is called once, with this code and reason."""
    ident = "c%d" % next(numbers)
    with ws("/watched/" + ident) as c:
        c.text("hello")
        c.expect(TEXT, "hello")
        end(c)
        wait_until(lambda: ask(ident) != "open", what="onClose")
    barrier()
    got = ask(ident)
    if got != expected and not (expected == "1006 " and got.startswith(expected)):
        raise Failed("onClose was told %r instead of %r" % (got, expected))


def close_frame(code, reason=b"", **options):
    return frame(CLOSE, close_payload(code, reason), **options)


# -- codes and reasons

add("close.empty", "a close without a code is answered by one", closes, None, frame(CLOSE))
add("close.empty.bytewise", "each byte read apart", closes, None, *chop(frame(CLOSE), 1))
add("close.one-byte", "§5.5.1: one byte is no code", refused, 1002, frame(CLOSE, b"\x03"))
add("close.one-byte.zero", "one zero byte", refused, 1002, frame(CLOSE, b"\0"))
for code in VALID:
    add("close.valid.%d" % code, "the code is echoed", closes, code, close_frame(code), reason="")
    add("close.valid.%d.reason" % code, "the same with a reason", closes, code,
        close_frame(code, "because"), reason="because")
for code in INVALID:
    add("close.invalid.%d" % code, "§7.4: not for the wire", refused, 1002, close_frame(code))
    add("close.invalid.%d.reason" % code, "the same with a reason", refused, 1002,
        close_frame(code, "because"))
for size in (1, 2, 61, 62, 122, 123):
    add("close.reason.%d" % size, "a reason of this many bytes", closes, 1000,
        close_frame(1000, b"x" * size), reason="x" * size)
for size in (124, 125, 126):
    add("close.reason.%d" % size, "a longer one makes the frame too long (§5.5)", refused, 1002,
        close_frame(1000, b"x" * size))
for name, reason in {"two": "é" * 61, "three": "€" * 41, "four": "💩" * 30, "nul": "a\0b",
                     "mixed": "aé€💩"}.items():
    add("close.reason.utf8.%s" % name, "a reason that is not ASCII", closes, 1000,
        close_frame(1000, reason), reason=reason)
for name, reason in {
        "lone": b"\x80", "overlong": b"\xc0\x80", "surrogate": b"\xed\xa0\x80", "ff": b"\xff",
        "beyond": b"\xf4\x90\x80\x80", "truncated": b"ok\xf0\x9f\x92", "late": b"x" * 122 + b"\xff",
        "kuhn": "κόσμε".encode() + b"\xed\xa0\x80edited"}.items():
    add("close.reason.invalid.%s" % name, "§5.5.1: the reason is UTF-8", refused, 1007,
        close_frame(1000, reason))
    add("close.reason.invalid.%s.4000" % name, "the same with a private code", refused, 1007,
        close_frame(4000, reason))
DATA = close_frame(1000, "bye")
for at in range(1, len(DATA)):
    add("close.split.at-%d" % at, "the frame in two pieces", closes, 1000, *cut(DATA, at),
        reason="bye")

# -- what comes before and after

add("close.after.text", "a message before it is answered", closes, 1000, frame(TEXT, "a") + DATA,
    before=[(TEXT, b"a")])
add("close.after.ping", "a ping before it is answered", closes, 1000, frame(PING, "a") + DATA,
    before=[(PONG, b"a")])
add("close.after.fragment", "a message not finished is dropped", closes, 1000,
    frame(TEXT, "a", fin=False) + DATA)
for name, more in {
        "text": frame(TEXT, "ignored"), "ping": frame(PING, "ignored"), "close": DATA,
        "close.other": close_frame(1001), "close.invalid": close_frame(1005),
        "continuation": frame(CONT, "x"), "reserved": frame(3, "x"), "rsv": frame(TEXT, "x", rsv=4),
        "unmasked": frame(TEXT, "x", mask=None), "utf8": frame(TEXT, b"\xff"),
        "half": frame(TEXT, b"x" * 300)[:100], "junk": b"GET / HTTP/1.1\r\n\r\n",
        "many": frame(TEXT, b"x" * 1000) * 100}.items():
    add("close.then.%s" % name, "what follows in the same segment is ignored", closes, 1000,
        DATA + more)
for name, bad, code in (("rsv", frame(TEXT, "x", rsv=2), 1002),
                        ("utf8", frame(TEXT, b"\xff"), 1007),
                        ("close", close_frame(1005), 1002)):
    add("close.failed.then.%s" % name, "one close frame, whatever follows a failure", refused,
        code, bad + frame(TEXT, "x", rsv=1) + DATA + frame(PING, "x"))
    add("close.failed.flood.%s" % name, "a client that goes on sending is not reset (§7.1.1)",
        goes_on_sending, bad + frame(TEXT, b"x" * 60000) * 20, code)


@suite.case("close.failed.answered", "a client that answers the failure ends it at once")
def _():
    with ws() as c:
        c.send(frame(TEXT, "x", rsv=1))
        c.expect_close(1002, reply=True)


@suite.case("close.tcp", "the server ends the TCP connection first (§7.1.1)")
def _():
    with ws() as c:
        c.send(DATA)
        c.expect_close(1000)
        if c.eof != "eof":
            raise Failed("ended by a reset")


# -- begun by the app

def app_closes(text, code, reason, answer):
    with ws("/close") as c:
        c.text(text)
        c.expect_close(code, reason, eof=False)
        answer(c)
        c.expect_eof()


add("close.app.1000", "caller:close, answered", app_closes, "1000 bye", 1000, "bye",
    lambda c: c.send(DATA))
add("close.app.4321", "a private code", app_closes, "4321 why", 4321, "why",
    lambda c: c.send(close_frame(4321, "why")))
add("close.app.other-answer", "answered with another code", app_closes, "1001", 1001, "",
    lambda c: c.send(close_frame(3000)))
add("close.app.empty-answer", "answered without a code", app_closes, "1001 x", 1001, "x",
    lambda c: c.send(frame(CLOSE)))
add("close.app.data-first", "messages before the answer are not handled", app_closes, "1000 a",
    1000, "a", lambda c: c.send(frame(TEXT, "1002 b") + DATA))
add("close.app.123", "a reason of 123 bytes", app_closes, "1000 " + "x" * 123, 1000, "x" * 123,
    lambda c: c.send(DATA))


@suite.case("close.app.silent", "not answered: ended after connectionClosureTimeout",
            background=True)
def _():
    with lasting(0.9, 3):
        app_closes("1000 bye", 1000, "bye", lambda c: None)


add("close.app.half", "answered by the end of the stream", app_closes, "1000 bye", 1000, "bye",
    lambda c: c.shutdown())


def waits_for_close(between, code):
    """After the app's close only the peer's close ends it; what comes before is skipped."""
    ident = "c%d" % next(numbers)
    with ws("/closing/" + ident) as c:
        c.text("now")
        c.expect_close(1000, "bye", eof=False)
        send_parts(c, between)
        barrier()
        if ask(ident) != "open":
            raise Failed("ended by what came before the close frame: %r" % ask(ident))
        c.send(close_frame(code, "why"))
        c.expect_eof()
    wait_until(lambda: ask(ident) != "open", what="onClose")
    if ask(ident) != "%d why" % code:
        raise Failed("onClose was told %r" % ask(ident))


for name, between in {
        "ping": [frame(PING, "x")], "pong": [frame(PONG, "x")], "text": [frame(TEXT, "x")],
        "all": [frame(PING, "x"), frame(TEXT, "x", fin=False), frame(CONT, "y"), frame(PONG)],
        "large": [frame(TEXT, b"x" * 60000)] * 5, "bytewise": chop(frame(TEXT, "hello"), 1),
        "limits": [frame(TEXT, b"", length_form=16, length=60000), b"x" * 60000]}.items():
    add("close.app.then.%s" % name, "what comes before the peer's close is skipped",
        waits_for_close, between, 4000)


@suite.case("close.app.invalid", "invalid codes are refused with an error, nothing is sent")
def _():
    with ws("/close") as c:
        for code in (0, 999, 1004, 1005, 1006, 1012, 1013, 1014, 1015, 2999, 5000, 65536):
            c.text("%d x" % code)
            c.expect(TEXT, "refused: Failed to execute close. Invalid status code: %d" % code)


def returned(text, code, reason):
    with ws("/returns") as c:
        c.text(text)
        got = c.expect_close(code, reply=True)
        if reason is not None and got != reason:
            raise Failed("reason %r" % got)
        if "conformance" in got:
            raise Failed("the reason tells what went wrong inside: %r" % got)


add("close.returned.frame", "a returned close frame", returned, "normal", 1000, "bye")
add("close.returned.custom", "a returned CloseFrame", returned, "custom", 4444, "Invalid User")
add("close.returned.raise", "a handler that raises: 1011, nothing told", returned, "raise", 1011,
    None)
add("close.returned.error", "nil, err: 1011 with its message", returned, "fails", 1011, "no luck")

# -- what the app is told

add("close.seen.1000", "code and reason of the peer", app_sees, "1000 bye",
    lambda c: c.send(DATA))
add("close.seen.4999", "a private code", app_sees, "4999 own", lambda c: c.send(
    close_frame(4999, "own")))
add("close.seen.1005", "a close without a code is 1005", app_sees, "1005 ",
    lambda c: c.send(frame(CLOSE)))
add("close.seen.1006.eof", "the end of the stream without a close is 1006", app_sees, "1006 ",
    lambda c: c.close())
add("close.seen.1006.reset", "so is a reset", app_sees, "1006 ", lambda c: c.reset())
add("close.seen.1006.half", "so is a half-closed connection", app_sees, "1006 ",
    lambda c: c.shutdown())
add("close.seen.second", "a second close frame changes nothing", app_sees, "1000 bye",
    lambda c: c.send(DATA + close_frame(1001, "no")))


@suite.case("close.seen.protocol-error", "for an error of the peer: what we sent")
def _():
    ident = "c%d" % next(numbers)
    with ws("/watched/" + ident) as c:
        c.send(frame(TEXT, "x", rsv=1))
        c.expect_close(1002)
    got = wait_until(lambda: (lambda s: s != "open" and s)(ask(ident)), what="onClose")
    if not got.startswith("1002 "):
        raise Failed("onClose was told %r" % got)


add_bystander("close")
