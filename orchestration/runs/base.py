"""Where a goal starts: its commit as a bundle, and how its checks do there. Found out once, by the first run of the goal."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from agents.checking import discover_checks
from agents.contracts import CheckResult
from agents.source import Source, empty_source, read_source
from agents.survey import tracked_files

from .. import services
from ..active import ActiveRun
from ..blobs import save_blob
from ..journal import release_connection
from ..models import Goal
from ..proof import GIVEN
from ..states import CheckOrigin
from .bench import Bench, Tools, Watched, bench, keep_logs, open_at, refuse_missing
from .crew import model_of


def based(tools: Tools, active: ActiveRun) -> Goal:
    """The run's goal with its base commit; the first run of the goal finds it out, and both are known to `active.run` afterwards."""
    run = active.run
    if not run.goal.base_sha:
        run.goal = _find(tools, active)
        run.rollout.refresh_from_db()
        run.base_commit = run.base_commit or run.rollout.head
    return run.goal


def _find(tools: Tools, active: ActiveRun) -> Goal:
    run, goal = active.run, active.run.goal
    release_connection()
    source = _source(tools, active)
    goal.base_sha = source.sha
    goal.base_bundle = save_blob("bundle", source.bundle, media_type="application/x-git-bundle", goal=goal)
    with bench(tools, active, goal, f"base-{str(run.pk)[:8]}") as place:
        open_at(place, goal, None, source.sha)
        checks = _checks_at_base(place, goal)
        checks = keep_logs(goal, place.confirm(checks, [check for check in checks if not check.passed]))
    base = services.Base(source.sha, goal.base_bundle, checks, source.warnings, model_of(tools, goal))
    recorded = services.record_base(run, base)
    refuse_missing([check for check in checks if check.origin in GIVEN])
    return recorded


def _source(tools: Tools, active: ActiveRun) -> Source:
    goal = active.run.goal
    with ExitStack() as stack:
        provider = Watched(tools.provider, active, stack)
        if goal.repository is None:
            return empty_source(provider, int(goal.created_at.timestamp()))
        return read_source(provider, Path(goal.repository.path), goal.base_ref or "HEAD")


def _checks_at_base(place: Bench, goal: Goal) -> list[CheckResult]:
    """Given checks, or those that the repository itself shows; a discovered one whose program is missing here is left out.

    Hidden ones beside either: they are what the work is not told.
    """
    hidden = place.check_all([(command, CheckOrigin.HIDDEN.value) for command in goal.hidden_checks], goal.base_sha)
    return [*_shown_checks(place, goal), *hidden]


def _shown_checks(place: Bench, goal: Goal) -> list[CheckResult]:
    if goal.checks:
        return place.check_all([(command, CheckOrigin.PERSON.value) for command in goal.checks], goal.base_sha)
    files = tracked_files(place.sandbox)
    found = [(command, CheckOrigin.DISCOVERED.value) for command in discover_checks(files, place.sandbox.read)]
    return [check for check in place.check_all(found, goal.base_sha) if not check.missing]
