"""manage.py up: this machine's installation, until Ctrl-C. See `orchestration.installation`."""

from __future__ import annotations

import os
import signal
import sys
from argparse import RawDescriptionHelpFormatter
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from orchestration import envfile, installation
from orchestration.equipment import refuse_bad_settings
from orchestration.listening import refusal
from orchestration.management.problems import in_a_sentence


class Command(BaseCommand):
    help = "Run everything on this machine: panel, worker, beat, and a Redis of its own (unless REDIS_URL is set)."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.formatter_class = RawDescriptionHelpFormatter
        parser.epilog = (
            "examples:\n  manage.py up\n  LLM_BASE_URL=http://127.0.0.1:11434/v1 LLM_MODEL=qwen3-coder PORT=8080 manage.py up\n"
            "Settings come from the environment and from .env, which the first start makes. When a part ends by itself, all are\n"
            "stopped and the exit code is 1. Ctrl-C stops in order, a second one at once."
        )
        parser.add_argument("--flower", action="store_true", help="Celery's monitor too, on this machine only")
        parser.add_argument("--only-env", action="store_true", help="make .env with random keys, and no more")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            made = envfile.make(settings.ENV_FILE)
        except OSError as error:
            raise CommandError(
                f"{settings.ENV_FILE} cannot be made ({error.strerror}); set ENV_FILE", returncode=2
            ) from error
        if made:
            self.stdout.write(f"▸ {settings.ENV_FILE} is made, with random keys.")
            self.stdout.flush()
            envfile.read_settings_anew()
        if options["only_env"]:
            return
        key_is_default = settings.SECRET_KEY == settings.INSECURE_KEY
        if refused := refusal(settings.HOST, debug=settings.DEBUG, key_is_default=key_is_default):
            raise CommandError(refused, returncode=2)
        with in_a_sentence():
            refuse_bad_settings()
        self._run(options["flower"])

    def _run(self, flower: bool) -> None:
        for wanted in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(wanted, lambda *_: sys.exit(0))  # an exit, so that all children are stopped in order
        colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
        with in_a_sentence():
            try:
                installation.run(sys.stdout, colour=colour, flower=flower)
            except KeyboardInterrupt:
                self.stdout.write("Stopped.")
                raise
