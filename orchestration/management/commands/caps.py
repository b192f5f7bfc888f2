"""manage.py caps list|set: how many goals of a team may run at once, of each user and on each repository."""

from __future__ import annotations

import argparse
import json
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from orchestration import services
from orchestration.management.arguments import add_team
from orchestration.management.problems import in_a_sentence
from orchestration.models import Team
from orchestration.selectors.line import caps_of, line_of, running_in
from orchestration.terminal import plain

INHERIT = "default"
OPTIONS = {
    "running": ("team", "goals of the team at once"),
    "per_user": ("user", "of each user"),
    "per_repository": ("repository", "on each repository"),
}


class Command(BaseCommand):
    help = (
        "Caps of running goals: what does not fit waits in line. Example: manage.py caps set --team shop --running 5 "
        "--per-repository 1"
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        verbs = parser.add_subparsers(dest="verb", metavar="VERB")
        listed = verbs.add_parser(
            "list",
            help="each team's caps, and what runs and waits (also without a verb)",
            epilog="example: manage.py caps list --json",
        )
        changed = verbs.add_parser(
            "set", help="change a team's own caps", epilog="example: manage.py caps set --team shop --running 5"
        )
        add_team(changed)
        for name, (_, words) in OPTIONS.items():
            word = f"a number, none (no cap), or {INHERIT} (the installation's): {words}"
            changed.add_argument(f"--{name.replace('_', '-')}", type=_cap, metavar="N", help=word)
        for one in (parser, listed, changed):
            one.add_argument("--json", action="store_true", help="print JSON on stdout")

    def handle(self, *args: Any, **options: Any) -> None:
        with in_a_sentence():
            teams = [self._set(options)] if options["verb"] == "set" else list(Team.objects.all())
        rows = [_row(team) for team in teams]
        if options["json"]:
            self.stdout.write(json.dumps(rows, indent=1))
            return
        for row in rows:
            self.stdout.write(_line(row))
        if not rows:
            self.stdout.write("no team yet; the first goal, or `manage.py up`, makes one: default")

    def _set(self, options: dict[str, Any]) -> Team:
        given = {cap: options[name] for name, (cap, _) in OPTIONS.items() if options[name] is not None}
        wanted = {cap: None if value == INHERIT else value for cap, value in given.items()}
        return services.set_caps(services.team_of_machine(options["team"]), wanted, by="shell")


def _cap(text: str) -> int | str:
    if text in (INHERIT, "none"):
        return INHERIT if text == INHERIT else 0
    if not (text.isascii() and text.isdecimal()) or len(text) > 6:
        raise argparse.ArgumentTypeError(f"a number, none or {INHERIT}, not {text!r}")
    return int(text)


def _row(team: Team) -> dict[str, Any]:
    caps = caps_of(team)
    counts = {"running": len(running_in(team.pk)), "in_line": len(line_of(team.pk))}
    return {
        "team": team.name,
        "caps": {name: getattr(caps, name) for name in services.CAPS},
        "own": team.caps,
        **counts,
    }


def _line(row: dict[str, Any]) -> str:
    caps = ", ".join(f"{most or 'any number'} {words}" for most, words in zip(row["caps"].values(), WORDS, strict=True))
    return f"{plain(row['team'], 30):30} {caps}; {row['running']} run, {row['in_line']} wait in line"


WORDS = ("at once", "a user", "a repository")
