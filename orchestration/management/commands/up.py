"""manage.py up: this machine's installation, until Ctrl-C."""

from __future__ import annotations

import signal
import sys
from argparse import RawDescriptionHelpFormatter
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from orchestration import installation
from orchestration.management.problems import in_a_sentence


class Command(BaseCommand):
    help = "Start what this machine needs: tables, a Redis of its own (unless REDIS_URL is set) and a worker. Ctrl-C stops it."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.formatter_class = RawDescriptionHelpFormatter
        parser.epilog = "example:\n  LLM_BASE_URL=http://127.0.0.1:11434/v1 LLM_MODEL=qwen3-coder manage.py up"

    def handle(self, *args: Any, **options: Any) -> None:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # an exit, so that the children are stopped
        with in_a_sentence():
            try:
                installation.run(lambda line: self.stderr.write(line))
            except KeyboardInterrupt:
                self.stderr.write("Stopped.")
                raise
