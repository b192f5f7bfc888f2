"""/events /artifacts /repositories /workers /queues: what was written down, where code comes from, who works."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.http import HttpResponse
from django.shortcuts import get_object_or_404
from rest_framework import viewsets
from rest_framework.request import Request
from rest_framework.response import Response

from ..models import Artifact, Breaker, Worker
from ..roles import Action
from ..selectors.access import artifacts_for, events_for, repositories_for
from ..selectors.operations import known_workers, queue_states
from ..selectors.results import still_kept
from . import docs, filters
from .downloads import attachment
from .permissions import READS
from .querying import refuse_unknown
from .rows import Collection, Listed
from .serializers import records as out


class Events(Listed):
    visible = events_for
    ordering = ("-id",)
    serializer_class = out.EventOut
    filterset_class = filters.EventFilter


class Artifacts(Collection):
    """An id may hold a slash, since people choose some of them: hence its own addresses in `urls`."""

    visible = artifacts_for
    acts = READS | {"content": Action.SEE}
    serializer_class = out.ArtifactOut
    filterset_class = filters.ArtifactFilter

    def get_queryset(self) -> QuerySet[Artifact]:
        return still_kept(super().get_queryset())

    def get_object(self) -> Artifact:
        """Looking is every role's, so no role is asked for."""
        wanted = self.kwargs["pk"]
        # no row has such an id, and PostgreSQL would refuse even to look for one with a NUL
        rows = self.get_queryset() if wanted.isprintable() and len(wanted) <= 200 else Artifact.objects.none()
        return get_object_or_404(rows, pk=wanted)

    @docs.download("*/*", "Its bytes, as an attachment, with their sha256 as ETag and Repr-Digest.")
    def content(self, request: Request, pk: str) -> HttpResponse:
        return attachment(request, self.get_object())


class Repositories(Collection):
    visible = repositories_for
    related = ("team",)
    serializer_class = out.RepositoryOut


class Workers(Listed):
    """Everybody sees who works; on what, only whose goal it is."""

    ordering = ("id",)
    serializer_class = out.WorkerOut

    def get_queryset(self) -> QuerySet[Worker]:
        return known_workers()


class Breakers(Listed):
    """Every dependency that ever failed: while one is not closed, what needs it waits."""

    ordering = ("name",)
    serializer_class = out.BreakerOut

    def get_queryset(self) -> QuerySet[Breaker]:
        return Breaker.objects.all()


class Queues(viewsets.ViewSet):
    acts = READS

    @docs.one_page(out.QueueOut, "What waits in each queue, and who serves it.")
    def list(self, request: Request) -> Response:
        refuse_unknown(request, ())
        rows: Any = out.QueueOut(queue_states(), many=True).data
        return Response({"next": None, "previous": None, "results": rows})
