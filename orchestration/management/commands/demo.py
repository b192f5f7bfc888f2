"""manage.py demo: the whole main job once, on the example repository, with servers of its own. See `orchestration.demo`."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from orchestration.demo import Demo
from orchestration.errors import OrchestrationError


class Command(BaseCommand):
    help = (
        "Run the example goal from submission to a verified branch. "
        "Example: manage.py demo (or: make demo LLM_BASE_URL=… LLM_MODEL=… LLM_API_KEY=…)"
    )
    requires_system_checks = []

    def handle(self, *args: Any, **options: Any) -> None:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # an exit, so that all children are stopped
        try:
            code = Demo(Path(settings.BASE_DIR), self._say).run()
        except OrchestrationError as error:
            raise CommandError(str(error)) from error
        except KeyboardInterrupt:
            sys.exit(130)
        if code:
            sys.exit(code)

    def _say(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()
