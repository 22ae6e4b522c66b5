# SPDX-License-Identifier: MIT
"""Processes seen from outside, through /proc: memory, descriptors, processor time, children.

Also running the program to its end, and the look for a sanitizer's report in what it wrote.
"""
import os
import re
import shlex
import subprocess

from .basics import NEAP, SECONDS, Failed

SANITIZER = re.compile(r"ERROR: AddressSanitizer|runtime error:|LeakSanitizer|ThreadSanitizer"
                       r"|UndefinedBehaviorSanitizer|AddressSanitizer:DEADLYSIGNAL")


def rss(pid):
    """Resident memory of a process in bytes; 0 when it is gone."""
    try:
        with open("/proc/%d/status" % pid) as f:
            found = re.search(r"VmRSS:\s+(\d+)", f.read())
    except OSError:
        return 0
    return int(found.group(1)) * 1024 if found else 0


def fds(pid):
    """Number of open descriptors of a process; 0 when it is gone."""
    try:
        return len(os.listdir("/proc/%d/fd" % pid))
    except OSError:
        return 0


def cpu(pid):
    """Processor time that a process has used, in seconds."""
    with open("/proc/%d/stat" % pid) as f:
        fields = f.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def alive(pid):
    """Whether a process exists and is no zombie."""
    try:
        with open("/proc/%d/stat" % pid) as f:
            return f.read().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


def children(pid):
    """Living child processes, in order of their ids."""
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open("/proc/%s/stat" % name) as f:
                fields = f.read().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid and fields[0] not in ("Z", "X"):
            found.append(int(name))
    return sorted(found)


def run_neap(*args, seconds=None, stdin=b"", env=None, cwd=None):
    """Run the program to its end. Returns a CompletedProcess with text in stdout and stderr."""
    result = subprocess.run(
        shlex.split(os.environ.get("NEAP_WRAP", "")) + [NEAP] + [str(a) for a in args],
        input=stdin, capture_output=True, cwd=cwd, timeout=seconds or SECONDS * 2,
        env=dict(os.environ, **(env or {})))
    result.stdout = result.stdout.decode("utf-8", "replace")
    result.stderr = result.stderr.decode("utf-8", "replace")
    no_sanitizer_report(result.stderr)
    return result


def no_sanitizer_report(text):
    found = SANITIZER.search(text)
    if found:
        start = max(0, found.start() - 200)
        raise Failed("sanitizer report in the log:\n" + text[start:start + 6000])
