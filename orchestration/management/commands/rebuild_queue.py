"""manage.py rebuild_queue: after a Redis that was lost, restored from an old copy, or filled with nonsense."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from orchestration import services
from orchestration.management.problems import in_a_sentence


class Command(BaseCommand):
    help = (
        "Forget what Redis holds of our queues, and publish every due run anew from the database. Workers may run meanwhile: "
        "they find what is queued by themselves too, within seconds. Example: manage.py rebuild_queue --dry-run"
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="only count")
        parser.add_argument("--json", action="store_true", help="print the counts as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        with in_a_sentence():
            counts = services.rebuild_queue(dry_run=options["dry_run"])
        if options["json"]:
            self.stdout.write(json.dumps([asdict(count) for count in counts], indent=1))
            return
        would = "would be " if options["dry_run"] else ""
        for count in counts:
            kept = f", {count.kept} called by hand kept" if count.kept else ""
            self.stdout.write(
                f"{count.queue}: {count.forgotten} message(s) {would}forgotten, {count.published} run(s) {would}published{kept}"
            )
