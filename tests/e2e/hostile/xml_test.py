#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Hostile XML for a callback that is bound to it: documents that were made to cost much, to read
files, or to be taken for another. Each is answered, or its connection ended with 1003; nobody else
notices.
"""
from target import BINARY, SECONDS, TEXT, Raw, Suite, Target, frame

MESSAGE = 1 << 20
suite = Suite("hostile_xml")
target = Target(r"""
local websocket = require "neap.websocket"
local listener = websocket.listener(0, { host = "127.0.0.1" })
listener:attach("/echo", { onMessage = function(_, _, data) return data end })
listener:attach("/xml", { maxFrameSize = 2 ^ 20 }, {
  onMessage = websocket.bind("xml", function(_, _, element) return element.tag end),
})
""")


def document(ident, what, data, tag=None, opcode=TEXT, **options):
    """A document: the tag that is read, or None for 1003."""
    data = data if isinstance(data, bytes) else data.encode()

    def act():
        with Raw(target.port, "/xml", seconds=SECONDS * 4) as c:
            c.send(frame(opcode, data))
            if tag is None:
                c.expect_close(1003, reply=True)
            else:
                c.expect(TEXT, tag)
    target.add(suite, ident, what, act, **options)


def fill(start, piece, end):
    return start + piece * ((MESSAGE - len(start) - len(end)) // len(piece)) + end


LAUGHS = "".join('<!ENTITY a%d "%s">' % (i, ("&a%d;" % (i - 1)) * 10) for i in range(1, 10))
LONG = {"grow": 8 << 20}         # the collector has no haste with a text of 1 MiB
LARGE = {"grow": 160 << 20, "crowd": False}      # tables of a million members; collected in time

document("plain", "the plain way", "<a b='1'>text</a>", "a")
document("laughs", "a billion laughs", '<!DOCTYPE a [<!ENTITY a0 "lol">%s]><a>&a9;</a>' % LAUGHS)
document("quadratic", "one long entity, many times",
         fill('<!DOCTYPE a [<!ENTITY x "%s">]><a>' % ("x" * (MESSAGE // 2)), "&x;", "</a>"), **LONG)
document("file", "an entity that is a file",
         '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>')
document("parameter", "a parameter entity that is a file",
         '<!DOCTYPE a [<!ENTITY % p SYSTEM "file:///etc/passwd"> %p;]><a/>')
document("doctype", "a DOCTYPE that declares nothing", "<!DOCTYPE a><a/>")
document("doctype.open", "a DOCTYPE without end", fill("<!DOCTYPE a [", "<!ENTITY x 'y'>", ""), **LONG)
document("entity", "an entity that nobody declared", "<a>&x;</a>")
document("depth", "128 elements deep", "<a>" * 128 + "</a>" * 128, "a")
document("depth.129", "129 elements deep", "<a>" * 129 + "</a>" * 129)
document("depth.open", "340,000 elements deep", fill("", "<a>", ""), **LONG)
document("attributes", "256 attributes", "<a%s/>" % "".join(" a%d=''" % i for i in range(256)), "a")
document("attributes.many", "80,000 attributes",
         "<a%s/>" % "".join(" a%d=''" % i for i in range(80000)), grow=32 << 20)
document("attribute.long", "a value of nearly 1 MiB", fill('<a b="', "x", '"/>'), "a", **LONG)
document("attribute.open", "a value without end", fill('<a b="', "x", ""), **LONG)
document("name.long", "a name of nearly 1 MiB", fill("<", "n", "/>"), "n" * (MESSAGE - 3), **LONG)
document("comment.open", "a comment without end", fill("<a><!-- ", "- ", ""), **LONG)
document("references", "200,000 references", fill("<a>", "&#60;", "</a>"), "a", **LONG)
document("sections", "70,000 sections in one text", fill("<a>", "x<![CDATA[y]]>", "</a>"), "a", **LONG)
document("elements", "260,000 elements", fill("<a>", "<b/>", "</a>"), "a", **LARGE)
document("roots", "two elements at the top", "<a/><b/>")
document("empty", "nothing at all", "")
document("nul", "a NUL behind the element", "<a/>\0")
document("utf-16", "UTF-16 with its mark", "<a/>".encode("utf-16"), opcode=BINARY)
document("utf-16.declared", "UTF-8 that says it were UTF-16",
         '<?xml version="1.0" encoding="UTF-16"?><a/>')
document("latin-1", "Latin-1",
         '<?xml version="1.0" encoding="ISO-8859-1"?><a>\u00e9</a>'.encode("latin-1"), opcode=BINARY)
document("overlong", "an overlong character", b"<a>\xc0\xbc</a>", opcode=BINARY)
document("surrogate", "a surrogate by number", "<a>&#xD800;</a>")
document("control", "a control character by number", "<a>&#1;</a>")

target.add_crowd(suite)
target.add_finals(suite, [])

if __name__ == "__main__":
    suite.main()
