# SPDX-License-Identifier: MIT
"""Certificates for tests, made when they are needed by the openssl command, gone with the test.

    with Authority() as ca:
        cert, key = ca.issue("server", "localhost", names="DNS:localhost,IP:127.0.0.1")
        Raw(port, "/echo", tls=ca.client())

Nothing here is ever committed: keys that people can read are no keys.
"""
import os
import ssl
import subprocess
import tempfile

from .basics import Failed

LOCAL = "DNS:localhost,IP:127.0.0.1,IP:::1"


def openssl(*words):
    done = subprocess.run(["openssl", *map(str, words)], capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, timeout=60)
    if done.returncode:
        raise Failed("openssl %s: %s" % (words[0], done.stderr))
    return done.stdout


class Authority:
    """A certificate authority in a temporary folder."""

    def __init__(self, name="Test CA"):
        self.temporary = tempfile.TemporaryDirectory(prefix="neapca-")
        self.folder = self.temporary.name
        self.cert, self.key = self.path("ca.pem"), self.path("ca.key")
        self.count = 0
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                "-keyout", self.key, "-out", self.cert, "-days", 30, "-subj", "/CN=" + name,
                "-addext", "keyUsage=critical,keyCertSign,cRLSign")

    def path(self, name):
        return os.path.join(self.folder, name)

    def issue(self, stem, name="localhost", names=LOCAL, days=30, serial=None):
        """A certificate and its key: paths of STEM.pem and STEM.key. Negative days: expired."""
        cert, key, request = (self.path(stem + end) for end in (".pem", ".key", ".csr"))
        self.count += 1
        openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout",
                key, "-out", request, "-subj", "/O=Neap Test/CN=" + name)
        with open(self.path("extensions"), "w") as f:
            f.write("subjectAltName=%s\nbasicConstraints=CA:FALSE\n" % names)
        openssl("x509", "-req", "-in", request, "-CA", self.cert, "-CAkey", self.key, "-days", days,
                "-set_serial", serial or 1000 + self.count, "-extfile", self.path("extensions"),
                "-out", cert)
        return cert, key

    def pkcs12(self, stem, password):
        """STEM.pem and STEM.key in one file, STEM.p12."""
        out = self.path(stem + ".p12")
        openssl("pkcs12", "-export", "-inkey", self.path(stem + ".key"), "-in",
                self.path(stem + ".pem"), "-out", out, "-passout", "pass:" + password)
        return out

    def client(self, cert=None, key=None, version=None, alpn=None):
        """The settings of a client that trusts this authority alone."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(self.cert)
        if cert:
            context.load_cert_chain(cert, key)
        if version:
            context.minimum_version = context.maximum_version = version
        if alpn:
            context.set_alpn_protocols(alpn)
        return context

    def close(self):
        self.temporary.cleanup()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
