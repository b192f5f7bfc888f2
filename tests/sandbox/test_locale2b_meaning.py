"""PURE parts of the remote sandbox, row by row: what a status means, which answers fit, what the limiter and the breaker decide."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from agents.errors import AgentError, Permanent, SandboxBusy, SandboxLost, Transient
from agents.sandbox.locale2b.answers import ContractError, FileRead, Machine, Ran, detail_of, understood
from agents.sandbox.locale2b.ledger import FAILURE, LOSS, REST, State, admitted, after, rest_of
from agents.sandbox.locale2b.meaning import GuestRefused, refusal, waited
from agents.sandbox.locale2b.options import Options, from_environment, warnings
from agents.sandbox.locale2b.protocol import Done, heard, say, shaped
from agents.sandbox.locale2b.provider import LONGEST_LIFE, _Names
from agents.sandbox.locale2b.transport import Answer, parse_address

INSIDE = ("exec", "upload", "read")
EVERY = ("health", "capacity", "list", "create", "status", "destroy", *INSIDE)


@pytest.mark.parametrize(
    ("calls", "status", "detail", "kind", "said"),
    [
        (EVERY, 400, "Invalid path", Permanent, "refuses the request (HTTP 400): Invalid path"),
        (EVERY, 401, "", Permanent, "LOCALE2B_API_KEY"),
        (EVERY, 403, "", Permanent, "LOCALE2B_API_KEY"),
        (("status", "destroy", *INSIDE), 404, "Sandbox not found", SandboxLost, "does not know the sandbox any more"),
        (("health", "capacity", "list", "create"), 404, "", Permanent, "LOCALE2B_BASE_URL"),
        (EVERY, 413, "", Permanent, "MAX_REQUEST_SIZE_BYTES"),
        (EVERY, 422, "[...]", Permanent, "HTTP 422"),
        (EVERY, 429, "", SandboxBusy, "slow down"),
        (EVERY, 503, "Maximum sandbox limit reached (20)", SandboxBusy, "Maximum sandbox limit reached (20)"),
        (EVERY, 503, "Insufficient memory: requested 512 MB", SandboxBusy, "Insufficient memory"),
        (EVERY, 500, "Kernel not found: /x", Permanent, "LOCALE2B_TEMPLATE"),
        (EVERY, 500, "Base rootfs not found", Permanent, "LOCALE2B_TEMPLATE"),
        (INSIDE, 500, "[Errno 32] Broken pipe", SandboxLost, "lost the sandbox"),
        (INSIDE, 500, "Connection closed by peer", SandboxLost, "lost the sandbox"),
        (INSIDE, 500, "Failed to connect to guest", SandboxLost, "lost the sandbox"),
        (INSIDE, 500, "timed out", SandboxLost, "lost the sandbox"),
        (INSIDE, 500, "Response too large: 10485761", SandboxLost, "lost the sandbox"),
        (("health", "create", "status"), 500, "Broken pipe", Transient, "look at its log"),
        (("upload",), 500, "Permission denied: /tmp/x", GuestRefused, "cannot take the file"),
        (("upload",), 500, "No space left on device", GuestRefused, "cannot take the file"),
        (EVERY, 500, "KeyError", Transient, "failed (HTTP 500): KeyError"),
        (EVERY, 502, "<html>", Transient, "HTTP 502"),
        (EVERY, 307, "", Permanent, "HTTP 307"),
    ],
)
def test_a_status_means_one_thing(
    calls: tuple[Any, ...], status: int, detail: str, kind: type[AgentError], said: str
) -> None:
    for call in calls:
        error = refusal(call, status, detail, None, "10.0.0.5:8080")
        assert type(error) is kind, call
        assert said in str(error)
        assert "10.0.0.5:8080" in str(error)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("0", 1), ("7", 7), (None, 1), ("soon", 1), ("1e9", 60), ("nan", 1), ("-3", 1), ("2.5", 2.5)],
)
def test_a_retry_after_is_at_least_a_second(header: str | None, seconds: float) -> None:
    assert waited(header) == seconds
    error = refusal("exec", 429, "", header, "x")
    assert isinstance(error, SandboxBusy)
    assert error.retry_after == seconds


RAN = {"success": True, "exit_code": 0, "stdout": "", "stderr": "", "error": None}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"exit_code": "0"}, "exit_code"),
        ({"exit_code": None}, "exit_code"),
        ({"exit_code": 0.5}, "exit_code"),
        ({"success": "true"}, "success"),
        ({"stdout": None}, "stdout"),
        ({"error": 7}, "error"),
    ],
)
def test_a_field_of_another_type_is_named(change: dict[str, Any], field: str) -> None:
    with pytest.raises(ContractError, match=f"svc.*{field}: .*check_sandbox"):
        understood(Ran, Answer(200, {}, json.dumps(RAN | change).encode()), "svc")


@pytest.mark.parametrize("field", list(RAN))
def test_a_missing_field_is_named_and_never_guessed(field: str) -> None:
    left = {name: value for name, value in RAN.items() if name != field}
    with pytest.raises(ContractError, match=f"{field}: field required"):
        understood(Ran, Answer(200, {}, json.dumps(left).encode()), "svc")


@pytest.mark.parametrize(
    "body", [b'{"success": true, "exit', b"<html>Sign in</html>", b"", b"\xff\xfe", b"[" * 100_000]
)
def test_what_is_no_whole_json_is_trouble_of_the_service(body: bytes) -> None:
    with pytest.raises(Transient, match=r"svc sent text/html that is not whole JSON"):
        understood(Ran, Answer(200, {"content-type": "text/html; charset=x"}, body), "svc")


@pytest.mark.parametrize("body", ["[]", '"yes"', "null", '{"sandboxes": []}'])
def test_json_of_another_shape_breaks_the_contract(body: str) -> None:
    with pytest.raises(ContractError):
        understood(Ran, Answer(200, {}, body.encode()), "svc")
    if body != "[]":
        with pytest.raises(ContractError):
            understood(list[Machine], Answer(200, {}, body.encode()), "svc")


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        (b'{"detail": "no"}', "no"),
        (
            b'{"detail": [{"loc": ["body", "path"], "msg": "required"}]}',
            '[{"loc": ["body", "path"], "msg": "required"}]',
        ),
        (b"<html>\x1b[31m", "<html> [31m"),
        (b'{"detail": "' + b"x" * 1000 + b'"}', "x" * 300),
        (b"null", "null"),
    ],
)
def test_the_services_own_words_are_short_and_printable(body: bytes, shown: str) -> None:
    assert detail_of(Answer(500, {}, body)) == shown


def test_a_file_that_is_no_base64_is_not_believed() -> None:
    with pytest.raises(ValueError, match="base64"):
        FileRead(success=True, content="not base64!").data()


class TestTheRunnersLine:
    def ran(self, stdout: str, **more: Any) -> Ran:
        return Ran(**(RAN | {"stdout": stdout} | more))

    def test_the_last_line_with_our_marker_is_believed(self) -> None:
        assert heard("ab", self.ran('noise\n{"m": "ab", "state": "x"}\n'), "svc") == {"state": "x"}

    @pytest.mark.parametrize(
        "stdout", ["", "done", '{"m": "another"}', '{"state": "x"}', "[1]", '{"m": "ab"}\nmore', "[" * 100_000, "7"]
    )
    def test_anything_else_is_a_lost_sandbox(self, stdout: str) -> None:
        with pytest.raises(SandboxLost, match="svc did not answer as itself"):
            heard("ab", self.ran(stdout), "svc")

    def test_its_own_failure_is_told(self) -> None:
        failed = self.ran("", success=False, exit_code=-1, error="Command timed out after 8 seconds")
        with pytest.raises(SandboxLost, match="Command timed out after 8 seconds"):
            heard("ab", failed, "svc")

    def test_a_line_of_another_shape_names_its_field(self) -> None:
        with pytest.raises(ContractError, match=r"svc said something else than agreed: out\.size: "):
            shaped(
                Done,
                {"exit": 0, "why": "", "duration": 0.1, "left": 0, "out": {"size": "7", "head": "", "tail": ""}},
                "svc",
            )

    def test_an_order_needs_no_quoting(self) -> None:
        text = say("start", "ab", {"script": "rm -rf / ; $(reboot) `x` \\ '\" \n \udcff"})
        assert re.fullmatch(r"python3 -I -S /tmp/compymac/runner\.zip start ab [A-Za-z0-9+/]+=*", text)


class TestTheLimiter:
    def test_no_minute_has_more_than_its_requests(self) -> None:
        state, sent, now = State(), [], 1000.0
        while len(sent) < 200:
            wait = admitted(state, now, 45)
            if not wait:
                sent.append(now)
            now += wait or 0.01
        assert all(sent[n + 45] - sent[n] >= 60 for n in range(len(sent) - 45))

    def test_times_of_before_a_restart_of_the_host_do_not_count(self) -> None:
        assert admitted(State(sent=[5e9] * 45), 10.0, 45) == 0


class TestTheBreaker:
    def test_three_failures_open_it_and_one_success_closes_it(self) -> None:
        state = State()
        for _ in range(2):
            after(state, FAILURE, 100.0)
        assert rest_of(state, 100.0) == 0
        after(state, FAILURE, 100.0)
        assert rest_of(state, 101.0) == REST - 1
        after(state, 0, 102.0)
        assert rest_of(state, 102.0) == 0

    def test_two_lost_sandboxes_in_a_row_open_it(self) -> None:
        state = State()
        after(state, LOSS, 0.0)
        after(state, LOSS, 0.0)
        assert rest_of(state, 1.0) > 0

    def test_after_its_rest_one_caller_tries_and_the_others_wait(self) -> None:
        state = State(trouble=6, rests_until=50.0)
        assert rest_of(state, 51.0, only_look=True) == 0
        assert rest_of(state, 51.0) == 0
        assert rest_of(state, 51.0) == REST


class TestSettings:
    def test_all_of_them(self) -> None:
        options = from_environment(
            {
                "LOCALE2B_BASE_URL": "http://10.0.0.5:8080/, https://vm.example.com:8443,http://10.0.0.5:8080",
                "LOCALE2B_API_KEY": "k3y ",
                "LOCALE2B_API_KEY_HEADER": "X-Other",
                "LOCALE2B_MEMORY_MB": "2048",
                "LOCALE2B_VCPUS": "4",
            }
        )
        assert [address.name for address in options.addresses] == ["10.0.0.5:8080", "vm.example.com:8443"]
        assert options.headers == {"X-Other": "k3y"}
        assert (options.memory_mb, options.vcpus, options.per_minute) == (2048, 4, 45)
        assert "k3y" not in repr(options)

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("LOCALE2B_BASE_URL", ""),
            ("LOCALE2B_BASE_URL", "10.0.0.5:8080"),
            ("LOCALE2B_BASE_URL", "ftp://10.0.0.5"),
            ("LOCALE2B_BASE_URL", "http://name:password@10.0.0.5"),
            ("LOCALE2B_BASE_URL", "http://[::1"),
            ("LOCALE2B_API_KEY", "one\ntwo"),
            ("LOCALE2B_API_KEY", "schlüssel"),
            ("LOCALE2B_MEMORY_MB", "4096"),
            ("LOCALE2B_MEMORY_MB", "much"),
            ("LOCALE2B_VCPUS", "5"),
            ("LOCALE2B_REQUESTS_PER_MINUTE", "0"),
        ],
    )
    def test_a_value_that_cannot_be_is_named(self, name: str, value: str) -> None:
        with pytest.raises(Permanent, match=name) as refused:
            from_environment({"LOCALE2B_BASE_URL": "http://10.0.0.5:8080", name: value})
        assert "password@" not in str(refused.value)

    @pytest.mark.parametrize(
        ("url", "key", "warned"),
        [
            ("http://127.0.0.1:8080", "k", []),
            ("http://localhost:8080", "k", []),
            ("http://192.168.1.9:8080", "k", []),
            ("http://[fd00::1]:8080", "k", []),
            ("http://vmhost:8080", "k", []),
            ("http://vm.lan:8080", "k", []),
            ("https://vm.example.com", "k", []),
            ("http://vm.example.com", "k", ["plain HTTP"]),
            ("http://8.8.8.8:8080", "", ["plain HTTP", "no key"]),
            ("http://10.0.0.5:8080", "", ["no key"]),
        ],
    )
    def test_what_should_not_stay_so_is_warned_of(self, url: str, key: str, warned: list[str]) -> None:
        found = warnings(Options((parse_address(url),), api_key=key))
        assert len(found) == len(warned)
        assert all(word in sentence for word, sentence in zip(warned, found, strict=True))


class TestWhoseMachine:
    NOW = datetime(2026, 1, 1, tzinfo=UTC)

    def machine(self, label: str, status: str = "running", age: timedelta = timedelta(0)) -> Machine:
        made = (self.NOW - age).replace(tzinfo=None).isoformat()
        return Machine(sandbox_id="ab", status=status, workspace_id=label, created_at=made, memory_mb=512)

    def test_only_ours_without_an_owner_are_left_over(self, tmp_path: Path) -> None:
        names = _Names("abc123", tmp_path)
        living, release = names.new("step-1a2b3c4d-2")
        assert living.startswith("compymac-abc123-")
        assert "-step-1a2b3c4d-2-" in living
        assert not names.is_left_over(self.machine(living), self.NOW)
        release()
        assert names.is_left_over(self.machine(living), self.NOW)

    def test_a_name_of_another_host_counts_until_it_is_too_old(self, tmp_path: Path) -> None:
        names, other = _Names("abc123", tmp_path), "compymac-abc123-ffffff-step-x-y"
        assert not names.is_left_over(self.machine(other), self.NOW)
        assert names.is_left_over(self.machine(other, age=LONGEST_LIFE * 2), self.NOW)
        assert names.is_left_over(self.machine(other, status="stopped"), self.NOW)

    @pytest.mark.parametrize(
        "label", ["", "4f3a2b1c", "compymac-other-x-y", "compymac-abc12-x", "compymac-abc1234-x", "ours"]
    )
    def test_others_are_never_touched(self, tmp_path: Path, label: str) -> None:
        names = _Names("abc123", tmp_path)
        assert not names.is_left_over(self.machine(label, status="stopped", age=LONGEST_LIFE * 9), self.NOW)
