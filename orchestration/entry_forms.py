"""What the panel's forms read from a request. They only turn text into values; the services decide what can be used."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

from django import forms
from django.conf import settings

from .budget import ALL_NAMES, COLUMNS, LARGEST
from .diversity import as_line, parse
from .fairness import HIGHEST, LOWEST, NORMAL
from .models import Goal, Repository, Team
from .policy_forms import PolicyFields, first_approval, first_review
from .pricing import usd
from .role_models import as_lines
from .role_models import parse as parse_models
from .roles import Action
from .selectors.access import goals_for, repositories_where, teams_where
from .states import Strategy

LIMITS = tuple(ALL_NAMES)
PAGE_SIZE, MOST_ON_A_PAGE = 25, 100
AGES = {"7": "7 days", "30": "30 days", "90": "90 days", "365": "a year", "": "without an end"}


class NewGoal(PolicyFields):
    """`key` makes a form that is posted twice one goal. Limits that are left empty are the installation's."""

    key = forms.CharField(max_length=64)
    earlier = forms.ModelChoiceField(Goal.objects.none(), required=False)  # its context comes along
    text = forms.CharField(required=False, strip=False)
    team = forms.ModelChoiceField(Team.objects.none(), required=False)  # where there are several
    repository = forms.ModelChoiceField(Repository.objects.none(), required=False)
    path = forms.CharField(required=False)
    ref = forms.CharField(required=False)
    checks = forms.CharField(required=False, strip=False)
    hidden_checks = forms.CharField(required=False, strip=False)
    allow_check_edits = forms.BooleanField(required=False)
    priority = forms.IntegerField(required=False, min_value=LOWEST, max_value=HIGHEST)
    rollouts = forms.IntegerField(required=False)
    strategy = forms.ChoiceField(choices=Strategy.choices, required=False)
    diversity = forms.CharField(required=False, strip=False)
    stagger = forms.IntegerField(required=False)
    role_models = forms.CharField(required=False, strip=False)

    def clean_role_models(self) -> dict[str, list[str]]:
        return typed_models(self.cleaned_data["role_models"])

    def clean_diversity(self) -> list[dict[str, Any]]:
        return typed_diversity(self.cleaned_data["diversity"])

    plan_only = forms.BooleanField(required=False)

    def __init__(self, *args: Any, user: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["team"].queryset = teams_where(user, Action.SUBMIT)  # type: ignore[attr-defined]
        self.fields["repository"].queryset = repositories_where(user, Action.SUBMIT)  # type: ignore[attr-defined]
        self.fields["earlier"].queryset = goals_for(user)  # type: ignore[attr-defined]
        for name in LIMITS:
            cap = settings.GOAL_LIMITS.get(name, LARGEST)
            self.fields[name] = forms.IntegerField(required=False, min_value=1, max_value=cap)
        self.fields["usd"] = forms.DecimalField(required=False, min_value=0, max_digits=14, decimal_places=6)

    def wish(self) -> dict[str, Any]:
        """The arguments of `submit_goal`."""
        said = self.cleaned_data
        return {
            "text": said["text"].replace("\r\n", "\n"),
            "team": said["team"],
            "context": said["earlier"].context if said["earlier"] else None,
            "repo": said["repository"] or said["path"] or None,
            "ref": said["ref"],
            "checks": _lines(said["checks"]),
            "hidden_checks": _lines(said["hidden_checks"]),
            "limits": {name: said[name] for name in LIMITS if said[name] is not None},
            "priority": NORMAL if said["priority"] is None else said["priority"],
            "rollouts": 1 if said["rollouts"] is None else said["rollouts"],
            "strategy": said["strategy"] or Strategy.EARLY_TERMINATION.value,
            "diversity": said["diversity"],
            "stagger": said["stagger"],
            "role_models": said["role_models"],
            "allow_check_edits": said["allow_check_edits"],
            "review": self.review(),
            "approval": self.approval((said["earlier"].approval if said["earlier"] else {}).get("protected", [])),
            "plan_only": said["plan_only"],
        }

    def limits(self) -> list[dict[str, Any]]:
        """The fields of the caps, with what the installation allows."""
        caps = settings.GOAL_LIMITS
        return [{"field": self[name], "name": words, "cap": caps.get(name)} for name, words in ALL_NAMES.items()]


def typed_diversity(text: str) -> list[dict[str, Any]]:
    """One line a rollout."""
    try:
        return [parse(line) for line in _lines(text)]
    except ValueError as error:
        raise forms.ValidationError(str(error)) from error


def typed_models(text: str) -> dict[str, list[str]]:
    """One line a role, or one for all."""
    try:
        return parse_models(_lines(text))
    except ValueError as error:
        raise forms.ValidationError(str(error)) from error


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def first_values(user: Any, earlier: Goal | None, repository: str = "") -> dict[str, Any]:
    """What an empty form holds: a key of its own, the only repository if there is one, or an earlier goal's wishes."""
    values: dict[str, Any] = {"key": uuid.uuid4().hex, "rollouts": 1, "strategy": Strategy.EARLY_TERMINATION.value}
    values |= first_review({}) | {"approve": "never", "on_expiry": "reject", "priority": NORMAL}
    if earlier is None:
        offered = list(repositories_where(user, Action.SUBMIT)[:2])
        return values | {"repository": repository or (offered[0].pk if len(offered) == 1 else None)}
    budget = earlier.budget
    caps = {name: getattr(budget, column) for name, column in COLUMNS.items()}
    caps["usd"] = usd(caps["usd"])
    return values | {
        "earlier": earlier.pk,
        "team": earlier.team_id,
        "text": earlier.text,
        "repository": earlier.repository_id,
        "ref": earlier.base_ref,
        "checks": "\n".join(earlier.checks),
        "hidden_checks": "\n".join(earlier.hidden_checks),
        "allow_check_edits": earlier.allow_check_edits,
        "priority": earlier.priority,
        "rollouts": earlier.rollouts_wanted,
        "strategy": earlier.strategy,
        "review_when": earlier.review_when,
        "reviewed_by": earlier.reviewed_by,
        "ask_below": earlier.ask_below or None,
        "diversity": "\n".join(map(as_line, earlier.diversity)),
        "stagger": earlier.stagger_seconds,
        "role_models": "\n".join(as_lines(earlier.role_models)),
        **first_approval(earlier.approval),
        "plan_only": earlier.plan_only,
        **{name: cap for name, cap in caps.items() if cap and cap < settings.GOAL_LIMITS.get(name, LARGEST)},
        **({"tokens": budget.max_tokens} if budget.tokens_limited else {}),
    }


class NewToken(forms.Form):
    key = forms.CharField(max_length=64)
    name = forms.CharField(required=False)
    days = forms.TypedChoiceField(
        choices=list(AGES.items()), required=False, coerce=lambda days: timedelta(days=int(days)), empty_value=None
    )

    def problem(self) -> str:
        """What is wrong with the whole of it, in a sentence."""
        said = {name: str(words[0]) for name, words in self.errors.items()}
        return "this form is too old or was changed; load the page again." if "key" in said else " ".join(said.values())


class Place(forms.Form):
    """Where in the list: how many rows, and on which side of which goal."""

    page_size = forms.IntegerField(required=False, min_value=1, max_value=MOST_ON_A_PAGE)
    older_than = forms.UUIDField(required=False)
    newer_than = forms.UUIDField(required=False)

    def where(self) -> dict[str, Any]:
        """What can be used of it."""
        said = self.cleaned_data if self.is_valid() else {**dict.fromkeys(self.fields), **self.cleaned_data}
        return {
            "size": said["page_size"] or PAGE_SIZE,
            "older_than": said["older_than"],
            "newer_than": said["newer_than"],
        }
