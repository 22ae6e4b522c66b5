# SPDX-License-Identifier: MIT
"""What a suite runs over, by the environment: NEAP_OVER="tls", "deflate", or "tls deflate".

Nothing: plain TCP, as the tests are written. Otherwise a line in front of an app given as source
makes each of its listeners one of TLS, with a certificate of this run's own authority, and has
them compress whatever is sent; Raw (client.py) speaks accordingly. Settings that an app makes
itself stay. What does not apply is left out by name and with the reason: Suite.not_over.
"""
import os
import threading
import zlib

from .certs import Authority

OVER = frozenset((os.environ.get("NEAP_OVER") or "").split())
TLS, DEFLATE = "tls" in OVER, "deflate" in OVER
OFFER = ("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits")

WRAP = """\
do local w = require "neap.websocket" local plain = w.listener w.listener = function(address, config, ...) \
if config == nil or type(config) == "table" then local own = {} \
for k, v in pairs(config or {}) do own[k] = v end %s config = own end \
return plain(address, config, ...) end end """
SECURE = 'if own.secureSocket == nil then own.secureSocket = { key = { certFile = "%s", keyFile = "%s" } } end '
COMPRESS = "if own.compression == nil then own.compression = { threshold = 0 } end "


class Run:
    """What all servers and clients of the run share, made when it is needed."""
    lock = threading.Lock()
    authority = files = client = None
    secured = packed = unpacked = 0     # connections over TLS; messages that went out, and came in, compressed


def shared():
    with Run.lock:
        if Run.client is None:
            Run.authority = Authority()
            Run.files = Run.authority.issue("server")
            Run.client = Run.authority.client()
    return Run


def context():
    """The settings of a client of the run's servers; None over plain TCP."""
    return shared().client if TLS else None


def prepared(lua):
    """An app's source as it runs over what was asked for. Its lines keep their numbers."""
    settings = ""
    if TLS:
        settings += SECURE % shared().files
    if DEFLATE:
        settings += COMPRESS
    return WRAP % settings + lua if settings else lua


def pack(data):
    """A message's payload, compressed (RFC 7692 §7.2.1), without a memory of others."""
    z = zlib.compressobj(6, zlib.DEFLATED, -15)
    return (z.compress(data) + z.flush(zlib.Z_SYNC_FLUSH))[:-4]


def unpack(data):
    return zlib.decompressobj(-15).decompress(data + b"\0\0\xff\xff")
