"""manage.py team create|add|role|remove|four-eyes|models|limit|list: whose the goals are, and who may do what with them."""

from __future__ import annotations

import argparse
import json
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.db.models import Count

from orchestration import services
from orchestration.management.arguments import add_models
from orchestration.management.problems import in_a_sentence
from orchestration.models import Membership, Team
from orchestration.role_models import as_lines
from orchestration.roles import Role
from orchestration.selectors.months import month_money
from orchestration.terminal import plain

VERBS = (
    ("create", "A new team.", "team create shop --admin ada"),
    ("add", "Take a user into a team.", "team add shop bob --role viewer"),
    ("role", "Give a member another role.", "team role shop bob operator"),
    ("remove", "Take a member out; what they made stays.", "team remove shop bob"),
    ("four-eyes", "Whether who wanted a plan may approve it.", "team four-eyes shop on"),
    ("models", "Which models work on goals that name none.", "team models shop --model venice/qwen3-coder"),
    ("limit", "What its goals may spend in a calendar month (UTC), or what is left.", "team limit shop 250"),
    ("list", "All teams, or the members of one.", "team list shop"),
)
ROLES = ", ".join(Role.values)


class Command(BaseCommand):
    help = "Teams: goals, repositories and schedules belong to one, its members see them, and a role says what each may do."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
        for name, words, example in VERBS:
            made: argparse.ArgumentParser = verbs.add_parser(
                name, help=words, description=words, epilog=f"example: manage.py {example}"
            )
            made.add_argument("--json", action="store_true", help="print JSON on stdout")
            made.add_argument("team", help="its name", nargs="?" if name == "list" else None, default="")
            if name == "create":
                made.add_argument("--admin", default="", metavar="USER", help="its first admin")
            if name in ("add", "role", "remove"):
                made.add_argument("user", help="a user's name (manage.py invite makes one)")
            if name == "four-eyes":
                made.add_argument("wanted", choices=("on", "off"), metavar="on|off")
            if name == "limit":
                made.add_argument("usd", nargs="?", metavar="USD|none", help="the new limit (without it: what is left)")
            if name == "models":
                add_models(made)
            if name == "role":
                made.add_argument("role", choices=Role.values, metavar="ROLE", help=ROLES)
            if name == "add":
                made.add_argument(
                    "--role",
                    choices=Role.values,
                    default=Role.OPERATOR.value,
                    metavar="ROLE",
                    help=f"{ROLES} (operator)",
                )

    def handle(self, *args: Any, **options: Any) -> None:
        with in_a_sentence():
            told, line = getattr(self, f"_{options['verb'].replace('-', '_')}")(options)
        self.stdout.write(json.dumps(told, indent=1) if options["json"] else line)

    def _create(self, options: dict[str, Any]) -> tuple[Any, str]:
        admin = services.person(options["admin"]) if options["admin"] else None
        team = services.create_team(options["team"], admin=admin, by="shell")
        first = "" if admin else f"; nobody is in it yet: manage.py team add {team} USER --role admin"
        return {"id": str(team.pk), "name": team.name}, f"there is a team {team}{first}"

    def _add(self, options: dict[str, Any]) -> tuple[Any, str]:
        team = services.team_of_machine(options["team"])
        made = services.add_member(team, services.person(options["user"]), options["role"], by="shell")
        return _row(made), f"{made.user} is in the team {team}, as {made.role}"

    def _role(self, options: dict[str, Any]) -> tuple[Any, str]:
        changed = services.change_role(self._member(options).pk, options["role"], by="shell")
        return _row(changed), f"{changed.user} is {changed.role} in the team {changed.team}"

    def _remove(self, options: dict[str, Any]) -> tuple[Any, str]:
        gone = services.remove_member(self._member(options).pk, by="shell")
        return _row(gone), f"{gone.user} is not in the team {gone.team} any more; what they made stays"

    def _four_eyes(self, options: dict[str, Any]) -> tuple[Any, str]:
        team = services.team_of_machine(options["team"])
        services.set_four_eyes(team, options["wanted"] == "on", by="shell")
        who = "may not" if team.four_eyes else "may"
        return {
            "team": team.name,
            "four_eyes": team.four_eyes,
        }, f"who wanted a plan {who} approve it in the team {team}"

    def _models(self, options: dict[str, Any]) -> tuple[Any, str]:
        team = services.team_of_machine(options["team"])
        services.set_team_models(team, options["model"], by="shell")
        told = ", ".join(as_lines(team.role_models)) or "the machine's own model"
        return {"team": team.name, "role_models": team.role_models}, f"goals of the team {team} use {plain(told)}"

    def _limit(self, options: dict[str, Any]) -> tuple[Any, str]:
        team = services.team_of_machine(options["team"])
        if options["usd"] is not None:
            amount = None if options["usd"] == services.NO_LIMIT else options["usd"]
            services.set_month_limit(team, amount, by="shell")
        month = month_money(team)
        return month.told(), f"team {team}: {month}"

    def _list(self, options: dict[str, Any]) -> tuple[Any, str]:
        if options["team"]:
            team = services.team_of_machine(options["team"])
            members = Membership.objects.filter(team=team).select_related("user", "team").order_by("user__username")
            rows = [_row(member) for member in members]
            return rows, "\n".join(f"{plain(row['user']):30} {row['role']}" for row in rows) or "nobody is in it yet"
        teams = Team.objects.annotate(people=Count("memberships"))
        found = [{"id": str(team.pk), "name": team.name, "members": team.people} for team in teams]
        lines = [f"{row['name']:30} {row['members']} member(s)" for row in found]
        return found, "\n".join(lines) or "no team yet; the first goal, or `manage.py up`, makes one: default"

    def _member(self, options: dict[str, Any]) -> Membership:
        return services.member_of(services.team_of_machine(options["team"]), options["user"])


def _row(member: Membership) -> dict[str, str]:
    return {"id": str(member.pk), "team": member.team.name, "user": member.user.get_username(), "role": member.role}
