"""Addresses of the panel: noun/id/verb, names like `goal-list`."""

from __future__ import annotations

from django.contrib.auth import views as auth
from django.urls import path

from .views import (
    access,
    appearance,
    files,
    goal,
    goal_actions,
    goal_list,
    new_goal,
    overview,
    probes,
    repositories,
    schedules,
    step,
    stream,
    teams,
    tokens,
    workers,
)
from .views.acting import OWN, needs

app_name = "orchestration"
urlpatterns = [
    path("", overview.overview, name="overview"),
    path("goals/", goal_list.goal_list, name="goal-list"),
    path("goals/new/", new_goal.new_goal, name="goal-new"),
    path("goals/<uuid:goal_id>/", goal.plan, name="goal-detail"),
    path("goals/<uuid:goal_id>/commands/", goal.commands, name="goal-commands"),
    path("goals/<uuid:goal_id>/changes/", goal.changes, name="goal-changes"),
    path("goals/<uuid:goal_id>/reviews/", goal.reviews, name="goal-reviews"),
    path("goals/<uuid:goal_id>/events/", goal.events, name="goal-events"),
    path("goals/<uuid:goal_id>/artifacts/", goal.artifacts, name="goal-artifacts"),
    path("goals/<uuid:goal_id>/artifacts/<str:artifact_id>", files.artifact, name="goal-artifact"),
    path("goals/<uuid:goal_id>/calls/<int:call_id>/output", files.output, name="goal-output"),
    path("goals/<uuid:goal_id>/handover/", goal.handover, name="goal-handover"),
    path("goals/<uuid:goal_id>/handover.md", files.handover, name="goal-handover-file"),
    path("goals/<uuid:goal_id>/json/", goal.as_json, name="goal-json"),
    path("goals/<uuid:goal_id>/stream/", stream.stream, name="goal-stream"),
    path("goals/<uuid:goal_id>/act/<slug:verb>/", goal_actions.act, name="goal-act"),
    path("goals/<uuid:goal_id>/steps/<int:rollout>-<int:revision>-<int:index>/", step.step, name="step-detail"),
    path("goals/<uuid:goal_id>/runs/<uuid:run_id>/", step.run, name="run-detail"),
    path("repositories/", repositories.repository_list, name="repository-list"),
    path("teams/", teams.team_list, name="team-list"),
    path("teams/<uuid:team_id>/", teams.team_detail, name="team-detail"),
    path("teams/<uuid:team_id>/add/", teams.member_add, name="member-add"),
    path("members/<uuid:member_id>/role/", teams.member_role, name="member-role"),
    path("members/<uuid:member_id>/remove/", teams.member_remove, name="member-remove"),
    path("workers/", workers.worker_list, name="worker-list"),
    path("tokens/", tokens.token_list, name="token-list"),
    path("tokens/<uuid:token_id>/revoke/", tokens.token_revoke, name="token-revoke"),
    path("theme/", appearance.choose_theme, name="theme"),
    path("login/", auth.LoginView.as_view(template_name="orchestration/login.html"), name="login"),
    path("login/link/<str:uid>/<str:token>/", access.login_link, name="login-link"),
    path("login/password/", access.set_password, name="set-password"),
    path("logout/", needs(OWN)(auth.LogoutView.as_view()), name="logout"),
    path("schedules/", schedules.schedule_list, name="schedule-list"),
    path("schedules/new/", schedules.schedule_new, name="schedule-new"),
    path("schedules/<uuid:schedule_id>/", schedules.schedule_detail, name="schedule-detail"),
    path("schedules/<uuid:schedule_id>/change/", schedules.schedule_change, name="schedule-change"),
    path("schedules/<uuid:schedule_id>/run/", schedules.schedule_run, name="schedule-run"),
    path("schedules/<uuid:schedule_id>/pause/", schedules.schedule_pause, name="schedule-pause"),
    path("schedules/<uuid:schedule_id>/resume/", schedules.schedule_resume, name="schedule-resume"),
    path("schedules/<uuid:schedule_id>/remove/", schedules.schedule_remove, name="schedule-remove"),
    path("healthz", probes.healthz, name="healthz"),
    path("readyz", probes.readyz, name="readyz"),
    path("metrics", probes.metrics, name="metrics"),
]
