"""What the documents name is there."""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.management import get_commands, load_command_class

BASE = Path(__file__).resolve().parent.parent
ARCHITECTURE = (BASE / "docs" / "architecture.md").read_text()
README = (BASE / "README.md").read_text()
HOPS = re.findall(r"`((?:agents|orchestration)/[\w/]+\.py): ([\w.]+)`", ARCHITECTURE)


def test_the_architecture_names_each_hop() -> None:
    assert len(HOPS) > 25


@pytest.mark.parametrize(("file", "name"), HOPS)
def test_each_hop_is_in_its_file(file: str, name: str) -> None:
    source = (BASE / file).read_text()
    for part in name.split("."):
        assert re.search(rf"^\s*(?:def|class) {part}\b", source, re.M), f"{file} has no {part}"


RELIABILITY = (BASE / "docs" / "reliability.md").read_text()
PROVEN = re.findall(r"`(tests/[\w/]+\.py): (test_\w+)`", RELIABILITY)


@pytest.mark.parametrize(("file", "name"), PROVEN)
def test_each_test_of_a_promise_is_in_its_file(file: str, name: str) -> None:
    assert re.search(rf"^\s*def {name}\(", (BASE / file).read_text(), re.M), f"{file} has no {name}"


def test_each_promise_names_its_tests() -> None:
    lines = re.findall(r"^\| P\d+ \|.*", RELIABILITY, re.M)
    assert len(lines) == 11
    assert all("`tests/" in line or "`make " in line for line in lines)


def test_the_commands_of_the_readme_are_there() -> None:
    named = set(re.findall(r"manage\.py (\w+)", README))
    assert {"goal", "doctor", "sweep"} <= named
    assert named <= set(get_commands())


def test_the_targets_of_the_readme_are_there() -> None:
    makefile = (BASE / "Makefile").read_text()
    targets = set(re.findall(r"(?:^|`)make ([\w-]+)", README, re.M))
    assert {"demo", "test", "up"} <= targets
    assert all(re.search(rf"^{target}:", makefile, re.M) for target in targets)


def test_the_settings_of_the_readme_are_read() -> None:
    settings = (BASE / "compymac_site" / "settings.py").read_text()
    named = set(re.findall(r"`((?:LLM|SANDBOX|WORKER|DATABASE|REDIS|VENICE)_?[A-Z_]*)(?:=[^`]*)?`", README))
    assert len(named) > 8
    assert {name for name in named if name.removesuffix("_FILE") not in settings} == set()


def test_what_the_readme_links_to_is_there() -> None:
    links = re.findall(r"\]\(([\w./]+)\)", README)
    assert links
    assert all((BASE / link).exists() for link in links)


def test_the_imports_of_the_readme_work_in_plain_python(tmp_path: Path) -> None:
    lines = re.findall(r"^from (?:agents|orchestration)\S* import .*", README, re.M)
    assert len(lines) > 3
    env = {"PATH": os.environ["PATH"], "DATA_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], cwd=BASE, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


OURS = sorted(name for name, app in get_commands().items() if app == "orchestration")


@pytest.mark.parametrize("name", OURS)
def test_each_command_of_ours_and_each_of_its_verbs_has_an_example_in_its_help(name: str) -> None:
    parser = load_command_class("orchestration", name).create_parser("manage.py", name)
    verbs = [action.choices for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    helps = {verb: made.format_help() for choices in verbs for verb, made in choices.items()}
    for verb, told in (helps or {name: parser.format_help()}).items():
        assert re.search("examples?:", told.lower()), f"{name} {verb}"
