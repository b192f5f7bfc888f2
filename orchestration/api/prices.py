"""/prices: what models cost, where the public prices do not know it."""

from __future__ import annotations

from django.urls import reverse
from rest_framework.request import Request
from rest_framework.response import Response

from .. import services
from ..roles import Action
from ..selectors.access import prices_for, team_for
from ..services.idempotency import Answer
from . import docs
from .goals import name_of
from .idempotency import once
from .permissions import READS
from .rows import Collection, checked
from .serializers.prices import PriceInput, PriceOut


class Prices(Collection):
    """Your teams' own, and those of the installation (no team: `manage.py price set`). A row is never changed: set a new one."""

    visible = prices_for
    acts = READS | {"create": Action.MANAGE_MONEY}
    related = ("team",)
    serializer_class = PriceOut
    lookup_value_converter = "int"

    @docs.creates(PriceInput, PriceOut, "A price that counts from now on, or from `effective_from`, for one team.")
    def create(self, request: Request) -> Response:
        asked = checked(PriceInput, request)
        team = team_for(request.user, Action.MANAGE_MONEY, asked.pop("team", "")) or services.default_team()

        def add() -> Answer:
            made = services.set_price(**asked, team=team, by=name_of(request))
            return Answer(201, reverse("api:price-detail", args=[made.pk]), dict(PriceOut(made).data))

        return once(request, add)
