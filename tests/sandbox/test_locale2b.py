"""The remote sandbox against a service that keeps the contract with its traps: the cases of reference §11."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from seeing import running

from agents.errors import AgentError, Permanent, SandboxBusy, SandboxLost, Transient
from agents.ports import Command, SandboxSpec
from agents.sandbox.locale2b.answers import ContractError
from agents.sandbox.locale2b.ledger import HostLedger
from agents.sandbox.locale2b.provider import Locale2bProvider
from agents.sandbox.locale2b.sandbox import RemoteSandbox
from agents.sandbox.locale2b.service import Patience
from agents.sandbox.process import FLOOD, HEAD, TAIL
from agents.source import read_source
from agents.workspace import Workspace
from tests.support.locale2b_server import Locale2bServer, Say, provider_for

HASTY = Patience(0.05)
SPEC = SandboxSpec(label="test", memory_mib=512)
Serve = Callable[..., Locale2bServer]
Provide = Callable[..., Locale2bProvider]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """More services, for tests that do harm to them."""
    with ExitStack() as stack:

        def start(**options: Any) -> Locale2bServer:
            server = Locale2bServer(**options)
            stack.callback(server.stop)
            return server

        yield start


@pytest.fixture
def provide(tmp_path: Path) -> Provide:
    def make(*servers: Locale2bServer, **options: Any) -> Locale2bProvider:
        return provider_for(*servers, folder=tmp_path, **options)

    return make


@pytest.fixture
def box(serve: Serve, provide: Provide) -> Iterator[RemoteSandbox]:
    """A VM of a service of its own."""
    opened = provide(serve(), patience=HASTY).open(SPEC)
    assert isinstance(opened, RemoteSandbox)
    yield opened
    opened.close()


class TestOutput:
    def test_a_hundred_megabytes_are_capped_with_a_note(self, box: RemoteSandbox) -> None:
        result = box.run(Command("echo begin; head -c 100000000 /dev/zero | tr '\\0' x", timeout=60))
        assert (result.exit_code, result.limit) == (None, f"more than {FLOOD >> 20} MiB of output")
        assert result.stdout.startswith("begin\n")
        assert "bytes left out" in result.stdout
        assert len(result.whole) == 8 << 20

    def test_nine_megabytes_without_a_newline_are_head_tail_and_the_whole_in_parts(self, box: RemoteSandbox) -> None:
        result = box.run(Command("head -c 9000000 /dev/zero | tr '\\0' x; printf end"))
        assert result.ok
        assert f"[… {9_000_003 - HEAD - TAIL} bytes left out …]" in result.stdout
        assert result.stdout.endswith("end")
        assert len(result.whole) == 8 << 20

    @pytest.mark.parametrize(
        ("script", "out", "err"),
        [
            (r"printf 'a\377b'", "a\ufffdb", ""),
            ("printf oops >&2", "", "oops"),
            ("true", "", ""),
            ("printf 'no newline'", "no newline", ""),
            (r"printf '{\"m\": \"x\"}\n'", '{"m": "x"}\n', ""),
        ],
    )
    def test_what_a_command_says_arrives_as_it_is(self, box: RemoteSandbox, script: str, out: str, err: str) -> None:
        result = box.run(Command(script))
        assert (result.exit_code, result.stdout, result.stderr) == (0, out, err)

    def test_a_file_of_nine_megabytes_leaves_whole(self, box: RemoteSandbox) -> None:
        assert box.run(Command("head -c 9000000 /dev/urandom > big; sha256sum big > sum")).ok
        data = box.read("big", 9_000_000)
        box.write("again", data)
        assert box.run(Command("sha256sum < again | cut -c1-64 > s; cut -c1-64 sum | cmp - s")).ok

    def test_a_script_of_a_hundred_kilobytes_runs(self, box: RemoteSandbox) -> None:
        assert box.run(Command(f"x={'y' * 100_000}; echo ${{#x}}")).stdout == "100000\n"


class TestEnds:
    def test_a_command_over_its_time_leaves_its_output_and_nothing_else(self, box: RemoteSandbox, mark: str) -> None:
        children = f"sleep 600.{mark} & (setsid sleep 601.{mark} &); nohup sleep 602.{mark} >/dev/null 2>&1 &"
        result = box.run(Command(f"{children} echo begun; sleep 603.{mark}", timeout=1.5))
        assert (result.exit_code, result.timed_out, result.stdout) == (None, True, "begun\n")
        assert running(mark) == []

    def test_children_that_outlive_their_command_are_ended_with_it(self, box: RemoteSandbox, mark: str) -> None:
        result = box.run(Command(f"sleep 600.{mark} & (setsid sleep 601.{mark} &); echo done"))
        assert (result.exit_code, result.stdout) == (0, "done\n")
        assert result.duration < 5
        assert running(mark) == []

    def test_a_command_longer_than_a_slice_is_waited_for(self, box: RemoteSandbox) -> None:
        result = box.run(Command("echo one; sleep 4; echo two"))
        assert (result.exit_code, result.stdout) == (0, "one\ntwo\n")

    def test_a_fork_bomb_is_ended(self, box: RemoteSandbox) -> None:
        result = box.run(Command("f() { f | f & }; f; sleep 60", timeout=2))
        assert result.timed_out
        assert box.run(Command("echo alive")).stdout == "alive\n"


class TestTrouble:
    """`says` is what the service answers to one call while a command is about to run."""

    @pytest.mark.parametrize(
        ("says", "kind", "told"),
        [
            (Say(500, {"detail": "Broken pipe"}), SandboxLost, "lost the sandbox"),
            (Say(404, {"detail": "Sandbox not found"}), SandboxLost, "HTTP 404"),
            (Say(200, '{"success": true, "exit_code": "0"}'), ContractError, "exit_code"),
            (Say(200, '{"success": true, "exit_code": 0, "stdout": ""}'), ContractError, "stderr: field required"),
            (
                Say(200, {"success": True, "exit_code": 0, "stdout": "hi", "stderr": "", "error": None}),
                SandboxLost,
                "as itself",
            ),
            (
                Say(200, {"success": False, "exit_code": -1, "stdout": "", "stderr": "", "error": "Command timed out"}),
                SandboxLost,
                "Command timed out",
            ),
            (Say(401, {"detail": "Invalid API key"}), Permanent, "LOCALE2B_API_KEY"),
            (Say(413, {"detail": "too large"}), Permanent, "MAX_REQUEST_SIZE_BYTES"),
            (Say(422, {"detail": [{"loc": ["body", "command"], "msg": "x"}]}), Permanent, "HTTP 422"),
            (Say(502, "<html>Bad gateway</html>"), SandboxLost, "HTTP 502"),
            (
                Say(body={"success": True, "exit_code": 0, "stdout": "x" * 9_000_000, "stderr": "", "error": None}),
                SandboxLost,
                "exit code 0, 9000000 characters",
            ),
            (
                Say(200, "<html>Sign in</html>", {"content-type": "text/html"}),
                SandboxLost,
                "text/html that is not whole JSON",
            ),
        ],
    )
    def test_an_answer_leads_to_one_error_that_names_the_service(
        self, serve: Serve, provide: Provide, says: Say, kind: type[AgentError], told: str
    ) -> None:
        server = serve()
        box = provide(server, patience=HASTY).open(SPEC)
        server.once("exec", says)
        with pytest.raises(kind) as raised:
            box.run(Command("true"))
        assert told in str(raised.value)
        assert f"127.0.0.1:{server.server_port}" in str(raised.value)
        box.close()
        assert server.machines == {}

    def test_a_connection_that_breaks_is_asked_again_and_nothing_runs_twice(
        self, serve: Serve, provide: Provide
    ) -> None:
        server = serve()
        box = provide(server, patience=HASTY).open(SPEC)
        server.once("exec", Say(body=b"{" * 100, cut=True, done=True))
        assert box.run(Command("echo x >> f; cat f")).stdout == "x\n"
        box.close()

    def test_an_answer_without_end_is_cut_off(self, serve: Serve, provide: Provide) -> None:
        server = serve()
        box = provide(server, patience=HASTY).open(SPEC)
        server.once("exec", *[Say(body=b" " * 20_000_000)] * 3)
        with pytest.raises(SandboxLost, match="an answer of more than 16 MiB"):
            box.run(Command("true"))
        box.close()

    @pytest.mark.parametrize("header", [{"Retry-After": "0"}, {"Retry-After": "2"}, {}], ids=["0", "2", "absent"])
    def test_a_service_that_asks_to_slow_down_is_obeyed_in_the_midst_of_work(
        self, serve: Serve, provide: Provide, header: dict[str, str]
    ) -> None:
        server = serve()
        box = provide(server).open(SPEC)
        server.once("exec", Say(429, {"detail": "Rate limit exceeded"}, header))
        begun = time.monotonic()
        assert box.run(Command("echo x")).stdout == "x\n"
        assert time.monotonic() - begun >= max(1, int(header.get("Retry-After", "1")))
        box.close()

    def test_an_answer_that_trickles_is_given_up(self, serve: Serve, provide: Provide) -> None:
        """Never silent for long, and never done."""
        server = serve()
        server.once("capacity", Say(body=b" " * 1000, trickles=0.1))
        begun = time.monotonic()
        with pytest.raises(Transient, match=r"does not answer \(capacity: not whole after"):
            provide(server, patience=HASTY).services[0].capacity()
        assert time.monotonic() - begun < 10

    @pytest.mark.services
    def test_a_service_that_hangs_is_given_up(self, serve: Serve, provide: Provide) -> None:
        server = serve()
        box = provide(server, patience=HASTY).open(SPEC)
        server.once("exec", Say(after=30))
        begun = time.monotonic()
        with pytest.raises(SandboxLost, match=r"127.0.0.1.* does not answer .*check_sandbox"):
            box.run(Command("true"))
        assert time.monotonic() - begun < 15
        box.close()

    def test_a_guest_that_refuses_a_file_and_still_answers_is_final(self, serve: Serve, provide: Provide) -> None:
        server = serve()
        box = provide(server).open(SPEC)
        server.once("upload", Say(500, {"detail": "No space left on device"}))
        with pytest.raises(Permanent, match="No space left"):
            box.write("big", bytes(100_000))
        box.close()

    def test_a_guest_that_refuses_a_file_and_is_dead_is_lost(self, serve: Serve, provide: Provide) -> None:
        server = serve()
        box = provide(server).open(SPEC)
        server.once("upload", Say(500, {"detail": "Permission denied"}))
        server.once("exec", Say(500, {"detail": "Broken pipe"}))
        with pytest.raises(SandboxLost, match="Broken pipe"):
            box.write("big", bytes(100_000))
        box.close()

    def test_a_lost_sandbox_says_so_again(self, serve: Serve, provide: Provide) -> None:
        server = serve()
        box = provide(server).open(SPEC)
        server.kill_vm()
        for _ in range(2):
            with pytest.raises(SandboxLost, match="Broken pipe"):
                box.run(Command("true"))
        asked = len(server.asked)
        with pytest.raises(SandboxLost):
            box.read("x")
        assert len(server.asked) == asked, "a dead VM is not asked again"
        box.close()
        assert server.machines == {}


class TestPool:
    def test_the_next_service_is_taken_where_one_has_no_room(self, serve: Serve, provide: Provide) -> None:
        full, free = serve(most=0), serve()
        pool = provide(full, free)
        boxes = [pool.open(SPEC) for _ in range(4)]
        assert len(free.machines) == 4
        for box in boxes:
            box.close()

    def test_a_machine_whose_agent_never_came_is_destroyed_and_the_next_service_taken(
        self, serve: Serve, provide: Provide
    ) -> None:
        first, second = serve(), serve()
        for server in (first, second):
            server.once("exec", Say(500, {"detail": "Failed to connect"}))
        pool = provide(first, second)
        with pytest.raises(SandboxBusy, match="Failed to connect"):
            pool.open(SPEC)
        assert first.machines == second.machines == {}
        pool.open(SPEC).close()

    def test_a_service_in_trouble_rests(self, serve: Serve, provide: Provide) -> None:
        server = serve()
        pool = provide(server, patience=HASTY)
        server.once("exec", *[Say(500, {"detail": "Broken pipe"})] * 2)
        for _ in range(2):
            with pytest.raises(SandboxBusy):
                pool.open(SPEC)
        asked = len(server.asked)
        with pytest.raises(SandboxBusy, match="rests for"):
            pool.open(SPEC)
        assert len(server.asked) == asked

    def test_an_unknown_template_is_named(self, serve: Serve, provide: Provide) -> None:
        with pytest.raises(Permanent, match=r"Kernel not found: ours.*LOCALE2B_TEMPLATE"):
            provide(serve(), LOCALE2B_TEMPLATE="ours").open(SPEC)

    def test_memory_is_never_asked_for_in_vain(self, serve: Serve, provide: Provide) -> None:
        server = serve()
        for wanted, got in ((64, 256), (4096, 2048)):
            box = provide(server, LOCALE2B_MEMORY_MB="2048").open(SandboxSpec(label="test", memory_mib=wanted))
            assert [machine.memory_mb for machine in server.machines.values()] == [got]
            box.close()

    def test_the_key_is_sent_in_the_header_that_is_set(self, serve: Serve, provide: Provide) -> None:
        server = serve(key="s3cret")
        provide(server, LOCALE2B_API_KEY="s3cret").open(SPEC).close()
        assert all(asked.headers["x-api-key"] == "s3cret" for asked in server.asked)
        assert not any(b"s3cret" in asked.body or "s3cret" in asked.path for asked in server.asked)


class TestSweep:
    def test_an_answer_that_came_too_late_leaves_no_orphan(self, serve: Serve, provide: Provide) -> None:
        server = serve()
        pool = provide(server, patience=HASTY)
        server.once("create", Say(after=5, done=True))
        with pytest.raises(SandboxBusy, match="does not answer"):
            pool.open(SPEC)
        assert len(server.machines) == 1
        pool.open(SPEC).close()
        assert server.machines == {}

    def test_others_and_living_ones_stay(self, serve: Serve, provide: Provide) -> None:
        server = serve()
        pool = provide(server)
        living = pool.open(SPEC)
        theirs = server.create({"workspace_id": "compymac-another-x-y"})["sandbox_id"]
        nobodys = server.create({})["sandbox_id"]
        assert pool.sweep() == 0
        assert set(server.machines) == {living.sandbox_id, theirs, nobodys}  # type: ignore[attr-defined]
        living.close()

    def test_a_service_whose_clock_is_hours_behind_does_not_cost_a_living_one(
        self, serve: Serve, provide: Provide, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        server = serve()
        pool = provide(server)
        living = pool.open(SPEC)
        monkeypatch.setattr("agents.sandbox.locale2b.provider._age", lambda machine, now: timedelta(hours=8))
        assert pool.sweep() == 0
        assert living.run(Command("echo alive")).stdout == "alive\n"
        living.close()

    def test_what_a_killed_worker_left_is_removed(self, serve: Serve, provide: Provide, tmp_path: Path) -> None:
        server = serve()
        script = f"""
import os, sys
from pathlib import Path
sys.path.insert(0, os.getcwd())
from agents.ports import SandboxSpec
from tests.support.locale2b_server import provider_for
class There: url = {server.url!r}
provider_for(There, folder=Path({str(tmp_path)!r})).open(SandboxSpec(label="test"))
os.kill(os.getpid(), 9)"""
        done = subprocess.run([sys.executable, "-c", script], check=False, timeout=60)
        assert done.returncode == -9
        assert len(server.machines) == 1
        assert provide(server).sweep() == 1
        assert server.machines == {}


class TestSharing:
    def test_two_processes_run_one_command_at_a_time_on_one_service(self, serve: Serve, provide: Provide) -> None:
        """Two providers are two processes, as far as their locks go."""
        server = serve()
        boxes = [provide(server).open(SPEC) for _ in range(2)]
        results: dict[int, tuple[float, float]] = {}

        def work(n: int) -> None:
            result = boxes[n].run(Command("date +%s.%N; sleep 1; date +%s.%N"))
            first, last = map(float, result.stdout.split())
            results[n] = (first, last)

        threads = [threading.Thread(target=work, args=[n]) for n in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        (_, end), (begin, _) = sorted(results.values())
        assert begin > end, "the second began when the first had ended"
        for box in boxes:
            box.close()

    def test_where_all_are_busy_a_new_sandbox_is_waited_for_and_the_reason_told(
        self, serve: Serve, provide: Provide, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("agents.sandbox.locale2b.provider.WAIT_FOR_TURN", 0.2)
        pool = provide(serve(), serve())
        turns = [service.ledger.take_turn() for service in pool.services]
        with pytest.raises(SandboxBusy, match="waiting for a sandbox service: 2 of 2 busy with a command"):
            pool.open(SPEC)
        for service, turn in zip(pool.services, turns, strict=True):
            assert turn is not None
            service.ledger.end_turn(turn)
        pool.open(SPEC).close()

    def test_a_hundred_requests_wanted_by_many_processes_are_45_in_a_minute(self, tmp_path: Path) -> None:
        ledgers = [HostLedger("http://svc key", 45, tmp_path) for _ in range(4)]
        sent = [ledger.admit(urgent=n % 10 == 0) == 0 for n in range(25) for ledger in ledgers]
        assert sum(sent) <= 45
        assert ledgers[0].admit() > 50
        assert HostLedger("http://other key", 45, tmp_path).admit() == 0

    @pytest.mark.services
    @pytest.mark.long
    def test_a_service_with_the_real_limit_never_says_429(self, serve: Serve, provide: Provide) -> None:
        """Its minute and ours are real; each request is counted twice there."""
        server = serve(rate=100)
        pool = provide(server, LOCALE2B_REQUESTS_PER_MINUTE="45")
        box = pool.open(SPEC)
        ended = [box.run(Command("true")).exit_code for _ in range(50)]
        box.close()
        times = [asked.at for asked in server.asked]
        assert max(sum(1 for at in times if first <= at < first + 60) for first in times) <= 45
        assert len(times) > 45
        assert set(ended) == {0}


NAMES = (
    "src/dev/x.py",
    "etc/passwd",
    "root/.bashrc",
    "home/me/a",
    "proc/self",
    "a..b",
    "file...txt",
    "line\nbreak",
    'it\'s "quoted" `x` $(y)',
    "-rf",
    "--",
    " leading and trailing ",
    "ü/ß",
    "n" * 255,
    "tab\there",
    "esc\x1b[0m",
    "*?[x]",
    "back\\slash",
)


class TestRepositories:
    def git(self, repo: Path, *words: str) -> bytes:
        return subprocess.run(["git", "-C", str(repo), *words], check=True, capture_output=True).stdout

    def repository(self, folder: Path) -> Path:
        repo = folder / "repo"
        for name in NAMES:
            (repo / name).parent.mkdir(parents=True, exist_ok=True)
            (repo / name).write_bytes(name.encode() + b"\0\xff\r\n")
        (repo / os.fsdecode(b"latin-\xe9")).write_bytes(b"x")
        (repo / "run.sh").write_text("#!/bin/sh\n")
        (repo / "run.sh").chmod(0o755)
        (repo / "link").symlink_to("a..b")
        (repo / "broken").symlink_to("/nowhere/at all")
        self.git(folder, "init", "-q", "-b", "main", str(repo))
        self.git(repo, "add", "-A")
        self.git(repo, "-c", "user.name=A", "-c", "user.email=a@b", "commit", "-qm", "names")
        return repo

    def test_awkward_names_arrive_and_leave_byte_for_byte(self, serve: Serve, provide: Provide, tmp_path: Path) -> None:
        repo, pool = self.repository(tmp_path), provide(serve())
        source = read_source(pool, repo, "HEAD")
        assert source.sha == self.git(repo, "rev-parse", "HEAD").decode().strip()
        box = pool.open(SPEC)
        workspace = Workspace(box)
        workspace.open(source.bundle, None, source.sha)
        assert workspace.checkpoint(1_700_000_000) == source.sha, "the tree is the commit's, to the byte"
        box.write("it's/new\nhere", b"\0new")
        made = workspace.commit("one more", 1_700_000_000)
        bundle = tmp_path / "out.bundle"
        bundle.write_bytes(workspace.bundle(source.sha, made))
        box.close()
        self.git(repo, "fetch", "-q", str(bundle), "refs/compymac/result")
        changed = self.git(repo, "diff", "--name-only", "-z", "HEAD", made)
        assert changed == b"it's/new\nhere\0"
        assert self.git(repo, "show", f"{made}:it's/new\nhere") == b"\0new"

    def test_a_bundle_of_twenty_megabytes_goes_in_and_out_in_parts(
        self, serve: Serve, provide: Provide, tmp_path: Path
    ) -> None:
        repo, server = self.repository(tmp_path), serve()
        pool = provide(server)
        (repo / "big").write_bytes(os.urandom(20_000_000))
        self.git(repo, "add", "-A")
        self.git(repo, "-c", "user.name=A", "-c", "user.email=a@b", "commit", "-qm", "big")
        source = read_source(pool, repo, "HEAD")
        assert len(source.bundle) > 20_000_000
        box = pool.open(SPEC)
        workspace = Workspace(box)
        workspace.open(source.bundle, None, source.sha)
        assert workspace.checkpoint(1_700_000_000) == source.sha
        box.close()
        parts = server.calls("upload")
        assert len(parts) >= 6, "three for the repository's objects, three for the bundle"
        assert all(len(part.body) < 10_000_000 for part in parts)
        assert len(server.calls("read")) >= 4

    def test_a_part_that_did_not_arrive_whole_is_noticed(
        self, serve: Serve, provide: Provide, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        server = serve()
        box = provide(server).open(SPEC)
        real = server.write

        def damaged(machine: Any, path: str, data: bytes) -> int:
            return real(machine, path, b"?" + data[1:])

        monkeypatch.setattr(server, "write", damaged)
        with pytest.raises(AgentError, match="did not arrive whole"):
            box.write("f", bytes(100_000))
        with pytest.raises(SandboxLost, match="did not arrive whole"):
            box.run(Command("cat", stdin=bytes(100_000)))
        box.close()

    def test_a_size_that_does_not_match_breaks_the_contract(self, serve: Serve, provide: Provide) -> None:
        server = serve()
        box = provide(server).open(SPEC)
        server.once("upload", Say(200, {"status": "uploaded", "path": "/tmp/x", "size": 3}))
        with pytest.raises(ContractError, match=r"took 3 of 100000 bytes"):
            box.write("f", bytes(100_000))
        box.close()


def test_a_folder_that_is_too_large_to_push_is_refused_in_one_sentence(
    serve: Serve, provide: Provide, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agents.sandbox.locale2b.parcels.LARGEST_FOLDER", 1000)
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools/big").write_bytes(bytes(2000))
    with pytest.raises(Permanent, match="too much to push into each VM"):
        provide(serve()).open(SandboxSpec(label="test", readonly={"/tools": tmp_path / "tools"}))


def test_nothing_of_the_worker_is_in_a_request(serve: Serve, provide: Provide, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLM_API_KEY", "hunter2-planted")
    server = serve()
    box = provide(server).open(SPEC)
    assert "hunter2" not in box.run(Command("env; cat /proc/*/environ 2>/dev/null | tr '\\0' '\\n'")).output
    box.close()
    assert not any(b"hunter2" in asked.body for asked in server.asked)
    assert json.loads(server.calls("create")[0].body)["workspace_id"].startswith("compymac-test-")
