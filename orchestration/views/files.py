"""Bytes that were made in sandboxes, as downloads: never shown inline, never as a page of ours."""

from __future__ import annotations

from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_safe

from .. import story
from ..attachments import artifact_attachment, attachment
from ..errors import NotFound
from ..handover import markdown, packet
from ..roles import Action
from ..selectors.access import goals_for
from ..selectors.goal_tabs import artifact_of, command_of
from .acting import needs


@needs(Action.SEE)
@require_safe
def artifact(request: HttpRequest, goal_id: UUID, artifact_id: str) -> HttpResponse:
    try:
        return artifact_attachment(artifact_of(request.user, goal_id, artifact_id))
    except NotFound as error:
        raise Http404(str(error)) from error


@needs(Action.SEE)
@require_safe
def handover(request: HttpRequest, goal_id: UUID) -> HttpResponse:
    """The handover packet as a file to be read, pasted or sent."""
    goal = get_object_or_404(goals_for(request.user).select_related("repository"), pk=goal_id)
    text = markdown(packet(story.handed_over(goal)))
    return attachment(text.encode(), f"goal-{goal.short_id}.md", "text/markdown; charset=utf-8")


@needs(Action.SEE)
@require_safe
def output(request: HttpRequest, goal_id: UUID, call_id: int) -> HttpResponse:
    """A command's output as it is kept in its row, both streams."""
    answer = command_of(request.user, goal_id, min(call_id, 2**31 - 1)).answer or {}
    text = "\n".join(part for part in (answer.get("stdout", ""), answer.get("stderr", "")) if part)
    return attachment(text.encode("utf-8", "replace"), f"output-{call_id}.txt", "text/plain; charset=utf-8")
