"""What a hostile command tries, really tried: reference local-sandbox §11."""

from __future__ import annotations

import contextlib
import errno
import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pyseccomp
import pytest
from seeing import running, until

from agents.errors import FileProblem
from agents.ports import Command, Sandbox, SandboxProvider, SandboxSpec

Open = Callable[..., Sandbox]
REPOSITORY = Path(__file__).resolve().parents[2]
SECRET = "planted-secret-4711"
# written down again, so that a name that gets lost in the filter is missed here
DENIED = """
    ptrace process_vm_readv process_vm_writev process_madvise kcmp pidfd_getfd mount umount2 pivot_root chroot setns unshare
    open_tree move_mount mount_setattr fsopen fsconfig fsmount fspick name_to_handle_at open_by_handle_at bpf userfaultfd
    perf_event_open io_uring_setup io_uring_enter io_uring_register keyctl add_key request_key fanotify_init init_module
    finit_module delete_module kexec_load kexec_file_load reboot swapon swapoff acct quotactl syslog settimeofday
    clock_settime iopl ioperm modify_ldt personality
"""
SHARED = "shmget shmat shmctl msgget msgsnd msgrcv msgctl semget semop semctl mq_open mq_unlink"


def python(code: str, *args: object, timeout: float = 30) -> Command:
    """A program for the sandbox's Python; its arguments are JSON in `args`."""
    return Command(f"python3 - <<'PROGRAM'\nargs = {json.loads(json.dumps(args))!r}\n{code}\nPROGRAM", timeout=timeout)


class TestSecrets:
    @pytest.mark.parametrize(
        "script",
        [
            "env",
            "cat /proc/1/environ /proc/*/environ | tr '\\0' '\\n'",
            "cat /proc/*/cmdline | tr '\\0' '\\n'",
            "cat /proc/self/mountinfo",
            "for p in $(seq 1 400); do cat /proc/$p/environ; done",
        ],
    )
    def test_nothing_of_the_workers_environment_is_seen(
        self, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, script: str
    ) -> None:
        monkeypatch.setenv("LLM_API_KEY", SECRET)
        neighbour = subprocess.Popen(["/bin/sleep", "60"], env={"LLM_API_KEY": SECRET})
        try:
            seen = sandbox.run(Command(script)).output
        finally:
            neighbour.kill()
            neighbour.wait()
        assert SECRET not in seen
        assert "pytest" not in seen

    @pytest.mark.parametrize(
        "path",
        [
            "/etc/shadow",
            "/etc/hostname",
            "/root",
            "/var/lib",
            "/sys/kernel",
            "/proc/kcore",
            "/run",
            str(REPOSITORY),
            str(Path(sys.executable).resolve()),
        ],
    )
    def test_the_hosts_files_are_not_readable(self, sandbox: Sandbox, path: str) -> None:
        result = sandbox.run(Command(f"if [ -d {path} ]; then ls -A {path}; else cat {path}; fi"))
        assert result.stdout == ""

    def test_a_world_readable_file_of_the_host_is_not_readable(self, sandbox: Sandbox, public_folder: Path) -> None:
        (public_folder / "note").write_text(SECRET)
        (public_folder / "note").chmod(0o666)
        result = sandbox.run(
            Command(f"cat {public_folder}/note; ls {public_folder}; echo x >{public_folder}/note; ls /tmp/")
        )
        assert "note" not in result.stdout
        assert (public_folder / "note").read_text() == SECRET
        assert [path.name for path in public_folder.iterdir()] == ["note"]

    def test_another_sandbox_is_not_reachable(self, open_box: Open) -> None:
        one, other = open_box(), open_box()
        one.write("mine", SECRET.encode())
        place: Path = one.workspace  # type: ignore[attr-defined]
        seen = other.run(
            Command(f"cat {place}/mine; ls -R {place.parent.parent}; echo x >{place}/mine; rm -rf {place}")
        )
        assert SECRET not in seen.output
        assert one.read("mine") == SECRET.encode()

    def test_no_descriptor_of_the_worker_is_inherited(self, sandbox: Sandbox, public_folder: Path) -> None:
        fd = os.open(public_folder, os.O_RDONLY | os.O_DIRECTORY)
        os.set_inheritable(fd, True)
        code = "import os\nprint([fd for fd in range(3, 1024) if os.path.exists(f'/dev/fd/{fd}') or not fails(fd)])"
        probe = (
            "def fails(fd):\n    import os\n    try: os.fstat(fd)\n    except OSError: return True\n    return False\n"
        )
        try:
            seen = sandbox.run(Command(f"cat >p.py <<'P'\n{probe}{code}\nP\npython3 p.py"))
        finally:
            os.close(fd)
        assert seen.stdout == "[]\n"


CONNECT = """
import socket
for host, port in args:
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        try:
            s = socket.socket(socket.AF_INET, kind); s.settimeout(1)
            s.connect((host, port)); s.send(b"hello"); print("sent", host, port)
        except OSError as error:
            print("refused")
"""


class TestNetwork:
    def test_neither_the_host_nor_the_world_can_be_reached(self, sandbox: Sandbox) -> None:
        with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            udp.bind(("127.0.0.1", 0))
            udp.settimeout(0.2)
            tcp.settimeout(0.2)
            places = [
                ["127.0.0.1", tcp.getsockname()[1]],
                ["127.0.0.1", udp.getsockname()[1]],
                ["169.254.169.254", 80],
                ["1.1.1.1", 53],
            ]
            sandbox.run(python(CONNECT, *places))
            for server in (lambda: tcp.accept(), lambda: udp.recv(10)):
                with pytest.raises(TimeoutError):
                    server()

    def test_a_host_socket_in_the_workspace_cannot_be_reached(self, sandbox: Sandbox) -> None:
        place: Path = sandbox.workspace  # type: ignore[attr-defined]
        with socket.socket(socket.AF_UNIX) as server, contextlib.chdir(place):
            server.bind("s")
            Path("s").chmod(0o777)
            server.listen()
            result = sandbox.run(python("import socket\nsocket.socket(socket.AF_UNIX).connect('s')"))
        assert "Address family not supported" in result.stderr

    @pytest.mark.parametrize("family", [1, 16, 17, 38, 40])
    @pytest.mark.parametrize("upper", [0, 1 << 32])
    def test_other_families_are_refused_also_with_upper_bits(self, sandbox: Sandbox, family: int, upper: int) -> None:
        code = """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
print(libc.syscall(ctypes.c_long(41), ctypes.c_long(args[0]), ctypes.c_long(1), ctypes.c_long(0)), ctypes.get_errno())
"""
        assert pyseccomp.resolve_syscall(pyseccomp.Arch.NATIVE, "socket") == 41, "the number is that of x86_64"
        assert sandbox.run(python(code, family | upper)).stdout == "-1 97\n"

    def test_loopback_works_where_the_provider_says_so(self, sandbox: Sandbox, provider: SandboxProvider) -> None:
        code = """
import socket
server = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(server.getsockname()); client.send(b"hi")
print(server.accept()[0].recv(2))
"""
        assert ("no loopback" in provider.layers) != (sandbox.run(python(code)).stdout == "b'hi'\n")

    def test_pairs_of_sockets_work(self, sandbox: Sandbox) -> None:
        assert sandbox.run(python("import socket\nprint(len(socket.socketpair()))")).stdout == "2\n"


class TestSystem:
    def test_every_denied_call_is_refused(self, sandbox: Sandbox, provider: SandboxProvider) -> None:
        names = (DENIED + SHARED if provider.name == "landlock" else DENIED).split()
        numbers = {name: pyseccomp.resolve_syscall(pyseccomp.Arch.NATIVE, name) for name in names}
        code = """
import ctypes, json
libc = ctypes.CDLL(None, use_errno=True)
found = {}
for name, number in args[0].items():
    ctypes.set_errno(0)
    libc.syscall(ctypes.c_long(number), *[ctypes.c_long(-1)] * 6)
    found[name] = ctypes.get_errno()
print(json.dumps(found))
"""
        result = sandbox.run(python(code, {name: number for name, number in numbers.items() if number >= 0}))
        answers = json.loads(result.stdout)
        assert len(answers) >= len(names) - 3, "this architecture lacks a few at most"
        assert {name: code for name, code in answers.items() if code != errno.EPERM} == {}

    @pytest.mark.parametrize(
        "flag", [0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000]
    )
    def test_no_process_is_made_in_a_namespace_of_its_own(self, sandbox: Sandbox, flag: int) -> None:
        code = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
pid = libc.syscall(ctypes.c_long(args[0]), ctypes.c_long(args[1] | 17), *[ctypes.c_long(0)] * 4)
if pid == 0: os._exit(0)
print(pid, ctypes.get_errno(), libc.syscall(ctypes.c_long(args[2]), 0, 0), ctypes.get_errno())
"""
        clone, clone3 = (pyseccomp.resolve_syscall(pyseccomp.Arch.NATIVE, name) for name in ("clone", "clone3"))
        assert sandbox.run(python(code, clone, flag, clone3)).stdout == f"-1 {errno.EPERM} -1 {errno.ENOSYS}\n"

    @pytest.mark.parametrize(
        ("script", "said"),
        [
            ("unshare -U true", "Operation not permitted"),
            ("unshare -m true", "Operation not permitted"),
            ("mount -t tmpfs x /workspace", "permitted|permission|must be superuser"),
            ("mknod device c 1 3", "Operation not permitted|Permission denied"),
            ("python3 -c 'import os; os.chroot(\".\")'", "Operation not permitted"),
            ("su -c id", ""),
            ("python3 -c 'import os; os.setuid(0)'", "Operation not permitted|Invalid argument"),
            ("fallocate -l 1M f", "not supported"),
            ("prlimit --fsize=unlimited true", "Operation not permitted"),
            ("ulimit -u unlimited", "Operation not permitted"),
            ("python3 -c 'import fcntl; fcntl.ioctl(0, 0x5412, b\"x\")'", "Operation not permitted"),
            ("chown 0 .", "Operation not permitted|Invalid"),
        ],
    )
    def test_no_right_is_gained(self, sandbox: Sandbox, script: str, said: str) -> None:
        result = sandbox.run(Command(script))
        assert not result.ok
        assert any(part in result.stderr for part in said.split("|"))

    def test_a_setuid_program_stays_without_rights(self, sandbox: Sandbox) -> None:
        flags = "import ctypes\nprint(ctypes.CDLL(None).prctl(39, 0, 0, 0, 0), __import__('os').getuid() != 0)"
        assert sandbox.run(python(flags)).stdout == "1 True\n"  # PR_GET_NO_NEW_PRIVS

    @pytest.mark.parametrize(
        "place",
        ["/", "/usr", "/usr/bin", "/usr/local/bin", "/etc", "/dev", "/proc", "/sys", "/var", "/opt", "/run", "/vault"],
    )
    def test_the_system_is_read_only(self, sandbox: Sandbox, place: str) -> None:
        assert not sandbox.run(Command(f"echo x >{place}/intruder")).ok
        assert not Path(place, "intruder").exists()

    def test_other_processes_cannot_be_signalled(self, sandbox: Sandbox, mark: str) -> None:
        neighbour = subprocess.Popen(["/bin/sleep", mark])
        try:
            sandbox.run(Command(f"kill -9 {neighbour.pid}; kill -9 -1; pkill -9 sleep", timeout=10))
            survived = neighbour.poll() is None
        finally:
            neighbour.kill()
            neighbour.wait()
        assert survived


class TestLimits:
    def test_a_fork_bomb_stops_at_the_limit_and_leaves_nothing(self, sandbox: Sandbox, mark: str) -> None:
        result = sandbox.run(Command(f"f() {{ f {mark} | f {mark} & }}; f; exec -a {mark} sleep 600", timeout=2))
        assert result.timed_out
        assert running(mark) == []
        assert sandbox.run(Command("echo alive")).stdout == "alive\n"

    def test_no_more_processes_than_allowed(self, sandbox: Sandbox) -> None:
        code = """
import os, signal
made = []
try:
    for _ in range(200):
        if (pid := os.fork()) == 0: signal.pause()
        made.append(pid)
except OSError as error:
    print(error.errno, 50 < len(made) < 64)
"""
        assert sandbox.run(python(code)).stdout == f"{errno.EAGAIN} True\n"

    def test_two_sandboxes_do_not_share_a_limit(self, open_box: Open) -> None:
        script = """for i in $(seq 50); do sleep 600 & done; jobs -r | wc -l
touch begun; until [ -e go ]; do sleep 0.1; done; kill $(jobs -p)"""
        boxes = [open_box(SandboxSpec(label="test", processes=64)) for _ in range(2)]
        results: list[str] = []

        def work(box: Sandbox) -> None:
            results.append(box.run(Command(script)).stdout)

        threads = [threading.Thread(target=work, args=[box]) for box in boxes]
        for thread in threads:
            thread.start()
        places: list[Path] = [box.workspace for box in boxes]  # type: ignore[attr-defined]
        assert until(lambda: all((place / "begun").exists() for place in places), 20)
        for place in places:
            (place / "go").touch()
        for thread in threads:
            thread.join(20)
        assert results == ["50\n", "50\n"]

    def test_memory_has_an_end(self, sandbox: Sandbox) -> None:
        result = sandbox.run(python("try:\n    x = bytearray(4 << 30)\nexcept MemoryError:\n    print('refused')"))
        assert result.stdout == "refused\n"

    def test_one_large_file_is_refused_and_the_limit_named(self, sandbox: Sandbox) -> None:
        result = sandbox.run(Command("exec truncate -s 10T sparse"))
        assert result.exit_code == 128 + signal.SIGXFSZ
        assert result.limit == "one file larger than 64 MiB"

    @pytest.mark.parametrize("then", ["", "sleep 600"], ids=["quick", "slow"])
    def test_many_files_are_refused_and_the_limit_named(self, sandbox: Sandbox, then: str) -> None:
        result = sandbox.run(Command(f"for i in 1 2 3 4; do head -c 40M /dev/urandom >f$i; done; {then}"))
        assert (result.exit_code, result.limit) == (None, "more than 64 MiB on disk")

    def test_endless_work_on_the_processor_is_named(self, sandbox: Sandbox) -> None:
        result = sandbox.run(Command("ulimit -S -t 1; while :; do :; done", timeout=20))
        assert (result.exit_code, result.limit) == (128 + signal.SIGXCPU, "processor time")

    def test_temporary_folders_have_an_end(self, sandbox: Sandbox) -> None:
        script = 'for d in "$TMPDIR" "$HOME" /dev/shm; do for i in $(seq 20); do head -c 60M /dev/zero >"$d/f$i" || break; done; done'
        sandbox.run(Command(script, timeout=30))
        assert sandbox.run(Command("echo alive")).stdout == "alive\n"


class TestReading:
    @pytest.mark.parametrize(
        ("script", "path", "said"),
        [
            ("ln -s /etc/passwd out", "out", "links are not followed"),
            ("ln -s ../vault out", "out/secret", "links are not followed"),
            ("ln -s / out", "out/etc/passwd", "links are not followed"),
            ("ln -s nothing out", "out", "links are not followed"),
            ("mkfifo out", "out", "a pipe or a device"),
            ("mkdir out", "out", "a folder"),
            ("echo x >in; ln in out", "out", "hard links"),
            ("truncate -s 3M out", "out", "more than the 1048576"),
            ("touch out", "out/below", "not a folder"),
        ],
    )
    def test_what_is_no_plain_file_is_refused_by_name(
        self, sandbox: Sandbox, script: str, path: str, said: str
    ) -> None:
        sandbox.write("vault:secret", b"ours")
        assert sandbox.run(Command(script)).ok
        with pytest.raises(FileProblem, match=said):
            sandbox.read(path)

    def test_a_file_without_any_mode_is_read_by_root_or_refused(self, sandbox: Sandbox) -> None:
        sandbox.run(Command("echo x >f; chmod 000 f"))
        with contextlib.suppress(FileProblem):
            assert sandbox.read("f") == b"x\n"


class TestWriting:
    @pytest.mark.parametrize(
        ("script", "path"),
        [
            ("ln -s HOST/target out", "out"),
            ("ln -s HOST out", "out/target"),
            ("mkdir a; ln -s HOST a/b", "a/b/target"),
            ("ln -s ../vault out", "out/secret"),
            ("mkfifo out", "out"),
            ("mkdir out", "out"),
            ("touch out", "out/below"),
        ],
    )
    def test_links_and_what_is_no_file_are_refused(
        self, sandbox: Sandbox, public_folder: Path, script: str, path: str
    ) -> None:
        (public_folder / "target").write_text("host")
        (public_folder / "target").chmod(0o666)
        sandbox.write("vault:secret", b"ours")
        assert sandbox.run(Command(script.replace("HOST", str(public_folder)))).ok
        with pytest.raises(FileProblem, match="cannot be written"):
            sandbox.write(path, b"agent")
        assert (public_folder / "target").read_text() == "host"
        assert sandbox.read("vault:secret") == b"ours"

    @pytest.mark.parametrize(("script", "path"), [("ln -s here/file out", "out"), ("ln -s here out", "out/file")])
    def test_a_link_within_the_workspace_is_refused_too(self, sandbox: Sandbox, script: str, path: str) -> None:
        sandbox.write("here/file", b"kept")
        assert sandbox.run(Command(script)).ok
        with pytest.raises(FileProblem, match="link"):
            sandbox.write(path, b"agent")
        assert sandbox.read("here/file") == b"kept"

    def test_a_file_with_two_names_is_replaced(self, sandbox: Sandbox) -> None:
        sandbox.run(Command("echo old >a; ln a b"))
        sandbox.write("b", b"new")
        assert (sandbox.read("a"), sandbox.read("b")) == (b"old\n", b"new")


# what `agents.sandbox` imports, for a Python that has nothing installed
BROUGHT = (
    *("pyseccomp", "httpx", "httpcore", "h11", "anyio", "certifi", "idna", "sniffio", "typing_extensions"),
    *("pydantic", "pydantic_core", "annotated_types", "typing_inspection", "tenacity"),
)


@pytest.fixture
def everybodys() -> Iterator[Path]:
    """The project's sources where an ordinary user can read them."""
    folder = Path("/tmp") / f"compymac-sources-{os.getpid()}"
    shutil.copytree(REPOSITORY / "agents", folder / "agents", ignore=shutil.ignore_patterns("__pycache__"))
    for name in BROUGHT:
        found = importlib.util.find_spec(name)
        if found and found.submodule_search_locations:
            shutil.copytree(found.submodule_search_locations[0], folder / name)
        elif found and found.origin:
            shutil.copy(found.origin, folder)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize("name", ["bubblewrap", "landlock"])
def test_an_ordinary_user_with_two_hundred_threads_starts_sandboxes(
    everybodys: Path, public_folder: Path, name: str
) -> None:
    """As an ordinary user there is no user id per sandbox, and the limit of processes must not count the worker's own threads."""
    code = f"""
import sys, threading
from pathlib import Path
from agents.ports import Command, SandboxSpec
from agents.sandbox.registry import choose
stop = threading.Event()
for _ in range(200): threading.Thread(target=stop.wait, daemon=True).start()
box = choose({name!r}, root=Path({str(public_folder)!r})).open(SandboxSpec(label="test", processes=32))
box.write("deep/f", b"x")
print(box.read("deep/f"), box.run(Command("exit 7")).exit_code)
print(box.run(Command("sleep 600 & setsid sleep 600 & for i in $(seq 10); do sleep 600 & done; jobs | wc -l")).stdout)
print(box.run(Command("f() {{ f | f & }}; f; sleep 600", timeout=1)).timed_out)
box.run(Command("mkdir -p a/b; touch a/b/c; chmod 000 a/b/c a/b a"))
box.close()
print(box.folder.exists())
"""
    user = ["setpriv", "--reuid=64999", "--regid=64999", "--clear-groups"] if os.getuid() == 0 else []
    if user:
        os.chown(public_folder, 64999, 64999)
    python = "/usr/bin/python3" if user else sys.executable
    done = subprocess.run(
        [*user, python, "-c", code],
        cwd=everybodys,
        capture_output=True,
        text=True,
        timeout=60,
        env={"PATH": os.environ["PATH"]},
    )
    assert done.stdout == "b'x' 7\n12\n\nTrue\nFalse\n", done.stderr
