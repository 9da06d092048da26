"""Processes of the supervisor: starting one in a session of its own, and as whom. Which there are is in `table.py`.

Standard library alone, as `supervisor.py`, which is run by its path and imports this as its neighbour.
"""

# mypy: allow-untyped-defs, allow-untyped-calls, allow-incomplete-defs, allow-any-generics

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import resource
import signal
import struct
import termios

CLONE_NEWNS = 0x20000
CLONE_NEWPID = 0x20000000
CLONE_NEWUSER = 0x10000000
CLONE_PARENT = 0x8000
CLONE3 = 435
MS_PRIVATE = 1 << 18
MS_SLAVE = 1 << 19
MS_BIND = 1 << 12
MS_REC = 1 << 14
NOBODY = 65534
#: What every machine has, and nobody uses who runs containers.
SHOWN = "/mnt"
#: What a process may be to have that its supervisor has not.
APART = ("rlimits", "hide", "show", "cgroup", "no_new_privileges")
#: Signals that a program is to find as it knows them.
DEFAULTED = (signal.SIGCHLD, signal.SIGPIPE, signal.SIGXFSZ, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
PR_SET_PDEATHSIG = 1
PR_SET_NAME = 15
PR_SET_NO_NEW_PRIVS = 38
MNT_DETACH = 2


class Refused(Exception):
    """An answer that is an error."""

    def __init__(self, message, reason=""):
        super().__init__(message)
        self.reason = reason


def spawn(spec, stdio, tty):
    """Start a program in a session of its own; its pid. Raises `Refused` with what execve said."""
    if tty or any(spec.get(name) for name in APART) or any(spec.get(name) is not None for name in ("user", "group")):
        return spawn_changed(spec, stdio, tty)
    try:
        return spawn_plain(spec, stdio)
    except NotImplementedError:  # an old C library, which makes no sessions
        return spawn_changed(spec, stdio, tty)


def spawn_plain(spec, stdio):
    """As this process is: without a copy of it, which is most of what a start costs."""
    before = os.umask(0o022)
    try:
        os.chdir(spec["cwd"])
        return first_found(spec, lambda path: os.posix_spawn(
            path, spec["argv"], spec["env"], setsid=True, setsigdef=DEFAULTED,
            file_actions=[(os.POSIX_SPAWN_DUP2, fd, target) for target, fd in enumerate(stdio)],
        ))  # fmt: skip
    except OSError as error:
        raise refusal(spec, error.errno, error.strerror) from None
    finally:
        os.umask(before)
        os.chdir("/")


def spawn_changed(spec, stdio, tty):
    """By a copy of this process, which becomes what the program is to be before it is that."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            become(spec, stdio, tty)
        except OSError as error:
            os.write(writing, f"{error.errno} {error.strerror}".encode())
        except BaseException as error:
            os.write(writing, f"0 {error}".encode())
        finally:
            os._exit(127)
    os.close(writing)
    failure = b""
    while chunk := os.read(reading, 4096):
        failure += chunk
    os.close(reading)
    if not failure:
        return pid
    os.waitpid(pid, 0)
    number, _, text = failure.decode("utf-8", "replace").partition(" ")
    raise refusal(spec, int(number), text)


def refusal(spec, number, text):
    name = spec["argv"][0]
    if number == errno.ENOENT and "/" not in name:
        return Refused(f'exec: "{name}": executable file not found in $PATH', "StartError")
    return Refused(f'exec: "{name}": {text[:1].lower()}{text[1:]}', "StartError")


def become(spec, stdio, tty):
    """Turn this child into the program. Never returns."""
    signal.set_wakeup_fd(-1)
    for number in DEFAULTED:
        signal.signal(number, signal.SIG_DFL)
    os.setsid()
    for door in (spec.get("cgroup") or {}).get("doors", ()):
        with open(door, "wb", buffering=0) as file:
            file.write(b"0")
    for target, fd in enumerate(stdio):
        os.dup2(fd, target)
    if tty:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    for name, (soft, hard) in (spec.get("rlimits") or {}).items():
        limit(name, soft, hard)
    if spec.get("hide") or spec.get("show"):
        look_apart(spec.get("hide") or (), spec.get("show") or {})
    os.umask(0o022)
    os.chdir(spec["cwd"])
    if spec.get("group") is not None:
        os.setgroups(spec.get("groups") or [])
        os.setgid(spec["group"])
    if spec.get("user") is not None:
        os.setuid(spec["user"])
    if spec.get("no_new_privileges"):
        refuse_privileges()
    first_found(spec, lambda path: os.execve(path, spec["argv"], spec["env"]))


def first_found(spec, execute):
    """Execute the program that its name means on its own PATH. Raises the OSError of the one that came nearest.

    As `os.execvpe`, which imports modules that whoever this has become need not be able to read.
    """
    name = spec["argv"][0]
    failure = OSError(errno.ENOENT, os.strerror(errno.ENOENT))
    for folder in [""] if "/" in name else spec["env"].get("PATH", os.defpath).split(":"):
        path = os.path.join(folder, name)
        try:
            os.stat(path)  # costs less than to try
            return execute(path)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR):
                failure = error
    raise failure


def limit(name, soft, hard):
    try:
        resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (soft, hard))
    except (ValueError, OSError) as error:
        raise OSError(errno.EPERM, f"the limit {name} cannot be {soft}:{hard}: {error}") from None


def refuse_privileges():
    """No program that this process executes gets more rights by its owner or its capabilities."""
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:  # Linux
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def look_apart(hidden, shown):
    """See the machine's mounts with a difference, which is nobody else's.

    What is mounted at the paths `hidden` is gone; the parent of each has to be a mount too. `shown` is paths by the
    names that they have in the directory `SHOWN`: there everybody gets to them, whoever may pass their own parents.
    """
    libc = ctypes.CDLL(None, use_errno=True)

    def mount(source, place, flags, kind=None, data=None):
        if libc.mount(source, place.encode(), kind, flags, data) != 0:
            raise OSError(ctypes.get_errno(), f"mount {place}")

    if libc.unshare(CLONE_NEWNS) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    for path in hidden:
        # The parent first: where it is shared, what happens below it happens to everyone.
        mount(None, os.path.dirname(path), MS_PRIVATE)
        libc.umount2(path.encode(), MNT_DETACH)
    if shown:
        mount(None, "/", MS_SLAVE | MS_REC)
        mount(b"tmpfs", SHOWN, 0, b"tmpfs", b"mode=0755,size=64k")
        for name, path in shown.items():
            os.mkdir(os.path.join(SHOWN, name))
            mount(path.encode(), os.path.join(SHOWN, name), MS_BIND | MS_REC)


def hold(place, users=""):
    """Start a process that keeps a new pid namespace, of which it is the first, and collects its orphans; its id.

    `users`: where the user namespace is pinned that it is to belong to.

    It ends with this process. It sees nothing of the host's files (its root is an empty one, mounted at the directory
    `place` where only it sees that), and may do nothing. Raises `Refused`.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    reading, writing = os.pipe()
    try:
        pid = held_among(libc, place, writing, users) if users else held(libc, place, writing)
        os.close(writing)
        writing = -1
        ready = os.read(reading, 4096)
    finally:
        os.close(reading)
        if writing >= 0:
            os.close(writing)
    if ready != b"ready":
        os.waitpid(pid, 0)
        raise Refused(f"a pid namespace cannot be held: {ready.decode('utf-8', 'replace') or 'its process ended'}")
    return pid


def held(libc, place, ready):
    mine = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    try:
        if libc.unshare(CLONE_NEWPID) != 0:
            raise Refused(f"a pid namespace cannot be made: {os.strerror(ctypes.get_errno())}")
        try:
            pid = os.fork()
            if pid == 0:
                os._exit(stay(libc, place, ready))
        finally:
            libc.setns(mine, CLONE_NEWPID)  # of this process's further children
    finally:
        os.close(mine)
    return pid


def held_among(libc, place, ready, users):
    """One that belongs to a user namespace, by way of a child that goes there: nobody comes back from one."""
    reading, writing = os.pipe()
    between = os.fork()
    if between == 0:
        try:
            with open(users) as namespace:
                if libc.setns(namespace.fileno(), CLONE_NEWUSER) != 0:
                    os._exit(ctypes.get_errno())
            # flags, pidfd, two ids, the signal at its end (that of its brother), stack, size, tls
            wanted = struct.pack("8Q", CLONE_PARENT | CLONE_NEWPID, 0, 0, 0, 0, 0, 0, 0)
            pid = libc.syscall(ctypes.c_long(CLONE3), wanted, ctypes.c_size_t(len(wanted)))
            if pid == 0:
                os._exit(stay(libc, place, ready))
            if pid < 0:
                os._exit(ctypes.get_errno())
            os.write(writing, str(pid).encode())
            os._exit(0)
        finally:
            os._exit(errno.EPERM)
    os.close(writing)
    said = os.read(reading, 64)
    os.close(reading)
    _, status = os.waitpid(between, 0)
    if not said:
        raise Refused(f"a pid namespace cannot be made: {os.strerror(os.waitstatus_to_exitcode(status))}")
    return int(said)


def rename(name):
    """Be called this by who lists processes, instead of by the words that this process was started with."""
    with open("/proc/self/stat", "rb") as file:
        fields = file.read().rpartition(b")")[2].split()
    start, end = int(fields[45]), int(fields[46])
    ctypes.memset(start, 0, end - start)
    ctypes.memmove(start, name, min(len(name), end - start - 1))


def stay(libc, place, ready):
    """Be such a process."""
    try:
        signal.set_wakeup_fd(-1)
        for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # children are collected by the kernel
        os.setsid()
        rename(b"/pause")
        os.dup2(ready, 3)
        os.closerange(4, 1 << 16)
        for result in (
            libc.unshare(CLONE_NEWNS),
            libc.mount(None, b"/", None, MS_PRIVATE | MS_REC, None),
            libc.mount(b"tmpfs", place.encode(), b"tmpfs", 0, b"size=0,mode=0555"),
        ):
            if result != 0:
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        os.chdir(place)
        if libc.pivot_root(b".", b".") != 0 or libc.umount2(b".", MNT_DETACH) != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        os.chdir("/")
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
        libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        libc.prctl(PR_SET_NAME, b"pause", 0, 0, 0)
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        os.write(3, b"ready")
        os.closerange(0, 4)
    except BaseException as error:
        os.write(3, str(error).encode())
        return 1
    while True:
        signal.pause()


def exit_code(status):
    return 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
