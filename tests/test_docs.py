"""What the documents name is there."""

from __future__ import annotations

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


def test_the_commands_of_the_readme_are_there() -> None:
    named = set(re.findall(r"manage\.py (\w+)", README))
    assert {"goal", "doctor", "sweep"} <= named
    assert named <= set(get_commands())


def test_the_targets_of_the_readme_are_there() -> None:
    makefile = (BASE / "Makefile").read_text()
    targets = set(re.findall(r"(?:^|`)make (\w+)", README, re.M))
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


def test_each_command_of_ours_has_an_example_in_its_help() -> None:
    ours = {name for name, app in get_commands().items() if app == "orchestration"}
    assert ours == {"check_sandbox", "demo", "demo_llm", "doctor", "goal", "sweep", "up"}
    for name in ours - {"goal"}:
        assert re.search(
            "examples?:",
            load_command_class("orchestration", name).create_parser("manage.py", name).format_help().lower(),
        )


@pytest.mark.parametrize("verb", ["submit", "list", "show", "watch", "cancel", "retry", "resume", "apply"])
def test_each_verb_of_goal_has_an_example_in_its_help(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        load_command_class("orchestration", "goal").create_parser("manage.py", "goal").parse_args([verb, "--help"])
    assert ended.value.code == 0
    assert f"example: manage.py goal {verb}" in capsys.readouterr().out
