# SPDX-License-Identifier: MIT
"""Bytes of the protocol: requests, responses and frames, right ones and wrong ones.

No sockets here. What is encoded is what the test asked for, however wrong (RFC 6455 §5.2).
"""
import base64
import hashlib
import os
import re
import struct

from .basics import Failed

CONT, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"     # RFC 6455 §1.3


def mask_bytes(data, key):
    """XOR with a four-byte key (RFC 6455 §5.3)."""
    size = len(data)
    if not size:
        return b""
    keys = (key * (size // 4 + 1))[:size]
    return (int.from_bytes(data, "little") ^ int.from_bytes(keys, "little")).to_bytes(
        size, "little")


def frame(op, payload=b"", fin=True, rsv=0, mask=True, length_form=None, length=None):
    """One frame as bytes (RFC 6455 §5.2).

    rsv          three bits: 4 is RSV1, 2 RSV2, 1 RSV3
    mask         True: a random key; four bytes: this key; None or False: unmasked
    length_form  7, 16 or 64 forces that form of the length, minimal or not
    length       a length to claim instead of the payload's
    """
    if isinstance(payload, str):
        payload = payload.encode()
    size = len(payload) if length is None else length
    form = length_form or (7 if size < 126 else 16 if size < 65536 else 64)
    bit = 0x80 if mask else 0
    head = bytes([(0x80 if fin else 0) | (rsv << 4) | op])
    if form == 7:
        head += bytes([bit | size])
    elif form == 16:
        head += bytes([bit | 126]) + struct.pack(">H", size)
    else:
        head += bytes([bit | 127]) + struct.pack(">Q", size)
    if not mask:
        return head + payload
    key = os.urandom(4) if mask is True else mask
    return head + key + mask_bytes(payload, key)


def close_payload(code, reason=b""):
    if isinstance(reason, str):
        reason = reason.encode()
    return struct.pack(">H", code) + reason


def accept_value(key):
    """What Sec-WebSocket-Accept must be for a key (RFC 6455 §4.2.2)."""
    if isinstance(key, str):
        key = key.encode()
    return base64.b64encode(hashlib.sha1(key + GUID.encode()).digest()).decode()


class Response:
    """An HTTP response head, and the body where it has one."""

    def __init__(self, head, body=b""):
        self.head, self.body = head, body
        lines = head.split(b"\r\n")
        found = re.match(rb"HTTP/1\.1 (\d{3}) ?(.*)$", lines[0])
        if not found:
            raise Failed("no HTTP response: %r" % head[:200])
        self.status, self.reason = int(found.group(1)), found.group(2).decode("latin-1")
        self.headers = []
        for line in lines[1:]:
            name, colon, value = line.partition(b":")
            if not colon or name.strip() != name:
                raise Failed("bad header line in the response: %r" % line)
            self.headers.append((name.decode("latin-1"), value.strip().decode("latin-1")))

    def values(self, name):
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def header(self, name):
        """The value of a header that must not be there twice, or None."""
        values = self.values(name)
        if len(values) > 1:
            raise Failed("header %s came %d times" % (name, len(values)))
        return values[0] if values else None

    def __repr__(self):
        return "%d %s %r %r" % (self.status, self.reason, self.headers, self.body[:200])


def request(path="/", headers=(), host="localhost", key=None, method="GET", version="HTTP/1.1"):
    """The bytes of an upgrade request.

    `headers` are pairs or a dict; a name that is among the usual ones replaces it (a value of
    None leaves it out, a list gives several lines), others are added after them.
    """
    lines = [("Host", host), ("Upgrade", "websocket"), ("Connection", "Upgrade"),
             ("Sec-WebSocket-Key", key or "dGhlIHNhbXBsZSBub25jZQ=="),
             ("Sec-WebSocket-Version", "13")]
    for name, value in (headers.items() if isinstance(headers, dict) else headers):
        at = next((i for i, (n, _) in enumerate(lines) if n.lower() == name.lower()), None)
        values = value if isinstance(value, list) else [] if value is None else [value]
        new = [(name, v) for v in values]
        if at is None:
            lines += new
        else:
            lines[at:at + 1] = new
    text = "%s %s %s\r\n" % (method, path, version)
    return (text + "".join("%s: %s\r\n" % l for l in lines) + "\r\n").encode("latin-1")


def brief(op, payload):
    names = {0: "continuation", 1: "text", 2: "binary", 8: "close", 9: "ping", 10: "pong"}
    text = repr(payload) if len(payload) <= 80 else \
        "%r… (%d bytes)" % (payload[:60], len(payload))
    return "%s %s" % (names.get(op, "opcode %X" % op), text)
