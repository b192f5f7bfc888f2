"""Which provider is taken, why one cannot start, and what the sweep removes."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

import pytest

from agents.errors import Permanent
from agents.ports import Command, SandboxSpec
from agents.sandbox import limits, registry, seccomp
from agents.sandbox.diagnosis import Platform, diagnose
from agents.sandbox.registry import choose, prepare_root, probe, sweep

UID_MAP = "bwrap: setting up uid map: Permission denied"
NO_NAMESPACE = "bwrap: No permissions to create new namespace, likely because the kernel does not allow it"


@pytest.mark.parametrize(
    ("name", "said", "facts", "cause", "remedy"),
    [
        (
            "bubblewrap",
            "bwrap is not installed: apt-get install bubblewrap",
            Platform(),
            "bwrap is not installed",
            "apt-get install bubblewrap",
        ),
        (
            "bubblewrap",
            "setpriv is not installed: apt-get install util-linux",
            Platform(),
            "setpriv is not installed",
            "apt-get install util-linux",
        ),
        (
            "landlock",
            "libseccomp is not installed: apt-get install libseccomp2",
            Platform(),
            "libseccomp is not",
            "apt-get install libseccomp2",
        ),
        ("landlock", "this kernel has no Landlock", Platform(), "no Landlock", "5.13"),
        ("bubblewrap", UID_MAP, Platform(), "AppArmor", "profile bwrap /usr/bin/bwrap"),
        (
            "bubblewrap",
            "bwrap: loopback: Failed RTM_NEWADDR: Operation not permitted",
            Platform(),
            "AppArmor",
            "userns,",
        ),
        ("bubblewrap", NO_NAMESPACE, Platform(apparmor_restricts=True), "AppArmor", "apparmor_parser"),
        ("bubblewrap", NO_NAMESPACE, Platform(container=True), "container's seccomp", "SANDBOX=landlock"),
        ("bubblewrap", NO_NAMESPACE, Platform(max_user_namespaces=0), "switched off", "user.max_user_namespaces"),
        (
            "bubblewrap",
            NO_NAMESPACE,
            Platform(unprivileged_clone=0),
            "for root only",
            "kernel.unprivileged_userns_clone=1",
        ),
        ("bubblewrap", NO_NAMESPACE, Platform(), "kernel refuses", "SELinux"),
        (
            "bubblewrap",
            "bwrap: Creating new namespace failed: Resource temporarily unavailable",
            Platform(container=True),
            "limit of processes",
            "ulimit -u",
        ),
        (
            "bubblewrap",
            "bwrap: Unknown option --disable-userns",
            Platform(),
            "older than 0.8",
            "apt-get install bubblewrap",
        ),
        ("bubblewrap", "bwrap: something new", Platform(apparmor_restricts=True), "bwrap: something new", "by hand"),
        ("bubblewrap", "", Platform(), "printed nothing", "by hand"),
        ("bubblewrap", UID_MAP, Platform(system="darwin"), "needs Linux", "worker in a Linux machine"),
        ("landlock", NO_NAMESPACE, Platform(wsl1=True), "WSL 1", "wsl --set-version"),
    ],
)
def test_a_message_leads_to_its_cause_and_remedy(
    name: str, said: str, facts: Platform, cause: str, remedy: str
) -> None:
    found = diagnose(name, said, facts)
    assert cause in found[0]
    assert remedy in found[1]


def test_apparmor_is_never_switched_off_for_the_whole_host() -> None:
    assert "sysctl" not in diagnose("bubblewrap", UID_MAP, Platform())[1]


@pytest.mark.parametrize("name", list(registry.KNOWN))
def test_every_known_provider_passes_its_trial_here(root: Path, name: str) -> None:
    found = probe(name, root)
    assert (found.ok, found.cause) == (True, "")
    assert "seccomp" in found.layers
    assert "no network" in found.layers


def test_the_first_that_works_is_taken(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose("auto", root=root).name == "bubblewrap"
    only(monkeypatch, root / "tools", "prlimit", "setpriv", "python3")
    assert choose("auto", root=root).name == "landlock"


def test_where_none_works_each_cause_and_remedy_is_told(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, root / "fewer tools", "setpriv")
    with pytest.raises(Permanent) as refused:
        choose("auto", root=root)
    assert "nothing runs without one" in str(refused.value)
    assert "bubblewrap: bwrap is not installed. apt-get install bubblewrap" in str(refused.value)
    assert "landlock: prlimit is not installed. apt-get install util-linux" in str(refused.value)


def test_nothing_runs_without_a_filter_of_calls(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seccomp.program.cache_clear()
    monkeypatch.setitem(sys.modules, "pyseccomp", None)
    for name in registry.KNOWN:
        found = probe(name, root)
        assert (found.ok, found.remedy) == (False, "apt-get install libseccomp2")


@pytest.mark.skipif(os.getuid() != 0, reason="only root drops its rights")
def test_root_runs_nothing_without_dropping_its_rights(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, root / "no setpriv", "bwrap", "prlimit", "python3")
    for name in registry.KNOWN:
        assert probe(name, root).cause == "setpriv is not installed"


def test_an_unknown_name_lists_the_known_ones(root: Path) -> None:
    with pytest.raises(Permanent, match="SANDBOX=docker is not known; there are auto, bubblewrap, landlock"):
        choose("docker", root=root)


@pytest.mark.skipif(os.getuid() != 0, reason="only root gives each sandbox a user of its own")
class TestRoot:
    def test_a_closed_folder_is_replaced_by_a_passable_one(self, tmp_path: Path) -> None:
        closed = tmp_path / "closed"
        closed.mkdir(mode=0o700)
        found = prepare_root(closed / "data")
        try:
            assert found.parent == Path(tempfile.gettempdir())
            assert prepare_root(closed / "data") == found
            box = choose("bubblewrap", root=closed / "data").open(SandboxSpec(label="test"))
            assert box.run(Command("true")).ok
            box.close()
        finally:
            (found / "scratch").rmdir()
            found.rmdir()

    def test_a_replacement_that_somebody_else_planted_is_refused(self, tmp_path: Path) -> None:
        found = prepare_root(tmp_path / "data")  # pytest keeps its folder closed
        os.chown(found, 65534, 65534)
        try:
            with pytest.raises(Permanent, match="belongs to somebody else"):
                prepare_root(tmp_path / "data")
        finally:
            (found / "scratch").rmdir()
            found.rmdir()


def test_a_sweep_removes_what_has_no_living_owner(public_folder: Path) -> None:
    public_folder.chmod(0o755)
    living = choose("bubblewrap", root=public_folder).open(SandboxSpec(label="test"))
    dead, new, unfinished = (public_folder / f"box-{name}" for name in ("dead", "new", "unfinished"))
    for folder in (dead, new, unfinished):
        (folder / "workspace").mkdir(parents=True)
    (dead / "owner").touch()
    os.utime(unfinished, (time.time() - 3600,) * 2)
    assert sweep(public_folder) == 2
    assert not dead.exists()
    assert not unfinished.exists()
    assert new.exists()
    assert living.run(Command("true")).ok
    living.close()


def only(monkeypatch: pytest.MonkeyPatch, folder: Path, *tools: str) -> None:
    """A host with these system tools and no others."""
    found = {tool: limits.find_tool(tool) for tool in tools}
    folder.mkdir()
    for tool, path in found.items():
        (folder / tool).symlink_to(path)
    monkeypatch.setattr(limits, "SYSTEM_PATH", str(folder))
