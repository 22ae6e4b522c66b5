# SPDX-License-Identifier: MIT
"""The figures that were counted before: read, held against what is counted now, and written.
"""
import os
import re
import subprocess

FIGURES = ("instructions", "libraries", "allocations", "lua", "syscalls")
MAY_RISE, MAY_FALL = 0.01, 0.03
ROUNDING = 0.002
PACKAGES = ("libc6", "libdeflate0", "libev4", "libluajit-5.1-2", "libssl3", "valgrind")
HEAD = """\
# SPDX-License-Identifier: MIT
#
# What a message costs, as tests/guard/run counts it and --update writes it. A commit that changes
# a figure changes it here and says why.
#
#   instructions  of Neap, LuaJIT's interpreter and libev
#   libraries     instructions of the C library, OpenSSL, libdeflate and all others
#   allocations   calls of malloc and its like
#   lua           bytes allocated for Lua
#   syscalls      calls of the system
#
# Counted with: %s
#
"""
ROW = "%-12s" + "%14s" * len(FIGURES) + "\n"


def tools():
    """What the figures depend on besides the source: the compiler, the libraries, the counter."""
    gcc = subprocess.run(["gcc", "-dumpfullversion"], capture_output=True, text=True).stdout.strip()
    listed = subprocess.run(["dpkg-query", "-W", "-f", "${Package} ${Version}, ", *PACKAGES],
                            capture_output=True, text=True).stdout
    return "gcc %s, %s" % (gcc, listed.rstrip(", "))


def written(value):
    return ("%.3f" % value).rstrip("0").rstrip(".") if value < 100 else "%.0f" % value


class Figures:
    """The file of figures: {workload: {figure: number}}, and the tools it was counted with."""

    def __init__(self, path):
        self.path, self.known, self.tools = path, {}, None
        if os.path.exists(path):
            with open(path) as f:
                self._read(f.read())

    def _read(self, text):
        self.tools = re.search(r"^# Counted with: (.*)$", text, re.M).group(1)
        for line in text.split("\n"):
            if line and not line.startswith("#"):
                name, *values = line.split()
                self.known[name] = dict(zip(FIGURES, map(float, values), strict=True))

    def update(self, measured):
        """Writes what was measured; other workloads keep their rows."""
        self.known.update(measured)
        with open(self.path, "w") as f:
            f.write(HEAD % tools() + ROW.replace("%-12s", "# %-10s", 1) % ("a message", *FIGURES))
            for name, figures in self.known.items():
                f.write(ROW % (name, *(written(figures[figure]) for figure in FIGURES)))

    def judge(self, measured):
        """Prints what differs, and returns in how many workloads something does."""
        failed = 0
        self.same_tools = tools() == self.tools
        for name, figures in measured.items():
            problems = list(self._problems(name, figures))
            failed += bool(problems)
            for problem in problems:
                print("FAIL %s: %s" % (name, problem))
        if failed:
            print("When that is meant to be: tests/guard/run --update, and the commit says why.")
            if not self.same_tools:
                print("The tools have changed, which may be all there is to it:\n  then: %s\n  now:  %s"
                      % (self.tools, tools()))
        return failed

    def _problems(self, name, figures):
        if isinstance(figures, str):
            yield "could not be measured: " + figures
            return
        if name not in self.known:
            yield "has no figures yet"
            return
        before = self.known[name]
        for figure in FIGURES:
            then, now = before[figure], figures[figure]
            if figure == "libraries" and not self.same_tools:
                continue        # what others' code takes in another version of theirs is not ours to judge
            # What the libraries take is luck where it is little: a comparison of strings more or less.
            base = then + before["instructions"] if figure == "libraries" else then
            change = "%s %s a message, before %s" % (written(now), figure, written(then))
            if now > then + base * MAY_RISE + ROUNDING:
                yield "%s: more than 1 %% too many" % change
            elif now < then - base * MAY_FALL - ROUNDING:
                yield "%s: better by more than 3 %%; the figure must follow, so that it stays so" % change
