"""submit: what a person, a program or a task wants becomes rows and an Event in one transaction, or is refused with a sentence."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction

from agents.contracts import PlanDraft

from ..budget import Limits
from ..errors import BadInput, IllegalMove
from ..models import Budget, Check, Goal, Repository, Rollout, Step
from ..states import FINISHED_STEP, CheckPhase, PlanOrigin, RunKind, Strategy
from ..transitions import Change, locked, repeatable
from .advancing import advance
from .planning import add_plan, carry_over

CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
MOST_CHECKS = 20
DIVERSITY = (
    "",
    "Look for the simplest change that could work, and prove it.",
    "First reproduce the problem with a command, then reason from its output to the cause.",
    "Read the code around the problem before you change anything; prefer a fix at the root to one at the symptom.",
)


@dataclass(frozen=True, slots=True)
class Wish:
    """A goal before it is one: checked text and values."""

    text: str
    context: dict[str, Any] = field(default_factory=dict)
    ref: str = ""
    checks: tuple[str, ...] = ()
    limits: Limits = field(default_factory=lambda: Limits(**settings.GOAL_LIMITS))
    rollouts: int = 1
    strategy: str = Strategy.EARLY_TERMINATION
    allow_check_edits: bool = False
    origin: str = "shell"
    only: str = ""
    task_id: str | None = None


def submit_goal(
    text: str,
    *,
    context: Mapping[str, Any] | None = None,
    repo: str | os.PathLike[str] | None = None,
    ref: str = "",
    checks: Sequence[str] = (),
    limits: Mapping[str, int] | None = None,
    rollouts: int = 1,
    strategy: str = Strategy.EARLY_TERMINATION,
    allow_check_edits: bool = False,
    setup: str = "",
    toolchain: Sequence[str] = (),
    origin: str = "shell",
    by: Any = None,
    allow_repo: bool = False,
) -> Goal:
    """Make a goal and its first run; returns at once.

    `allow_repo`: the submitter named the folder on their own command line, so it need not be below REPO_ROOTS; only then may `setup`
    and `toolchain` be given. Raises BadInput with what is wrong and what to do.
    """
    wish = Wish(
        text=clean_text(text),
        context=clean_context(context),
        ref=clean_line(ref, "the ref", 250),
        checks=clean_checks(checks),
        limits=_limits(limits),
        rollouts=_count(rollouts),
        strategy=_strategy(strategy),
        allow_check_edits=bool(allow_check_edits),
        origin=origin,
    )
    if (setup or toolchain) and not (allow_repo and repo):
        raise BadInput(
            "setup commands and toolchains belong to a repository that is named by its owner: give --repo too"
        )
    place = clean_repository(repo, allow=allow_repo) if repo else None
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
    wish = Wish(clean_text(text), clean_context(context), origin="task", only=kind.value, task_id=task_id)
    place = clean_repository(repo, allow=False) if repo else None
    return _submit(wish, place, "", (), None, plan)


@repeatable
def retry_goal(goal_id: Any, *, by: str = "shell", limits: Mapping[str, int] | None = None) -> Goal:
    """A new goal for an ended one: its first plan carries the finished steps with their commits, at no cost."""
    old = Goal.objects.get(pk=goal_id)
    if not old.is_terminal:
        raise IllegalMove(f"goal {old.short_id} is {old.status}; only an ended goal can be retried (cancel it first)")
    what = ("text", "context", "repository", "base_ref", "checks", "allow_check_edits", "rollouts_wanted", "strategy")
    with transaction.atomic():
        goal = Goal.objects.create(
            **{name: getattr(old, name) for name in (*what, "submitted_by")}, retry_of=old, origin="retry"
        )
        _add_budget(goal, _limits(limits) if limits else _limits_of(old))
        with locked(goal.pk, by=by) as change:
            change.note("goal.submitted", str(goal), new=goal.status, reason=f"a retry of goal {old.short_id}")
            _add_rollouts(change.goal)
            _carry(change, old)
            advance(change)
            return change.goal


@repeatable
def _submit(
    wish: Wish, place: str | None, setup: str, toolchain: Sequence[str], by: Any, plan: PlanDraft | None = None
) -> Goal:
    with transaction.atomic():
        goal = Goal.objects.create(
            text=wish.text,
            context=wish.context,
            repository=_repository(place, setup, toolchain) if place else None,
            base_ref=wish.ref,
            checks=list(wish.checks),
            allow_check_edits=wish.allow_check_edits,
            rollouts_wanted=wish.rollouts,
            strategy=wish.strategy,
            origin=wish.origin,
            only=wish.only,
            task_id=wish.task_id,
            submitted_by=by,
        )
        _add_budget(goal, wish.limits)
        with locked(goal.pk, by=by.get_username() if by is not None else wish.origin) as change:
            change.note("goal.submitted", str(goal), new=goal.status)
            _add_rollouts(change.goal)
            if plan is not None:
                add_plan(change, change.goal.rollouts.get(), 1, plan, PlanOrigin.GIVEN)
            advance(change)
            return change.goal


def _add_budget(goal: Goal, limits: Limits) -> None:
    Budget.objects.create(
        goal=goal,
        max_calls=limits.calls,
        max_tokens=limits.tokens,
        max_commands=limits.commands,
        max_seconds=limits.seconds,
    )


def _add_rollouts(goal: Goal) -> None:
    for number in range(1, goal.rollouts_wanted + 1):
        Rollout.objects.create(goal=goal, number=number, diversity=DIVERSITY[(number - 1) % len(DIVERSITY)])


def _carry(change: Change, old: Goal) -> None:
    """Finished steps of the old goal's furthest rollout, its base and its checks there."""
    done = Step.objects.filter(plan__rollout__goal=old, status__in=FINISHED_STEP).order_by("ended_at").last()
    if done is None or not old.base_sha:
        return
    goal, source = change.goal, done.rollout
    newest = source.plans.latest("revision")
    goal.base_sha, goal.base_bundle, goal.model = old.base_sha, old.base_bundle, old.model
    goal.save(update_fields=["base_sha", "base_bundle", "model"])
    for check in Check.objects.filter(goal=old, phase=CheckPhase.BASE):
        check.pk, check.goal, check.run = None, goal, None
        check.save(force_insert=True)
    goal.rollouts.update(head=old.base_sha)
    first = goal.rollouts.get(number=1)
    Rollout.objects.filter(pk=first.pk).update(head=source.head, head_bundle=source.head_bundle)
    carry_over(change, first, list(newest.steps.order_by("index")))


def _repository(place: str, setup: str, toolchain: Sequence[str]) -> Repository:
    """The row for a folder; what the submitter says about its tools now replaces what was said before."""
    said: dict[str, Any] = {}
    if setup:
        said |= {"setup": setup, "setup_allowed": True}
    if toolchain:
        said["toolchain"] = list(toolchain)
    return Repository.objects.update_or_create(path=place, defaults=said)[0]


# ---- what people type


def clean_text(text: object) -> str:
    if not isinstance(text, str) or not text.strip():
        raise BadInput("the goal is empty: say in a sentence what is to be achieved")
    size = len(text.encode("utf-8", "surrogatepass"))
    if size > settings.GOAL_TEXT_MAX_BYTES:
        raise BadInput(
            f"the goal has {size} bytes, the limit is {settings.GOAL_TEXT_MAX_BYTES} (GOAL_TEXT_MAX_BYTES): "
            "put long material into a file of the repository and name it"
        )
    return _printable(text.strip(), "the goal")


def clean_line(text: str, what: str, longest: int) -> str:
    text = _printable(str(text or "").strip(), what)
    if len(text) > longest or "\n" in text:
        raise BadInput(f"{what} is too long or has several lines: at most {longest} characters in one line")
    return text


def clean_checks(checks: Sequence[str]) -> tuple[str, ...]:
    if isinstance(checks, str) or not all(isinstance(check, str) for check in checks):
        raise BadInput('checks are a list of commands, for example ["python3 -m unittest"]')
    if len(checks) > MOST_CHECKS:
        raise BadInput(f"{len(checks)} checks are too many, the limit is {MOST_CHECKS}: put them into one script")
    cleaned = [_printable(check.strip(), "a check") for check in checks]
    if not all(cleaned) or any(len(check) > 2000 for check in cleaned):
        raise BadInput("a check is a command of 1 to 2000 characters; its exit code 0 means passed")
    return tuple(dict.fromkeys(cleaned))


def clean_context(context: Mapping[str, Any] | None) -> dict[str, Any]:
    if context is None:
        return {}
    try:
        text = json.dumps(dict(context), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise BadInput(f"the context must be a JSON object: {error}") from error
    if len(text) > settings.GOAL_TEXT_MAX_BYTES:
        raise BadInput(f"the context has {len(text)} bytes as JSON, the limit is {settings.GOAL_TEXT_MAX_BYTES}")
    if "\\u0000" in text:
        raise BadInput("the context holds a NUL character: remove it")
    return dict(json.loads(text))


def clean_script(text: str) -> str:
    if len(text) > 10_000:
        raise BadInput("the setup commands are longer than 10000 characters: put them into a script of the repository")
    return _printable(text.strip(), "the setup")


def clean_toolchain(folders: Sequence[str]) -> tuple[str, ...]:
    for folder in folders:
        if not Path(folder).is_absolute() or not Path(folder).is_dir():
            raise BadInput(f"toolchain folder {_shown(folder)} is not an absolute path of an existing folder")
    return tuple(str(Path(folder).resolve()) for folder in folders)


def clean_repository(repo: str | os.PathLike[str], *, allow: bool) -> str:
    """The real path of a git repository that may be read: named by its owner, or below REPO_ROOTS."""
    try:
        path = Path(_printable(str(repo), "the repository's path")).expanduser().resolve()
    except (OSError, RuntimeError) as error:
        raise BadInput(f"the repository's path {_shown(repo)} cannot be followed: {error}") from error
    if not allow and not any(path.is_relative_to(root) for root in settings.REPO_ROOTS):
        raise BadInput(
            f"{_shown(path)} is not below REPO_ROOTS ({', '.join(map(str, settings.REPO_ROOTS)) or 'empty'}): "
            "add its folder there, or name it on the command line with --repo"
        )
    if not path.is_dir():
        raise BadInput(f"there is no folder {_shown(path)}")
    if not (path / ".git").exists():
        raise BadInput(
            f"{_shown(path)} is not a git repository's top folder (it has no .git): run `git init` there, or name another"
        )
    return str(path)


def _printable(text: str, what: str) -> str:
    if found := CONTROL.search(text):
        raise BadInput(f"{what} holds the control character {found.group()!r} at position {found.start()}: remove it")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise BadInput(f"{what} is not valid text (position {error.start})") from error
    return text


def _shown(value: object) -> str:
    return repr(str(value)[:200])


def _limits(given: Mapping[str, int] | None) -> Limits:
    try:
        return Limits(**settings.GOAL_LIMITS).lowered(**(given or {}))
    except (ValueError, TypeError) as error:
        raise BadInput(str(error)) from error


def _limits_of(goal: Goal) -> Limits:
    budget = Budget.objects.get(goal=goal)
    return Limits(budget.max_calls, budget.max_tokens, budget.max_commands, budget.max_seconds)


def _count(rollouts: object) -> int:
    if not isinstance(rollouts, int) or isinstance(rollouts, bool) or not 1 <= rollouts <= 16:
        raise BadInput(f"rollouts must be a number from 1 to 16, not {rollouts!r}")
    return rollouts


def _strategy(strategy: str) -> str:
    if strategy not in Strategy.values:
        raise BadInput(f"unknown strategy {_shown(strategy)}; there are {', '.join(Strategy.values)}")
    return strategy
