"""manage.py check_sandbox: try the configured locale2b services live, and say field by field what fits."""

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
    help = (
        "Try the sandbox services of LOCALE2B_BASE_URL live: health, key, a VM, commands, files, its end. "
        "Makes and removes one small VM per service. Exit codes: 0 all fits, 1 something does not."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.formatter_class = RawDescriptionHelpFormatter
        parser.epilog = (
            "examples:\n  LOCALE2B_BASE_URL=http://10.0.0.5:8080 LOCALE2B_API_KEY_FILE=key manage.py check_sandbox\n"
            "  manage.py check_sandbox --rate     (finds the real rate limit; slows others down for a minute)"
        )
        parser.add_argument("--rate", action="store_true", help="ask until the service says 429")
        parser.add_argument("--json", action="store_true", help="print the findings as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        findings = []
        for finding in doctor.remote_sandbox(rate=options["rate"]):
            findings.append(finding)
            if not options["json"]:
                tell(self.stdout, finding)
        if options["json"]:
            self.stdout.write(json.dumps([asdict(finding) for finding in findings], indent=2))
        if any(finding.status == "fail" for finding in findings):
            sys.exit(1)
