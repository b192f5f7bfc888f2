"""manage.py doctor: is this machine ready, and what is to be done where it is not."""

from __future__ import annotations

import json
import sys
from argparse import RawDescriptionHelpFormatter
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from orchestration import doctor
from orchestration.management.findings import tell


class Command(BaseCommand):
    help = "Check this machine: sandbox, database, Redis, workers, model. Exit codes: 0 ready, 1 something is missing."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.formatter_class = RawDescriptionHelpFormatter
        parser.epilog = "examples:\n  manage.py doctor\n  manage.py doctor --llm     (one small call, or two)"
        only = parser.add_mutually_exclusive_group()
        only.add_argument("--sandbox", action="store_true", help="the sandbox alone; needs no database and no Redis")
        only.add_argument("--alive", choices=("worker", "beat"), help="is it heard of? For health checks of containers")
        only.add_argument("--llm", action="store_true", help="ask the model too; costs two small calls")
        parser.add_argument("--json", action="store_true", help="print the findings as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        findings = self._findings(**options)
        if options["json"]:
            self.stdout.write(json.dumps([asdict(finding) for finding in findings], indent=2))
        else:
            for finding in findings:
                tell(self.stdout, finding)
        if any(finding.status == "fail" for finding in findings):
            sys.exit(1)

    def _findings(self, *, alive: str, sandbox: bool, llm: bool, **_: Any) -> list[doctor.Finding]:
        if alive:
            return doctor.alive(alive)
        if sandbox:
            return doctor.sandbox()
        return doctor.examine() + (doctor.llm() if llm else [])
