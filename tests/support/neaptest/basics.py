# SPDX-License-Identifier: MIT
"""What all of the harness stands on: where things are, how long to wait, what a failure is.

NEAP_SLACK multiplies every limit; a sanitizer's build gets 8 by itself.
"""
import os
import re
import tempfile
import time

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), *[os.pardir] * 3))
APPS = os.path.join(ROOT, "apps")
NEAP = os.path.abspath(os.environ.get("NEAP") or os.path.join(ROOT, "build", "neap"))
INSTRUMENTED = bool(re.search(r"/(asan|tsan|ubsan|cov|valgrind)[^/]*/", NEAP)) or \
    "NEAP_WRAP" in os.environ
SLACK = float(os.environ.get("NEAP_SLACK") or (8 if INSTRUMENTED else 1))
SECONDS = 5.0 * max(1.0, SLACK / 2)     # default deadline for anything that should just happen

# Where control sockets of this run are, and are looked for: `neap stop` of a person, or of another test, finds none of
# its servers, and its own finds nobody else's.
RUNTIME = tempfile.TemporaryDirectory(prefix="neaptest-run-")
os.environ.update(XDG_RUNTIME_DIR=RUNTIME.name, TMPDIR=RUNTIME.name)


class Failed(AssertionError):
    """The server did something else than the test expected."""


def need(condition, what):
    if not condition:
        raise Failed(what)


def wait_until(fn, seconds=None, what=None):
    """Call fn until it returns something true, and return that. Fails after `seconds`."""
    seconds = SECONDS if seconds is None else seconds
    deadline = time.monotonic() + seconds
    pause = 0.001
    while True:
        value = fn()
        if value:
            return value
        if time.monotonic() > deadline:
            raise Failed("did not happen within %g s: %s" % (seconds, what or fn.__name__))
        time.sleep(pause)
        pause = min(pause * 1.5, 0.05)
