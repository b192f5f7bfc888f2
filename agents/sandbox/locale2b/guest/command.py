"""One command from its start to its end: head and tail of what it said, its time, its output and the disk watched, nothing left."""

from __future__ import annotations

import base64
import contextlib
import ctypes
import os
import resource
import selectors
import signal
import subprocess
import time
from collections.abc import Iterable
from typing import Any

from .ending import end_all, sweep_tmp
from .moving import HOME, Order, keep, staged

PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 36, 38
LEAST_DISK = 32 * 1024 * 1024
TIME = "time"


class Stream:
    """Head and tail of what came, and how much it was."""

    def __init__(self, head: int, tail: int) -> None:
        self.head, self.tail, self.size = bytearray(), bytearray(), 0
        self._head, self._tail = head, tail

    def add(self, data: bytes) -> None:
        self.size += len(data)
        room = self._head - len(self.head)
        self.head += data[:room]
        self.tail += data[room:] if room > 0 else data
        if len(self.tail) > 2 * self._tail:
            del self.tail[: -self._tail]

    @property
    def clipped(self) -> bool:
        return self.size > self._head + self._tail

    def told(self) -> Order:
        tail = self.tail[-self._tail :]
        return {
            "size": self.size,
            "head": base64.b64encode(self.head).decode(),
            "tail": base64.b64encode(tail).decode(),
        }


def supervise(job: str, order: Order) -> None:
    """Run the command of an order; its record is the file `done` of the job."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    home = _home(job, order["user"])
    os.chmod(HOME, 0o711 if order["vault"] else 0o700)  # the way into the vault, for the system's commands only
    out, err = (Stream(order["head"], order["tail"]) for _ in range(2))
    begun = time.monotonic()
    with open(f"{job}/whole", "wb") as whole:
        code, why = _run(job, order, home, (out, err), whole)
    left = end_all(order["user"])
    os.chmod(HOME, 0o700)
    sweep_tmp()
    said: Order = {"exit": code, "why": why, "duration": time.monotonic() - begun, "left": left}
    said |= {"out": out.told(), "err": err.told()}
    if out.clipped or err.clipped:
        with open(f"{job}/whole", "rb") as file:
            said["whole"] = staged(file, os.path.basename(job).partition("-")[2], order["part"])
    keep(f"{job}/done", said)


def _home(job: str, user: int) -> str:
    """A fresh one for each command, swept with all else in /tmp."""
    own = f"/tmp/own-{os.path.basename(job)}"
    os.makedirs(f"{own}/home")
    for path in (own, f"{own}/home", f"{job}/stdin") if user else ():
        os.chown(path, user, user)
    return f"{own}/home"


def _run(job: str, order: Order, home: str, streams: tuple[Stream, Stream], whole: Any) -> tuple[int, str]:
    """(exit code, why it was ended by us)."""
    ends = [os.pipe() for _ in streams]
    for _, inside in ends if order["user"] else ():
        os.fchown(inside, order["user"], -1)  # or a command could not open /dev/stdout again
    with open(f"{job}/stdin", "rb") as stdin:
        process = subprocess.Popen(
            ["bash", "-c", order["script"]],
            executable="/bin/bash",
            env=dict(order["env"], HOME=home),
            stdin=stdin,
            stdout=ends[0][1],
            stderr=ends[1][1],
            preexec_fn=lambda: _become_the_command(order),
        )
    for _, inside in ends:
        os.close(inside)
    why = _watch(process, {ours: stream for (ours, _), stream in zip(ends, streams)}, order, whole)
    if why:
        end_all(order["user"])
    return process.wait(), why


def _watch(process: subprocess.Popen[bytes], pipes: dict[int, Stream], order: Order, whole: Any) -> str:
    """Read until the command has ended, and then what it left to be read; why it is to be ended, if it is."""
    ends, ended = time.monotonic() + order["timeout"], False
    with selectors.DefaultSelector() as selector:
        for pipe, stream in pipes.items():
            selector.register(pipe, selectors.EVENT_READ, stream)
        while selector.get_map():
            ready = selector.select(0 if ended else max(0.0, min(0.05, ends - time.monotonic())))
            if ended and not ready:
                break  # what still holds the pipes is none of the command's own output
            for key, _ in ready:
                if not _take(key, whole, order["whole"]):
                    selector.unregister(key.fd)
            if not ended and (why := _broken_limit(pipes.values(), order, ends)):
                return why
            if not ended and process.poll() is not None:
                ended = True
                end_all(order["user"])
    return _until(process, ends)


def _take(key: selectors.SelectorKey, whole: Any, most: int) -> bool:
    data = os.read(key.fd, 65536)
    key.data.add(data)
    whole.write(data[: max(0, most - whole.tell())])
    return bool(data)


def _broken_limit(streams: Iterable[Stream], order: Order, ends: float) -> str:
    if time.monotonic() >= ends:
        return TIME
    if sum(stream.size for stream in streams) > order["flood"]:
        return f"more than {order['flood'] >> 20} MiB of output"
    room = os.statvfs(order["cwd"])
    return "the disk of the VM is full" if room.f_bavail * room.f_frsize < LEAST_DISK else ""


def _until(process: subprocess.Popen[bytes], ends: float) -> str:
    """It has closed its output, and goes on."""
    try:
        process.wait(max(0.0, ends - time.monotonic()))
    except subprocess.TimeoutExpired:
        return TIME
    return ""


def _become_the_command(order: Order) -> None:
    for name in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them, and exec would keep that
        signal.signal(name, signal.SIG_DFL)
    os.setsid()
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (order["fsize"], order["fsize"]))
    ctypes.CDLL(None).prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    os.chdir(order["cwd"])
    if user := order["user"]:
        resource.setrlimit(resource.RLIMIT_NPROC, (order["processes"], order["processes"]))
        os.setgroups([])
        os.setgid(user)
        os.setuid(user)
