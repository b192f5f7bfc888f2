"""One step with its attempts, and one plan or review run: briefs, answers, commands, errors."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from .. import values
from ..blobs import load_blob
from ..errors import NotFound
from ..models import Run
from ..rendering.diff import Diff, parse_diff
from ..roles import Action
from ..selectors.goal_page import goal_head
from ..selectors.step_page import run_page, step_page
from ..services import artifact_id
from .acting import needs
from .asking import LARGEST, number, page_or_fragment


@needs(Action.SEE)
@require_safe
def step(request: HttpRequest, goal_id: UUID, rollout: int, revision: int, index: int) -> HttpResponse:
    if max(rollout, revision, index) > LARGEST:
        raise Http404
    head = goal_head(request.user, goal_id, rollout=rollout)
    after, attempt = number(request, "after") or 0, number(request, "attempt")
    page = step_page(request.user, goal_id, (rollout, revision, index), attempt, after)
    changes = request.GET.get("show") == "changes"
    diff = _step_diff(page.part.run) if changes and page.part else None
    context = {"head": head, "goal": head.goal, "page": page, "part": page.part, "diff": diff, "changes": changes}
    return page_or_fragment(request, "orchestration/step/step.html", "orchestration/step/_step.html", context)


@needs(Action.SEE)
@require_safe
def run(request: HttpRequest, goal_id: UUID, run_id: UUID) -> HttpResponse:
    head = goal_head(request.user, goal_id)
    part = run_page(request.user, goal_id, run_id, number(request, "after") or 0)
    context = {"head": head, "goal": head.goal, "part": part}
    return page_or_fragment(request, "orchestration/step/run.html", "orchestration/step/_run.html", context)


def _step_diff(run: Run) -> Diff | None:
    """What the attempt changed, as it is kept in its result; None where it left none."""
    try:
        result: Any = values.loads(load_blob(artifact_id(run)).decode())
    except (NotFound, ValueError):
        return None
    return parse_diff(str(result.get("diff", ""))) if isinstance(result, dict) else None
