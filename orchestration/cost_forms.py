"""What the costs page and the API's /costs read from their address: by what, how long, whose."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django import forms

from .costs import BY, DAYS, MOST_DAYS, Period, last_days
from .filters import MomentField


class CostsAsked(forms.Form):
    """What is left out, and what cannot be used, is the default: by model, the last 30 days, all teams that one may see."""

    by = forms.ChoiceField(choices=list(BY.items()), required=False)
    days = forms.IntegerField(min_value=1, max_value=MOST_DAYS, required=False)
    team = forms.CharField(max_length=60, required=False)

    def chosen(self, now: datetime) -> tuple[str, Period, str]:
        """(by, period, team), after `is_valid`."""
        asked = self.cleaned_data
        return asked.get("by") or "model", last_days(asked.get("days") or DAYS, now), asked.get("team") or ""


class CostsBetween(CostsAsked):
    """The API's: also from a moment on, to another."""

    since = MomentField(required=False)
    until = MomentField(required=False)

    def clean(self) -> dict[str, Any] | None:
        asked = self.cleaned_data
        if asked.get("days") and (asked.get("since") or asked.get("until")):
            self.add_error("days", "Give either the last days, or since and until.")
        if (since := asked.get("since")) and (until := asked.get("until")) and since >= until:
            self.add_error("until", "It is not after since.")
        return asked

    def chosen(self, now: datetime) -> tuple[str, Period, str]:
        by, period, team = super().chosen(now)
        asked = self.cleaned_data
        until = asked.get("until") or period.until
        since = asked.get("since") or (last_days(DAYS, until).since if asked.get("until") else period.since)
        return by, Period(since, until), team
