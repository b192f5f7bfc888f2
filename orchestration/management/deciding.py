"""The verbs of `manage.py goal` with which a person decides: approve, reject, edit-plan, run-plan, answer."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from orchestration import services, story
from orchestration.errors import BadInput
from orchestration.models import Approval, Goal, Step
from orchestration.services import Answered, Decision

BY = "shell"


def approve(options: dict[str, Any]) -> Decision:
    found = _named(options)
    return services.approve_plan(found.pk, options["plan"], by=BY, reason=options["reason"])


def reject(options: dict[str, Any]) -> Decision:
    found = _named(options)
    return services.reject_plan(found.pk, options["plan"], by=BY, reason=options["reason"])


def run_plan(goal: Goal) -> Decision:
    return services.run_plan(goal.pk, by=BY)


def edit(options: dict[str, Any]) -> Approval:
    found, draft = _named(options), _draft(options["file"])
    return services.edit_plan(found.pk, options["plan"], draft, by=BY, reason=options["reason"])


def plan_that_waits(options: dict[str, Any]) -> dict[str, Any]:
    """As `edit-plan --file` reads it again."""
    found = services.approval_of(story.find_goal(options["id"]), options["plan"])
    steps = [services.draft_of(step) for step in Step.objects.filter(plan=found.plan_id).order_by("index")]
    return {"summary": found.plan.summary, "steps": [step.model_dump(mode="json") for step in steps]}


def answer(options: dict[str, Any]) -> Answered:
    question = services.question_of(story.find_goal(options["id"]), options["question"])
    return services.answer_question(question.pk, options["answer"], by=BY)


def _named(options: dict[str, Any]) -> Approval:
    goal = story.find_goal(options["id"])
    found = services.approval_of(goal, options["plan"])
    if not options["plan"]:
        raise BadInput(
            f"say which plan you mean, by its hash: --plan {found.plan_sha256[:12]} (see manage.py goal show {goal.short_id})"
        )
    return found


def _draft(file: str) -> dict[str, Any]:
    if not file:
        raise BadInput("give the plan as JSON: --file FILE (--print shows the one that waits)")
    try:
        draft = json.loads(sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadInput(f"the plan cannot be read from {file}: {error}") from error
    if not isinstance(draft, dict):
        raise BadInput('the plan is a JSON object: {"summary": "…", "steps": […]}')
    return draft
