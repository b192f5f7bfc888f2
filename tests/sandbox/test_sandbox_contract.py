"""What every sandbox promises, tried on each provider."""

from __future__ import annotations

import shlex
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from seeing import until

from agents.errors import Cancelled, EnvironmentMissing, FileProblem, Transient
from agents.ports import Command, CommandResult, Sandbox, SandboxProvider, SandboxSpec
from agents.sandbox.process import FLOOD, HEAD, TAIL
from agents.sandbox.recorded import RecordedProvider, RecordedSandbox
from agents.sandbox.registry import choose
from tests.support.locale2b_server import GUEST_USER, Locale2bServer, provider_for

Open = Callable[..., Sandbox]
LOCAL = ("bubblewrap", "landlock")
local_only = pytest.mark.parametrize("provider", LOCAL, indirect=True)
needs_users = pytest.mark.skipif(
    GUEST_USER == 0, reason="an ordinary user's stand-in for a VM has no second user to hide from"
)


def made(name: str, root: Path, service: Locale2bServer) -> SandboxProvider:
    match name:
        case "recorded":
            return RecordedProvider(RecordedSandbox())
        case "locale2b":
            return provider_for(service, folder=root)
    return choose(name, root=root)


@pytest.fixture(params=[*LOCAL, "locale2b"], scope="module")
def provider(request: pytest.FixtureRequest, root: Path, service: Locale2bServer) -> SandboxProvider:
    return made(request.param, root, service)


@pytest.fixture(params=[*LOCAL, "locale2b", "recorded"])
def any_sandbox(request: pytest.FixtureRequest, root: Path, service: Locale2bServer) -> Iterator[Sandbox]:
    box = made(request.param, root, service).open(SandboxSpec(label="test"))
    yield box
    box.close()


@pytest.fixture
def folder(sandbox: Sandbox, service: Locale2bServer) -> Path:
    """Where this sandbox lies on the host, seen from behind; below it `workspace`."""
    if sandbox_id := getattr(sandbox, "sandbox_id", ""):
        return service.machines[sandbox_id].folder
    found: Path = sandbox.folder  # type: ignore[attr-defined]
    return found


class TestFiles:
    @pytest.mark.parametrize(
        "path", ["a.txt", "deep/er/b", "-rf", "a b'c\"d", "line\nbreak", "esc\x1b[0m", "ü", "x" * 255, "vault:in/side"]
    )
    def test_what_was_written_is_read(self, any_sandbox: Sandbox, path: str) -> None:
        any_sandbox.write(path, b"old and longer")
        any_sandbox.write(path, b"\x00new\xff")
        assert any_sandbox.read(path) == b"\x00new\xff"

    @pytest.mark.parametrize(
        "path", ["", "/etc/passwd", "..", "a/../b", "./a", "a//b", "a/", "a\0b", "x" * 256, "y/" * 2500 + "z", "\ud800"]
    )
    @pytest.mark.parametrize("where", ["", "vault:"])
    def test_a_path_that_is_not_plain_is_refused(self, any_sandbox: Sandbox, where: str, path: str) -> None:
        with pytest.raises(FileProblem):
            any_sandbox.read(where + path)
        with pytest.raises(FileProblem):
            any_sandbox.write(where + path, b"")

    def test_a_missing_file_is_a_file_problem(self, any_sandbox: Sandbox) -> None:
        with pytest.raises(FileProblem, match="no such file"):
            any_sandbox.read("nothing/here")

    def test_a_closed_sandbox_runs_nothing(self, any_sandbox: Sandbox) -> None:
        any_sandbox.close()
        any_sandbox.close()
        with pytest.raises(Cancelled):
            any_sandbox.run(Command("true"))

    def test_two_megabytes_are_written_and_read(self, sandbox: Sandbox) -> None:
        data = bytes(range(256)) * 8192
        sandbox.write("big", data)
        assert sandbox.read("big", len(data)) == data

    @needs_users
    def test_the_vault_is_only_there_for_commands_that_ask(self, sandbox: Sandbox) -> None:
        sandbox.write("vault:secret", b"ours")
        assert sandbox.run(Command('cat "$VAULT/secret"', vault=True)).stdout == "ours"
        vault = sandbox.run(Command('echo "$VAULT"', vault=True)).stdout.strip()
        seen = sandbox.run(Command(f'echo "[$VAULT]"; ls {vault} ../vault; cat {vault}/secret; echo x >{vault}/secret'))
        assert seen.stdout == "[]\n"
        assert sandbox.read("vault:secret") == b"ours"


class TestCommands:
    @pytest.mark.parametrize(
        ("script", "code"),
        [
            ("true", 0),
            ("exit 3", 3),
            ("exit 137", 137),
            ("kill -9 $$", 137),
            ("kill -TERM $$", 143),
            ("python3 -c 'import os; os.abort()'", 134),
            ("python3 -c 'import os, signal; os.kill(os.getpid(), signal.SIGSEGV)'", 139),
            ("no-such-program", 127),
            ("if", 2),
            ("yes | head -n 1; exit ${PIPESTATUS[0]}", 141),
            ("true \0", 126),
            ("echo \ud800", 126),
            ("true " + "x" * 200_000, 126),
        ],
    )
    def test_the_exit_code_is_the_commands_own(self, sandbox: Sandbox, script: str, code: int) -> None:
        result = sandbox.run(Command(script))
        assert (result.exit_code, result.timed_out, result.limit) == (code, False, "")

    @local_only
    def test_a_sandbox_that_cannot_be_set_up_is_no_exit_code(self, open_box: Open) -> None:
        box = open_box(SandboxSpec(label="test", memory_mib=1))
        with pytest.raises(Transient, match="could not be set up"):
            box.run(Command("true"))

    def test_streams_are_kept_apart_and_any_bytes_are_shown(self, sandbox: Sandbox) -> None:
        result = sandbox.run(Command(r"printf 'a\377b'; printf 'oops' >&2"))
        assert (result.stdout, result.stderr) == ("a\ufffdb", "oops")

    def test_the_streams_can_be_opened_by_name(self, sandbox: Sandbox) -> None:
        result = sandbox.run(Command("cat /dev/stdin; echo err > /dev/stderr", stdin=b"in"))
        assert (result.stdout, result.stderr) == ("in", "err\n")

    def test_long_input_that_nobody_reads_does_no_harm(self, sandbox: Sandbox) -> None:
        assert sandbox.run(Command("head -c 2", stdin=b"x" * 3_000_000)).stdout == "xx"

    def test_long_output_keeps_its_head_its_tail_and_the_whole(self, sandbox: Sandbox) -> None:
        result = sandbox.run(Command("printf begin; head -c 400000 /dev/zero | tr '\\0' x; printf end"))
        assert result.ok
        assert result.stdout.startswith("begin")
        assert result.stdout.endswith("end")
        assert f"[… {400_008 - HEAD - TAIL} bytes left out …]" in result.stdout
        assert result.whole == b"begin" + b"x" * 400_000 + b"end"

    def test_output_without_end_is_cut_and_the_limit_named(self, sandbox: Sandbox) -> None:
        result = sandbox.run(Command("yes", timeout=60))
        assert (result.exit_code, result.timed_out) == (None, False)
        assert result.limit == f"more than {FLOOD >> 20} MiB of output"

    def test_a_command_that_takes_too_long_is_ended(self, sandbox: Sandbox) -> None:
        result = sandbox.run(Command("echo begun; sleep 600", timeout=0.5))
        assert (result.exit_code, result.timed_out, result.stdout) == (None, True, "begun\n")
        assert result.duration < 3

    def test_the_next_command_sees_the_files_but_no_state(self, sandbox: Sandbox) -> None:
        sandbox.run(Command('mkdir d; echo 1 >d/f; echo 1 >"$HOME/h"; echo 1 >"$TMPDIR/t"; cd d; export X=1'))
        assert sandbox.run(Command('cat d/f; ls "$HOME" "$TMPDIR" | grep -x "[ht]"; echo "$X"')).stdout == "1\n\n"

    def test_git_and_python_work(self, sandbox: Sandbox) -> None:
        script = """set -e
git init -q . && git config user.name a && git config user.email a@b && echo x >f && git add f && git commit -qm one
git log --format=%s
python3 - <<'P'
import asyncio, concurrent.futures, subprocess, tempfile, threading, getpass, os
async def hello(): return (await asyncio.create_subprocess_exec("true")).returncode
assert asyncio.run(hello()) is None or True
with concurrent.futures.ThreadPoolExecutor(8) as pool: assert sum(pool.map(abs, range(10))) == 45
assert subprocess.check_output(["echo", "hi"]) == b"hi\\n"
tempfile.NamedTemporaryFile().close()
print("python works")
P"""
        result = sandbox.run(Command(script))
        assert result.stdout == "one\npython works\n", result

    @needs_users
    def test_folders_can_be_mounted_read_only_with_tools_on_the_path(
        self, open_box: Open, provider: SandboxProvider
    ) -> None:
        folder = provider.scratch / "tools kit"
        (folder / "bin").mkdir(parents=True, exist_ok=True)
        (folder / "bin/tool").write_text("#!/bin/sh\necho tool\n")
        (folder / "bin/tool").chmod(0o755)
        box = open_box(SandboxSpec(label="test", readonly={"/toolkit": folder}, path=("/toolkit/bin",)))
        assert box.run(Command("tool")).stdout == "tool\n"
        assert box.run(Command('cat "$MOUNT_TOOLKIT/bin/tool" | wc -l')).stdout == "2\n"
        assert not box.run(Command('echo x >"$MOUNT_TOOLKIT/bin/tool"')).ok
        assert not box.run(Command('rm "$MOUNT_TOOLKIT/bin/tool"')).ok

    @pytest.mark.parametrize("provider", ["locale2b"], indirect=True)
    def test_where_there_is_no_network_setup_commands_are_refused_in_one_sentence(self, sandbox: Sandbox) -> None:
        with pytest.raises(
            EnvironmentMissing, match=r"--setup.* need a network, and a locale2b VM has none: .*--toolchain"
        ):
            sandbox.run(Command("pip install x", network=True))

    @local_only
    def test_network_for_setup_commands_reaches_the_host_and_passes_no_credentials(
        self, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PIP_INDEX_URL", "https://user:secret@index.example/simple")
        monkeypatch.setenv("PIP_DEFAULT_TIMEOUT", "77")
        script = 'python3 -c \'import socket; socket.create_server(("127.0.0.1", 0)); print("socket")\'; env'
        result = sandbox.run(Command(script, network=True))
        assert "socket" in result.stdout
        assert "PIP_DEFAULT_TIMEOUT=77" in result.stdout
        assert "secret" not in result.stdout


class TestEnding:
    def test_who_closes_it_second_waits_until_it_is_gone(self, sandbox: Sandbox, folder: Path) -> None:
        """A run may say that it has let go only then, whoever told its sandbox to close."""
        sandbox.run(Command("mkdir -p many && cd many && seq 3000 | xargs touch"))
        assert not sandbox.gone
        first = threading.Thread(target=sandbox.close)
        first.start()
        assert until(lambda: getattr(sandbox, "closed", False))
        sandbox.close()
        assert sandbox.gone
        assert not folder.exists()
        first.join()

    def test_close_from_another_thread_ends_the_command_and_removes_everything(
        self, sandbox: Sandbox, folder: Path, provider: SandboxProvider
    ) -> None:
        ended: list[object] = []

        def work() -> None:
            try:
                ended.append(sandbox.run(Command("touch begun; sleep 600")))
            except Cancelled as error:
                ended.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        assert until(lambda: (folder / "workspace/begun").exists())
        begun = time.monotonic()
        sandbox.close()
        thread.join(10)
        assert time.monotonic() - begun < (2 if provider.name in LOCAL else 10)
        assert isinstance(ended[0], Cancelled)
        assert not folder.exists()

    @pytest.mark.parametrize(
        "script",
        [
            "mkdir -p a/b && touch a/b/c && chmod 000 a/b/c a/b a .",
            'python3 -c \'import os\nfor i in range(3000): os.mkdir("d" * 20); os.chdir("d" * 20)\'',
            "ln -s / root; ln -s .. up; mkfifo pipe; touch -- -rf $'new\\nline'",
        ],
        ids=["mode 000", "deep", "odd"],
    )
    def test_whatever_lies_there_is_removed(self, sandbox: Sandbox, folder: Path, script: str) -> None:
        sandbox.run(Command(script))
        sandbox.close()
        assert not folder.exists()

    @local_only
    def test_waiting_for_a_turn_is_not_counted_and_ends_by_close(self, root: Path, provider: SandboxProvider) -> None:
        narrow = choose(provider.name, root=root, parallel=1)
        first, second, third = (narrow.open(SandboxSpec(label="test")) for _ in range(3))
        results: list[CommandResult | Cancelled] = []

        def work(box: Sandbox) -> None:
            try:
                results.append(box.run(Command("true", timeout=1)))
            except Cancelled as error:
                results.append(error)

        holder = threading.Thread(target=first.run, args=[Command("touch begun; until [ -e go ]; do sleep 0.05; done")])
        holder.start()
        workspace: Path = first.workspace  # type: ignore[attr-defined]
        assert until(lambda: (workspace / "begun").exists())
        waiting = [threading.Thread(target=work, args=[box]) for box in (second, third)]
        for thread in waiting:
            thread.start()
        third.close()
        waiting[1].join(5)
        assert isinstance(results[0], Cancelled)
        assert not until(lambda: len(results) > 1, seconds=1.5)
        (workspace / "go").touch()
        waiting[0].join(10)
        holder.join(5)
        for box in (first, second):
            box.close()
        assert isinstance(results[1], CommandResult)
        assert results[1].ok

    @local_only
    def test_a_root_with_an_odd_name_works(self, public_folder: Path, provider: SandboxProvider) -> None:
        public_folder.chmod(0o755)
        box = choose(provider.name, root=public_folder / 'it\'s a "root"').open(SandboxSpec(label="test"))
        box.write("f", b"x")
        assert box.run(Command("cat f")).stdout == "x"
        box.close()


@pytest.mark.parametrize("quoted", ["$(touch hacked)", "`touch hacked`", "'; touch hacked; '", "%s", "{path}"])
def test_a_path_is_never_a_piece_of_script(sandbox: Sandbox, quoted: str) -> None:
    sandbox.write(quoted, b"x")
    assert sandbox.run(Command(f"ls -A; test -f {shlex.quote(quoted)}")).stdout == f"{quoted}\n"
