#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Workers are the program, run once more: what they have of their master, and what they refuse.

Programs and libraries are replaced in copies of the installed tree, never in the checkout.
"""
import contextlib
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.abspath(__file__ + "/../../../support"))
from common import ECHO, answers  # noqa: E402
from neaptest import (  # noqa: E402
    INSTRUMENTED, NEAP, ROOT, SECONDS, Failed, Server, Suite, alive, need, run_neap, wait_until)

suite = Suite("births")
LATE = SECONDS * 3
VERSION_FILE = "share/neap/lua/neap/runtime/version.lua"


def words(pid):
    with open("/proc/%d/cmdline" % pid, "rb") as f:
        return f.read().decode().split("\0")[:-1]


def status(pid):
    with open("/proc/%d/status" % pid) as f:
        return dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)


def replaced(server, pid, number=0):
    """The process of that worker once it is another than pid."""
    def other():
        for found in server.workers():
            with contextlib.suppress(OSError, IndexError):
                if found != pid and words(found)[0] == "neap: worker %d" % number and \
                        words(found)[1] == "_worker":
                    return found
        return None
    return wait_until(other, LATE, "a new worker")


# --- The command ------------------------------------------------------------------------------------

@suite.case("typed", "typed by hand, the worker's command refuses in words, status 2")
def typed():
    for args in ([], ["0"], ["1", ECHO], ["99", ECHO], ["x", ECHO], ["-1"], ["", ECHO], ["4294967296", ECHO]):
        done = run_neap("_worker", *args)
        need(done.returncode == 2, "%r: status %d" % (args, done.returncode))
        need(done.stderr.count("\n") == 1 and "`neap run` starts its workers" in done.stderr,
             "%r: %r" % (args, done.stderr))
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with ours, theirs:
        done = subprocess.run([NEAP, "_worker", str(theirs.fileno()), ECHO], pass_fds=[theirs.fileno()],
                              capture_output=True, text=True, timeout=LATE)
        need(done.returncode == 2, "a stream is no line: status %d" % done.returncode)


@suite.case("hidden", "no help page names it")
def hidden():
    for args in (["help"], ["--help"], ["help", "run"], ["help", "_worker"]):
        done = run_neap(*args)
        need("_worker" not in done.stdout, "%r names it: %s" % (args, done.stdout))


@suite.case("line", "what speaks otherwise than a master is refused, and told so")
def line():
    begin = struct.pack("=IIiid", 1, 11, 0, 1, 0).ljust(1960, b"\0")
    rows = ((struct.pack("=II", 77, 0), b"the master speaks version 77 of the line, this program 1"),
            (b"\1", b"the line does not begin as a master's does"),
            (begin, b"the line does not begin as a master's does"))
    for message, why in rows:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours:
            ours.send(message)
            with theirs:
                done = subprocess.run([NEAP, "_worker", str(theirs.fileno()), ECHO, "--", "0"], timeout=LATE,
                                      pass_fds=[theirs.fileno()], capture_output=True, text=True)
            need(done.returncode == 1, "%r: status %d, %s" % (why, done.returncode, done.stderr))
            told = b""
            while not told:
                told = ours.recv(4096)
            need(why in told, "%r instead of %r" % (told, why))


@suite.case("orphan", "a worker whose master has gone before it began ends quietly")
def orphan():
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.close()
    with theirs:
        done = subprocess.run([NEAP, "_worker", str(theirs.fileno()), ECHO, "--", "0"], timeout=LATE,
                              pass_fds=[theirs.fileno()], capture_output=True, text=True)
    need((done.returncode, done.stderr) == (0, ""), "status %d, %s" % (done.returncode, done.stderr))


# --- What a worker has ------------------------------------------------------------------------------

@suite.case("names", "ps tells the master from its workers, and shows the app")
def names():
    with Server(ECHO, args=["0", "two words"], options=["--workers", "2", "--drain", "5"]) as server:
        for number, pid in enumerate(sorted(server.workers(), key=lambda pid: words(pid)[0])):
            found = words(pid)
            need(found[0] == "neap: worker %d" % number, repr(found))
            need(found[3:] == words(server.pid)[2:], "%r, the master has %r" % (found, words(server.pid)))
            need(status(pid)["Name"] == status(server.pid)["Name"] == os.path.basename(NEAP), status(pid)["Name"])


@suite.case("signals", "a worker ignores and blocks no signal, and none of its children does")
def signals():
    with Server(ECHO, options=["--workers", "2"]) as server:
        for pid in server.workers():
            for kind in ("SigBlk", "SigIgn", "SigPnd", "ShdPnd"):
                # Above 31 are those of threads, which the C library keeps for itself, and those that nobody uses.
                need(int(status(pid)[kind], 16) & 0x7fffffff == 0, "%s is %s" % (kind, status(pid)[kind]))


def targets(pid):
    """What the descriptors of a process lead to, without numbers of sockets."""
    found = []
    for name in os.listdir("/proc/%d/fd" % pid):
        with contextlib.suppress(OSError):
            found.append((int(name), re.sub(r"\[\d+\]", "", os.readlink("/proc/%d/fd/%s" % (pid, name)))))
    return sorted(found)


@suite.case("descriptors", "a worker has its own descriptors, and none of the master's")
def descriptors():
    """Its line, its listening socket and a socket to each other worker; the lock; the loop's two."""
    with tempfile.TemporaryDirectory() as folder:
        server = Server(ECHO, options=["--workers", "3", "--pid-file", folder + "/pid", "--control", folder + "/sock"])
        with server:
            first = server.workers()
            for pid in first:
                need_expected(pid)
            os.kill(first[0], signal.SIGKILL)
            wait_until(lambda: len(server.workers()) == 3 and first[0] not in server.workers(), LATE, "a new worker")
            server.wait_log(r"worker ready")
            for pid in server.workers():
                wait_until(lambda pid=pid: unexpected(pid) is None, LATE,
                           "the descriptors of a worker: %s" % unexpected(pid))


def unexpected(pid):
    """What is wrong with a worker's descriptors, of three workers and with one listener, or None."""
    found = [(fd, what) for fd, what in targets(pid) if fd > 2]
    kinds = sorted(what for _, what in found)
    log = [what for what in kinds if what == "pipe:"]     # the log's own, when it goes into a pipe
    expected = sorted(["socket:"] * 4 + ["anon_inode:", "anon_inode:"] + log[:1])
    kinds = [re.sub(r"^anon_inode:.*", "anon_inode:", what) for what in kinds]
    locks = [what for what in kinds if what.startswith("/dev/shm/neap-") and what.endswith("/owner")]
    rest = [what for what in kinds if what not in locks]
    return None if len(locks) == 1 and rest == expected else repr(found)


def need_expected(pid):
    need(unexpected(pid) is None, "descriptors: %s" % unexpected(pid))


@suite.case("inherited", "what a shell has opened for the app reaches it")
def inherited():
    read, write = os.pipe()
    os.write(write, b"from outside")
    os.close(write)
    script = 'print(io.open("/dev/fd/" .. arg[1]):read("*a"))'
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as app:
        app.write(script)
        app.flush()
        done = subprocess.run([NEAP, "run", app.name, "--", str(read)], pass_fds=[read], capture_output=True, text=True,
                              timeout=LATE)
    os.close(read)
    need((done.returncode, done.stdout) == (0, "from outside\n"),
         "%d, %r, %s" % (done.returncode, done.stdout, done.stderr))


def layout(pid):
    """Where the program, the heap and the stack of a process lie."""
    found = {}
    with open("/proc/%d/maps" % pid) as f:
        for row in f:
            name = row.split(None, 5)[5].strip() if len(row.split(None, 5)) > 5 else ""
            for what in (os.path.realpath(NEAP), "[heap]", "[stack]", "libc.so.6"):
                if name == what or os.path.basename(name) == what:
                    found.setdefault(what, row.split("-")[0])
    return found


@suite.case("layout", "each life of a worker has a memory layout of its own")
def layouts():
    with open("/proc/sys/kernel/randomize_va_space") as f:
        if f.read().strip() == "0":
            raise Failed("this system does not randomize addresses at all")
    with Server(ECHO, options=["--workers", "2"]) as server:
        one, two = server.workers()
        seen = [layout(server.pid), layout(one), layout(two)]
        os.kill(one, signal.SIGKILL)
        wait_until(lambda: len(server.workers()) == 2 and one not in server.workers(), LATE, "a new worker")
        server.wait_log(r"worker ready")
        seen += [layout(pid) for pid in server.workers() if pid != two]
        need(len(seen) == 4 and all(seen), repr(seen))
        for what in seen[0]:
            places = [where.get(what) for where in seen]
            need(len(set(places)) == 4, "%s lies at %r" % (what, places))


# --- Lives ------------------------------------------------------------------------------------------

@suite.case("crash", "a worker that has crashed comes again, with the same port, and serves")
def crash():
    with Server(ECHO, options=["--workers", "1"]) as server:
        for n in range(1, 4):
            pid = server.workers()[0]
            os.kill(pid, signal.SIGABRT if n % 2 else signal.SIGKILL)
            replaced(server, pid)
            wait_until(lambda n=n: len(re.findall("worker ready", server.log())) == n, LATE, "it is ready again")
            need(answers(server.port), "it does not answer after death %d" % n)


@suite.case("killed", "a SIGKILLed master: its workers end, the folder in memory goes with the next server")
def killed():
    server = Server(ECHO, options=["--workers", "3", "--drain", "0"])
    pids = server.workers()
    locks = {what for pid in pids for _, what in targets(pid) if what.endswith("/owner")}
    need(len(locks) == 1, repr(locks))
    folder = os.path.dirname(locks.pop())
    os.kill(server.pid, signal.SIGKILL)
    wait_until(lambda: not any(alive(pid) for pid in pids), LATE, "the workers end")
    server.kill()
    need(os.path.isdir(folder), "the folder went with a master that was killed")
    with Server(ECHO):
        need(not os.path.exists(folder), "the folder of a dead server is left")


@suite.case("locked", "a worker that outlives its master keeps the folder in memory")
def locked():
    server = Server(ECHO, options=["--workers", "1"])
    pid = server.workers()[0]
    folder = os.path.dirname(next(what for _, what in targets(pid) if what.endswith("/owner")))
    os.kill(pid, signal.SIGSTOP)
    os.kill(server.pid, signal.SIGKILL)
    with Server(ECHO):
        need(os.path.isdir(folder), "the folder was removed under a living worker")
    os.kill(pid, signal.SIGCONT)
    wait_until(lambda: not alive(pid), LATE, "the worker ends")
    server.kill()


# --- Another program, another library ---------------------------------------------------------------

@contextlib.contextmanager
def installed():
    """A copy of the program and its library: the folder and the program's path."""
    with tempfile.TemporaryDirectory(prefix="neap-births-") as folder:
        os.mkdir(folder + "/bin")
        shutil.copy2(NEAP, folder + "/bin/neap")
        shutil.copytree(ROOT + "/lua", folder + "/share/neap/lua")
        yield folder, folder + "/bin/neap"


def set_version(folder, version):
    path = os.path.join(folder, VERSION_FILE)
    with open(path) as f:
        text = f.read()
    with open(path + ".new", "w") as f:
        f.write(re.sub(r'(?m)^return .*$', 'return "%s"' % version, text))
    os.replace(path + ".new", path)


def version():
    return run_neap("--version").stdout.split()[1]


def start(program, options, **more):
    """A server of another program than NEAP."""
    return Server(ECHO, options=options, program=program, **more)


@suite.case("library.start", "a library of another version: nothing starts, in words, status 1")
def library_at_start():
    with installed() as (folder, program):
        set_version(folder, "99.1")
        for command in ("run", "check"):
            done = subprocess.run([program, command, ECHO], capture_output=True, text=True, timeout=LATE)
            expected = "neap: the Lua library in %s/bin/../share/neap/lua is of version 99.1, this program of %s\n" % (
                folder, version())
            need((done.returncode, done.stderr) == (1, expected),
                 "%s: %d, %s" % (command, done.returncode, done.stderr))


@suite.case("library.later", "replaced under a running server: the next life is refused in words, and waits")
def library_later():
    with installed() as (folder, program), start(program, ["--workers", "2"]) as server:
        set_version(folder, "99.1")
        pids = server.workers()
        began = time.monotonic()
        os.kill(pids[0], signal.SIGKILL)
        said = server.wait_log(r"error worker \d cannot be started: (.*)$", LATE).group(1)
        need(said == "the Lua library in %s/bin/../share/neap/lua is of version 99.1, this program of %s; if the "
             "program or its library was replaced while the server runs, restart the server" % (folder, version()),
             said)
        wait_until(lambda: server.log().count("cannot be started") >= 3, LATE, "more attempts")
        need(time.monotonic() - began >= 0.1 + 0.2 + 0.4, "the master does not wait between its attempts")
        for _ in range(4):
            wait_until(lambda: answers(server.port), LATE, "an answer of the other worker")
        need(pids[1] in server.workers(), "the other worker was ended")
        set_version(folder, version())
        wait_until(lambda: len(server.workers()) == 2 and "worker ready" in server.log(), LATE, "it starts again")


@suite.case("library.gone", "a library that is gone is told of in the same way")
def library_gone():
    with installed() as (folder, program), start(program, ["--workers", "2"]) as server:
        os.rename(folder + "/share", folder + "/away")
        pids = server.workers()
        os.kill(pids[0], signal.SIGKILL)
        server.wait_log(r"cannot be started: the Lua library is missing: no %s/bin/\.\./share/neap/lua" % folder, LATE)
        os.rename(folder + "/away", folder + "/share")
        wait_until(lambda: len(server.workers()) == 2 and "worker ready" in server.log(), LATE, "it starts again")


@suite.case("program", "a program that was replaced or removed: the next life is the one that was started")
def replaced_program():
    with installed() as (folder, program), start(program, ["--workers", "1"]) as server:
        for n, replace in enumerate((lambda: os.symlink("/bin/false", program), lambda: None), 1):
            with contextlib.suppress(OSError):
                os.unlink(program)
            replace()
            pid = server.workers()[0]
            os.kill(pid, signal.SIGKILL)
            after = replaced(server, pid)
            wait_until(lambda n=n: server.log().count("worker ready") == n, LATE, "it is ready")
            need(answers(server.port), "it does not answer")
            need(status(after)["Name"] == "neap", "it is called %s" % status(after)["Name"])


WITHOUT_PROC = ["unshare", *([] if os.geteuid() == 0 else ["--user", "--map-root-user"]), "--mount", "sh", "-c",
                'mount -t tmpfs none /proc && exec "$@"', "sh"]


def without_proc(ident, what):
    """A case that needs a mount of its own; the sanitizers read /proc themselves."""
    if not INSTRUMENTED and subprocess.run([*WITHOUT_PROC, "true"], capture_output=True).returncode == 0:
        return suite.case(ident, what)
    return lambda fn: fn


@without_proc("no-proc", "without /proc nothing starts, in words, status 1")
def no_proc():
    for command, expected in (("run", "neap: workers cannot be started: /proc/self/exe, which names the program, "
                                      "cannot be read: No such file or directory; is /proc mounted?\n"),
                              ("check", "neap: the Lua library cannot be found: /proc/self/exe cannot be read: "
                                        "No such file or directory\n")):
        done = subprocess.run([*WITHOUT_PROC, NEAP, command, ECHO], capture_output=True, text=True, timeout=LATE)
        need((done.returncode, done.stderr) == (1, expected), "%s: %d, %s" % (command, done.returncode, done.stderr))


suite.main()
