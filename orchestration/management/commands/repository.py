"""manage.py repository add|list|remove: which folders of this machine goals may start from."""

from __future__ import annotations

import json
from argparse import RawDescriptionHelpFormatter
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from orchestration.errors import BadInput, OrchestrationError
from orchestration.management.arguments import add_team
from orchestration.models import Repository
from orchestration.services.repositories import register_repository, remove_repository
from orchestration.services.teams import team_of_machine
from orchestration.terminal import plain

EXAMPLES = """examples:
  manage.py repository add ~/shop
  manage.py repository add ~/shop --setup 'python3 -m venv .venv && .venv/bin/pip install -r requirements.txt'
  manage.py repository add ~/shop --team shop
  manage.py repository remove ~/shop"""


class Command(BaseCommand):
    help = "Register git repositories of this machine for a team: its operators may start goals from them."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.formatter_class, parser.epilog = RawDescriptionHelpFormatter, EXAMPLES
        parser.add_argument("verb", choices=["add", "list", "remove"])
        parser.add_argument("path", nargs="?", default="", help="the repository's top folder")
        parser.add_argument("--setup", metavar="CMD", help="build its tools once, with network ('': none)")
        parser.add_argument(
            "--toolchain", action="append", metavar="FOLDER", help="tools to mount read-only; repeat it"
        )
        add_team(parser)
        parser.add_argument("--json", action="store_true", help="print JSON on stdout")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["verb"] != "list" and not options["path"]:
            raise CommandError(f"say which folder: manage.py repository {options['verb']} PATH", returncode=2)
        try:
            getattr(self, options["verb"])(options)
        except OrchestrationError as error:
            raise CommandError(plain(error), returncode=2 if isinstance(error, BadInput) else 1) from error

    def add(self, options: dict[str, Any]) -> None:
        row = register_repository(
            options["path"], setup=options["setup"], toolchain=options["toolchain"], team=options["team"]
        )
        self._out(options, _row(row), f"{row.path} is registered")

    def remove(self, options: dict[str, Any]) -> None:
        gone = remove_repository(options["path"], team=options["team"])
        kept = "" if gone else "; the goals and schedules that were made of it keep it"
        self._out(options, {"removed": options["path"]}, f"{options['path']} is offered no more{kept}")

    def list(self, options: dict[str, Any]) -> None:
        offered = Repository.objects.filter(removed_at=None).select_related("team").order_by("path", "team__name")
        if options["team"]:
            offered = offered.filter(team=team_of_machine(options["team"]))
        rows = [_row(row) for row in offered]
        lines = [plain(row["path"]) + ("  (with setup)" if row["setup"] else "") for row in rows]
        self._out(options, rows, "\n".join(lines) or "none yet; register one: manage.py repository add PATH")

    def _out(self, options: dict[str, Any], value: Any, line: str) -> None:
        self.stdout.write(json.dumps(value, indent=1) if options["json"] else line)


def _row(row: Repository) -> dict[str, Any]:
    return {"id": str(row.pk), "path": row.path, "team": row.team.name, "setup": row.setup, "toolchain": row.toolchain}
