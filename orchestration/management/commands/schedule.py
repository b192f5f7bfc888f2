"""manage.py schedule list|add|run|pause|resume|remove: goals that come back by the calendar."""

from __future__ import annotations

import json
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError, CommandParser

from orchestration import services
from orchestration.errors import BadInput, OrchestrationError
from orchestration.management.schedule_arguments import HELP, add_subcommands, wanted
from orchestration.models import RecurringGoal
from orchestration.selectors.schedules import beat_silence, in_words, upcoming
from orchestration.terminal import plain


class Command(BaseCommand):
    help = HELP
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        add_subcommands(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            rows = getattr(self, f"_{options['verb']}")(options)
        except OrchestrationError as error:
            raise CommandError(plain(error), returncode=2 if isinstance(error, BadInput) else 1) from error
        if options["json"]:
            self.stdout.write(json.dumps(rows, indent=1))

    def _list(self, options: dict[str, Any]) -> list[dict[str, Any]]:
        rows = list(RecurringGoal.objects.all())
        if not rows:
            self._talk(
                'no schedules yet; add one: manage.py schedule add nightly "30 2 * * *" "Make the tests pass" --repo .'
            )
        told = [self._told(row, options) for row in rows]
        ticked, is_silent = beat_silence()
        if is_silent:
            since = f"has not ticked since {ticked:%Y-%m-%d %H:%M} UTC" if ticked else "has never ticked here"
            self._talk(f"celery-beat {since}; due times wait for it: make up, or celery -A compymac_site beat")
        return told

    def _add(self, options: dict[str, Any]) -> dict[str, Any]:
        owner = get_user_model().objects.filter(username=options["owner"]).first()
        if options["owner"] and owner is None:
            raise BadInput(f"there is no user {options['owner']!r}")
        where = {"repo": options["repo"], "team": options["team"], "allow_repo": True}
        made = services.add_schedule(owner=owner, **where, **wanted(options))
        return self._told(made, options)

    def _run(self, options: dict[str, Any]) -> dict[str, Any]:
        goal = services.run_now(_find(options["name"]).pk, by="shell")
        if not options["json"]:
            self.stdout.write(str(goal.pk))
            self._talk(f"follow it with: manage.py goal watch {goal.short_id}")
        return {"goal": str(goal.pk)}

    def _pause(self, options: dict[str, Any]) -> dict[str, Any]:
        paused = services.pause_schedule(_find(options["name"]).pk, by="shell", reason=options["reason"])
        return self._told(paused, options)

    def _resume(self, options: dict[str, Any]) -> dict[str, Any]:
        return self._told(services.resume_schedule(_find(options["name"]).pk), options)

    def _remove(self, options: dict[str, Any]) -> dict[str, Any]:
        schedule = _find(options["name"])
        services.remove_schedule(schedule.pk)
        self._talk(f"{plain(schedule.name)} is removed; its goals stay")
        return {"removed": str(schedule.pk)}

    def _told(self, row: RecurringGoal, options: dict[str, Any]) -> dict[str, Any]:
        times = [due.isoformat() for due in upcoming(row)]
        if not options["json"]:
            state = f"paused by {row.paused_by}: {row.pause_reason}" if row.is_paused else in_words(row.cron)
            self.stdout.write(f"{str(row.pk)[:8]}  {plain(row.name, 40)}  [{row.cron} {row.zone}] {plain(state, 100)}")
            for due in times:
                self.stdout.write(f"          {due}")
            if row.trouble:
                self.stdout.write(f"          could not be submitted: {plain(row.trouble, 200)}")
        names = ("name", "cron", "zone", "overlap", "missed", "paused_by", "pause_reason", "trouble", "text", "checks")
        return {"id": str(row.pk), **{name: getattr(row, name) for name in names}, "next": times}

    def _talk(self, line: str) -> None:
        self.stderr.write(line, style_func=lambda text: text)


def _find(text: str) -> RecurringGoal:
    """A schedule by its name, else by the beginning of its id: as much of it as the list shows."""
    found = list(RecurringGoal.objects.filter(name=text))
    if not found and len(text) >= len("3e6b1f1c"):
        found = [row for row in RecurringGoal.objects.all() if str(row.pk).startswith(text.lower())]
    if len(found) != 1:
        how_many = "there is no schedule" if not found else f"{len(found)} schedules are called"
        raise BadInput(f"{how_many} {plain(text, 60)!r}; see `manage.py schedule list`, and give an id")
    return found[0]
