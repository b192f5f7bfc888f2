"""Follow a goal live: print each event and each ended command as it comes, until the goal has ended or needs a person."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from . import story
from .journal import release_connection
from .models import Call, Event, Goal
from .states import TERMINAL_GOAL, GoalStatus
from .terminal import Paint, command_line, event_line

POLL = 0.25
NO_WORKER_AFTER = 3.0
LATE_COMMIT = timedelta(
    seconds=60
)  # a transaction that ended a command is visible within this time after its own clock
WAITING = frozenset({GoalStatus.PAUSED, GoalStatus.AWAITING_APPROVAL})
NO_WORKER = "no worker is running, so nothing happens yet; start one with: make up (or, beside a Redis that runs: manage.py worker)"
QUIET_KINDS = frozenset({"run.queued", "step.status", "rollout.status"})


@dataclass
class Watcher:
    """Where it has got to in the story. `say` prints a line of it, `warn` a line beside it."""

    goal: Goal
    say: Callable[[str], object]
    warn: Callable[[str], object]
    paint: Paint
    seq: int = 0
    told: set[int] = field(default_factory=set)
    told_until: datetime | None = None

    def follow(self, timeout: float | None) -> Goal:
        """Until the goal has ended or waits for a person. Raises TimeoutError; the goal goes on."""
        begun, warned = time.monotonic(), False
        while True:
            self.goal = Goal.objects.get(pk=self.goal.pk)
            self.tell()
            if self.goal.status in TERMINAL_GOAL or self.goal.status in WAITING:
                return self.goal
            waited = time.monotonic() - begun
            if timeout is not None and waited > timeout:
                raise TimeoutError(f"goal {self.goal.short_id} has not ended within {timeout:g} seconds; it goes on")
            if not warned and waited > NO_WORKER_AFTER and not story.workers_alive():
                self.warn(NO_WORKER)
                warned = True
            release_connection()
            time.sleep(POLL)

    def tell(self) -> None:
        """What is new since the last time."""
        lines = []
        for call in self._new_commands():
            lines.append((call.ended_at or call.started_at, f"    {command_line(story.command(call), self.paint)}"))
        for row in Event.objects.filter(goal=self.goal, seq__gt=self.seq).order_by("seq"):
            self.seq = row.seq
            if row.kind not in QUIET_KINDS:
                lines.append((row.at, f"  {event_line(story.event(row), self.paint)}"))
        for at, line in sorted(lines, key=lambda pair: pair[0]):
            self.say(f"{at:%H:%M:%S}{line}")

    def _new_commands(self) -> list[Call]:
        """Parallel steps end their commands in another order than they began them: by time of end, each once."""
        since = self.told_until - LATE_COMMIT if self.told_until else None
        new = [call for call in story.commands(self.goal, since) if call.pk not in self.told]
        self.told.update(call.pk for call in new)
        self.told_until = max((call.ended_at for call in new if call.ended_at), default=self.told_until)
        return new
