"""What is asked of the goals of the chaos suite, and the verdict on them."""

from __future__ import annotations

import hashlib
import os
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.db import DatabaseError, connection
from django.db.models import Sum

from agents.sandbox import registry as sandboxes
from agents.sandbox.leftovers import processes_in
from orchestration import dispatch, services
from orchestration.audit import Asked, audit, ids_in
from orchestration.blobs import load_blob
from orchestration.errors import IllegalMove
from orchestration.invariants import Violation
from orchestration.models import Call, Goal, Run
from orchestration.states import TERMINAL_GOAL, TERMINAL_RUN, CallKind, CallStatus
from tests.support.installation import story

from .plan import Accepted, Plan
from .provider import NEVER

if TYPE_CHECKING:
    from .machines import System
    from .provider import Flaky


def undisturbed(system: System) -> str:
    """The tree of one goal that nobody disturbs."""
    machine = system.machine(99)
    goal = services.submit_goal("goal 0: five notes")
    await_end(Accepted(plain=[str(goal.pk)]), 60)
    machine.stop()
    goal.refresh_from_db()
    assert goal.status == "succeeded", f"{story(goal)}\n{machine.log}"
    return tree(goal)


def tree(goal: Goal) -> str:
    """The result as its patch against the empty base: the same bytes are the same tree."""
    patch = load_blob(goal.selected.patch_id) if goal.selected and goal.selected.patch_id else b""
    return hashlib.sha256(patch).hexdigest()[:16] if patch else "nothing"


def submit(plan: Plan) -> Accepted:
    accepted = Accepted()
    dispatch.use(dispatch.publish_briefly)
    for n in range(1, plan.goals + 1):
        best = {"rollouts": 3} if n <= plan.best_of_3 else {}
        refused = plan.goals - n < plan.refused
        text = f"goal {n}: {NEVER if refused else 'five notes'}"
        goal = services.submit_goal(text, **best)
        (accepted.refused if refused else accepted.plain).append(str(goal.pk))
    connection.close()
    return accepted


def cancel_one(accepted: Accepted) -> bool:
    """One that is still open: from now on it may end cancelled."""
    with suppress(DatabaseError):
        connection.close()  # it may be one of before a crash of the database
        for goal in Goal.objects.filter(pk__in=accepted.plain).exclude(status__in=TERMINAL_GOAL).order_by("?")[:1]:
            accepted.plain.remove(str(goal.pk))
            accepted.cancelled.append(str(goal.pk))
            with suppress(IllegalMove):
                services.cancel_goal(goal.pk, by="chaos")
                return True
    return False


def await_end(accepted: Accepted, patience: float) -> float:
    """Until all have ended, or nothing was recorded for so long; how long it took."""
    began = moved = time.monotonic()
    before = -1
    while time.monotonic() - moved < patience:
        with suppress(DatabaseError):
            connection.close()  # it may be one of before a crash of the database
            if not Goal.objects.filter(pk__in=accepted.all).exclude(status__in=TERMINAL_GOAL).exists():
                break
            ended = Run.objects.filter(status__in=TERMINAL_RUN).count()
            if ended != before:
                before, moved = ended, time.monotonic()
        time.sleep(0.25)
    return time.monotonic() - began


def judge(accepted: Accepted, wanted: str, model: Flaky, system: System) -> list[str]:
    """Everything that is not as it was promised."""
    connection.close()
    asked = Asked(accepted=ids_in(accepted.all), at_rest=True)
    found = [f"{v.invariant}: {v.subject}: {v.detail}" for v in audit(asked) if isinstance(v, Violation)]
    if Goal.objects.count() != len(accepted.all) + 1:
        found.append(f"{len(accepted.all) + 1} goals were accepted, the database has {Goal.objects.count()}")
    found += _ends(accepted, wanted)
    found += _books(model)
    found += _left(system)
    return found


def _ends(accepted: Accepted, wanted: str) -> list[str]:
    expected = dict.fromkeys(accepted.plain, "succeeded") | dict.fromkeys(accepted.refused, "failed")
    found = []
    for goal in Goal.objects.filter(pk__in=expected):
        if goal.status != expected[str(goal.pk)]:
            found.append(f"{goal} is {goal.status}: {goal.reason}\n{story(goal)}")
        elif goal.status == "succeeded" and tree(goal) != wanted:
            found.append(f"{goal} has another tree than the undisturbed run: {tree(goal)}, not {wanted}")
    return found


def _books(model: Flaky) -> list[str]:
    calls = Call.objects.filter(kind=CallKind.LLM)
    counted = Counter(calls.values_list("status", flat=True))
    answered = counted[CallStatus.DONE] + counted[CallStatus.SUPERSEDED]
    if answered <= model.paid <= answered + counted[CallStatus.UNKNOWN]:
        return []
    return [
        f"the provider billed {model.paid} calls; we have {answered} answers and {counted[CallStatus.UNKNOWN]} unknown"
    ]


def _left(system: System) -> list[str]:
    """What the next worker there would not remove."""
    found = []
    for machine in system.machines:
        for root in machine.folder.glob("*-boxes*"):
            for folder in root.glob("box-*"):
                os.utime(folder, (0, 0))  # time passes: one that was only half made is not new any more
            sandboxes.sweep(root)
            found += [f"a sandbox is left: {folder}" for folder in root.glob("box-*")]
            found += [f"process {pid} is left of {root}" for pid, _ in processes_in(Path(root))]
        found += [f"process {pid} is left of {machine.folder}" for pid in machine.processes()]
    return found


def numbers() -> str:
    """For people: what it cost."""
    told: dict[str, Any] = Run.objects.aggregate(losses=Sum("losses"))
    unknown = Call.objects.filter(status=CallStatus.UNKNOWN).count()
    return f"{Run.objects.count()} runs, {told['losses']} losses, {Call.objects.count()} calls ({unknown} unknown)"
