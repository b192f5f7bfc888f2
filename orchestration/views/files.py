"""Bytes that were made in sandboxes, as downloads: never shown inline, never as a page of ours."""

from __future__ import annotations

from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from ..attachments import artifact_attachment, attachment
from ..errors import NotFound
from ..roles import Action
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
def output(request: HttpRequest, goal_id: UUID, call_id: int) -> HttpResponse:
    """A command's output as it is kept in its row, both streams."""
    answer = command_of(request.user, goal_id, min(call_id, 2**31 - 1)).answer or {}
    text = "\n".join(part for part in (answer.get("stdout", ""), answer.get("stderr", "")) if part)
    return attachment(text.encode("utf-8", "replace"), f"output-{call_id}.txt", "text/plain; charset=utf-8")
