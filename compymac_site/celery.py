"""The Celery app: `celery -A compymac_site worker`. All of its settings are CELERY_* in settings.py."""

import os
import sys
from pathlib import Path
from typing import Any

from celery import Celery
from celery.signals import setup_logging

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "compymac_site.settings")
# Celery would run Django's system checks in each worker and beat, which import all pages and the API: 17 MB that they never use.
# `manage.py migrate` and the tests run them.
os.environ.setdefault("CELERY_SKIP_CHECKS", "1")


class OwnCelery(Celery):
    """Its keys in Redis carry the installation's id, which is in the database: read at the first connection, never at import."""

    def _connection(self, *args: Any, transport_options: dict[str, Any] | None = None, **kwargs: Any) -> Any:
        options = dict(transport_options or {})
        options["global_keyprefix"] = _prefix()
        return super()._connection(*args, transport_options=options, **kwargs)  # type: ignore[misc]


def _prefix() -> str:
    import django
    from django.apps import apps

    if not apps.ready:
        django.setup()
    from django.db import DatabaseError

    from orchestration.broker import key_prefix

    try:
        return key_prefix()
    except DatabaseError as error:
        if "celery" in Path(sys.argv[0]).name or "worker" in sys.argv:
            sys.stderr.write(
                f"error: the database cannot be used ({error}): run `manage.py migrate`, or set DATABASE_URL\n"
            )
            raise SystemExit(2) from None
        raise


app = OwnCelery("compymac_site")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@setup_logging.connect
def keep_our_logging(**_: Any) -> None:
    """Django's LOGGING is the only configuration of logs; Celery's own would print each task's arguments."""
