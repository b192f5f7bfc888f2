"""Addresses of the panel: noun/id/verb, names like `goal-list`."""

from __future__ import annotations

from django.contrib.auth import views as auth
from django.urls import path

from .views import access, overview, probes, schedules

app_name = "orchestration"
urlpatterns = [
    path("", overview.overview, name="overview"),
    path("login/", auth.LoginView.as_view(template_name="orchestration/login.html"), name="login"),
    path("login/link/<str:uid>/<str:token>/", access.login_link, name="login-link"),
    path("login/password/", access.set_password, name="set-password"),
    path("logout/", auth.LogoutView.as_view(), name="logout"),
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
