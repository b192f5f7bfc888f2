"""A new goal: a form, the service, and the goal's page."""

from __future__ import annotations

from uuid import UUID

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods

from ..entry_forms import NewGoal, first_values
from ..errors import BadInput
from ..models import Goal
from ..roles import Action
from ..selectors.access import goals_for
from ..services.once import submit_once
from .acting import needs


@needs(Action.SUBMIT)
@require_http_methods(["GET", "HEAD", "POST"])
def new_goal(request: HttpRequest) -> HttpResponse:
    """What was typed stays in the form when it cannot be used."""
    if request.method != "POST":
        form = NewGoal(
            initial=first_values(request.user, _earlier(request), request.GET.get("repository", "")), user=request.user
        )
        return _page(request, form)
    form, problem = NewGoal(request.POST, user=request.user), ""
    if form.is_valid():
        try:
            goal = submit_once(
                form.cleaned_data["key"], form.cleaned_data, by=request.user, origin="panel", **form.wish()
            )
            return redirect("orchestration:goal-detail", goal.pk)
        except BadInput as error:
            problem = str(error)
    return _page(request, form, problem, status=422)


def _page(request: HttpRequest, form: NewGoal, problem: str = "", status: int = 200) -> HttpResponse:
    context = {"form": form, "limits": form.limits(), "roots": settings.REPO_ROOTS, "problem": problem}
    return render(request, "orchestration/goal_new.html", context, status=status)


def _earlier(request: HttpRequest) -> Goal | None:
    """The goal that `?from=` names; one that this user may not see is not found."""
    named = request.GET.get("from", "")
    if not named:
        return None
    try:
        key = UUID(named)
    except ValueError:
        raise Http404 from None
    return get_object_or_404(goals_for(request.user).select_related("budget", "repository"), pk=key)
