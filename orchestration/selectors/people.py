"""What people are asked, for the pages: a constant number of queries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.shortcuts import get_object_or_404

from ..models import Approval, Goal, Question, Review, Step
from ..roles import Action, may
from ..states import ApprovalStatus, QuestionStatus
from .access import approvals_for, goals_for, questions_for, with_role

SHOWN = 100


@dataclass(frozen=True, slots=True)
class ApprovalPage:
    approval: Approval
    steps: Sequence[Step]
    before: Sequence[Step]  # of the revision before, to see what is new
    follower: Approval | None  # the one that an edit put in its place
    can_decide: bool
    can_run: bool

    @property
    def goal(self) -> Goal:
        return self.approval.goal

    @property
    def is_open(self) -> bool:
        return self.approval.status == ApprovalStatus.WAITING

    @property
    def new(self) -> set[int]:
        """The steps that the revision before did not have like this."""
        if not self.before:
            return set()
        known = {(step.description, step.check_command, tuple(step.writes)) for step in self.before}
        return {s.index for s in self.steps if (s.description, s.check_command, tuple(s.writes)) not in known}


def approval_rows(user: Any) -> tuple[list[Approval], list[Approval]]:
    """Those that wait, the oldest first; and the newest that are decided."""
    rows = approvals_for(user).select_related("goal__team", "plan")
    waiting = rows.filter(status=ApprovalStatus.WAITING).order_by("created_at", "id")[:SHOWN]
    decided = rows.exclude(status=ApprovalStatus.WAITING).exclude(status=ApprovalStatus.REPLACED)
    return list(waiting), list(decided.order_by("-ended_at", "-id")[:25])


def verdict_rows(user: Any) -> list[Review]:
    """Verdicts that wait for a person, the oldest first."""
    rows = Review.objects.filter(acted=False, rollout__goal__in=goals_for(user)).exclude(asks="")
    return list(rows.select_related("rollout__goal__team").order_by("created_at")[:SHOWN])


def approval_page(user: Any, approval_id: Any) -> ApprovalPage:
    """Raises Http404 for one that this user may not see."""
    rows = approvals_for(user).select_related("goal__team", "plan", "rollout")
    approval = get_object_or_404(with_role(rows, user, "goal__team"), pk=approval_id)
    revision = approval.plan.revision
    steps = list(
        Step.objects.filter(plan__rollout=approval.rollout_id, plan__revision__in=(revision - 1, revision))
        .select_related("plan")
        .order_by("index")
    )
    later = Approval.objects.filter(rollout=approval.rollout_id, plan__revision__gt=revision)
    return ApprovalPage(
        approval,
        [step for step in steps if step.plan.revision == revision],
        [step for step in steps if step.plan.revision < revision],
        later.order_by("plan__revision").first() if approval.status == ApprovalStatus.REPLACED else None,
        may(approval.role, Action.APPROVE),
        may(approval.role, Action.RESUME),
    )


def question_rows(user: Any) -> tuple[list[Question], list[Question]]:
    """Those that wait, each with `can_answer`, the oldest first; and the newest that are answered."""
    rows = with_role(questions_for(user).select_related("goal__team", "step"), user, "goal__team")
    waiting = list(rows.filter(status=QuestionStatus.WAITING).order_by("created_at", "id")[:SHOWN])
    for row in waiting:
        row.can_answer = may(row.role, Action.MESSAGE)
    answered = rows.exclude(status=QuestionStatus.WAITING).order_by("-ended_at", "-id")
    return waiting, list(answered[:25])
