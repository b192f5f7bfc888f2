"""What other machines could reach is refused where it would give them the installation; a taken port is passed over."""

from __future__ import annotations

import socket
import stat
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command

from orchestration import envfile
from orchestration.children import NotStarted
from orchestration.listening import listen, refusal, url_of

LOOPBACK = ["127.0.0.1", "127.8.8.8", "localhost", "LOCALHOST", "::1", "[::1]"]
REACHABLE = [
    "0.0.0.0",
    "::",
    "192.168.1.5",
    "10.0.0.1",
    "panel.example.org",
    "",
    "localhost.example.org",
    "2001:db8::1",
]


@pytest.mark.parametrize("host", LOOPBACK)
@pytest.mark.parametrize(("debug", "default"), [(True, True), (True, False), (False, True), (False, False)])
def test_this_machine_alone_may_always_be_served(host: str, debug: bool, default: bool) -> None:
    assert refusal(host, debug=debug, key_is_default=default) == ""


@pytest.mark.parametrize("host", REACHABLE)
@pytest.mark.parametrize(
    ("debug", "default", "named"),
    [
        (True, True, "DEBUG"),
        (True, False, "DEBUG"),
        (False, True, "SECRET_KEY"),
        (False, False, ""),
    ],
)
def test_others_only_without_debug_and_with_a_key_of_ones_own(
    host: str, debug: bool, default: bool, named: str
) -> None:
    said = refusal(host, debug=debug, key_is_default=default)
    assert bool(said) == bool(named)
    assert named in said


def test_up_refuses_with_the_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    env = tmp_path / "env"
    env.write_text("")
    monkeypatch.setattr(settings, "ENV_FILE", env)
    monkeypatch.setattr(settings, "HOST", "0.0.0.0")
    monkeypatch.setattr(settings, "SECRET_KEY", settings.INSECURE_KEY)
    with pytest.raises(CommandError, match="SECRET_KEY is the one of the source code") as refused:
        call_command("up")
    assert refused.value.returncode == 2


def test_a_taken_port_is_passed_over_and_port_0_is_any() -> None:
    with listen("127.0.0.1", 0) as first:
        taken = first.getsockname()[1]
        with listen("127.0.0.1", taken) as second:
            assert second.getsockname()[1] > taken


@pytest.mark.parametrize(
    ("host", "port", "said"),
    [
        ("192.0.2.1", 8000, "cannot be used"),
        ("no.such.name.invalid", 8000, "cannot be used"),
        ("127.0.0.1", 70000, "is no port"),
        ("127.0.0.1", -1, "is no port"),
    ],
)
def test_an_address_that_cannot_be_is_said(host: str, port: int, said: str) -> None:
    with pytest.raises(NotStarted, match=said):
        listen(host, port)


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8001"),
        ("0.0.0.0", "http://127.0.0.1:8001"),
        ("::", "http://[::1]:8001"),
        ("[::1]", "http://[::1]:8001"),
        ("192.168.1.5", "http://192.168.1.5:8001"),
    ],
)
def test_the_address_is_one_that_can_be_typed(host: str, url: str) -> None:
    assert url_of(host, 8001) == url


def test_ipv6_is_listened_on_where_there_is_any() -> None:
    if not socket.has_ipv6:
        pytest.fail("this Python knows no IPv6")
    with listen("[::1]", 0) as made:
        assert made.family == socket.AF_INET6


class TestEnvFile:
    def test_it_is_secret_random_and_whole(self, tmp_path: Path) -> None:
        one, two = tmp_path / "one", tmp_path / "two"
        assert envfile.make(one)
        assert envfile.make(two)
        assert stat.S_IMODE(one.stat().st_mode) == 0o600
        keys = [line for line in one.read_text().splitlines() if line.startswith("SECRET_KEY=")]
        assert len(keys[0]) > 60
        assert keys[0] not in two.read_text()
        assert "#LLM_BASE_URL=" in one.read_text()
        assert "#REPO_ROOTS=" in one.read_text()
        assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "two"], "no draft is left"

    def test_it_is_never_overwritten(self, tmp_path: Path) -> None:
        mine = tmp_path / ".env"
        mine.write_text("SECRET_KEY=mine\n")
        assert not envfile.make(mine)
        assert mine.read_text() == "SECRET_KEY=mine\n"

    def test_a_dangling_link_is_not_followed(self, tmp_path: Path) -> None:
        link = tmp_path / ".env"
        link.symlink_to(tmp_path / "elsewhere")
        assert not envfile.make(link)
        assert not (tmp_path / "elsewhere").exists()

    def test_each_name_in_it_is_a_setting(self) -> None:
        source = (settings.BASE_DIR / "compymac_site" / "settings.py").read_text()
        names = [line.strip("#").split("=")[0] for line in envfile.TEXT.splitlines() if "=" in line and " " not in line]
        assert len(names) > 8
        assert [name for name in names if name not in source and name != "POSTGRES_PASSWORD"] == []
