"""manage.py costs: what model calls cost, by goal, model, day … and what a verified success costs."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.utils import timezone

from orchestration import services
from orchestration.costs import BY, DAYS, MOST_DAYS, CostRow, Costs, Worth, last_days
from orchestration.errors import BadInput
from orchestration.management.problems import in_a_sentence
from orchestration.models import Goal
from orchestration.selectors.costs import costs
from orchestration.terminal import plain

NONE = "no model call in this time; a longer one: manage.py costs --days 365"


class Command(BaseCommand):
    help = (
        "What model calls cost: USD per verified success first, then by goal, rollout, step, role, model, user, team or day. "
        "Example: manage.py costs --by model --days 7 --json"
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--by", choices=BY, default="model", metavar="WHAT", help=f"{', '.join(BY)} (model)")
        parser.add_argument("--days", type=int, default=DAYS, metavar="N", help=f"the last N days, in UTC ({DAYS})")
        parser.add_argument("--team", default="", metavar="TEAM", help="of one team (else: of all)")
        parser.add_argument("--json", action="store_true", help="print JSON on stdout")

    def handle(self, *args: Any, **options: Any) -> None:
        with in_a_sentence():
            if not 1 <= options["days"] <= MOST_DAYS:
                raise BadInput(f"--days is a number from 1 to {MOST_DAYS}, not {options['days']}")
            goals = Goal.objects.all()
            if options["team"]:
                goals = goals.filter(team=services.team_of_machine(options["team"]))
            found = costs(goals, last_days(options["days"], timezone.now()), options["by"])
        self.stdout.write(json.dumps(found.told(), indent=1) if options["json"] else "\n".join(_lines(found)))


def _lines(found: Costs) -> list[str]:
    if not found.total.calls and not found.success.goals:
        return [NONE]
    success = found.success
    head = f"USD per verified success: {success.said} ({success.verified} of {success.goals} goals that ended)"
    shares = [
        *(_worth(f"by model {worth.name}", worth) for worth in found.by_model),
        *(_worth(f"by {worth.name}", worth) for worth in found.by_role),
    ]
    cut = ["… and more: the dearest are above"] if found.more else []
    return [head, *shares, "", f"By {BY[found.by]}:", *map(_line, found.rows), *cut, _line(found.total)]


def _worth(name: str, worth: Worth) -> str:
    return f"  {plain(name, 48):48} {worth.said}, n = {worth.verified} of {worth.goals}"


def _line(row: CostRow) -> str:
    tokens = f"{row.prompt_tokens} in ({row.cached_tokens} cached), {row.completion_tokens} out"
    return f"  {plain(row.name, 48):48} {row.amount}; {row.calls} calls, {tokens}"
