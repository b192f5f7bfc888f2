"""manage.py worker: Celery's worker for this installation, in this very process."""

from __future__ import annotations

import os
from argparse import ArgumentTypeError, RawDescriptionHelpFormatter
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from orchestration.children import WORKER
from orchestration.equipment import refuse_bad_settings
from orchestration.management.problems import in_a_sentence
from orchestration.states import Queue


def known_queues(words: str) -> str:
    """Celery would serve a misspelt queue for ever, and nothing would come."""
    unknown = sorted({word.strip() for word in words.split(",")} - set(Queue.values))
    if unknown:
        raise ArgumentTypeError(f"there is no queue {', '.join(unknown)}; the queues are {', '.join(Queue.values)}")
    return ",".join(word.strip() for word in words.split(","))


class Command(BaseCommand):
    help = "Work on goals until Ctrl-C or SIGTERM, which costs no run anything. Celery's own worker: `celery -A compymac_site worker`."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.formatter_class = RawDescriptionHelpFormatter
        parser.epilog = (
            "examples:\n  manage.py worker                                  all queues\n"
            "  manage.py worker --queues execution --threads 8   one role, as on a second machine\n"
            "  manage.py worker -- --hostname two@%h             what follows -- goes to celery"
        )
        parser.add_argument("-Q", "--queues", type=known_queues, default=None, help=f"some of {','.join(Queue.values)}")
        parser.add_argument("-c", "--threads", type=int, metavar="N", help="runs at once (default: WORKER_THREADS, 32)")
        parser.add_argument("celery", nargs="*", metavar="-- WORD", help="further words for celery's own worker")

    def handle(self, *args: Any, **options: Any) -> None:
        with in_a_sentence():
            refuse_bad_settings()
        argv = [*WORKER]
        if options["queues"]:
            argv.append(f"--queues={options['queues']}")
        if options["threads"]:
            os.environ["WORKER_THREADS"] = str(options["threads"])
        os.chdir(settings.BASE_DIR)
        os.execv(argv[0], [*argv, *options["celery"]])  # noqa: S606 - the same process: its signals are the worker's
