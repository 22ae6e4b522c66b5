# SPDX-License-Identifier: MIT
"""What the tests of TLS share: authorities, the app, what is asked again and again.

Certificates are made at the start, by an authority that nobody else trusts.
"""
import os
import ssl
import sys

sys.path.insert(0, os.path.abspath(__file__ + "/../../../support"))

from neaptest import (  # noqa: E402,F401
    BINARY, CLOSE, INSTRUMENTED, SECONDS, SLACK, TEXT, Authority, Bystander, Failed, Raw, Server, Suite,
    close_payload, frame, need, openssl, request, run_neap, wait_until)

ca, other = Authority(), Authority("Another CA")
CERT, KEY = ca.issue("server")
PORT_ASKED = 0

APP = """
local websocket = require "neap.websocket"
local listener = websocket.listener(%(port)s, {
  host = "127.0.0.1", headerTimeout = %(header)s, secureSocket = { %(secure)s } })
listener:attach("/echo", { onMessage = function(_, _, data) return data end })
listener:attach("/who", function(request)
  local c = request.clientCertificate
  local told = c and table.concat({ c.subject, c.issuer, c.serial, c.fingerprint, tostring(c.notAfter - c.notBefore),
    table.concat(c.names, " ") }, "|") or "nobody"
  return { onOpen = function(_, caller) return told .. "|" .. tostring(caller:isSecure() and request.isSecure) end }
end)
"""


def pem(cert=CERT, key=KEY, **more):
    fields = dict(certFile=cert, keyFile=key, **more)
    return "key = { %s }" % ", ".join('%s = "%s"' % pair for pair in fields.items())


def source(secure=None, header=10):
    return APP % {"port": PORT_ASKED, "secure": secure or pem(), "header": header}


def tls_server(secure=None, header=10, **options):
    return Server(lua=source(secure, header), args=(), **options)


def echoes(port, context=None):
    with Raw(port, "/echo", tls=context or ca.client()) as c:
        c.text("hello")
        c.expect(TEXT, "hello")
        c.send_frame(CLOSE, close_payload(1000))
        c.expect_close(1000)
        return c.sock.version()


def serial(port):
    """The serial number of the certificate that a new connection is shown."""
    with Raw(port, tls=ca.client()) as c:
        return int(c.sock.getpeercert()["serialNumber"], 16)


def mutual(mode):
    return pem() + ', mutualSsl = { verifyClient = "%s", cert = "%s" }' % (mode, ca.cert)


def handshake_fails(port, context):
    """The handshake, or the first read after it (TLS 1.3: RFC 8446 §4.4.2.4), must fail."""
    try:
        with Raw(port, tls=context) as c:
            c.send(request("/echo"))
            c.sock.recv(1)
    except (ssl.SSLError, ConnectionError) as err:
        return str(err)
    raise Failed("the handshake should fail")


def main(suite):
    try:
        suite.main()
    finally:
        ca.close()
        other.close()
