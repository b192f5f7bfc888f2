"""manage.py login_link: a one-time way in."""

from __future__ import annotations

from argparse import RawDescriptionHelpFormatter
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from orchestration import services
from orchestration.errors import OrchestrationError


class Command(BaseCommand):
    help = "Print a link that logs a user in: once, within 15 minutes. A password can be set then."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.formatter_class = RawDescriptionHelpFormatter
        parser.epilog = "examples:\n  manage.py login_link\n  manage.py login_link ada"
        parser.add_argument(
            "user", nargs="?", default="", help="default: the first superuser, who is made if there is none"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            user = services.person_in_charge(options["user"])
        except OrchestrationError as error:
            raise CommandError(str(error)) from None
        self.stderr.write(f"Once, within 15 minutes, as {user.get_username()}:", style_func=str)
        self.stdout.write(services.login_link(user))
