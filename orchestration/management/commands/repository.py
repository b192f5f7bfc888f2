"""manage.py repository add|list|remove: which folders of this machine goals may start from."""

from __future__ import annotations

import json
from argparse import RawDescriptionHelpFormatter
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from orchestration.errors import BadInput, OrchestrationError
from orchestration.models import Repository
from orchestration.services.repositories import register_repository, remove_repository
from orchestration.terminal import plain

EXAMPLES = """examples:
  manage.py repository add ~/shop
  manage.py repository add ~/shop --setup 'python3 -m venv .venv && .venv/bin/pip install -r requirements.txt'
  manage.py repository remove ~/shop"""


class Command(BaseCommand):
    help = "Register git repositories of this machine: whoever may log in may start goals from them."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.formatter_class, parser.epilog = RawDescriptionHelpFormatter, EXAMPLES
        parser.add_argument("verb", choices=["add", "list", "remove"])
        parser.add_argument("path", nargs="?", default="", help="the repository's top folder")
        parser.add_argument("--setup", metavar="CMD", help="build its tools once, with network ('': none)")
        parser.add_argument(
            "--toolchain", action="append", metavar="FOLDER", help="tools to mount read-only; repeat it"
        )
        parser.add_argument("--json", action="store_true", help="print JSON on stdout")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["verb"] != "list" and not options["path"]:
            raise CommandError(f"say which folder: manage.py repository {options['verb']} PATH", returncode=2)
        try:
            getattr(self, options["verb"])(options)
        except OrchestrationError as error:
            raise CommandError(plain(error), returncode=2 if isinstance(error, BadInput) else 1) from error

    def add(self, options: dict[str, Any]) -> None:
        row = register_repository(options["path"], setup=options["setup"], toolchain=options["toolchain"])
        self._out(options, _row(row), f"{row.path} is registered")

    def remove(self, options: dict[str, Any]) -> None:
        gone = remove_repository(options["path"])
        kept = "" if gone else "; the goals and schedules that were made of it keep it"
        self._out(options, {"removed": options["path"]}, f"{options['path']} is offered no more{kept}")

    def list(self, options: dict[str, Any]) -> None:
        rows = [_row(row) for row in Repository.objects.filter(removed_at=None).order_by("path")]
        lines = [plain(row["path"]) + ("  (with setup)" if row["setup"] else "") for row in rows]
        self._out(options, rows, "\n".join(lines) or "none yet; register one: manage.py repository add PATH")

    def _out(self, options: dict[str, Any], value: Any, line: str) -> None:
        self.stdout.write(json.dumps(value, indent=1) if options["json"] else line)


def _row(row: Repository) -> dict[str, Any]:
    return {"id": str(row.pk), "path": row.path, "setup": row.setup, "toolchain": row.toolchain}
