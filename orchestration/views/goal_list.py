"""The list of goals: the address is the state, with the API's names for the filters."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from ..entry_forms import Place
from ..filters import GoalFilter
from ..roles import Action
from ..selectors.access import goals_for, repositories_for, teams_for
from ..selectors.board import goal_page, shown_counts
from ..selectors.operations import unserved_queues
from .acting import needs
from .asking import page_or_fragment
from .chips import chips, complaints, edge, filters_in, without_status


@needs(Action.SEE)
@require_safe
def goal_list(request: HttpRequest) -> HttpResponse:
    goals, query = goals_for(request.user), request.GET
    chosen, place = GoalFilter(query, queryset=goals), Place(query)
    every_status = GoalFilter(without_status(query), queryset=goals)
    unserved = [state.queue for state in unserved_queues()]
    page = goal_page(goals, chosen.qs, unserved=unserved, **place.where())
    context = {
        "page": page,
        "older": edge(query, older_than=page.older_than),
        "newer": edge(query, newer_than=page.newer_than),
        "chips": chips(query, shown_counts(every_status.qs)),
        "filters": filters_in(query),
        "complaints": complaints(chosen.form, place),
        "repositories": repositories_for(request.user).order_by("path"),
        "teams": teams_for(request.user),
        "asked": query,
        "chosen_status": query.getlist("status"),
    }
    return page_or_fragment(request, "orchestration/goal_list.html", "orchestration/_goal_list.html", context)
