"""celery-beat for real: two of them tick, a due time becomes one goal, and their ticks leave no results behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone
from django_celery_results.models import TaskResult

from orchestration import services
from orchestration.models import Goal, Occurrence, RecurringGoal
from orchestration.selectors.schedules import beat_silence
from tests.support.installation import BASE, Installation, until

pytestmark = pytest.mark.long


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as made:
        yield made


def beat(installation: Installation, stack: ExitStack, log: Path) -> None:
    argv = [sys.executable, "-m", "celery", "-A", "compymac_site", "beat", "--loglevel=info", "--pidfile="]
    env = installation.env | {"SCHEDULE_TICK_SECONDS": "1"}
    with log.open("wb") as file:
        process = subprocess.Popen(argv, env=env, cwd=BASE, stdout=file, stderr=file, start_new_session=True)

    def stop() -> None:
        if process.poll() is None:
            os.kill(process.pid, signal.SIGTERM)
            process.wait(30)

    stack.callback(stop)


def test_two_beats_make_one_goal_of_a_due_time(installation: Installation, stack: ExitStack, open_folder: Path) -> None:
    schedule = services.add_schedule(name="each minute", cron="* * * * *", text="one", overlap="skip")
    RecurringGoal.objects.filter(pk=schedule.pk).update(counted_from=timezone.now() - timedelta(minutes=3))
    installation.worker("--queues=default")
    logs = [open_folder / f"beat-{number}.log" for number in (1, 2)]
    for log in logs:
        beat(installation, stack, log)
    said = lambda: "".join(log.read_text(errors="replace")[-2000:] for log in logs)  # noqa: E731
    assert until(lambda: Goal.objects.exists(), 60), said() + installation.logs()
    assert until(lambda: all("Sending due task submit_due_goals" in log.read_text() for log in logs), 60), said()
    first = Occurrence.objects.order_by("due_at").first()
    assert first is not None
    assert first.goal is not None
    assert "covered by this one" in first.reason
    assert Goal.objects.count() == 1, "while it is open, a further minute is skipped"
    assert beat_silence()[1] is False
    assert not TaskResult.objects.filter(task_name="submit_due_goals").exists()
