"""Plans that wait for a person: the inbox, one with its plan, and the decision about it."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from .. import services
from ..errors import BadInput, IllegalMove, NotAllowed, OrchestrationError, StaleApproval
from ..roles import Action
from ..selectors.people import ApprovalPage, approval_page, approval_rows, verdict_rows
from ..services import draft_of
from .acting import needs

DECISIONS = {"approve": Action.APPROVE, "reject": Action.APPROVE, "edit": Action.APPROVE, "run": Action.RESUME}
STATUS: tuple[tuple[type[OrchestrationError], int], ...] = (
    (StaleApproval, 409),
    (IllegalMove, 409),
    (NotAllowed, 403),
    (BadInput, 422),
)


@needs(Action.SEE)
@require_safe
def approval_list(request: HttpRequest) -> HttpResponse:
    waiting, decided = approval_rows(request.user)
    shown = {"waiting": waiting, "decided": decided, "verdicts": verdict_rows(request.user)}
    return render(request, "orchestration/approval_list.html", shown)


@needs(Action.SEE)
@require_safe
def approval_detail(request: HttpRequest, approval_id: UUID) -> HttpResponse:
    return _page(request, approval_page(request.user, approval_id))


@needs(DECISIONS)
@require_POST
def decide(request: HttpRequest, approval_id: UUID, verb: str) -> HttpResponse:
    """A decision that comes second is answered with the first; one about another plan than the one that waits is 409."""
    page = approval_page(request.user, approval_id)
    said = {name: request.POST.get(name, "") for name in ("plan_sha256", "reason", "plan")}
    try:
        told, following = _do(verb, page, said, request.user.get_username())
    except (StaleApproval, IllegalMove, NotAllowed, BadInput) as error:
        status = next(code for sort, code in STATUS if isinstance(error, sort))
        return _page(request, approval_page(request.user, approval_id), said, f"Nothing was changed: {error}.", status)
    messages.success(request, told)
    return redirect("orchestration:approval-detail", following)


def _do(verb: str, page: ApprovalPage, said: dict[str, str], by: str) -> tuple[str, Any]:
    pk, sha, reason = page.approval.pk, said["plan_sha256"], " ".join(said["reason"].split())
    if verb == "edit":
        made = services.edit_plan(pk, sha, _parsed(said["plan"]), by=by, reason=reason)
        return f"This is revision {made.plan.revision}, which waits in its place.", made.pk
    if verb == "run":
        return f"{services.run_plan(page.goal.pk, by=by).said}.", pk
    act = services.approve_plan if verb == "approve" else services.reject_plan
    return f"{act(pk, sha, by=by, reason=reason).said}.", pk


def _parsed(text: str) -> dict[str, Any]:
    try:
        draft = json.loads(text)
    except ValueError as error:
        raise BadInput(f"the plan is no JSON: {error}") from error
    if not isinstance(draft, dict):
        raise BadInput("the plan is a JSON object with summary and steps")
    return draft


def _page(
    request: HttpRequest, page: ApprovalPage, said: dict[str, str] | None = None, problem: str = "", status: int = 200
) -> HttpResponse:
    steps = [draft_of(step).model_dump(mode="json") for step in page.steps]
    draft = json.dumps({"summary": page.approval.plan.summary, "steps": steps}, indent=1, ensure_ascii=False)
    context = {
        "page": page,
        "approval": page.approval,
        "goal": page.goal,
        "draft": (said or {}).get("plan") or draft,
        "reason": (said or {}).get("reason", ""),
        "is_edited": bool((said or {}).get("plan")),
        "problem": problem,
    }
    return render(request, "orchestration/approval_detail.html", context, status=status)
