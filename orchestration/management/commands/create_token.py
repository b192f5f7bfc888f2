"""manage.py create_token: a token for a program that uses the API; its secret is printed once."""

from __future__ import annotations

from argparse import RawDescriptionHelpFormatter
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from orchestration.errors import OrchestrationError
from orchestration.services.access import create_token
from orchestration.services.people import person


class Command(BaseCommand):
    help = "Make an API token for a user. The secret alone is on stdout, and is not kept: store it now."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.formatter_class = RawDescriptionHelpFormatter
        parser.epilog = "example:\n  TOKEN=$(manage.py create_token ada --name 'nightly report' --days 90)"
        parser.add_argument("user", help="the user name; the token may do what this user may do")
        parser.add_argument("--name", default="command line", help="which program uses it (default: %(default)s)")
        parser.add_argument(
            "--days", type=int, metavar="D", help="it ends after so many days (default: it does not end)"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        days = options["days"]
        try:
            user = person(options["user"])
            token, secret = create_token(user, options["name"], timedelta(days=days) if days is not None else None)
        except (OrchestrationError, OverflowError) as error:
            raise CommandError(str(error), returncode=2) from error
        until = f"until {token.expires_at:%Y-%m-%d}" if token.expires_at else "without an end"
        self.stderr.write(f"token {token} of {user.get_username()}, usable {until}", style_func=lambda text: text)
        self.stdout.write(secret)
