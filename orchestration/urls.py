"""Addresses of the panel: noun/id/verb, names like `goal-list`."""

from __future__ import annotations

from django.contrib.auth import views as auth
from django.urls import path

from .views import overview

app_name = "orchestration"
urlpatterns = [
    path("", overview.overview, name="overview"),
    path("login/", auth.LoginView.as_view(template_name="orchestration/login.html"), name="login"),
    path("logout/", auth.LogoutView.as_view(), name="logout"),
]
