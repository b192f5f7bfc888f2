"""A step's question to a person: answered, or nobody did in time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db.models import Max
from django.utils import timezone

from ..errors import BadInput, IllegalMove, NotFound
from ..models import Goal, Question, Run, Step
from ..states import LIVE_RUN, QuestionStatus, StepStatus
from ..transitions import Change, locked, repeatable
from .advancing import advance
from .approving import give_time_back
from .cleaning import printable

LONGEST_ANSWER = 4000


@dataclass(frozen=True, slots=True)
class Answered:
    """`first` False: it had been answered already, and that stands."""

    question: Question
    first: bool

    @property
    def said(self) -> str:
        question = self.question
        if self.first:
            return f"step {question.step.index} goes on with the answer"
        return f"{question.by or 'nobody'} answered it already, with {question.answer[:200]!r}, and that stands"


@repeatable
def answer_question(question_id: Any, answer: str, *, by: str) -> Answered:
    """The step goes on with the answer in its next brief. Who comes second gets what the first one said.

    Raises BadInput for what is none of the choices, IllegalMove where nobody needs the answer any more.
    """
    with locked(_goal_of(question_id), by=by) as change:
        question = Question.objects.select_related("step").get(pk=question_id)
        if question.status in (QuestionStatus.ANSWERED, QuestionStatus.EXPIRED):
            return Answered(question, first=False)
        goal = change.goal
        if question.status != QuestionStatus.WAITING or goal.is_terminal or goal.cancelled_at is not None:
            raise IllegalMove(f"goal {goal.short_id} is {goal.status}; nobody needs the answer any more")
        said = _checked(question, answer)
        data = {"step": question.step.index}
        _give_hours_back(goal, question)
        change.move(question, QuestionStatus.ANSWERED, reason=said[:500], data=data, answer=said, by=by)
        _go_on(change, question)
        return Answered(question, first=True)


def _give_hours_back(goal: Goal, question: Question) -> None:
    """The goal's hours are for work: since the last run ended nobody worked on it, and this answer was waited for."""
    if goal.is_gated or Run.objects.filter(goal=goal, status__in=LIVE_RUN).exists():
        return
    ended = Run.objects.filter(goal=goal).aggregate(last=Max("ended_at"))["last"]
    give_time_back(goal, max(question.created_at, ended or question.created_at))


def _goal_of(question_id: Any) -> Any:
    goal_id = Question.objects.filter(pk=question_id).values_list("goal_id", flat=True).first()
    if goal_id is None:
        raise NotFound("there is no such question")
    return goal_id


def _checked(question: Question, answer: str) -> str:
    said = printable(str(answer or "").strip(), "the answer")
    if question.choices and said not in question.choices:
        raise BadInput(f"the answer is one of: {', '.join(question.choices)}")
    if not said or len(said) > LONGEST_ANSWER:
        raise BadInput(f"an answer has 1 to {LONGEST_ANSWER} characters")
    return said


def _go_on(change: Change, question: Question) -> None:
    change.move(Step.objects.get(pk=question.step_id), StepStatus.QUEUED)
    advance(change)


def question_of(goal: Goal, named: str = "") -> Question:
    """The goal's question with this beginning of its id; without one the only one that waits. Raises IllegalMove, BadInput."""
    rows = list(Question.objects.filter(goal=goal).select_related("step").order_by("created_at"))
    waiting = [row for row in rows if row.status == QuestionStatus.WAITING]
    if named:
        found = [row for row in rows if str(row.pk).startswith(named.lower())]
        if len(found) != 1:
            raise BadInput(f"goal {goal.short_id} has {len(found)} questions that begin with {named[:36]!r}")
        return found[0]
    if len(waiting) > 1:
        listed = ", ".join(f"{str(row.pk)[:8]} (step {row.step.index})" for row in waiting)
        raise BadInput(f"several questions wait; say which with --question: {listed}")
    if not rows:
        raise IllegalMove(f"goal {goal.short_id} is {goal.status}, and asks nothing")
    return (waiting or rows)[-1]


@repeatable
def expire_question(question_id: Any) -> bool:
    """Nobody answered in time: the default is the answer, and without one the step has failed. By the sweep."""
    with locked(_goal_of(question_id), by="housekeeper") as change:
        late = Question.objects.filter(pk=question_id, status=QuestionStatus.WAITING, expires_at__lt=timezone.now())
        question = late.select_related("step").first()
        if question is None:
            return False
        default, data = question.default, {"step": question.step.index}
        said = f"the default: {default}" if default else "there was no default"
        _give_hours_back(change.goal, question)
        change.move(question, QuestionStatus.EXPIRED, reason=said, data=data, answer=default, by="default")
        if default:
            _go_on(change, question)
            return True
        reason = f"nobody answered its question in time: {question.text[:300]}"
        change.move(Step.objects.get(pk=question.step_id), StepStatus.FAILED, reason=reason)
        advance(change)
        return True
