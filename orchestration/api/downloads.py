"""Bytes that were made in sandboxes: always an attachment, never a page of ours; with their sha256, by which they can be checked."""

from __future__ import annotations

import base64
import re

from django.http import HttpResponse
from django.utils.http import content_disposition_header
from rest_framework.request import Request

from ..blobs import load_blob
from ..models import Artifact

MEDIA_TYPE = re.compile(r"[a-z0-9.+-]{1,60}/[a-z0-9.+-]{1,60}", re.IGNORECASE)
ENDINGS = {
    "text/x-diff": "patch",
    "application/x-git-bundle": "bundle",
    "application/json": "json",
    "text/plain": "txt",
}


def attachment(request: Request, row: Artifact) -> HttpResponse:
    """304 for somebody who has them already. Raises NotFound when the stored bytes are damaged."""
    etag = f'"{row.sha256}"'
    if etag in request.headers.get("If-None-Match", ""):
        return HttpResponse(status=304, headers={"ETag": etag})
    data = load_blob(row.pk)
    media_type = row.media_type if MEDIA_TYPE.fullmatch(row.media_type) else "application/octet-stream"
    headers = {
        "Content-Disposition": content_disposition_header(True, _name(row)) or "attachment",
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "sandbox",
        "Cache-Control": "private, no-cache",
        "ETag": etag,
        "Repr-Digest": f"sha-256=:{base64.b64encode(bytes.fromhex(row.sha256)).decode()}:",
    }
    return HttpResponse(data, content_type=media_type, headers=headers)


def _name(row: Artifact) -> str:
    ending = ENDINGS.get(row.media_type, "bin")
    owner = f"{str(row.goal_id)[:8]}-" if row.goal_id else ""
    return f"{re.sub(r'[^a-z0-9]', '', row.kind.lower())}-{owner}{row.sha256[:8]}.{ending}"
