"""Addresses below /api/: version 1, its documentation, and a problem for everything that is not there."""

from __future__ import annotations

from typing import Any

from csp.decorators import csp_update
from django.contrib.auth.decorators import login_required
from django.urls import include, path, re_path
from django.views.generic import RedirectView
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView
from rest_framework.exceptions import NotFound
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.routers import SimpleRouter
from rest_framework.views import APIView

from . import approvals, costs, goals, prices, providers, questions, records, schedules, schema, teams, work

app_name = "api"


class Nowhere(APIView):
    """Any method, with and without a token."""

    permission_classes = (AllowAny,)
    schema = None

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        raise NotFound(
            f"there is nothing at {request.path[:200]}; addresses have no slash at their end, see /api/docs/"
        )


router = SimpleRouter(trailing_slash=False, use_regex_path=False)
router.register("goals", goals.Goals, "goal")
router.register("rollouts", work.Rollouts, "rollout")
router.register("plans", work.Plans, "plan")
router.register("steps", work.Steps, "step")
router.register("runs", work.Runs, "run")
router.register("calls", work.Calls, "call")
router.register("approvals", approvals.Approvals, "approval")
router.register("questions", questions.Questions, "question")
router.register("reviews", work.Reviews, "review")
router.register("events", records.Events, "event")
router.register("repositories", records.Repositories, "repository")
router.register("providers", providers.Providers, "provider")
router.register("schedules", schedules.Schedules, "schedule")
router.register("prices", prices.Prices, "price")
router.register("costs", costs.CostsView, "cost")
router.register("teams", teams.Teams, "team")
router.register("members", teams.Members, "member")
router.register("workers", records.Workers, "worker")
router.register("breakers", records.Breakers, "breaker")
router.register("queues", records.Queues, "queue")

artifacts = [
    path("artifacts", records.Artifacts.as_view({"get": "list"}), name="artifact-list"),
    path(
        "artifacts/<path:pk>/content",
        records.Artifacts.as_view({"get": "content"}, detail=True),
        name="artifact-content",
    ),
    path("artifacts/<path:pk>", records.Artifacts.as_view({"get": "retrieve"}, detail=True), name="artifact-detail"),
]
# Swagger UI writes style attributes; scripts stay as strict as everywhere.
swagger = csp_update({"style-src": ["'unsafe-inline'"]})(SpectacularSwaggerSplitView.as_view(url_name="api:schema"))

urlpatterns = [
    path("v1/", include([*router.urls, *artifacts])),
    path("v1/openapi.yaml", SpectacularAPIView.as_view(), name="schema"),
    path("docs/", login_required(swagger), name="docs"),
    path("docs", RedirectView.as_view(pattern_name="api:docs")),
    re_path("", Nowhere.as_view()),
]
__all__ = ["schema", "urlpatterns"]  # `schema` registers how tokens are documented
