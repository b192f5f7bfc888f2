"""How a command ends when it cannot do what it was asked: one sentence on stderr and an exit code, never a traceback."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from django.core.management.base import CommandError
from django.db import DatabaseError

from agents.delivery import DeliveryProblem
from orchestration.errors import BadInput, OrchestrationError
from orchestration.terminal import plain

EXIT_ERROR, EXIT_USAGE, EXIT_INTERRUPTED = 1, 2, 130


@contextmanager
def in_a_sentence() -> Iterator[None]:
    """Around a command's work. What this does not know is a bug of ours, and shows its traceback."""
    try:
        yield
    except (OrchestrationError, DeliveryProblem) as error:
        code = EXIT_USAGE if isinstance(error, BadInput) else EXIT_ERROR
        raise CommandError(plain(error), returncode=code) from error
    except DatabaseError as error:
        said = plain(str(error).splitlines()[0])
        raise CommandError(
            f"the database cannot be used: {said}. Is its server running (DATABASE_URL), is it migrated (manage.py migrate)?"
        ) from error
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)
