#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Conformance of the server to RFC 6455, case by case, against the real program.

    tests/conformance/conformance.py             all cases
    tests/conformance/conformance.py 'utf8.*'    some of them
    tests/conformance/conformance.py -l          what there is
    tests/conformance/conformance.py --tls       all of them over TLS

The cases are in one file a group; app.lua is the app they talk to, common.py the kinds of case.
One server process serves them all, so at the end it must be the same worker that lived through
them, with its descriptors back, and a log without complaints.
"""
import common

import framing  # noqa: F401 - each import adds its cases
import control  # noqa: F401
import fragments  # noqa: F401
import utf8  # noqa: F401
import closing  # noqa: F401
import handshake  # noqa: F401

from common import EXPECTED_ERRORS, Failed, Shared, server, suite, wait_until


@suite.final("end.worker", "the worker is the one that was started")
def _():
    if server().workers() != Shared.workers:
        raise Failed("worker changed from %r to %r" % (Shared.workers, server().workers()))


@suite.final("end.descriptors", "every connection's descriptor is closed again")
def _():
    common.barrier()
    if Shared.descriptors is None:
        raise Failed("no count from the start")
    wait_until(lambda: server().fds() <= Shared.descriptors,
               what="%d descriptors, now %d" % (Shared.descriptors, server().fds()))


@suite.final("end.log", "no error in the log but those that were asked for")
def _():
    bad = [r for r in server().records("error")
           if not EXPECTED_ERRORS.search(r.message + " ".join(map(str, r.fields.values())))]
    if bad:
        raise Failed("%d unexpected errors, first %r" % (len(bad), bad[0]))


@suite.final("end.stop", "the server ends in order, without a sanitizer report")
def _():
    server()
    common.good_bye(Shared.barrier)     # a client that does not answer the 1001 is waited for
    status = server().stop()
    if status != 0:
        raise Failed("ended with %d" % status)


if __name__ == "__main__":
    suite.main()
