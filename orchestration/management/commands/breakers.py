"""manage.py breakers: what runs depend on, whether it is there, and `--close` to try again at once."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.forms.models import model_to_dict

from orchestration import services
from orchestration.management.problems import in_a_sentence
from orchestration.models import Breaker
from orchestration.states import BreakerStatus
from orchestration.terminal import plain


class Command(BaseCommand):
    help = (
        "Dependencies that have failed (models, sandbox services). While one is open, what needs it waits, and a run tries it now and "
        "then. Example: manage.py breakers --close 'model qwen3-coder at http://127.0.0.1:11434/v1'"
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--close", metavar="NAME", default="", help="take it as working: what waits goes on at once"
        )
        parser.add_argument("--json", action="store_true", help="print JSON on stdout")

    def handle(self, *args: Any, **options: Any) -> None:
        with in_a_sentence():
            if options["close"]:
                services.close_breaker(options["close"])
            rows = list(Breaker.objects.all())
        if options["json"]:
            self.stdout.write(json.dumps([model_to_dict(row) for row in rows], default=str, indent=1))
            return
        for row in rows:
            self.stdout.write(_line(row))
        if not rows:
            self.stdout.write("nothing that runs depend on has ever failed")


def _line(row: Breaker) -> str:
    if row.status == BreakerStatus.CLOSED:
        return f"closed     {plain(row)}" + (f" ({row.failures} failed in a row)" if row.failures else "")
    tried = "a run is trying it" if row.probe_id else f"tried at {row.probe_at:%H:%M:%S} UTC"
    return f"{row.status:10} {plain(row)} since {row.opened_at:%H:%M:%S} UTC, {tried}: {plain(row.last_error, 300)}"
