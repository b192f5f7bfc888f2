"""The system calls that no build needs and an attacker would like; default allow, these denied. See reference local-sandbox §3."""

from __future__ import annotations

import errno
import os
import socket
from typing import Any

DENIED = [
    "ptrace",
    "process_vm_readv",
    "process_vm_writev",
    "process_madvise",
    "kcmp",
    "pidfd_getfd",
    "mount",
    "umount2",
    "pivot_root",
    "chroot",
    "setns",
    "unshare",
    "open_tree",
    "move_mount",
    "mount_setattr",
    "fsopen",
    "fsconfig",
    "fsmount",
    "fspick",
    "name_to_handle_at",
    "open_by_handle_at",
    "bpf",
    "userfaultfd",
    "perf_event_open",
    "io_uring_setup",
    "io_uring_enter",
    "io_uring_register",
    "keyctl",
    "add_key",
    "request_key",
    "fanotify_init",
    "init_module",
    "finit_module",
    "delete_module",
    "kexec_load",
    "kexec_file_load",
    "reboot",
    "swapon",
    "swapoff",
    "acct",
    "quotactl",
    "quotactl_fd",
    "syslog",
    "settimeofday",
    "clock_settime",
    "clock_adjtime",
    "adjtimex",
    "iopl",
    "ioperm",
    "modify_ldt",
    "personality",
]
FAMILIES = (socket.AF_UNIX, 16, 17, 38, 40)  # unix, netlink, packet, alg, vsock
INTERNET = (socket.AF_INET, socket.AF_INET6)
NEW_NAMESPACES = (0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000, 0x00000080)
TTY_REQUESTS = (0x5412, 0x541C)  # TIOCSTI, TIOCLINUX
INT = 0xFFFFFFFF  # the kernel ignores the upper half of an int argument, so the comparison must too


def build(*, internet: bool) -> Any:
    """A filter, ready to be exported or loaded. `internet` False also denies IPv4 and IPv6 sockets (where there is no own network)."""
    import pyseccomp

    rules = pyseccomp.SyscallFilter(pyseccomp.ALLOW)
    refuse = pyseccomp.ERRNO(errno.EPERM)
    for name in DENIED:
        _add(rules, refuse, name)
    _add(rules, pyseccomp.ERRNO(errno.ENOSYS), "clone3")
    for flag in NEW_NAMESPACES[:-1]:
        _add(rules, refuse, "clone", pyseccomp.Arg(0, pyseccomp.MASKED_EQ, flag, flag))
    for request in TTY_REQUESTS:
        _add(rules, refuse, "ioctl", pyseccomp.Arg(1, pyseccomp.MASKED_EQ, INT, request))
    for family in FAMILIES if internet else (*FAMILIES, *INTERNET):
        unsupported = pyseccomp.ERRNO(errno.EAFNOSUPPORT)
        _add(rules, unsupported, "socket", pyseccomp.Arg(0, pyseccomp.MASKED_EQ, INT, int(family)))
    return rules


def _add(rules: Any, action: int, name: str, *arguments: Any) -> None:
    """A call that this architecture does not have needs no rule."""
    import pyseccomp

    try:
        pyseccomp.resolve_syscall(pyseccomp.Arch.NATIVE, name)
    except (ValueError, OSError):
        return
    rules.add_rule(action, name, *arguments)


def as_file(*, internet: bool) -> int:
    """The filter as a BPF program in a memory file, for `bwrap --seccomp`; the caller closes it."""
    fd = os.memfd_create("seccomp")
    with os.fdopen(os.dup(fd), "wb") as file:
        build(internet=internet).export_bpf(file)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd
