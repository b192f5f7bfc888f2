"""What model calls cost: a page and the same as CSV, both by what the address says."""

from __future__ import annotations

import csv
import io
from datetime import timedelta

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from ..attachments import attachment
from ..cost_forms import CostsAsked
from ..costs import BY, DAYS, Costs, csv_lines
from ..roles import Action
from ..selectors.access import teams_where
from ..selectors.costs import MOST, costs, goals_with_costs
from .acting import needs
from .chips import complaints

MOST_LINES = 100_000  # of a CSV
PERIODS = (1, 7, DAYS, 90, 365)


@needs(Action.SEE_COSTS)
@require_safe
def cost_list(request: HttpRequest) -> HttpResponse:
    form = CostsAsked(request.GET)
    form.is_valid()
    shown = _costs(request, form, MOST)
    days = form.cleaned_data.get("days") or DAYS
    context = {
        "costs": shown,
        "by": BY,
        "days": days,
        "periods": sorted({*PERIODS, days}),
        "last": shown.period.until - timedelta(microseconds=1),
        "teams": teams_where(request.user, Action.SEE_COSTS).order_by("name"),
        "team": form.cleaned_data.get("team", ""),
        "complaints": complaints(form),
    }
    return render(request, "orchestration/cost_list.html", context)


@needs(Action.SEE_COSTS)
@require_safe
def cost_file(request: HttpRequest) -> HttpResponse:
    form = CostsAsked(request.GET)
    form.is_valid()
    found = _costs(request, form, MOST_LINES)
    text = io.StringIO()
    csv.writer(text).writerows(csv_lines(found.rows))
    name = f"costs-by-{found.by}-{found.period.since:%Y-%m-%d}-{found.period.until:%Y-%m-%d}.csv"
    return attachment(text.getvalue().encode(), name, "text/csv; charset=utf-8")


def _costs(request: HttpRequest, form: CostsAsked, most: int) -> Costs:
    by, period, team = form.chosen(timezone.now())
    goals = goals_with_costs(request.user)
    return costs(goals.filter(team__name=team) if team else goals, period, by, most)
