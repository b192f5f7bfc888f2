"""scripts/setup on machines that lack something: what it says, when it asks, and that it tries the sandbox."""

from __future__ import annotations

import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

BASE = Path(__file__).resolve().parent.parent
NEEDED = [
    "bash",
    "cat",
    "cksum",
    "dirname",
    "env",
    "git",
    "grep",
    "id",
    "paste",
    "prlimit",
    "rm",
    "sed",
    "sh",
    "tr",
    "uname",
]


class Machine:
    """A clone whose PATH holds only what a test gives it. Its apt-get writes down what it was asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.bin = folder, folder / "bin"
        for name in ("scripts", "agents", "compymac_site", "orchestration"):
            shutil.copytree(BASE / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("manage.py", "requirements.txt"):
            shutil.copy(BASE / name, folder)
        self.bin.mkdir()
        for name in NEEDED:
            (self.bin / name).symlink_to(str(shutil.which(name)))
        self.asked = folder / "apt.log"
        (self.bin / "apt-get").write_text(f'#!/bin/sh\necho "$@" >> {self.asked}\n')
        (self.bin / "apt-get").chmod(0o755)
        (self.bin / "sudo").write_text('#!/bin/sh\nshift\nexec "$@"\n')  # sudo -n
        (self.bin / "sudo").chmod(0o755)
        (self.bin / "python3").symlink_to(sys.executable)

    def installed(self) -> None:
        """As if the dependencies had been installed: those of the tests."""
        sums = subprocess.run(
            ["cksum"], stdin=(BASE / "requirements.txt").open(), capture_output=True, text=True, check=True
        )
        (self.folder / ".venv/bin").mkdir(parents=True)
        (self.folder / ".venv/bin/python").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
        (self.folder / ".venv/bin/python").chmod(0o755)
        (self.folder / ".venv/.installed").write_text(f"requirements.txt {sums.stdout.strip()}\n")

    def setup(self, *words: str, typed: str | None = None, **env: str) -> subprocess.CompletedProcess[str]:
        """`typed`: on a terminal, with this answer."""
        argv = [str(self.bin / "bash"), str(self.folder / "scripts/setup"), *words]
        env = {"PATH": str(self.bin), "HOME": str(self.folder), **env}
        if typed is None:
            return subprocess.run(
                argv, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False
            )
        ours, theirs = pty.openpty()
        try:
            os.write(ours, typed.encode())
            return subprocess.run(argv, env=env, stdin=theirs, capture_output=True, text=True, timeout=60, check=False)
        finally:
            os.close(ours)
            os.close(theirs)


@pytest.fixture
def machine(open_folder: Path) -> Machine:
    return Machine(open_folder)


class TestAMissingPackage:
    def test_is_named_with_the_line_that_installs_it_and_nothing_is_done_unasked(self, machine: Machine) -> None:
        (machine.bin / "git").unlink()
        done = machine.setup()
        assert done.returncode == 1
        assert "Missing system packages: sudo apt-get install" in done.stderr
        assert "cannot go on without: " in done.stderr
        assert not machine.asked.exists()

    @pytest.mark.parametrize(("typed", "installs"), [("\n", True), ("y\n", True), ("n\n", False), ("what\n", False)])
    def test_is_asked_about_on_a_terminal(self, machine: Machine, typed: str, installs: bool) -> None:
        (machine.bin / "git").unlink()
        machine.setup(typed=typed)
        assert machine.asked.exists() == installs

    @pytest.mark.parametrize("env", [{"YES": "1"}, {"CI": "true"}], ids=str)
    def test_is_installed_without_a_question_where_that_was_said(self, machine: Machine, env: dict[str, str]) -> None:
        (machine.bin / "git").unlink()
        machine.setup(**env)
        assert "git" in machine.asked.read_text()

    def test_that_has_a_fallback_is_an_error_in_ci_only(self, machine: Machine) -> None:
        machine.installed()
        assert not (machine.bin / "bwrap").exists()
        assert "Going on without bubblewrap" in machine.setup().stderr
        in_ci = machine.setup(CI="true")
        assert (in_ci.returncode, "missing system packages: bubblewrap" in in_ci.stderr) == (1, True)


def test_make_setup_tries_the_sandbox_each_time_and_says_which_is_used(machine: Machine) -> None:
    machine.installed()
    assert "A trial of the sandbox" not in machine.setup(SANDBOX="landlock").stderr
    tried = machine.setup("--trial", SANDBOX="landlock")
    assert tried.returncode == 0
    assert "✓ sandbox landlock: a trial ran" in tried.stderr
    assert "✓ sandbox: landlock is used (the second provider" in tried.stderr
    assert "SANDBOX=chroot is not known" in machine.setup("--trial", SANDBOX="chroot").stderr
    assert "scripts/setup --trial" in (BASE / "Makefile").read_text()


def test_a_python_that_is_too_old_is_passed_over(machine: Machine) -> None:
    machine.installed()
    old = machine.bin / "python3.13"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    assert machine.setup().returncode == 0


def test_an_unknown_word_is_usage(machine: Machine) -> None:
    assert machine.setup("--frob").returncode == 2
