#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The cases of conformance.py once more, on connections that have agreed to compress.

The server may compress every reply (the app's threshold is 0), and what is echoed is also sent
compressed, whole and in fragments. What RFC 7692 itself asks for is deflate.py's concern.

Left out: cases about the size of what the server sends, and about reserved bits.
"""
import fnmatch
import os

os.environ["CONFORMANCE_THRESHOLD"] = "0"

import common  # noqa: E402
from common import CONT, Failed, Raw, frame  # noqa: E402
from neaptest.client import RSV1  # noqa: E402
from neaptest.over import Run, pack  # noqa: E402

LEFT_OUT = ("*rsv*", "limits.outgoing*")
plain_echoes = common.echoes


def echoes(op, payload, parts=None, path="/big", apart=True):
    """The case as it is, then the same message compressed: whole, and in three frames."""
    plain_echoes(op, payload, parts, path, apart)
    packed = pack(payload.encode() if isinstance(payload, str) else payload)
    with common.ws(path) as c:
        third = len(packed) // 3
        if len(packed) <= 100 or path != "/small":
            c.send(frame(op, packed, rsv=RSV1))
            c.expect(op, payload)
        if third <= 100 or path != "/small":
            c.send(frame(op, packed[:third], fin=False, rsv=RSV1)
                   + frame(CONT, packed[third:2 * third], fin=False)
                   + frame(CONT, packed[2 * third:]))
            c.expect(op, payload)
        common.good_bye(c)


Raw.compress, common.echoes = True, echoes

import framing  # noqa: E402,F401 - each import adds its cases
import control  # noqa: E402,F401
import fragments  # noqa: E402,F401
import utf8  # noqa: E402,F401
import closing  # noqa: E402,F401

suite = common.suite
suite.name = suite.name.replace("conformance", "compressed")
suite.cases = [case for case in suite.cases
               if not any(fnmatch.fnmatch(case[0], pattern) for pattern in LEFT_OUT)]


@suite.final("end.compressed", "replies were compressed indeed")
def _():
    if Run.unpacked < 100:
        raise Failed("only %d messages were compressed" % Run.unpacked)


@suite.final("end.log", "no error in the log but those that were asked for; an orderly end")
def _():
    server = common.server()
    bad = [r for r in server.records("error") if not common.EXPECTED_ERRORS.search(
        r.message + " ".join(map(str, r.fields.values())))]
    if bad:
        raise Failed("%d unexpected errors, first %r" % (len(bad), bad[0]))
    common.good_bye(common.Shared.barrier)
    if server.stop() != 0:
        raise Failed("the server ended badly")


if __name__ == "__main__":
    suite.main()
