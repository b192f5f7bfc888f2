"""manage.py demo_llm: the scripted model for the example, as an OpenAI-compatible server."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from agents.llm.demo_server import serve


class Command(BaseCommand):
    help = "Serve the scripted demo model until it is stopped. Example: manage.py demo_llm --port 8901"
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--host", default="127.0.0.1")
        parser.add_argument("--port", type=int, default=8901, help="0 takes a free one")
        parser.add_argument("--log", default="", metavar="FILE", help="append a JSON line for each call")
        parser.add_argument(
            "--address-file", default="", metavar="FILE", help="write the base URL there once it listens"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            server = serve(options["host"], options["port"], log=Path(options["log"]) if options["log"] else None)
        except OSError as error:
            raise CommandError(
                f"port {options['port']} cannot be used ({error.strerror}); choose another with --port"
            ) from error
        for wanted in (signal.SIGTERM, signal.SIGINT):
            signal.signal(wanted, lambda *_: threading.Thread(target=server.shutdown).start())
        if options["address_file"]:
            Path(options["address_file"]).write_text(server.url)
        self.stderr.write(
            f"the scripted demo model listens; use it with LLM_BASE_URL={server.url} LLM_MODEL=scripted-demo"
        )
        server.serve_forever()
        server.server_close()
