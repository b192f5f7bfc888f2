"""Bytes that were made in sandboxes, as downloads: never shown inline, never as a page of ours."""

from __future__ import annotations

from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponse
from django.utils.http import content_disposition_header
from django.views.decorators.http import require_safe

from ..blobs import load_blob
from ..errors import NotFound
from ..selectors.goal_tabs import artifact_of, command_of

ENDINGS = {
    "text/x-diff": "patch",
    "application/x-git-bundle": "bundle",
    "text/plain": "txt",
    "application/json": "json",
}


@require_safe
def artifact(request: HttpRequest, goal_id: UUID, artifact_id: str) -> HttpResponse:
    row = artifact_of(request.user, goal_id, artifact_id)
    try:
        data = load_blob(row.pk)
    except NotFound as error:
        raise Http404(str(error)) from error
    ending = ENDINGS.get(row.media_type, "bin")
    return _download(data, f"{row.kind}-{str(goal_id)[:8]}-{row.sha256[:8]}.{ending}", row.media_type)


@require_safe
def output(request: HttpRequest, goal_id: UUID, call_id: int) -> HttpResponse:
    """A command's output as it is kept in its row, both streams."""
    answer = command_of(request.user, goal_id, min(call_id, 2**31 - 1)).answer or {}
    text = "\n".join(part for part in (answer.get("stdout", ""), answer.get("stderr", "")) if part)
    return _download(text.encode("utf-8", "replace"), f"output-{call_id}.txt", "text/plain; charset=utf-8")


def _download(data: bytes, name: str, media_type: str) -> HttpResponse:
    answer = HttpResponse(data, content_type=media_type)
    answer.headers["Content-Disposition"] = content_disposition_header(True, name) or "attachment"
    answer.headers["X-Content-Type-Options"] = "nosniff"
    answer.headers["Content-Security-Policy"] = "sandbox"
    answer.headers["Cache-Control"] = "private, no-store"
    return answer
