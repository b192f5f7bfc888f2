"""The form of a schedule: what a person types, in the words of the service, which alone says what is wrong with it."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from django import forms
from django.db.models import Q, QuerySet
from django.http import HttpRequest

from ..budget import ALL_NAMES
from ..diversity import as_line
from ..entry_forms import typed_diversity, typed_models
from ..fairness import HIGHEST, LOWEST, NORMAL
from ..models import RecurringGoal, Repository, Team
from ..policy_forms import PolicyFields, first_approval, first_review
from ..rendering.text import one_line
from ..role_models import as_lines
from ..roles import Action
from ..selectors.access import repositories_where, teams_where
from ..states import MissedPolicy, OverlapPolicy, Strategy

FIRST = ("name", "cron", "zone", "text", "team", "repository", "base_ref", "checks")
LIMIT_WORDS = {f"max_{name}": name for name in ALL_NAMES}


class RepositoryField(forms.ModelChoiceField):  # type: ignore[type-arg]
    """A folder's name may hold anything. `names_teams`: where there are several."""

    names_teams = False

    def label_from_instance(self, obj: Repository) -> str:
        return f"{one_line(obj)} ({obj.team})" if self.names_teams else one_line(obj)


class ScheduleForm(PolicyFields):
    key = forms.UUIDField(widget=forms.HiddenInput, initial=uuid4, required=False)
    name = forms.CharField(label="Name", max_length=120)
    cron = forms.CharField(label="Cron", max_length=120, help_text="minute hour day-of-month month day-of-week")
    zone = forms.CharField(
        label="Time zone", max_length=60, initial="UTC", help_text="IANA name, for example Europe/Berlin"
    )
    text = forms.CharField(label="Goal", widget=forms.Textarea, strip=False)
    team = forms.ModelChoiceField(Team.objects.none(), required=False, label="Team", empty_label="the repository's")
    repository = RepositoryField(queryset=None, required=False, label="Repository", empty_label="none: start empty")
    base_ref = forms.CharField(label="Start from", max_length=250, required=False, help_text="branch, tag or commit")
    checks = forms.CharField(
        label="Checks",
        widget=forms.Textarea,
        required=False,
        help_text="one command a line; exit code 0 proves the goal",
    )
    overlap = forms.ChoiceField(label="While an earlier goal is open", choices=OverlapPolicy.choices)
    missed = forms.ChoiceField(label="Times missed while nothing ran", choices=MissedPolicy.choices)
    priority = forms.IntegerField(
        label="Priority",
        min_value=LOWEST,
        max_value=HIGHEST,
        initial=NORMAL,
        required=False,
        help_text="0 to 10: higher ones are worked on first",
    )
    rollouts_wanted = forms.IntegerField(label="Rollouts", min_value=1, max_value=16, initial=1)
    strategy = forms.ChoiceField(label="Winner", choices=Strategy.choices, required=False)
    diversity = forms.CharField(
        label="How rollouts differ",
        widget=forms.Textarea,
        required=False,
        help_text="one line a rollout: hint=direct temperature=0.3 model=M (hints: direct, thorough, creative)",
    )
    role_models = forms.CharField(
        label="Models",
        widget=forms.Textarea,
        required=False,
        help_text="one line a role: reviewer=provider/model, fallbacks after commas; without a role: for all",
    )
    stagger_seconds = forms.IntegerField(label="Seconds between their starts", min_value=1, required=False)
    allow_check_edits = forms.BooleanField(label="Check files may be changed by the work", required=False)
    max_calls = forms.IntegerField(label="Most model calls a goal", min_value=1, required=False)
    max_tokens = forms.IntegerField(label="Most tokens a goal", min_value=1, required=False)
    max_commands = forms.IntegerField(label="Most commands a goal", min_value=1, required=False)
    max_seconds = forms.IntegerField(label="Most seconds a goal", min_value=1, required=False)
    max_steps = forms.IntegerField(label="Most attempts at steps a goal", min_value=1, required=False)
    max_usd = forms.DecimalField(label="Most USD a goal", max_digits=14, decimal_places=6, min_value=0, required=False)

    def __init__(self, request: HttpRequest, schedule: RecurringGoal | None = None) -> None:
        super().__init__(request.POST or None, initial=_initial(schedule) if schedule else first_review({}))
        self.protected = schedule.approval.get("protected", []) if schedule else []
        field = self.fields["repository"]
        assert isinstance(field, RepositoryField)
        self._choose_team(teams_where(request.user, Action.MANAGE_SCHEDULES), schedule)
        offered = Q(pk__in=repositories_where(request.user, Action.MANAGE_SCHEDULES).order_by().values("pk"))
        if schedule:
            # its own stays with it, even if no new one may start from there: Save must not take it away
            offered = offered & Q(team=schedule.team_id) | Q(pk=schedule.repository_id)
        field.queryset = Repository.objects.filter(offered).select_related("team").order_by("team__name", "path")
        field.names_teams = "team" in self.fields
        for shown in self.fields.values():
            if not isinstance(shown.widget, forms.CheckboxInput):
                shown.widget.attrs["class"] = "input"

    def _choose_team(self, teams: QuerySet[Team], schedule: RecurringGoal | None) -> None:
        """Only where there are several; and a schedule stays in its own."""
        field = self.fields["team"]
        assert isinstance(field, forms.ModelChoiceField)
        field.queryset = teams
        if schedule or teams.count() < 2:
            del self.fields["team"]

    def clean_diversity(self) -> list[dict[str, Any]]:
        return typed_diversity(self.cleaned_data["diversity"])

    def clean_role_models(self) -> dict[str, list[str]]:
        return typed_models(self.cleaned_data["role_models"])

    def first(self) -> list[forms.BoundField]:
        """What everybody fills in."""
        return [field for field in self if field.name in FIRST]

    def more(self) -> list[forms.BoundField]:
        """What has a good default; folded, unless something in it is wrong. Who looks at it comes last."""
        fields = [field for field in self if field.name not in FIRST and not field.is_hidden]
        return sorted(fields, key=lambda field: field.name in PolicyFields.base_fields)

    def more_has_errors(self) -> bool:
        return any(field.errors for field in self.more())

    def wanted(self) -> dict[str, Any]:
        """The columns, in the words of `services.add_schedule`."""
        other = {"key", *PolicyFields.base_fields}
        told = {name: value for name, value in self.cleaned_data.items() if name not in other}
        repository = told.pop("repository")
        limits = {limit: told.pop(word) for word, limit in LIMIT_WORDS.items()}
        told["limits"] = {name: value for name, value in limits.items() if value}
        told["checks"] = [line.strip() for line in told["checks"].splitlines() if line.strip()]
        told["strategy"] = told["strategy"] or Strategy.EARLY_TERMINATION.value
        told["priority"] = NORMAL if told["priority"] is None else told["priority"]
        told |= {"review": self.review(), "approval": self.approval(self.protected)}
        return {**told, "repo": repository or ""}


def _initial(schedule: RecurringGoal) -> dict[str, Any]:
    same = [name for name in ScheduleForm.base_fields if hasattr(schedule, name)]
    limits = {word: schedule.limits.get(limit) for word, limit in LIMIT_WORDS.items()}
    return {name: getattr(schedule, name) for name in same} | {
        "checks": "\n".join(schedule.checks),
        "diversity": "\n".join(map(as_line, schedule.diversity)),
        "role_models": "\n".join(as_lines(schedule.role_models)),
        **first_review(schedule.review),
        **first_approval(schedule.approval),
        **limits,
    }
