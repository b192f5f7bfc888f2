"""manage.py audit_invariants: do the promises hold in this database, now?"""

from __future__ import annotations

import json
import sys
from argparse import FileType, RawDescriptionHelpFormatter
from collections import defaultdict
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from orchestration import story
from orchestration.audit import SENTENCES, Asked, audit, ids_in
from orchestration.invariants import Violation
from orchestration.management.problems import in_a_sentence
from orchestration.terminal import plain

EPILOG = """examples:
  manage.py audit_invariants                   every goal of the database; may run at any time, also while workers work
  manage.py audit_invariants --goal last       one goal
  manage.py audit_invariants --at-rest --accepted ids.txt
                                               after a test: all have ended, and none of these is missing"""
SHOWN = 20  # violations of one rule that are printed; --json has all


class Command(BaseCommand):
    help = "Check what must hold of every goal, whatever was killed meanwhile. Exit codes: 0 all holds, 1 something does not."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.formatter_class = RawDescriptionHelpFormatter
        parser.epilog = EPILOG
        parser.add_argument("--goal", default="", help="one goal: its id, the beginning of it, or `last`")
        parser.add_argument(
            "--accepted", type=FileType(), help="a file with the ids that must be there, one a line; - for stdin"
        )
        parser.add_argument("--at-rest", action="store_true", help="every goal must have ended")
        parser.add_argument("--json", action="store_true", help="print the result as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        found: dict[str, list[Violation]] = defaultdict(list)
        with in_a_sentence():
            goals, asked = 0, self._asked(options)
            for item in audit(asked):
                if isinstance(item, Violation):
                    found[item.invariant].append(item)
                else:
                    goals += 1
                    self._progress(goals)
        self._tell(goals, found, asked.leaves_out(), options["json"])
        if found:
            sys.exit(1)

    def _asked(self, options: dict[str, Any]) -> Asked:
        accepted = ids_in(options["accepted"]) if options["accepted"] else None
        return Asked(story.find_goal(options["goal"]) if options["goal"] else None, accepted, options["at_rest"])

    def _progress(self, goals: int) -> None:
        if goals % 500 == 0:
            self.stderr.write(f"{goals} goals looked at …")

    def _tell(self, goals: int, found: dict[str, list[Violation]], left_out: frozenset[str], as_json: bool) -> None:
        if as_json:
            told = [asdict(violation) for some in found.values() for violation in some]
            self.stdout.write(json.dumps({"goals": goals, "violations": told}, indent=2))
            return
        for name, sentence in SENTENCES.items():
            sign = "✗" if name in found else "·" if name in left_out else "✓"
            self.stdout.write(f"{sign} {name}: {sentence}{': not asked' if name in left_out else ''}")
            for violation in found[name][:SHOWN] if name in found else ():
                self.stdout.write(f"    {plain(violation.subject)}: {plain(violation.detail)}")
            if (more := len(found.get(name, ())) - SHOWN) > 0:
                self.stdout.write(f"    … and {more} more (--json)")
        broken = sum(map(len, found.values()))
        self.stdout.write(f"{goals} goals: " + (f"{broken} violations" if broken else "all holds"))
