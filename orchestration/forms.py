"""Forms of the panel: what people type is checked here for its shape; what it means is checked by the services."""

from __future__ import annotations

from typing import Any

from django import forms

from .budget import ALL_NAMES

LARGEST_LIMIT = 2**31 - 1
NEEDS_REASON = frozenset({"cancel", "pause", "force", "pick"})
KEYED = frozenset({"retry", "follow-up"})
LIMITS = tuple(ALL_NAMES)


class ActForm(forms.Form):
    """Cancel, pause, resume or retry. `limits`: the new totals where a person raises them; `key`: one form is one retry."""

    key = forms.CharField(max_length=64, required=False)
    reason = forms.CharField(max_length=500, required=False, strip=True)
    calls = forms.IntegerField(required=False, min_value=1, max_value=LARGEST_LIMIT)
    tokens = forms.IntegerField(required=False, min_value=1, max_value=LARGEST_LIMIT)
    commands = forms.IntegerField(required=False, min_value=1, max_value=LARGEST_LIMIT)
    seconds = forms.IntegerField(required=False, min_value=1, max_value=LARGEST_LIMIT)
    steps = forms.IntegerField(required=False, min_value=1, max_value=LARGEST_LIMIT)
    usd = forms.DecimalField(required=False, min_value=0, max_digits=14, decimal_places=6)

    text = forms.CharField(required=False, strip=False)
    to = forms.ChoiceField(choices=[(role, role) for role in ("executor", "planner", "reviewer")], required=False)
    step = forms.IntegerField(required=False, min_value=0, max_value=32767)
    action = forms.CharField(required=False, max_length=24)
    finish_running = forms.BooleanField(required=False)
    from_step = forms.IntegerField(required=False, min_value=0, max_value=32767)
    priority = forms.IntegerField(required=False, min_value=0, max_value=10)
    rollout = forms.IntegerField(required=False, min_value=1, max_value=16)

    def __init__(self, *args: Any, verb: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.verb = verb

    def clean_key(self) -> str:
        if self.verb in KEYED and not self.cleaned_data["key"]:
            raise forms.ValidationError("this form is too old or was changed; load the page again")
        return str(self.cleaned_data["key"])

    def clean_reason(self) -> str:
        reason = " ".join(str(self.cleaned_data["reason"]).split())
        if self.verb in NEEDS_REASON and not reason:
            raise forms.ValidationError(f"say in a few words why you {self.verb} it")
        return reason

    def limits(self) -> dict[str, Any]:
        return {name: self.cleaned_data[name] for name in LIMITS if self.cleaned_data.get(name) is not None}

    def first_error(self) -> str:
        name, errors = next(iter(self.errors.items()))
        said = str(errors[0]).rstrip(".")
        return said if name in ("reason", "key") else f"{name}: {said}"
