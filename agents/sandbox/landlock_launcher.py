"""Run by `python -I` with two descriptors (order in, status out): confine a child by Landlock and seccomp, and outlive its descendants.

It imports nothing of ours: it is copied next to the workspace and runs as the sandbox's user.
"""

import ctypes
import json
import os
import resource
import signal
import struct
import sys
import time

LIBC = ctypes.CDLL(None, use_errno=True)
CREATE, ADD, RESTRICT = 444, 445, 446
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP = 1, 36, 38, 22
READ = 1 << 0 | 1 << 2 | 1 << 3  # execute, read file, read dir
FILE_ONLY = 1 << 0 | 1 << 1 | 1 << 2 | 1 << 14 | 1 << 15
SYSTEM = (
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib64",
    "/etc/ld.so.cache",
    "/etc/alternatives",
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
)
DEVICES = {"/dev/null": 1 << 1 | 1 << 2, "/dev/zero": 1 << 2, "/dev/urandom": 1 << 2, "/dev/random": 1 << 2}
NETWORK = ("/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf", "/etc/ssl")


def main():
    order_fd, status_fd = int(sys.argv[1]), int(sys.argv[2])
    with os.fdopen(order_fd, "rb") as file:
        order = json.load(file)
    LIBC.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    LIBC.prctl(PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
    signal.signal(signal.SIGTERM, stop)
    parent = os.getppid()
    child = os.fork()
    if child == 0:
        os.close(status_fd)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.setsid()
        become_the_command(order)
    if parent == 1:
        stop()
    code = wait_for(child)
    end_descendants()
    os.write(status_fd, str(code).encode())
    os._exit(0)


def wait_for(child):
    while True:
        pid, status = os.wait()
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def stop(*_):
    end_descendants()
    os._exit(143)


def end_descendants():
    """As subreaper every orphan becomes our child: kill until none is left."""
    for _ in range(1000):
        for pid in children():
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                pass
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        time.sleep(0.002)


def children():
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    found[int(name)] = int(file.read().rsplit(b")", 1)[1].split()[1])
            except (OSError, IndexError, ValueError):
                pass
    ours, known = {os.getpid()}, -1
    while len(ours) != known:
        known = len(ours)
        ours |= {pid for pid, parent in found.items() if parent in ours}
    return ours - {os.getpid()}


def become_the_command(order):
    try:
        os.chdir(order["cwd"])
        LIBC.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        resource.setrlimit(resource.RLIMIT_NPROC, (order["processes"], order["processes"]))
        restrict_files(order)
        restrict_calls(order)
        argv = ["bash", "-c", 'exec 3>&-; /bin/bash -c "$1"; exit $?', "sandbox", order["script"]]
        os.execve("/bin/bash", argv, order["env"])
    except BaseException as error:
        os.write(2, f"landlock: {error}\n".encode())
        os._exit(126)


# ---- files


def restrict_files(order):
    abi = LIBC.syscall(CREATE, None, ctypes.c_size_t(0), 1)
    if abi < 1:
        raise OSError(ctypes.get_errno(), "this kernel has no Landlock")
    handled = (1 << (13 if abi == 1 else 14 if abi == 2 else 15 if abi < 5 else 16)) - 1
    network = 3 if abi >= 4 and not order["internet"] else 0
    scoped = 3 if abi >= 6 else 0
    attributes = struct.pack("QQQ", handled, network, scoped)[: 8 if abi < 4 else 16 if abi < 6 else 24]
    ruleset = LIBC.syscall(CREATE, attributes, ctypes.c_size_t(len(attributes)), 0)
    if ruleset < 0:
        raise OSError(ctypes.get_errno(), "landlock_create_ruleset")
    for path in (*SYSTEM, *order["read"], *(NETWORK if order["internet"] else ())):
        allow(ruleset, path, READ & handled)
    for path, rights in DEVICES.items():
        allow(ruleset, path, rights & handled)
    for path in order["write"]:
        allow(ruleset, path, handled & ~(1 << 15 if handled >> 15 else 0))
    if LIBC.syscall(RESTRICT, ruleset, 0):
        raise OSError(ctypes.get_errno(), "landlock_restrict_self")
    os.close(ruleset)


def allow(ruleset, path, rights):
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    if not os.path.isdir(path):
        rights &= FILE_ONLY
    rule = struct.pack("=Qi", rights, fd)
    if LIBC.syscall(ADD, ruleset, 1, rule, 0):
        raise OSError(ctypes.get_errno(), f"landlock_add_rule {path}")
    os.close(fd)


# ---- system calls


def restrict_calls(order):
    program = bytes.fromhex(order["seccomp"])
    buffer = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(buffer))
    if LIBC.prctl(PR_SET_SECCOMP, 2, header, 0, 0):
        raise OSError(ctypes.get_errno(), "seccomp")


if __name__ == "__main__":
    main()
