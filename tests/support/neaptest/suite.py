# SPDX-License-Identifier: MIT
"""A table of cases, run in order: each failure with its id and reason, then the count.
"""
import fnmatch
import sys
import threading
import time
import traceback

from .basics import Failed
from . import over
from .server import kill_all


class Suite:
    """A table of cases, each a function without arguments that raises when it fails.

        suite = Suite("name")

        @suite.case("group.what", "one line about it")
        def _(): ...

        sys.exit(suite.main())          # main() exits by itself when called plainly

    Arguments of the program: ids or patterns (`close.*`) to run only those, `-v` prints each
    case with its time, `-l` lists them, `-x` stops at the first failure (else at the hundredth:
    each may cost a whole deadline).
    """
    MOST_FAILURES = 100

    def __init__(self, name):
        self.name, self.cases, self.finals = " over ".join([name, *sorted(over.OVER)]), [], []
        self.left_out = []
        self.ids = set()

    def add(self, ident, what, fn, background=False):
        """Add a case. Background cases (those that wait for a timeout) run beside the others."""
        if ident in self.ids:
            raise ValueError("two cases are called " + ident)
        self.ids.add(ident)
        self.cases.append((ident, what, fn, background))

    def case(self, ident, what="", background=False):
        def take(fn):
            self.add(ident, what, fn, background)
            return fn
        return take

    def final(self, ident, what=""):
        """A case that always runs, after all others (the log is clean, the worker the same)."""
        def take(fn):
            self.ids.add(ident)
            self.finals.append((ident, what, fn, False))
            return fn
        return take

    def not_over(self, what, reasons):
        """Cases that do not apply over "tls" or "deflate": {id or pattern: why}. Known ones only."""
        for pattern, why in reasons.items():
            found = [c for c in self.cases if fnmatch.fnmatch(c[0], pattern)]
            if not found:
                raise ValueError("there is no case %s to be left out" % pattern)
            if what in over.OVER:
                self.cases = [c for c in self.cases if c not in found]
                self.left_out += [(c[0], why) for c in found]

    def main(self, argv=None):
        """Run, print, and exit: 0 when something ran and nothing failed."""
        argv = sys.argv[1:] if argv is None else argv
        flags = {a for a in argv if a.startswith("-")}
        wanted = [a for a in argv if not a.startswith("-")]
        chosen = [c for c in self.cases
                  if not wanted or any(fnmatch.fnmatch(c[0], w) for w in wanted)]
        if "-l" in flags:
            for ident, what, _, _ in chosen + self.finals:
                print("%-44s %s" % (ident, what))
            for ident, why in self.left_out:
                print("%-44s left out: %s" % (ident, why))
            sys.exit(0)
        began = time.monotonic()
        results = self._run_all(chosen, flags)
        failed = sum(1 for ok in results if not ok)
        print("%s: %d cases in %.1f s" % (self.name, len(results), time.monotonic() - began))
        if not chosen:
            print("no case is called so: %s" % " ".join(wanted))
        print("%d passed, %d failed" % (len(results) - failed, failed), flush=True)
        kill_all()
        sys.exit(1 if failed or not chosen else 0)

    def _run_all(self, chosen, flags):
        results, threads = [], []
        for case in chosen:
            if case[3]:
                thread = threading.Thread(
                    target=lambda c=case: results.append(self._run(c, flags)), daemon=True)
                thread.start()
                threads.append(thread)
        most = 1 if "-x" in flags else self.MOST_FAILURES
        for case in chosen:
            if not case[3]:
                results.append(self._run(case, flags))
                if results.count(False) >= most:
                    print("gave up after %d failures" % most)
                    break
        for thread in threads:
            thread.join()
        if chosen:
            results += [self._run(case, flags) for case in self.finals]
        if over.OVER and len(chosen) == len(self.cases):
            results.append(self._run(("end.over", "it was about that", self._check_over, False), flags))
        return results

    @staticmethod
    def _check_over():
        run = over.Run
        if over.TLS and not run.secured or over.DEFLATE and not run.packed:
            raise Failed("%d connections over TLS, %d compressed messages" % (run.secured, run.packed))

    def _run(self, case, flags):
        ident, what, fn, _ = case
        began = time.monotonic()
        try:
            fn()
        except Exception as err:        # a case may fail in any way; the suite goes on
            text = "FAIL %s (%s)\n     %s" % (ident, what, str(err) or repr(err))
            if not isinstance(err, Failed):
                text += "\n" + "".join(traceback.format_exception(err)[-4:])
            print(text, flush=True)
            return False
        if "-v" in flags:
            print("ok   %s %.0f ms" % (ident, (time.monotonic() - began) * 1000), flush=True)
        return True
