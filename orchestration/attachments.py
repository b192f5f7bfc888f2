"""Bytes that were made in sandboxes or by models, as downloads: never shown inline, never a page of ours."""

from __future__ import annotations

from django.http import HttpResponse
from django.utils.http import content_disposition_header

from .blobs import load_blob
from .models import Artifact

ENDINGS = {
    "text/x-diff": "patch",
    "application/x-git-bundle": "bundle",
    "text/plain": "txt",
    "application/json": "json",
}


def attachment(data: bytes, name: str, media_type: str) -> HttpResponse:
    """An answer that a browser saves and never renders."""
    answer = HttpResponse(data, content_type=media_type)
    answer.headers["Content-Disposition"] = content_disposition_header(True, name) or "attachment"
    answer.headers["X-Content-Type-Options"] = "nosniff"
    answer.headers["Content-Security-Policy"] = "sandbox"
    answer.headers["Cache-Control"] = "private, no-store"
    return answer


def artifact_attachment(row: Artifact) -> HttpResponse:
    """An artifact's bytes. Raises NotFound when they are gone or damaged."""
    ending = ENDINGS.get(row.media_type, "bin")
    whose = f"{str(row.goal_id)[:8]}-" if row.goal_id else ""
    return attachment(load_blob(row.pk), f"{row.kind}-{whose}{row.sha256[:8]}.{ending}", row.media_type)
