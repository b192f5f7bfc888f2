"""What can be asked of the runner, `runner.zip VERB MARKER ORDER`: answered by one ASCII line of JSON that carries the marker.

The order is base64 of JSON, or @: it was uploaded beside us. Every verb may be asked again by the same marker: nothing is done twice.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import signal
import sys
import time

from .command import supervise
from .ending import end_all
from .moving import HOME, VAULT, Order, given, keep, loaded, mount, read, write

ONCE = ("write", "mount")  # their parts are used up: their answer is kept for whoever asks again


def main() -> None:
    verb, marker, text = sys.argv[1:]
    order = loaded(os.path.join(HOME, f"order-{marker}")) if text == "@" else json.loads(base64.b64decode(text))
    said = os.path.join(HOME, f"said-{marker}")
    answer = loaded(said) if verb in ONCE and os.path.exists(said) else _answer(verb, marker, order)
    if verb in ONCE:
        os.seteuid(os.getuid())
        keep(said, answer)
    sys.stdout.write(json.dumps({"m": marker, **answer}) + "\n")


def _answer(verb: str, marker: str, order: Order) -> Order:
    verbs = {"hello": hello, "start": start, "wait": wait, "kill": kill, "read": read, "write": write, "mount": mount}
    try:
        return verbs[verb](marker, order)
    except OSError as error:
        return {"state": "problem", "text": (error.strerror or str(error)).lower(), "errno": error.errno or 0}


# ---- hello: the VM as the sandbox wants it


def hello(marker: str, order: Order) -> Order:
    user, place = order["user"], order["place"]
    os.makedirs(place, exist_ok=True)
    os.makedirs(VAULT, exist_ok=True)
    with contextlib.suppress(OSError):
        os.chmod("/tmp", 0o1777)  # noqa: S103 - what it is everywhere
    for folder in (place, VAULT):
        os.chmod(folder, 0o700)
        if user:
            os.chown(folder, user, user)
    if user:
        _name_the_user(user)
    return {"state": "ready", "python": sys.version.split()[0], "git": bool(shutil.which("git"))}


def _name_the_user(user: int) -> None:
    """Programs that ask who they are get an answer; an image whose files cannot be written works without."""
    with contextlib.suppress(OSError):
        for path, line in (
            ("/etc/passwd", f"agent:x:{user}:{user}::/tmp:/bin/bash\n"),
            ("/etc/group", f"agent:x:{user}:\n"),
        ):
            with open(path, "r+") as file:
                if f":{user}:" not in file.read():
                    file.write(line)


# ---- start, wait, kill: one command at a time, in the background


def start(marker: str, order: Order) -> Order:
    job = _job(marker)
    if not os.path.isdir(job):
        _forget_earlier(marker)
        made = os.path.join(HOME, f"new-{marker}")
        os.makedirs(made)
        if not given(order, marker, f"{made}/stdin"):
            return {"state": "problem", "text": "the input did not arrive whole", "errno": 0}
        os.rename(made, job)
        _in_background(job, order)
    return wait(marker, order)


def wait(marker: str, order: Order) -> Order:
    """What became of it, after at most `slice` seconds."""
    job, ends, pause = _job(marker), time.monotonic() + order["slice"], 0.005
    while True:
        alive = _supervised(job)  # asked before the look at its last word, or it could say that in between
        if os.path.exists(f"{job}/done"):
            return {"state": "done", **loaded(f"{job}/done")}
        if not alive:
            return {"state": "gone"}
        if time.monotonic() >= ends:
            return {"state": "running"}
        time.sleep(pause)
        pause = min(pause * 1.5, 0.1)


def kill(marker: str, order: Order) -> Order:
    """The supervisor and all that runs as the sandbox's user; how many processes are left."""
    supervisor = _number(f"{_job(marker)}/pid")
    left = end_all(order["user"], supervisor or os.getpid())
    with contextlib.suppress(OSError):
        if supervisor:
            os.kill(supervisor, signal.SIGKILL)
    return {"state": "killed", "left": left}


def _job(marker: str) -> str:
    return os.path.join(HOME, f"job-{marker}")


def _forget_earlier(marker: str) -> None:
    for name in os.listdir(HOME):
        path = os.path.join(HOME, name)
        if marker not in name and name.startswith(("job-", "new-", "out-", "said-", "order-", "in-")):
            shutil.rmtree(path, ignore_errors=True) if os.path.isdir(path) else os.unlink(path)


def _in_background(job: str, order: Order) -> None:
    """A supervisor of its own session, with none of our descriptors: whoever called us is answered at once."""
    if (child := os.fork()) > 0:
        os.waitpid(child, 0)
        return
    try:
        os.setsid()
        if os.fork() > 0:
            os._exit(0)
        nothing = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(nothing, descriptor)
        with open(f"{job}/pid", "w") as file:
            file.write(str(os.getpid()))
        supervise(job, order)
    except BaseException as error:  # noqa: BLE001 - whatever it is, nobody else can tell it
        keep(f"{job}/done", {"failed": f"{type(error).__name__}: {error}"})
    finally:
        os._exit(0)


def _supervised(job: str) -> bool:
    """Until its supervisor has written its number it is counted as alive, for a moment."""
    supervisor = _number(f"{job}/pid")
    if not supervisor:
        return os.path.isdir(job) and time.time() - os.stat(job).st_mtime < 10
    return os.path.isdir(f"/proc/{supervisor}")


def _number(path: str) -> int:
    """0: it is not there (yet)."""
    try:
        with open(path) as file:
            return int(file.read() or 0)
    except FileNotFoundError:
        return 0
