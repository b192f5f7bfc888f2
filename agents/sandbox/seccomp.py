"""The system calls that no build needs and an attacker would like; default allow, these denied. See reference local-sandbox §3."""

from __future__ import annotations

import errno
import os
import socket
from functools import cache
from typing import Any

from ..errors import Permanent

DENIED = (
    *("ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "kcmp", "pidfd_getfd", "mount"),
    *("umount2", "pivot_root", "chroot", "setns", "unshare", "open_tree", "move_mount", "mount_setattr"),
    *("fsopen", "fsconfig", "fsmount", "fspick", "name_to_handle_at", "open_by_handle_at", "bpf"),
    *("userfaultfd", "perf_event_open", "io_uring_setup", "io_uring_enter", "io_uring_register", "keyctl"),
    *("add_key", "request_key", "fanotify_init", "init_module", "finit_module", "delete_module", "kexec_load"),
    *("kexec_file_load", "reboot", "swapon", "swapoff", "acct", "quotactl", "quotactl_fd", "syslog"),
    *("settimeofday", "clock_settime", "clock_adjtime", "adjtimex", "iopl", "ioperm", "modify_ldt"),
    *("personality",),
)
FAMILIES = (socket.AF_UNIX, 16, 17, 38, 40)  # unix, netlink, packet, alg, vsock
INTERNET = (socket.AF_INET, socket.AF_INET6)
SHARED_IPC = (
    "shmget",
    "shmat",
    "shmctl",
    "msgget",
    "msgsnd",
    "msgrcv",
    "msgctl",
    "semget",
    "semop",
    "semctl",
    "mq_open",
    "mq_unlink",
)
NEW_NAMESPACES = (0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000)
TTY_REQUESTS = (0x5412, 0x541C)  # TIOCSTI, TIOCLINUX
INT = 0xFFFFFFFF  # the kernel ignores the upper half of an int argument, so the comparison must too


@cache
def program(*, internet: bool, own_ipc: bool) -> bytes:
    """The filter as BPF. `internet` False also denies IPv4 and IPv6 sockets (no own network), `own_ipc` False what the host shares.

    Raises Permanent when the library is missing: nothing runs without a filter.
    """
    rules = _rules(_library(), internet=internet, own_ipc=own_ipc)
    fd = os.memfd_create("seccomp")
    with os.fdopen(fd, "rb+") as file:
        rules.export_bpf(file)
        file.seek(0)
        return file.read()


def _library() -> Any:
    try:
        import pyseccomp  # it loads libseccomp at once, which a host may not have
    except (ImportError, OSError, RuntimeError) as error:
        raise Permanent("libseccomp is not installed: apt-get install libseccomp2") from error
    return pyseccomp


def _rules(lib: Any, *, internet: bool, own_ipc: bool) -> Any:
    rules = lib.SyscallFilter(lib.ALLOW)
    refuse, unsupported = lib.ERRNO(errno.EPERM), lib.ERRNO(errno.EAFNOSUPPORT)

    def add(action: int, name: str, *arguments: Any) -> None:
        try:
            lib.resolve_syscall(lib.Arch.NATIVE, name)
        except (ValueError, OSError):
            return  # a call that this architecture does not have needs no rule
        rules.add_rule(action, name, *arguments)

    for name in (*DENIED, *(() if own_ipc else SHARED_IPC)):
        add(refuse, name)
    add(lib.ERRNO(errno.ENOSYS), "clone3")
    add(lib.ERRNO(errno.EOPNOTSUPP), "fallocate")  # it takes all of a disk within a moment; callers then write zeros
    for flag in NEW_NAMESPACES:
        add(refuse, "clone", lib.Arg(0, lib.MASKED_EQ, flag, flag))
    for request in TTY_REQUESTS:
        add(refuse, "ioctl", lib.Arg(1, lib.MASKED_EQ, INT, request))
    for family in FAMILIES if internet else (*FAMILIES, *INTERNET):
        add(unsupported, "socket", lib.Arg(0, lib.MASKED_EQ, INT, int(family)))
    return rules
