# SPDX-License-Identifier: MIT
"""What the checks of the tree share: which files there are, and how a check counts and reports.

A check looks at files that git knows or would know (build/ and other ignored files never), counts
each file as passed or failed, and prints `N passed, N failed` as its last line.
"""
import os
import shlex
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
os.chdir(ROOT)


def files(*suffixes, under=""):
    """Paths from the root, sorted; those that end with one of the suffixes, or all."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        capture_output=True, check=True, text=True).stdout.split("\0")
    chosen = {path for path in listed if path.startswith(under) and os.path.isfile(path)}
    return sorted(path for path in chosen if not suffixes or path.endswith(suffixes))


def is_input(path):
    """Bytes for the fuzzers: not text, and nobody's style."""
    return path.startswith(("tests/fuzz/corpus/", "tests/fuzz/found/")) and not path.endswith("README.md")


def text_files():
    return [path for path in files() if not is_input(path) and b"\0" not in read_bytes(path)]


def shell_scripts():
    return [path for path in files() if read_bytes(path).startswith((b"#!/bin/sh", b"#!/bin/bash"))]


def read_bytes(path):
    with open(path, "rb") as f:
        return f.read()


def read(path):
    return read_bytes(path).decode("utf-8", "replace")


def c_flags():
    """The preprocessor and warning flags of the Makefile, as a list."""
    flags = subprocess.run(["make", "-s", "cflags"], capture_output=True, check=True, text=True)
    return shlex.split(flags.stdout)


class Report:
    """Counts what was looked at; `finish` prints the last line and ends the program."""

    def __init__(self):
        self.passed, self.failed = 0, 0

    def add(self, path, problems):
        """One file or subject, with the problems found in it (lines of text; none: it passed)."""
        for problem in problems:
            print("FAIL %s%s%s" % (path, ":" if problem[:1].isdigit() else ": ", problem))
        self.passed += not problems
        self.failed += bool(problems)
        sys.stdout.flush()

    def finish(self):
        print("%d passed, %d failed" % (self.passed, self.failed))
        sys.exit(1 if self.failed or not self.passed else 0)
