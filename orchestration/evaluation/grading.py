"""The grade of a goal that has ended: its checks on its result, run once more by somebody whom neither engine nor agents know."""

from __future__ import annotations

from pathlib import Path

from django.conf import settings

from agents.checking import HARNESS_FILES, exam_files
from agents.contracts import CheckResult
from agents.ports import SandboxProvider
from agents.workspace import Workspace

from .. import story
from ..blobs import load_blob
from ..models import Goal, Rollout, Run
from ..runs.bench import Bench, spec_for
from ..runs.planning import base_checks
from ..states import GoalStatus, RunStatus
from .cases import Case
from .report import Found, outcome_of


def grade(provider: SandboxProvider, case: Case, goal: Goal) -> Found:
    """What the goal said, and what is so."""
    said_done = goal.status == GoalStatus.SUCCEEDED
    failed, withheld = _examined(provider, case, goal) if said_done else ("", None)
    cost = story.cost(goal)
    ended = goal.ended_at or goal.created_at
    return Found(
        case=case.name,
        goal=str(goal.pk),
        outcome=outcome_of(said_done=said_done, checks_pass=not failed),
        verified=goal.verified,
        withheld=withheld,
        seconds=round((ended - (goal.started_at or goal.created_at)).total_seconds(), 1),
        calls=cost["calls"],
        tokens=cost["spent_tokens"],
        retries=_retries(goal),
        usd=None if cost["usd"] is None or cost["unpriced_calls"] else float(cost["usd"]),
        reason=failed or ("" if said_done else goal.reason or goal.stuck),
    )


def _examined(provider: SandboxProvider, case: Case, goal: Goal) -> tuple[str, bool | None]:
    """Which of the goal's checks fail on the result (empty: none), and whether the withheld ones pass."""
    assert goal.selected is not None
    assert goal.base_bundle_id is not None
    base, bundle = load_blob(goal.base_bundle_id), goal.selected.head_bundle_id
    spec = spec_for(Path(settings.DATA_DIR), provider, goal, base, f"grade-{goal.short_id}")
    sandbox = provider.open(spec)
    try:
        place = Bench(sandbox, Workspace(sandbox), goal.base_sha, 0)
        head = goal.selected.head or goal.base_sha
        place.workspace.open(base, load_blob(bundle) if bundle else None, head)
        before = base_checks(goal)
        if not case.allow_check_edits:
            place.workspace.restore_checks(goal.base_sha, exam_files(before), HARNESS_FILES)
        given = [(command, "person") for command in (*case.checks, *case.hidden_checks)]
        failed = _failed(place.check_all(given, head))
        return failed, _withheld(place, case, head)
    finally:
        sandbox.close()


def _withheld(place: Bench, case: Case, head: str) -> bool | None:
    if not case.withheld_checks:
        return None
    for name, data in case.withheld_files().items():
        place.sandbox.write(name, data)
    return not _failed(place.check_all([(command, "person") for command in case.withheld_checks], head))


def _failed(checks: list[CheckResult]) -> str:
    return "; ".join(f"{check.command!r} fails (exit code {check.exit_code})" for check in checks if not check.passed)


def _retries(goal: Goal) -> int:
    again = Run.objects.filter(goal=goal, attempt__gt=1).exclude(status=RunStatus.CANCELLED).count()
    return again + sum(r.review_rounds + r.replans for r in Rollout.objects.filter(goal=goal))
