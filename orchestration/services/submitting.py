"""submit: what a person, a program or a task wants becomes rows and an Event in one transaction, or is refused with a sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction

from agents.contracts import PlanDraft

from .. import fairness
from ..budget import Limits
from ..diversity import Variation, cleaned, spread
from ..errors import BadInput
from ..models import Budget, Goal, Rollout, Team
from ..policies import policy_of
from ..roles import Action
from ..states import PlanOrigin, ReviewedBy, ReviewWhen, RunKind, Strategy
from ..transitions import locked, repeatable
from .admission import line_up
from .advancing import advance
from .cleaning import clean_checks, clean_context, clean_hidden, clean_line, clean_text, shown
from .modelling import Given, models_for
from .planning import add_plan
from .prices import refuse_unknown_price
from .repositories import Named, clean_script, clean_toolchain, find_place, name_repository
from .teams import default_team, team_to

LONGEST_STAGGER = 86_400


# The columns that say what a goal asks for: whatever is made of an ended goal asks for the same.
WISHES = (
    *("team_id", "priority", "repository", "checks", "hidden_checks", "allow_check_edits"),
    *("review_when", "reviewed_by", "ask_below", "approval"),
    *("rollouts_wanted", "strategy", "diversity", "stagger_seconds", "role_models"),
)


@dataclass(frozen=True, slots=True)
class ReviewPolicy:
    """The columns of a goal that say how it is judged."""

    review_when: str = ReviewWhen.FINAL
    reviewed_by: str = ReviewedBy.LLM
    ask_below: float = 0.0


@dataclass(frozen=True, slots=True)
class Wish:
    """A goal before it is one: checked text and values."""

    team: Team
    text: str
    context: dict[str, Any] = field(default_factory=dict)
    ref: str = ""
    checks: tuple[str, ...] = ()
    hidden_checks: tuple[str, ...] = ()
    limits: Limits = field(default_factory=lambda: Limits(**settings.GOAL_LIMITS))
    priority: int = fairness.NORMAL
    rollouts: int = 1
    strategy: str = Strategy.EARLY_TERMINATION
    diversity: tuple[Variation, ...] = ()
    stagger: int | None = None
    role_models: dict[str, list[str]] = field(default_factory=dict)
    allow_check_edits: bool = False
    review: ReviewPolicy = ReviewPolicy()
    origin: str = "shell"
    approval: dict[str, Any] = field(default_factory=dict)
    plan_only: bool = False
    only: str = ""
    task_id: str | None = None


def submit_goal(
    text: str,
    *,
    context: Mapping[str, Any] | None = None,
    repo: Named | None = None,
    ref: str = "",
    checks: Sequence[str] = (),
    hidden_checks: Sequence[str] = (),
    limits: Mapping[str, Any] | None = None,
    priority: int = fairness.NORMAL,
    rollouts: int = 1,
    strategy: str = Strategy.EARLY_TERMINATION,
    diversity: Sequence[Mapping[str, Any]] = (),
    stagger: int | None = None,
    role_models: Given = None,
    allow_check_edits: bool = False,
    review: Mapping[str, Any] | None = None,
    approval: Mapping[str, Any] | None = None,
    plan_only: bool = False,
    setup: str = "",
    toolchain: Sequence[str] = (),
    origin: str = "shell",
    by: Any = None,
    team: Team | str | None = None,
    allow_repo: bool = False,
) -> Goal:
    """Make a goal and its first run; returns at once.

    `approval`: when a person must approve its plans (`policies.ApprovalPolicy`); `plan_only`: it stops after its plan.
    `checks`: commands that prove it; `hidden_checks` are told to the reviewer alone.
    `review`: when (`review_when`), by whom (`reviewed_by`) and below which confidence a person is asked (`ask_below`, 0 to 1).
    `diversity`: how the rollouts differ, one after the other: hint, temperature, model. `stagger`: each starts so many seconds after
    the one before, or once that has ended without a verified success.
    `role_models`: who thinks for it, by role (`role_models`): a mapping, or lines as they are typed; else as its team does.
    `limits`: lower ones of calls, tokens, commands and seconds; of steps (attempts at them) and `usd`, if there are to be any.
    `priority`: 0 to 10, higher ones are worked on first.
    `team`: whose it is (a row, a name or an id); by default the submitter's only one, else the repository's.
    `repo`: a registered repository (its row, id or path), or a folder below REPO_ROOTS. `allow_repo`: the submitter named it on their
    own command line, so it may be any folder; only then may `setup` and `toolchain` be given. Raises BadInput with what is wrong
    and what to do, NotAllowed where the submitter's role does not allow it.
    """
    whose = team_to(team, by, Action.SUBMIT, repo)
    wish = Wish(
        team=whose,
        text=clean_text(text),
        context=clean_context(context),
        ref=clean_line(ref, "the ref", 250),
        checks=clean_checks(checks),
        hidden_checks=clean_hidden(hidden_checks, beside=checks),
        limits=limits_within(limits),
        priority=check_priority(priority),
        rollouts=check_rollouts(rollouts),
        strategy=check_strategy(strategy),
        diversity=tuple(check_diversity(diversity, rollouts)),
        stagger=check_stagger(stagger, rollouts),
        role_models=models_for(whose, role_models),
        allow_check_edits=bool(allow_check_edits),
        review=check_review(review),
        approval=check_approval(approval),
        plan_only=bool(plan_only),
        origin=origin,
    )
    refuse_unknown_price(wish.limits, wish.team, [own.model for own in wish.diversity], wish.role_models)
    if (setup or toolchain) and not (allow_repo and repo):
        raise BadInput(
            "setup commands and toolchains belong to a repository that is named by its owner: give --repo too"
        )
    place = None if repo is None else find_place(repo, wish.team, allow=allow_repo)
    return _submit(wish, place, clean_script(setup), clean_toolchain(toolchain), by)


def submit_piece(
    kind: RunKind,
    text: str,
    *,
    task_id: str,
    context: Mapping[str, Any] | None = None,
    repo: str | None = None,
    plan: PlanDraft | None = None,
) -> Goal:
    """One plan, one step (`plan` holds it) or one review, called by hand as a task; the same message twice is the same goal."""
    if known := Goal.objects.filter(task_id=task_id).first():
        return known
    team = default_team()  # a message names none
    wish = Wish(
        team,
        clean_text(text),
        clean_context(context),
        role_models=models_for(team, None),
        origin="task",
        only=kind.value,
        task_id=task_id,
    )
    place = find_place(repo, team, allow=False) if repo else None
    try:
        return _submit(wish, place, "", (), None, plan)
    except IntegrityError:  # its double was faster
        return Goal.objects.get(task_id=task_id)


@repeatable
def _submit(
    wish: Wish, place: str | None, setup: str, toolchain: Sequence[str], by: Any, plan: PlanDraft | None = None
) -> Goal:
    with transaction.atomic():
        goal = Goal.objects.create(
            team=wish.team,
            text=wish.text,
            context=wish.context,
            repository=name_repository(wish.team, place, setup, toolchain) if place else None,
            base_ref=wish.ref,
            checks=list(wish.checks),
            hidden_checks=list(wish.hidden_checks),
            allow_check_edits=wish.allow_check_edits,
            **asdict(wish.review),
            priority=wish.priority,
            rollouts_wanted=wish.rollouts,
            strategy=wish.strategy,
            diversity=[variation.told() for variation in wish.diversity],
            stagger_seconds=wish.stagger,
            role_models=wish.role_models,
            approval=wish.approval,
            plan_only=wish.plan_only,
            origin=wish.origin,
            only=wish.only,
            task_id=wish.task_id,
            submitted_by=by,
        )
        add_budget(goal, wish.limits)
        with locked(goal.pk, by=by.get_username() if by is not None else wish.origin, savepoint=False) as change:
            change.note("goal.submitted", str(goal), new=goal.status)
            add_rollouts(change.goal)
            if plan is not None:
                add_plan(change, change.goal.rollouts.get(), 1, plan, PlanOrigin.GIVEN)
            line_up(change, wish.team)
            advance(change)
            return change.goal


def add_budget(goal: Goal, limits: Limits) -> None:
    Budget.objects.create(
        goal=goal,
        max_steps=limits.steps,
        max_micro_usd=limits.micro_usd,
        tokens_limited=limits.tokens_limited,
        max_calls=limits.calls,
        max_tokens=limits.tokens,
        max_commands=limits.commands,
        max_seconds=limits.seconds,
        allotted_micro_usd=None if goal.team.month_max_micro_usd is None else 0,
    )


def add_rollouts(goal: Goal) -> None:
    declared = check_diversity(goal.diversity, goal.rollouts_wanted)
    for number, own in enumerate(spread(declared, goal.rollouts_wanted), 1):
        differs = {"hint": own.hint, "diversity": own.words, "temperature": own.temperature, "model": own.model}
        Rollout.objects.create(goal=goal, number=number, **differs)


# ---- limits and choices


def check_limits(given: Mapping[str, Any] | None) -> dict[str, Any]:
    """Limits that somebody gave, once they are known to be possible; an amount in USD as a text."""
    limits_within(given)
    return {name: str(value) if name == "usd" else value for name, value in (given or {}).items()}


def limits_within(given: Mapping[str, Any] | None) -> Limits:
    try:
        return Limits(**settings.GOAL_LIMITS).lowered(**(given or {}))
    except (ValueError, TypeError) as error:
        raise BadInput(str(error)) from error


def limits_of(goal: Goal) -> Limits:
    budget = Budget.objects.get(goal=goal)
    counted = (budget.max_calls, budget.max_tokens, budget.max_commands, budget.max_seconds, budget.max_steps)
    return Limits(*counted, budget.max_micro_usd, budget.tokens_limited)


def check_approval(given: Mapping[str, Any] | None) -> dict[str, Any]:
    """An approval policy that somebody gave, as it is stored."""
    try:
        return policy_of(given).stored()
    except (ValueError, TypeError) as error:
        raise BadInput(str(error)) from error


def check_priority(priority: object) -> int:
    try:
        return fairness.priority_of(priority)
    except ValueError as error:
        raise BadInput(str(error)) from error


def check_rollouts(rollouts: object) -> int:
    if not isinstance(rollouts, int) or isinstance(rollouts, bool) or not 1 <= rollouts <= 16:
        raise BadInput(f"rollouts must be a number from 1 to 16, not {rollouts!r}")
    return rollouts


def check_diversity(declared: Sequence[Mapping[str, Any]], rollouts: int) -> list[Variation]:
    try:
        return cleaned(declared, rollouts)
    except ValueError as error:
        raise BadInput(str(error)) from error


def check_stagger(seconds: object, rollouts: int) -> int | None:
    if seconds is None:
        return None
    if not isinstance(seconds, int) or isinstance(seconds, bool) or not 1 <= seconds <= LONGEST_STAGGER:
        raise BadInput(f"rollouts are staggered by 1 to {LONGEST_STAGGER} seconds, not {seconds!r}")
    if rollouts == 1:
        raise BadInput("there is one rollout, so nothing can be staggered: ask for several")
    return seconds


def check_strategy(strategy: object) -> str:
    if strategy not in Strategy.values:
        raise BadInput(f"unknown strategy {shown(strategy)}; there are {', '.join(Strategy.values)}")
    return str(strategy)


def check_review(given: Mapping[str, Any] | None) -> ReviewPolicy:
    """Raises BadInput for what no policy knows; what is not given is as by default."""
    said = {name: value for name, value in (given or {}).items() if value not in (None, "")}
    choices = {"review_when": ReviewWhen.values, "reviewed_by": ReviewedBy.values}
    if unknown := sorted(set(said) - {*choices, "ask_below"}):
        raise BadInput(f"unknown review policy {shown(unknown[0])}; there are {', '.join([*choices, 'ask_below'])}")
    for name, values in choices.items():
        if name in said and said[name] not in values:
            raise BadInput(f"unknown {name} {shown(said[name])}; there are {', '.join(values)}")
    below = said.get("ask_below", 0.0)
    if isinstance(below, bool) or not isinstance(below, int | float) or not 0 <= below <= 1:
        raise BadInput(f"ask_below must be a number from 0 to 1, not {shown(below)}")
    return ReviewPolicy(**said)
