"""manage.py migrate: Django's own, which makes a new SQLite file for its owner alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.commands import migrate
from django.db import connection

from orchestration.management.problems import in_a_sentence


class Command(migrate.Command):
    help = f"{migrate.Command.help} Example: manage.py migrate"

    def execute(self, *args: Any, **options: Any) -> Any:
        """Before the checks, which open the database."""
        file = Path(str(connection.settings_dict["NAME"]))
        if connection.vendor == "sqlite" and file.is_absolute() and not file.exists():
            file.touch(mode=0o600)  # sessions and token hashes are in it; SQLite's further files take over its mode
        with in_a_sentence():
            connection.ensure_connection()
        return super().execute(*args, **options)
