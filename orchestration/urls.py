"""Addresses of the panel: noun/id/verb, names like `goal-list`."""

from __future__ import annotations

from django.contrib.auth import views as auth
from django.urls import path

from .views import access, overview, probes

app_name = "orchestration"
urlpatterns = [
    path("", overview.overview, name="overview"),
    path("login/", auth.LoginView.as_view(template_name="orchestration/login.html"), name="login"),
    path("login/link/<str:uid>/<str:token>/", access.login_link, name="login-link"),
    path("login/password/", access.set_password, name="set-password"),
    path("logout/", auth.LogoutView.as_view(), name="logout"),
    path("healthz", probes.healthz, name="healthz"),
    path("readyz", probes.readyz, name="readyz"),
    path("metrics", probes.metrics, name="metrics"),
]
