"""Addresses of the panel: noun/id/verb, names like `goal-list`."""

from __future__ import annotations

from django.contrib.auth import views as auth
from django.urls import path

from .views import files, goal, goal_actions, overview, step, stream

app_name = "orchestration"
urlpatterns = [
    path("", overview.overview, name="overview"),
    path("login/", auth.LoginView.as_view(template_name="orchestration/login.html"), name="login"),
    path("logout/", auth.LogoutView.as_view(), name="logout"),
    path("goals/<uuid:goal_id>/", goal.plan, name="goal-detail"),
    path("goals/<uuid:goal_id>/commands/", goal.commands, name="goal-commands"),
    path("goals/<uuid:goal_id>/changes/", goal.changes, name="goal-changes"),
    path("goals/<uuid:goal_id>/reviews/", goal.reviews, name="goal-reviews"),
    path("goals/<uuid:goal_id>/events/", goal.events, name="goal-events"),
    path("goals/<uuid:goal_id>/artifacts/", goal.artifacts, name="goal-artifacts"),
    path("goals/<uuid:goal_id>/artifacts/<str:artifact_id>", files.artifact, name="goal-artifact"),
    path("goals/<uuid:goal_id>/calls/<int:call_id>/output", files.output, name="goal-output"),
    path("goals/<uuid:goal_id>/json/", goal.as_json, name="goal-json"),
    path("goals/<uuid:goal_id>/stream/", stream.stream, name="goal-stream"),
    path("goals/<uuid:goal_id>/act/<slug:verb>/", goal_actions.act, name="goal-act"),
    path("goals/<uuid:goal_id>/steps/<int:rollout>-<int:revision>-<int:index>/", step.step, name="step-detail"),
    path("goals/<uuid:goal_id>/runs/<uuid:run_id>/", step.run, name="run-detail"),
]
