"""A person's message to a running goal: sent, and told to the runs of the role that it is for."""

from __future__ import annotations

from typing import Any

from django.db.models import F

from agents.errors import Fenced

from ..errors import BadInput, IllegalMove
from ..models import Budget, Message, Run, Telling
from ..states import RunKind, RunStatus
from ..transitions import locked, repeatable
from .cleaning import printable, shown

ROLES = {"executor": RunKind.STEP, "planner": RunKind.PLAN, "reviewer": RunKind.REVIEW}
LONGEST, MOST = 4000, 100


@repeatable
def send_message(goal_id: Any, text: str, *, to: str = "executor", by: str = "shell") -> Message:
    """The next model call of each run of this role has it, of those that run and of those that come.

    Raises BadInput for a text or role that cannot be used, IllegalMove where nobody is at work any more.
    """
    if to not in ROLES:
        raise BadInput(f"unknown role {shown(to)}; there are {', '.join(ROLES)}")
    text = printable(str(text or "").strip(), "the message")
    if not text or len(text) > LONGEST:
        raise BadInput(f"a message has 1 to {LONGEST} characters")
    with locked(goal_id, by=by) as change:
        goal = change.goal
        if goal.is_terminal or goal.cancelled_at is not None:
            raise IllegalMove(f"goal {goal.short_id} is {goal.status}: nobody is at work; follow it up instead")
        number = Message.objects.filter(goal=goal).count() + 1
        if number > MOST:
            raise BadInput(
                f"goal {goal.short_id} has {MOST} messages, which is the most; cancel it and submit a clearer one"
            )
        message = Message.objects.create(goal=goal, number=number, to=ROLES[to], text=text, by=by)
        change.note("message.sent", f"to the {to}", reason=text[:500], data={"message": str(message.pk)})
        change.flush()
        Budget.objects.filter(goal=goal).update(messages=F("messages") + 1)
        return message


@repeatable
def tell(run: Run, turn: int, place: int) -> tuple[list[Telling], int]:
    """Record that the run's model is told what it has not been told yet, at this call; and how many messages there are now.

    Raises Fenced when the run belongs to somebody else by now.
    """
    with locked(run.goal_id, by=run.worker) as change:
        if not Run.objects.filter(pk=run.pk, fence=run.fence, status=RunStatus.RUNNING).exists():
            raise Fenced(f"{run} was taken over or ended meanwhile")
        new = Message.objects.filter(goal=change.goal, to=run.kind).exclude(tellings__run=run).order_by("number")
        told = [Telling(message=message, run=run, turn=turn, place=place) for message in new]
        Telling.objects.bulk_create(told)
        for telling in told:
            data = {"run": str(run.pk), "message": str(telling.message_id), "turn": turn}
            change.note(
                "message.told", f"{run.kind} run {str(run.pk)[:8]}", reason=telling.message.text[:200], data=data
            )
        return told, Message.objects.filter(goal=change.goal).count()
