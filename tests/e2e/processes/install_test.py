#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""`make install`: the installed program finds its library and serves, from any working directory,
and `make uninstall` leaves nothing behind.
"""
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.abspath(__file__ + "/../../../support"))
from neaptest import NEAP, ROOT, Failed, Suite, no_sanitizer_report  # noqa: E402

suite = Suite("install")
FOLDER = tempfile.TemporaryDirectory(prefix="neap-install-")
PREFIX = FOLDER.name + "/usr"
# build/neap is the release, build/VARIANT/neap any other.
ABOVE = os.path.basename(os.path.dirname(NEAP))
VARIANT = ABOVE if ABOVE in ("asan", "cov") else "release"


def make(target, *settings):
    done = subprocess.run(
        ["make", target, "VARIANT=" + VARIANT, *settings], cwd=ROOT, capture_output=True,
        text=True)
    if done.returncode:
        raise Failed("make %s: status %d\n%s" % (target, done.returncode, done.stderr))


def files(folder):
    found = []
    for base, _, names in os.walk(folder):
        found += [os.path.relpath(os.path.join(base, name), folder) for name in names]
    return sorted(found)


def library():
    return ["share/neap/lua/" + path for path in files(ROOT + "/lua") if path.endswith(".lua")]


def runs(prefix):
    script = FOLDER.name + "/script.lua"
    with open(script, "w") as f:
        f.write('print(require("neap.json").encode { installed = true })')
    done = subprocess.run([prefix + "/bin/neap", "run", script], cwd="/", capture_output=True,
                          text=True, timeout=60)
    no_sanitizer_report(done.stderr)
    if done.returncode or done.stdout != '{"installed":true}\n':
        raise Failed("status %d, %r, %r" % (done.returncode, done.stdout, done.stderr))


@suite.case("install.prefix", "the program and every module of the library, and nothing else")
def _():
    make("install", "PREFIX=" + PREFIX)
    if files(PREFIX) != sorted(["bin/neap"] + library()):
        raise Failed("installed: %r" % files(PREFIX))


@suite.case("install.runs", "it runs an app, outside of the checkout")
def _():
    runs(PREFIX)


@suite.case("install.moved", "the installed tree can be moved as a whole")
def _():
    moved = FOLDER.name + "/elsewhere"
    os.rename(PREFIX, moved)
    runs(moved)
    os.rename(moved, PREFIX)


@suite.case("install.uninstall", "nothing is left")
def _():
    make("uninstall", "PREFIX=" + PREFIX)
    if files(PREFIX):
        raise Failed("left: %r" % files(PREFIX))


@suite.case("install.destdir", "DESTDIR comes before PREFIX and is not part of it")
def _():
    make("install", "PREFIX=/opt/neap", "DESTDIR=" + FOLDER.name + "/stage")
    runs(FOLDER.name + "/stage/opt/neap")


suite.main()
