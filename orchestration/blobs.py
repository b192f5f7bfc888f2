"""Bytes of the engine (bundles, patches, outputs) as Artifact rows; the id says what they are, so the same bytes are stored once."""

from __future__ import annotations

import hashlib
import zlib

from django.conf import settings
from django.db import IntegrityError, transaction

from .errors import ArtifactTooLarge, NotFound
from .models import Artifact, Goal

COMPRESS_ABOVE = 4096
BUNDLE_MAX_BYTES = 512 * 1024 * 1024
BUNDLES = frozenset({"bundle", "checkpoint"})


def save_blob(
    kind: str, data: bytes, *, media_type: str = "application/octet-stream", goal: Goal | None = None
) -> Artifact:
    """Store bytes under `<kind>-<start of sha256>`; the same bytes of the same goal again are the same row."""
    limit = BUNDLE_MAX_BYTES if kind in BUNDLES else settings.ARTIFACT_MAX_BYTES
    if len(data) > limit:
        raise ArtifactTooLarge(f"a {kind} of {len(data)} bytes is more than the limit of {limit} bytes")
    whole = hashlib.sha256(data).hexdigest()
    owner = f"{str(goal.pk)[:8]}-" if goal else ""
    pk = f"{kind}-{owner}{whole[:32]}"
    if known := Artifact.objects.filter(pk=pk).defer("data").first():
        return known
    encoding, stored = pack(data)
    row = Artifact(
        id=pk, goal=goal, kind=kind, media_type=media_type, encoding=encoding, sha256=whole, size=len(data), data=stored
    )
    try:
        with transaction.atomic():
            row.save(force_insert=True)
    except IntegrityError:
        return Artifact.objects.defer("data").get(pk=pk)
    return row


def load_blob(pk: str) -> bytes:
    """The plain bytes. Raises NotFound when there are none, or when they are not what was stored."""
    row = Artifact.objects.filter(pk=pk).first()
    if row is None:
        raise NotFound(f"there is no artifact {pk}")
    return unpack_row(row)


def unpack_row(row: Artifact) -> bytes:
    """A row's plain bytes, checked against its sha256."""
    try:
        data = zlib.decompress(row.data) if row.encoding == "zlib" else bytes(row.data)
    except zlib.error:
        data = b""
    if hashlib.sha256(data).hexdigest() != row.sha256:
        raise NotFound(f"the bytes of artifact {row.pk} are damaged: its sha256 does not fit")
    return data


def pack(data: bytes) -> tuple[str, bytes]:
    """(encoding, bytes to store): compressed above 4 KiB where that helps."""
    if len(data) > COMPRESS_ABOVE:
        small = zlib.compress(data, 6)
        if len(small) < len(data):
            return "zlib", small
    return "", data
