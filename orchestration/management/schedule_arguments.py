"""The words that `manage.py schedule` understands, each verb with an example."""

from __future__ import annotations

import argparse
from typing import Any

from django.core.management.base import CommandParser

from orchestration.states import MissedPolicy, OverlapPolicy, Strategy

from .arguments import (
    add_approval,
    add_limits,
    add_models,
    add_priority,
    add_review,
    add_team,
    add_variety,
    approval_of,
    limits_of,
    review_of,
)

HELP = "Goals that come back by the calendar. celery-beat ticks them (manage.py up runs it). Exit codes: 0 ok, 1 error, 2 usage."


def add_subcommands(parser: CommandParser) -> None:
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    _verb(verbs, "list", "All schedules with their next five times.", "schedule list")
    add = _verb(
        verbs,
        "add",
        "A new schedule.",
        """schedule add nightly "30 2 * * *" "Make the tests pass" --zone Europe/Berlin --repo . --check 'make test'""",
    )
    add.add_argument("name", help="a short name")
    add.add_argument("cron", help="minute hour day-of-month month day-of-week, in quotes")
    add.add_argument("text", help="the goal")
    add.add_argument("--zone", default="UTC", help="IANA time zone (default: UTC)")
    add.add_argument("--repo", metavar="FOLDER", help="a git repository on this machine")
    add_team(add)
    add.add_argument("--ref", default="", help="branch, tag or commit to start from (default: HEAD at that time)")
    add.add_argument("--check", action="append", default=[], metavar="CMD", help="a command that proves the goal")
    add.add_argument("--overlap", choices=OverlapPolicy.values, default=OverlapPolicy.SKIP.value)
    add.add_argument("--missed", choices=MissedPolicy.values, default=MissedPolicy.ONCE.value)
    add.add_argument("--rollouts", type=int, default=1, metavar="N")
    add.add_argument("--strategy", choices=Strategy.values, default=Strategy.EARLY_TERMINATION.value)
    add_priority(add)
    add_variety(add)
    add_models(add)
    add.add_argument("--allow-check-edits", action="store_true")
    add_review(add)
    add_approval(add)
    add.add_argument("--owner", default="", metavar="USER", help="whose goals they are in the panel")
    add_limits(add)
    for verb, words in (
        ("run", "A goal of it now, whatever its times say."),
        ("pause", "Submit nothing until it is resumed."),
        ("resume", "Go on with the next time; those in the pause are not made up for."),
        ("remove", "Delete it; its goals stay."),
    ):
        named = _verb(verbs, verb, words, f"schedule {verb} nightly")
        named.add_argument("name", help="its name, or the beginning of its id")
        if verb == "pause":
            named.add_argument("--reason", default="")


def wanted(options: dict[str, Any]) -> dict[str, Any]:
    """The columns of a schedule, in the words of its service."""
    same = ("name", "cron", "text", "zone", "overlap", "missed", "priority", "strategy", "diversity")
    renamed = {
        "base_ref": "ref",
        "checks": "check",
        "rollouts_wanted": "rollouts",
        "stagger_seconds": "stagger",
        "role_models": "model",
    }
    told = {name: options[name] for name in (*same, "allow_check_edits")} | {
        column: options[word] for column, word in renamed.items()
    }
    return told | {"limits": limits_of(options), "approval": approval_of(options), "review": review_of(options)}


def _verb(verbs: Any, name: str, words: str, example: str) -> argparse.ArgumentParser:
    added: argparse.ArgumentParser = verbs.add_parser(
        name,
        help=words,
        description=words,
        epilog=f"example: manage.py {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    added.add_argument("--json", action="store_true", help="print JSON on stdout")
    return added
