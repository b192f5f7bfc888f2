"""What every page's frame needs: the theme that was chosen, and the alarms of the navigation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from ..models import RecurringGoal
from ..selectors.access import standing_of
from ..selectors.fleet import waiting_for_nobody
from ..selectors.schedules import beat_silence

THEMES = ("system", "light", "dark")


@dataclass(frozen=True, slots=True)
class Alarms:
    """`queues`: how many have waiting work and no worker. `is_beat_silent`: schedules wait for a celery-beat that does not tick."""

    queues: int
    is_beat_silent: bool


def alarms() -> Alarms:
    """Four small queries, whatever there is."""
    _, silent = beat_silence()
    return Alarms(len(waiting_for_nobody()), silent and RecurringGoal.objects.filter(paused_at=None).exists())


def theme_of(request: HttpRequest) -> str:
    chosen = request.COOKIES.get("theme", "")
    return chosen if chosen in THEMES else THEMES[0]


def shell(request: HttpRequest) -> dict[str, Any]:
    """The context processor. What the frame shows is looked up when it shows it: a fragment and the login ask nothing."""
    return {
        "theme": theme_of(request),
        "themes": THEMES,
        "alarms": SimpleLazyObject(alarms),
        "standing": SimpleLazyObject(lambda: standing_of(getattr(request, "user", None))),
    }
