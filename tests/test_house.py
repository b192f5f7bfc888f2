"""The rules of the house that no linter knows, read from the code itself."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings

BASE = Path(__file__).resolve().parent.parent
OURS = ("agents", "orchestration", "compymac_site")
SOURCES = [path for name in OURS for path in sorted((BASE / name).rglob("*.py")) if "migrations" not in path.parts]
TESTS = sorted((BASE / "tests").rglob("test_*.py"))
# compymac_site/celery.py reads the installation's id at its first connection: Django's apps are not there when it is imported.
# compymac_site/settings.py imports psycopg for PostgreSQL only: 5 MB of each process.
LAZY_ALLOWED = {"compymac_site/celery.py", "compymac_site/settings.py"}
STATUS_WRITERS = {"orchestration/transitions.py", "orchestration/hotpath.py"}
UNSAFE = {"pickle", "marshal", "shelve", "dill", "cloudpickle"}


def named(path: Path) -> str:
    return path.relative_to(BASE).as_posix()


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


@pytest.mark.parametrize("path", SOURCES, ids=named)
def test_a_status_is_written_in_one_place_only(path: Path) -> None:
    if named(path) in STATUS_WRITERS:
        return
    tree = ast.parse(path.read_text())
    updates = [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "update"
        and any(keyword.arg == "status" for keyword in node.keywords)
    ]
    assigned = [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Attribute) and target.attr == "status"
    ]
    assert updates + assigned == []


@pytest.mark.parametrize("path", SOURCES, ids=named)
def test_our_own_modules_are_imported_at_the_top(path: Path) -> None:
    if named(path) in LAZY_ALLOWED:
        return
    lazy = [
        node.lineno
        for function in functions(ast.parse(path.read_text()))
        for node in ast.walk(function)
        if (isinstance(node, ast.ImportFrom) and (node.level or (node.module or "").split(".")[0] in OURS))
        or (isinstance(node, ast.Import) and any(alias.name.split(".")[0] in OURS for alias in node.names))
    ]
    assert lazy == []


@pytest.mark.parametrize("path", SOURCES, ids=named)
def test_nothing_is_unpickled(path: Path) -> None:
    imported = {
        name.split(".")[0]
        for node in ast.walk(ast.parse(path.read_text()))
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert not imported & UNSAFE


def test_celery_speaks_json_only() -> None:
    assert settings.CELERY_ACCEPT_CONTENT == settings.CELERY_RESULT_ACCEPT_CONTENT == ["json"]
    assert settings.CELERY_TASK_SERIALIZER == settings.CELERY_RESULT_SERIALIZER == "json"


@pytest.mark.parametrize("path", TESTS, ids=named)
def test_each_test_asserts_something(path: Path) -> None:
    def asserts(function: ast.FunctionDef) -> bool:
        words = ast.unparse(function)
        return any(isinstance(node, ast.Assert) for node in ast.walk(function)) or any(
            word in words for word in ("raises(", "expect", "django_assert_")
        )

    silent = [f.name for f in functions(ast.parse(path.read_text())) if f.name.startswith("test_") and not asserts(f)]
    assert silent == []
