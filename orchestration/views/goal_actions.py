"""What a person decides about a goal: plain forms, each answered with its outcome on the goal's page."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.views.decorators.http import require_POST

from .. import services
from ..errors import BadInput, IllegalMove
from ..forms import ActForm
from ..models import Goal
from ..roles import Action
from ..selectors.access import goals_for
from ..services.once import follow_up_once, retry_once
from .acting import needs

DONE = {
    "cancel": "Cancel is asked: nothing new is begun, and what runs stops within seconds.",
    "force": "The goal is ended by force; what nobody confirmed is named below and among the events.",
    "pause": "The goal is paused: nothing new is begun, and its work is kept.",
    "resume": "The goal goes on.",
    "skip": "The step is left out.",
    "mark-done": "The step counts as done.",
    "override": "Your verdict stands in the place of the review's.",
    "priority": "The goal has its new priority: what waits of it is claimed by that.",
    "message": "It is sent: the next model call has it.",
    "follow-up": "This is a new goal that starts from the result of the one that you want changes of.",
    "retry": "This is a new goal that carries the finished steps of the one that you retried.",
    "pick": "The result is the one that you picked now; the goal's story has your reason.",
}
ACTIONS = {
    "cancel": Action.CANCEL,
    "force": Action.CANCEL,
    "pause": Action.PAUSE,
    "resume": Action.RESUME,
    "retry": Action.RETRY,
    "pick": Action.PICK,
    "follow-up": Action.SUBMIT,
    "message": Action.MESSAGE,
    "priority": Action.PRIORITIZE,
    **dict.fromkeys(("skip", "mark-done", "override"), Action.OVERRIDE),
}
OVERRIDES = frozenset({"skip", "mark-done", "override"})
MOVED_ON = "Nothing was changed, because the goal has moved on meanwhile: {error}."


@needs(ACTIONS)
@require_POST
def act(request: HttpRequest, goal_id: UUID, verb: str) -> HttpResponse:
    """Cancel (by force, too), pause, resume, retry or pick; whatever comes of it is said on the goal's page."""
    goal = get_object_or_404(goals_for(request.user), pk=goal_id)
    form = ActForm(request.POST, verb=verb)
    try:
        if not form.is_valid():
            raise BadInput(form.first_error())
        goal = _do(verb, goal, form, request.user)
    except IllegalMove as error:
        messages.warning(request, MOVED_ON.format(error=error))
    except BadInput as error:
        messages.error(request, f"Nothing was changed: {error}.")
    else:
        messages.success(request, DONE[verb])
    return redirect("orchestration:goal-detail", goal.pk)


def _do(verb: str, goal: Goal, form: ActForm, user: Any) -> Goal:
    reason, by = form.cleaned_data["reason"], user.get_username()
    if verb in {"cancel", "force"}:
        return services.cancel_goal(goal.pk, by=by, reason=reason, force=verb == "force")
    if verb == "resume":
        return services.resume_goal(goal.pk, limits=form.limits(), by=by, reason=reason)
    if verb == "pick":
        return services.pick_rollout(goal.pk, form.cleaned_data["rollout"] or 0, reason=reason, by=by)
    if verb in OVERRIDES:
        return _override(verb, goal, form, by)
    if verb == "priority":
        if (priority := form.cleaned_data["priority"]) is None:
            raise BadInput("say which priority: 0 to 10")
        return services.set_priority(goal.pk, priority, by=by, reason=reason)
    if verb == "message":
        said = form.cleaned_data
        return services.send_message(goal.pk, said["text"], to=said["to"] or "executor", by=by).goal
    if verb == "follow-up":
        return follow_up_once(form.cleaned_data["key"], goal.pk, form.cleaned_data["text"], by=user)
    if verb == "retry":
        step = form.cleaned_data["from_step"]
        rollout = form.cleaned_data["rollout"] if step is not None else None
        return retry_once(form.cleaned_data["key"], goal.pk, by=user, from_step=step, rollout=rollout)
    if goal.is_gated and not goal.finishes_running:  # the service takes a second pause for done, a person wants to know
        raise IllegalMove(f"goal {goal.short_id} is {goal.status} already")
    return services.pause_goal(goal.pk, by=by, reason=reason, finish_running=form.cleaned_data["finish_running"])


def _override(verb: str, goal: Goal, form: ActForm, by: str) -> Goal:
    said = form.cleaned_data
    why = {"by": by, "reason": said["reason"], "rollout": said["rollout"]}
    if verb == "override":
        steps = [] if said["step"] is None else [said["step"]]
        return services.override_verdict(goal.pk, said["action"], steps=steps, changes=said["text"], **why)
    if said["step"] is None:
        raise BadInput("say which step")
    act = services.skip_step if verb == "skip" else services.mark_done
    act(goal.pk, said["step"], **why)
    return goal
