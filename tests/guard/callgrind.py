# SPDX-License-Identifier: MIT
"""What callgrind counted between two moments: reads one of its dumps.

A dump is a list of functions with the cost of their own lines, and of calls with the cost of what
they called. Names are written once and a number stands for them from then on.
"""
import os
import re
from collections import Counter

ALLOCATORS = {"malloc", "calloc", "realloc", "posix_memalign", "aligned_alloc", "memalign", "reallocarray"}
NAME = re.compile(r"(?:ob|cob|fn|cfn)=(?:\((\d+)\))? ?(.*)")


class Counts:
    """Counters: instructions by (object, function), system calls and allocations by function."""

    def __init__(self, path):
        self.instructions, self.calls, self.allocations = Counter(), Counter(), Counter()
        self.objects, self.functions = {}, {}
        self.trigger, self.totals = None, None
        with open(path) as f:
            self._read(f)

    @staticmethod
    def _name(line, known):
        number, name = NAME.match(line).groups()
        if number is None:
            return name
        if name:
            known[number] = name
        return known[number]

    def _read(self, lines):
        ob = fn = called = None
        for line in lines:
            if line.startswith("ob="):
                ob = os.path.basename(self._name(line, self.objects))
            elif line.startswith("fn="):
                fn = self._name(line, self.functions)
            elif line.startswith("cob="):
                self._name(line, self.objects)
            elif line.startswith("cfn="):
                called = self._name(line, self.functions)
            elif line.startswith("calls="):
                self._call(called, int(line[6:].split()[0]))
                next(lines)
            elif line[0].isdigit() or line[0] in "+-*":
                self._cost(ob, fn, line.split()[1:])
            else:
                self._head(line)

    def _call(self, called, times):
        if called.split("'")[0] in ALLOCATORS:
            self.allocations[called.split("'")[0]] += times

    def _cost(self, ob, fn, costs):
        self.instructions[ob, fn] += int(costs[0])
        if len(costs) > 1 and costs[1] != "0":
            self.calls[fn] += int(costs[1])

    def _head(self, line):
        word, _, rest = line.partition(":")
        if word == "desc" and rest.startswith(" Trigger:"):
            self.trigger = rest.rpartition(":")[2].strip()
        elif word == "totals":
            self.totals = [int(n) for n in rest.split()]
        elif word == "events" and rest.split()[:2] != ["Ir", "sysCount"]:
            raise ValueError("other events than expected: %s" % rest)
