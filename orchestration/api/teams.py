"""/teams /members: whose things these are, who may do what with them, and who changed that."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django.urls import reverse
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from .. import services
from ..models import Team
from ..roles import Action
from ..selectors.access import members_for, team_events_for, team_for, teams_for, with_role
from ..selectors.months import month_money
from ..services.idempotency import Answer
from . import docs, filters
from .goals import name_of
from .idempotency import once
from .permissions import READS
from .rows import Collection, checked
from .serializers.teams import MemberInput, MemberOut, MonthLimit, MonthOut, RoleInput, TeamEventOut, TeamOut


class Teams(Collection):
    """Those that you are in, with your role there."""

    visible = teams_for
    acts = READS | {"events": Action.SEE_AUDIT, "month": Action.SEE, "set_month_limit": Action.MANAGE_MONEY}
    serializer_class = TeamOut
    filtered_actions = frozenset({"list", "events"})

    def get_queryset(self) -> QuerySet[Team]:
        return with_role(super().get_queryset(), self.request.user, "pk")

    @docs.pages(TeamEventOut, "Who changed its members, newest first.")
    @action(detail=True, ordering=("-id",))
    def events(self, request: Request, pk: UUID) -> Response:
        rows = team_events_for(request.user).filter(team=self.get_object())
        page = self.paginate_queryset(self.filter_queryset(rows))
        return self.get_paginated_response(TeamEventOut(page, many=True).data)

    @docs.changes(None, MonthOut, "What it may spend in this calendar month (UTC), and what is left.")
    @action(detail=True)
    def month(self, request: Request, pk: UUID) -> Response:
        return Response(month_money(self.get_object()).told())

    @docs.changes(MonthLimit, MonthOut, "Another limit: goals that are paused for it go on when there is room.")
    @month.mapping.patch  # type: ignore[untyped-decorator]
    def set_month_limit(self, request: Request, pk: UUID) -> Response:
        team = self.get_object()
        limit = checked(MonthLimit, request)["limit_usd"]
        return Response(month_money(services.set_month_limit(team, limit, by=name_of(request))).told())


class Members(Collection):
    visible = members_for
    acts = READS | dict.fromkeys(("create", "partial_update", "destroy"), Action.MANAGE_MEMBERS)
    related = ("team", "user")
    serializer_class = MemberOut
    filterset_class = filters.MemberFilter

    @docs.creates(MemberInput, MemberOut, "Take somebody into a team.")
    def create(self, request: Request) -> Response:
        asked = checked(MemberInput, request)
        team = team_for(request.user, Action.MANAGE_MEMBERS, asked.get("team", "")) or services.default_team()

        def add() -> Answer:
            made = services.add_member(team, asked["user"], asked["role"], by=name_of(request))
            return Answer(201, reverse("api:member-detail", args=[made.pk]), self.shown(made.pk))

        return once(request, add)

    @docs.changes(RoleInput, MemberOut, "Give them another role.")
    def partial_update(self, request: Request, pk: UUID) -> Response:
        member = self.get_object()
        services.change_role(member.pk, checked(RoleInput, request)["role"], by=name_of(request))
        return Response(self.shown(member.pk))

    @docs.removes("They find nothing of the team any more; what they made stays.")
    def destroy(self, request: Request, pk: UUID) -> Response:
        services.remove_member(self.get_object().pk, by=name_of(request))
        return Response(status=204)

    def shown(self, pk: UUID) -> dict[str, Any]:
        return dict(MemberOut(self.get_queryset().get(pk=pk)).data)
