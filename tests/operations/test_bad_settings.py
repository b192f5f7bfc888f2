"""A setting that cannot be used stops the start, with its name in the message and never with a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import settings

MANAGE = Path(settings.BASE_DIR) / "manage.py"


def manage(folder: Path, *words: str, python: str = sys.executable, **env: str) -> subprocess.CompletedProcess[str]:
    clean = {"PATH": os.environ["PATH"], "DATA_DIR": str(folder), "ENV_FILE": str(folder / "none.env")}
    command = [python, str(MANAGE), *words]
    return subprocess.run(command, env=clean | env, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("PORT", "abc", "PORT: invalid literal"),
        ("WORKER_THREADS", "many", "WORKER_THREADS: invalid literal"),
        ("WORKER_THREADS", "0", "WORKER_THREADS must be at least 1, not 0"),
        ("SECRET_KEY_FILE", "/nowhere/key", "SECRET_KEY_FILE: No such file or directory: /nowhere/key"),
        ("REDIS_URL", "queue:hush@host", "REDIS_URL is not an address: it begins with redis:// or rediss://"),
        ("CELERY_BROKER_URL", "amqp://u:hush@host", "CELERY_BROKER_URL is not an address"),
        ("BASE_URL", "panel.example.org", "BASE_URL is not an address: it begins with http:// or https://"),
        ("DATABASE_URL", "foo", "DATABASE_URL is not the address of a database"),
    ],
)
def test_it_is_named(tmp_path: Path, name: str, value: str, said: str) -> None:
    done = manage(tmp_path, "check", **{name: value})
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {said}")
    assert "Traceback" not in done.stderr
    assert "hush" not in done.stderr, "an address may hold a password"


def test_an_empty_one_is_the_default(tmp_path: Path) -> None:
    names = ("PORT", "HOST", "BASE_URL", "REDIS_URL", "CELERY_BROKER_URL", "SECRET_KEY")
    assert manage(tmp_path, "check", **dict.fromkeys(names, "")).returncode == 0


def test_a_folder_that_is_not_there_for_the_settings_file(tmp_path: Path) -> None:
    done = manage(tmp_path, "up", "--only-env", ENV_FILE=str(tmp_path / "no" / ".env"))
    assert done.returncode == 2
    assert "cannot be made (No such file or directory); set ENV_FILE" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_python_without_django_says_which_one_has_it(tmp_path: Path) -> None:
    bare = Path(sys.base_prefix) / "bin" / "python3"
    done = subprocess.run(
        [str(bare), "-I", "-S", str(MANAGE), "login_link"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert ".venv/bin/python manage.py" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("LLM_TIMEOUT", "abc", "LLM_TIMEOUT must be a number"),
        ("LLM_BASE_URL", "foo", "LLM_BASE_URL"),
        ("SANDBOX", "foo", "SANDBOX=foo is not known; there are auto, bubblewrap"),
        ("LOCALE2B_BASE_URL", "foo", "LOCALE2B_BASE_URL"),
    ],
)
@pytest.mark.parametrize("command", ["up", "worker"])
def test_one_of_model_and_sandbox_stops_the_start_too(
    tmp_path: Path, command: str, name: str, value: str, said: str
) -> None:
    (tmp_path / "none.env").write_text("")
    done = manage(tmp_path, command, **{name: value})
    assert done.returncode == 2, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_the_file_of_the_database_is_for_its_owner_alone(tmp_path: Path) -> None:
    assert manage(tmp_path, "migrate", "-v0").returncode == 0
    assert (tmp_path / "compymac.sqlite3").stat().st_mode & 0o077 == 0
