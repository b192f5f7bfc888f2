"""Addresses of the panel: noun/id/verb, names like `goal-list`."""

from __future__ import annotations

from django.contrib.auth import views as auth
from django.urls import path

from .views import appearance, goal_list, new_goal, overview, repositories, tokens, workers

app_name = "orchestration"
urlpatterns = [
    path("", overview.overview, name="overview"),
    path("goals/", goal_list.goal_list, name="goal-list"),
    path("goals/new/", new_goal.new_goal, name="goal-new"),
    path("goals/<uuid:goal_id>/", goal_list.goal_list, name="goal-detail"),  # panel-b's page takes this place
    path("repositories/", repositories.repository_list, name="repository-list"),
    path("workers/", workers.worker_list, name="worker-list"),
    path("tokens/", tokens.token_list, name="token-list"),
    path("tokens/<uuid:token_id>/revoke/", tokens.token_revoke, name="token-revoke"),
    path("theme/", appearance.choose_theme, name="theme"),
    path("login/", auth.LoginView.as_view(template_name="orchestration/login.html"), name="login"),
    path("logout/", auth.LogoutView.as_view(), name="logout"),
]
