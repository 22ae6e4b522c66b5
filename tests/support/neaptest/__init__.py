# SPDX-License-Identifier: MIT
"""Harness of the end-to-end tests: start a server, speak raw WebSocket to it, count what passed.

    Server     one `neap run` in a session of its own: ports, workers, log, RSS, descriptors
    Raw        one client connection that can send any bytes, also wrong ones
    frame      encodes one frame, also a wrong one
    Bystander  a well-behaved connection that must stay quick whatever the others do
    Authority  certificates for TLS, made on the spot
    Suite      a table of cases, run in order, `N passed, N failed` at the end
    over       the same cases over TLS and compressed
    behaviour  an app that notes every callback, and questions about its notes (imported by itself)

This is not a WebSocket library: nothing is corrected or answered behind the test's back. What
the *server* sends is checked strictly (RFC 6455 §5.1: unmasked, §5.2: minimal length, §5.5:
control frames short and whole), so that every test of any suite also tests that.

Environment:
    NEAP          the program (default: build/neap of this checkout)
    NEAP_SLACK    factor on time limits (default 1; 8 for a program in a folder named *asan* etc.)
    NEAP_OVER     "tls", "deflate" or both: what everything runs over (over.py)
    NEAP_WRAP     words put before the program, e.g. "valgrind -q"

Only Debian's /usr/bin/python3 and its standard library are needed.
"""
import sys

sys.dont_write_bytecode = True        # nothing but build/ is ever written in the checkout

from . import over  # noqa: F401
from .basics import APPS, INSTRUMENTED, NEAP, ROOT, RUNTIME, SECONDS, SLACK, Failed, need, wait_until  # noqa: F401
from .certs import Authority, openssl  # noqa: F401
from .client import Bystander, Raw  # noqa: F401
from .process import (  # noqa: F401
    alive, children, cpu, fds, no_sanitizer_report, rss, run_neap)
from .server import LogLine, Once, Server, kill_all  # noqa: F401
from .suite import Suite  # noqa: F401
from .wire import (  # noqa: F401
    BINARY, CLOSE, CONT, PING, PONG, TEXT, Response, accept_value, brief, close_payload, frame,
    mask_bytes, request)
