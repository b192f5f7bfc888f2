"""manage.py invite: a new user, and the link with which they come in and set a password."""

from __future__ import annotations

from argparse import RawDescriptionHelpFormatter
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from orchestration import services
from orchestration.errors import OrchestrationError
from orchestration.roles import Role


class Command(BaseCommand):
    help = "Make a user and print a link for them: it logs in once, within 3 days, and then asks for a password."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.formatter_class = RawDescriptionHelpFormatter
        parser.epilog = (
            "examples:\n  manage.py invite ada\n  manage.py invite bob --team shop --role viewer\n"
            "  manage.py invite grace --admin"
        )
        parser.add_argument("name", help="their user name")
        parser.add_argument("--email", default="")
        parser.add_argument(
            "--admin", action="store_true", help="a superuser: an admin of every team, and of the installation"
        )
        parser.add_argument("--team", default="", help="the team that they come into (default: the only one)")
        roles = f"{', '.join(Role.values)} (default: operator)"
        parser.add_argument("--role", default="", choices=["", *Role.values], metavar="ROLE", help=roles)

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            link = services.invite(**{word: options[word] for word in ("name", "email", "admin", "team", "role")})
        except OrchestrationError as error:
            raise CommandError(str(error)) from None
        what = "an administrator" if options["admin"] else f"a user, {options['role'] or 'operator'} in their team"
        self.stderr.write(f"{options['name']} is {what}. Send them this link (once, within 3 days):", style_func=str)
        self.stdout.write(link)
