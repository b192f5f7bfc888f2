"""/providers: the model servers that goals may use. A team's are changed here, the installation's where it runs."""

from __future__ import annotations

from uuid import UUID

from django.urls import reverse
from rest_framework.request import Request
from rest_framework.response import Response

from .. import services
from ..roles import Action
from ..selectors.access import providers_for, team_for
from ..services.idempotency import Answer
from . import docs
from .goals import name_of
from .idempotency import once
from .permissions import READS
from .rows import Collection, checked
from .serializers.providers import ProviderChange, ProviderInput, ProviderOut


class Providers(Collection):
    visible = providers_for
    acts = READS | dict.fromkeys(("create", "partial_update", "destroy"), Action.MANAGE_PROVIDERS)
    related = ("team",)
    serializer_class = ProviderOut

    @docs.creates(ProviderInput, ProviderOut, "Add a model server for a team.")
    def create(self, request: Request) -> Response:
        asked = checked(ProviderInput, request)
        team = team_for(request.user, Action.MANAGE_PROVIDERS, asked.pop("team", "")) or services.default_team()

        def add() -> Answer:
            made = services.add_provider(asked.pop("name"), team=team, by=name_of(request), **asked)
            return Answer(201, reverse("api:provider-detail", args=[made.pk]), dict(ProviderOut(made).data))

        return once(request, add)

    @docs.changes(ProviderChange, ProviderOut, "Change a team's; what is not said stays.")
    def partial_update(self, request: Request, pk: UUID) -> Response:
        row = self.get_object()
        changed = services.change_provider(row.pk, by=name_of(request), **checked(ProviderChange, request))
        return Response(ProviderOut(changed).data)

    @docs.removes("Goals that still name it end with a sentence that says so.")
    def destroy(self, request: Request, pk: UUID) -> Response:
        services.remove_provider(self.get_object().pk, by=name_of(request))
        return Response(status=204)
