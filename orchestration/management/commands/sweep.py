"""manage.py sweep: one pass over expired leases, deadlines and forgotten runs, as the workers' housekeepers do it."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from orchestration import services
from orchestration.management.problems import in_a_sentence


class Command(BaseCommand):
    help = "Do now what the workers' housekeepers do every few seconds. Example: manage.py sweep --json"

    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="print the counts as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        with in_a_sentence():
            counts = services.sweep()
        if options["json"]:
            self.stdout.write(json.dumps(counts))
            return
        for name, count in counts.items():
            self.stdout.write(f"{name}: {count}")
