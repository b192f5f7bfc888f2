"""/costs: what model calls cost, by goal, model, day … and what a verified success costs."""

from __future__ import annotations

from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import viewsets
from rest_framework.request import Request
from rest_framework.response import Response

from ..cost_forms import CostsBetween
from ..costs import BY, DAYS, MOST_DAYS
from ..roles import Action
from ..selectors.access import find_team, teams_where
from ..selectors.costs import costs, goals_with_costs
from .problems import BadQuery
from .querying import refuse_unclear, refuse_unknown
from .serializers.costs import CostsOut

MOST = 1000  # results of an answer
PARAMETERS = [
    OpenApiParameter("by", {"type": "string", "enum": list(BY)}, description="Without it: by model."),
    OpenApiParameter("days", {"type": "integer", "minimum": 1, "maximum": MOST_DAYS}, description=f"({DAYS})"),
    OpenApiParameter("since", OpenApiTypes.DATETIME, description="In the place of `days`."),
    OpenApiParameter("until", OpenApiTypes.DATETIME, description="Without it: now."),
    OpenApiParameter("team", str, description="A team's name or id."),
]


class CostsView(viewsets.ViewSet):
    acts = {"list": Action.SEE_COSTS}

    @extend_schema(
        summary=f"What model calls cost: the {MOST} dearest, after what a verified success costs.",
        parameters=PARAMETERS,
        filters=False,
        responses=CostsOut,
    )
    def list(self, request: Request) -> Response:
        refuse_unknown(request, CostsBetween.base_fields)
        refuse_unclear(request, {})
        form = CostsBetween(request.query_params)
        if not form.is_valid():
            raise BadQuery({name: [str(word) for word in said] for name, said in form.errors.items()})
        by, period, team = form.chosen(timezone.now())
        goals = goals_with_costs(request.user)
        if team:
            goals = goals.filter(team=find_team(teams_where(request.user, Action.SEE_COSTS), team))
        return Response(costs(goals, period, by, MOST).told())
