"""/approvals: the plans that a person must look at. Each verb is the service that panel and shell call."""

from __future__ import annotations

from uuid import UUID

from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from .. import services
from ..roles import Action
from ..selectors.access import approvals_for
from ..services import Decision
from . import docs, filters
from .goals import name_of
from .permissions import READS
from .rows import Collection, checked
from .serializers.people import ApprovalDetail, ApprovalOut, DecisionInput, DecisionOut, PlanInput


class Approvals(Collection):
    visible = approvals_for
    acts = READS | dict.fromkeys(("approve", "reject", "edit_plan"), Action.APPROVE)
    related = ("plan", "goal")
    serializer_class = ApprovalOut
    detail_serializer = ApprovalDetail
    filterset_class = filters.ApprovalFilter

    @docs.changes(
        DecisionInput,
        DecisionOut,
        "Approve: the plan is worked on. Who comes second is answered with the first decision.",
    )
    @action(detail=True, methods=["post"])
    def approve(self, request: Request, pk: UUID) -> Response:
        asked = checked(DecisionInput, request)
        about = (self.get_object().pk, asked["plan_sha256"])
        return decided(services.approve_plan(*about, by=name_of(request), reason=asked.get("reason", "")))

    @docs.changes(DecisionInput, DecisionOut, "Reject: it is planned again, and the planner is told the reason.")
    @action(detail=True, methods=["post"])
    def reject(self, request: Request, pk: UUID) -> Response:
        asked = checked(DecisionInput, request)
        about = (self.get_object().pk, asked["plan_sha256"])
        return decided(services.reject_plan(*about, by=name_of(request), reason=asked.get("reason", "")))

    @docs.changes(PlanInput, ApprovalDetail, "Put another plan in its place: a new revision, which waits in turn.")
    @action(detail=True, methods=["post"], url_path="edit-plan", url_name="edit-plan")
    def edit_plan(self, request: Request, pk: UUID) -> Response:
        asked = checked(PlanInput, request)
        about = (self.get_object().pk, asked["plan_sha256"], asked["plan"])
        made = services.edit_plan(*about, by=name_of(request), reason=asked.get("reason", ""))
        return Response(ApprovalDetail(made).data)


def decided(decision: Decision) -> Response:
    told = {"first": decision.first, "said": decision.said}
    return Response(DecisionOut(decision.approval, context=told).data)
