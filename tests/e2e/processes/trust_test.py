#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Files that somebody else has made where ours are looked for: control sockets, their folders, pid files.

What only root can stage (files and processes of another user) is left out for others, and named at the end.
"""
import contextlib
import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading

sys.path.insert(0, os.path.abspath(__file__ + "/../../../support"))
from neaptest import APPS, SECONDS, Server, Suite, need, run_neap, wait_until  # noqa: E402

suite = Suite("trust")
ECHO = os.path.join(APPS, "echo")
NOBODY = 65534
COMMANDS = ("status", "stop", "reload")
left_out = []


def as_root(ident, what):
    """A case that needs files of another user."""
    if os.geteuid() == 0:
        return suite.case(ident, what)
    left_out.append(ident)
    return lambda fn: fn


@contextlib.contextmanager
def place():
    """(folder that anybody may write to, as /tmp is; environment in which default sockets are looked for there)"""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o1777)
        yield folder, {"XDG_RUNTIME_DIR": "", "TMPDIR": folder}


def default_folder(folder):
    return os.path.join(folder, "neap-%d" % os.geteuid())


SPOOF = """
import os, socket, sys
path, answer = sys.argv[1], sys.argv[2].encode().decode("unicode_escape").encode("latin-1")
os.umask(0o077)
if sys.argv[3] == "folder":
    os.mkdir(os.path.dirname(path))
s = socket.socket(socket.AF_UNIX)
s.bind(path)
s.listen()
print("listening", flush=True)
while True:
    c, _ = s.accept()
    got = c.recv(100)
    print("got %r" % got, flush=True)
    try:
        c.sendall(answer)
    except OSError:     # it only wanted to know whether somebody is there
        pass
    c.close()
"""


@contextlib.contextmanager
def spoof(path, answer="\x1b[31mred\x9b\nok\n", user=None, makes="socket"):
    """A process that answers any command on a socket at `path`; yields the lines that it has printed so far."""
    lines = []
    proc = subprocess.Popen(["/usr/bin/python3", "-c", SPOOF, path, answer.encode("unicode_escape"), makes],
                            stdout=subprocess.PIPE, text=True, user=user, extra_groups=[] if user else None)

    def read():
        for line in proc.stdout:
            lines.append(line.rstrip("\n"))
    thread = threading.Thread(target=read)
    thread.start()
    try:
        wait_until(lambda: "listening" in lines, what="the other program listens")
        yield lines
    finally:
        proc.kill()
        proc.wait()
        thread.join()


def refused(done, lines, why):
    """The command has failed and said why, printed nothing of the other's, and sent nothing to it."""
    need(done.returncode == 1, "status %d: %r %r" % (done.returncode, done.stdout, done.stderr))
    need(why in done.stderr, done.stderr)
    need(not done.stdout and "red" not in done.stderr and "\x1b" not in done.stderr, repr((done.stdout, done.stderr)))
    need(not [line for line in lines if line.startswith("got") and line != "got b''"], repr(lines))


# --- Who asks ---------------------------------------------------------------------------------------

@as_root("ask.folder", "a default folder that another user has made is not looked into")
def _():
    with place() as (folder, env):
        path = os.path.join(default_folder(folder), "1.sock")
        with spoof(path, user=NOBODY, makes="folder") as lines:
            for command in COMMANDS:
                refused(run_neap(command, env=env), lines, "is not trusted: it belongs to user %d" % NOBODY)


@suite.case("ask.open-folder", "nor one that others may write to, or that a link leads to")
def _():
    with place() as (folder, env):
        ours = default_folder(folder)
        os.mkdir(ours)
        with spoof(os.path.join(ours, "1.sock")) as lines:
            for mode in (0o777, 0o720, 0o702):
                os.chmod(ours, mode)
                for command in COMMANDS:
                    refused(run_neap(command, env=env), lines, "is not trusted: others may write to it")
            os.chmod(ours, 0o700)
            os.rename(ours, ours + "-moved")
            os.symlink(ours + "-moved", ours)
            for command in COMMANDS:
                refused(run_neap(command, env=env), lines, "is not trusted: it is not a folder")


def each_way(path, env):
    """Each command, by the default place and by --control."""
    for command in COMMANDS:
        yield run_neap(command, env=env)
        yield run_neap(command, "--control", path, env=env)


@as_root("ask.socket", "a socket, or a server, of another user in a folder of ours")
def _():
    with place() as (folder, env):
        ours = default_folder(folder)
        path = os.path.join(ours, "1.sock")
        os.mkdir(ours, 0o700)
        with spoof(path) as lines:
            os.chown(path, NOBODY, -1)
            for done in each_way(path, env):
                refused(done, lines, "1.sock is not trusted: it belongs to user %d" % NOBODY)
            os.chown(path, 0, -1)
            os.chmod(path, 0o666)
            for done in each_way(path, env):
                refused(done, lines, "1.sock is not trusted: others may write to it")
        os.unlink(path)
        os.chmod(ours, 0o777)
        with spoof(path, user=NOBODY) as lines:
            os.chmod(ours, 0o700)
            os.chown(path, 0, 0)
            for done in each_way(path, env):
                refused(done, lines, "1.sock is not trusted: its process is of user %d" % NOBODY)


@suite.case("ask.no-socket", "what is no socket is told so, a link to one too")
def _():
    with place() as (folder, env):
        ours = default_folder(folder)
        os.mkdir(ours, 0o700)
        path, real = os.path.join(ours, "1.sock"), os.path.join(folder, "real")
        with spoof(real) as lines:
            for make in (lambda: os.symlink(real, path), lambda: os.mkfifo(path), lambda: open(path, "w").close()):
                make()
                for done in each_way(path, env):
                    refused(done, lines, "1.sock is not trusted: it is not a socket")
                os.unlink(path)


@suite.case("ask.escapes", "what a server answers cannot drive the terminal")
def _():
    with place() as (folder, env):
        ours = default_folder(folder)
        os.mkdir(ours, 0o700)
        path = os.path.join(ours, "1.sock")
        with spoof(path):
            for done in each_way(path, env):
                need(done.stdout == "\\x1b[31mred\\x9b\n" and done.returncode == 0, repr((done.stdout, done.stderr)))
        os.unlink(path)
        with spoof(path, "error: \x1b]0;title\x07\n"):
            for done in each_way(path, env):
                need(done.stderr == "neap: \\x1b]0;title\\x07\n" and done.returncode == 1, repr(done.stderr))
        done = run_neap("status", "--control", "/nowhere/\x1b[2J", env=env)
        need("/nowhere/\\x1b[2J" in done.stderr and "\x1b" not in done.stderr, repr(done.stderr))


# --- The server ---------------------------------------------------------------------------------------

def control_files(folder):
    return [name for name in os.listdir(folder) if name.endswith(".sock")]


@suite.case("serve.open-folder", "a server makes no socket in a folder that others may write to, or behind a link")
def _():
    with place() as (folder, env):
        ours = default_folder(folder)
        os.mkdir(ours)
        os.chmod(ours, 0o777)
        with Server(ECHO, env=env) as s:
            need("no control socket in %s: others may write to it" % ours in s.log(), s.log())
            need(not control_files(ours), "a socket is there")
        os.chmod(ours, 0o700)
        os.rename(ours, ours + "-moved")
        os.symlink(ours + "-moved", ours)
        with Server(ECHO, env=env) as s:
            need("no control socket in %s: it is not a folder" % ours in s.log(), s.log())
            need(not control_files(ours), "a socket is there")


@as_root("serve.folder", "nor in one of another user, but in the next best")
def _():
    with place() as (folder, env), tempfile.TemporaryDirectory() as runtime:
        theirs = os.path.join(runtime, "neap")
        os.mkdir(theirs, 0o700)
        os.chown(theirs, NOBODY, NOBODY)
        with Server(ECHO, env=dict(env, XDG_RUNTIME_DIR=runtime)) as s:
            need("no control socket in %s: it belongs to user %d" % (theirs, NOBODY) in s.log(), s.log())
            need(not control_files(theirs), "a socket is there")
            need(control_files(default_folder(folder)) == ["%d.sock" % s.pid], "none in the other folder")
            need(run_neap("status", env=env).returncode == 0, "not found")


ASK = """
import socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
try:
    s.sendall(b"status\\n")
    print(repr(s.recv(100)))
except OSError:
    print("b''")
"""


@as_root("serve.client", "a client of another user is dropped, even where the socket's permissions let it in")
def _():
    with place() as (folder, env):
        path = os.path.join(folder, "control")
        with Server(ECHO, options=["--control", path], env=env):
            os.chmod(path, 0o666)
            done = subprocess.run(["/usr/bin/python3", "-c", ASK, path], capture_output=True, text=True, user=NOBODY,
                                  extra_groups=[])
            need(done.stdout == "b''\n", repr((done.stdout, done.stderr)))
            os.chmod(path, 0o600)
            need(run_neap("status", "--control", path).returncode == 0, "its own is served")


# --- Pid files ------------------------------------------------------------------------------------------

def make_socket(path):
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(path)


@suite.case("pid-file.kinds", "only a regular file is read or replaced; nothing holds up the start")
def _():
    with tempfile.TemporaryDirectory() as folder:
        other = os.path.join(folder, "other")
        with open(other, "w") as f:
            f.write("precious")
        for kind in (os.mkfifo, os.mkdir, make_socket, lambda path: os.symlink(other, path),
                     lambda path: os.symlink("/nowhere/at/all", path)):
            for suffix in ("", ".new"):
                path = os.path.join(folder, "pid")
                kind(path + suffix)
                before = os.lstat(path + suffix)
                done = run_neap("run", ECHO, "--pid-file", path, "--", "0", seconds=SECONDS * 2)
                need(done.returncode == 1, "status %d" % done.returncode)
                need("the pid file %s%s is not a regular file" % (path, suffix) in done.stderr, done.stderr)
                need(os.lstat(path + suffix).st_ino == before.st_ino, "it was replaced")
                (os.rmdir if stat.S_ISDIR(before.st_mode) else os.unlink)(path + suffix)
        need(open(other).read() == "precious", "written through a link")
        need(os.listdir(folder) == ["other"], repr(os.listdir(folder)))


@suite.case("pid-file.left", "what a server that was killed has left behind is replaced")
def _():
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "pid")
        gone = subprocess.Popen(["true"])
        gone.wait()
        for suffix in ("", ".new"):
            for text in ("%d\n" % gone.pid, "", "%d\n" % os.getpid()):
                with open(path + suffix, "w") as f:
                    f.write(text)
                os.link(path + suffix, path + ".linked")
                with Server(ECHO, options=["--pid-file", path]) as s:
                    need(open(path).read() == "%d\n" % s.pid, "what it holds")
                    need(open(path + ".linked").read() == text, "written to the old file")
                os.unlink(path + ".linked")
                need(not os.listdir(folder), repr(os.listdir(folder)))


@suite.case("pid-file.replaced", "a pid file that has become something else is left alone at the end")
def _():
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "pid")
        with Server(ECHO, options=["--pid-file", path]) as s:
            os.unlink(path)
            os.mkfifo(path)
            s.signal(signal.SIGTERM)
            need(s.wait_exit() == 0, "status %d" % s.status)
        need(os.listdir(folder) == ["pid"], "it was removed")


if __name__ == "__main__":
    for ident in left_out:
        print("left out, as only root has files of other users: " + ident)
    suite.main()
