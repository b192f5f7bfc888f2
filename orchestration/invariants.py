"""PURE: what must hold of a goal's rows at any time, whoever was killed meanwhile. A history goes in, violations come out.

`selectors.histories` reads the histories, `manage.py audit_invariants` asks about every goal of a database, and the suites that
kill workers ask after each of their runs. Each rule is a promise of docs/reliability.md in the words of the rows.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from .states import (
    FINISHED_STEP,
    LIVE_RUN,
    TERMINAL_GOAL,
    TERMINAL_ROLLOUT,
    TERMINAL_RUN,
    TERMINAL_STEP,
    CallKind,
    CallStatus,
    GoalStatus,
    RolloutStatus,
    RunStatus,
    StepStatus,
    terminal,
)

PATIENCE = timedelta(seconds=120)  # a goal that nobody works on and that waits for nobody is neglected after it
WAITS_FOR_A_PERSON = frozenset({GoalStatus.DRAFT, GoalStatus.PAUSED, GoalStatus.AWAITING_APPROVAL})


@dataclass(frozen=True, slots=True)
class EventFacts:
    """`about`: the id of the row whose status changed; empty for events that are no such change. `fence`: of a run, after it."""

    seq: int
    noun: str = ""
    about: str = ""
    old: str = ""
    new: str = ""
    fence: int = 0


@dataclass(frozen=True, slots=True)
class GoalFacts:
    status: str
    event_seq: int
    age: timedelta = timedelta(0)  # since its last event
    base_sha: str = ""
    selected: Any = None
    cancelled_at: datetime | None = None
    is_retry: bool = False
    asks: int = 0  # approvals and questions that wait for a person
    stuck: str = ""
    in_line: bool = False  # it waits for room under its team's caps


@dataclass(frozen=True, slots=True)
class BudgetFacts:
    open: bool
    calls: int
    commands: int
    reserved: int
    spent: int
    micro_reserved: int = 0  # 1e-6 USD
    micro_spent: int = 0
    micro_overrun: int = 0
    micro_max: int | None = None
    micro_allotted: int | None = None


@dataclass(frozen=True, slots=True)
class RolloutFacts:
    id: Any
    number: int
    status: str


@dataclass(frozen=True, slots=True)
class StepFacts:
    id: Any
    rollout: Any
    plan: Any
    index: int
    status: str
    dependencies: tuple[int, ...] = ()
    commit: str = ""


@dataclass(frozen=True, slots=True)
class RunFacts:
    """`overdue`: how long ago its lease ran out, while it is running."""

    id: Any
    rollout: Any
    kind: str
    status: str
    fence: int
    step: Any = None
    base_commit: str = ""
    overdue: timedelta = timedelta(0)


@dataclass(frozen=True, slots=True)
class CallFacts:
    """In the order in which they were begun. `tokens`: billed; `reserved`: what was set aside for it."""

    run: Any
    turn: int
    index: int
    kind: str
    status: str
    fence: int
    started_at: datetime
    tokens: int = 0
    reserved: int = 0
    micro_reserved: int = 0
    micro_cost: int = 0


@dataclass(frozen=True, slots=True)
class History:
    """All that is known of one goal."""

    goal: GoalFacts
    budget: BudgetFacts | None
    rollouts: tuple[RolloutFacts, ...] = ()
    steps: tuple[StepFacts, ...] = ()
    runs: tuple[RunFacts, ...] = ()
    calls: tuple[CallFacts, ...] = ()
    events: tuple[EventFacts, ...] = ()

    def changes(self, noun: str) -> dict[str, list[EventFacts]]:
        """The status changes of each row of one kind, oldest first."""
        found: dict[str, list[EventFacts]] = defaultdict(list)
        for event in self.events:
            if event.noun == noun and event.about:
                found[event.about].append(event)
        return found


@dataclass(frozen=True, slots=True)
class Violation:
    """`invariant` is a key of INVARIANTS."""

    invariant: str
    subject: str
    detail: str


Found = Iterator[tuple[str, str]]  # (subject, detail)


def violations(history: History) -> list[Violation]:
    """Everything that does not hold; empty when all is well."""
    return [
        Violation(name, subject, detail) for name, rule in INVARIANTS.items() for subject, detail in rule.find(history)
    ]


# ---- the rules


def _accepted_whole(history: History) -> Found:
    if history.budget is None:
        yield "goal", "it has no budget"
    if not history.rollouts:
        yield "goal", "it has no rollout"


def _gapless(history: History) -> Found:
    seqs = [event.seq for event in history.events]
    if seqs != list(range(1, history.goal.event_seq + 1)):
        yield "events", f"{len(seqs)} events, the goal counted {history.goal.event_seq}; numbers {_holes(seqs)}"


def _holes(seqs: Sequence[int]) -> str:
    odd = [f"{a}→{b}" for a, b in pairwise(seqs) if b != a + 1]
    return ", ".join(odd[:5]) or f"{seqs[:1]}…{seqs[-1:]}"


def _terminal_is_final(history: History) -> Found:
    for noun, now in _statuses(history).items():
        for about, changes in history.changes(noun).items():
            ended = [event for event in changes if event.new in terminal(noun)]
            if len(ended) > 1 or (ended and ended[0] is not changes[-1]):
                yield f"{noun} {about[:8]}", f"it ended as {ended[0].new} (event {ended[0].seq}) and changed again"
            if about in now and now[about] != changes[-1].new:
                yield f"{noun} {about[:8]}", f"it is {now[about]}, and its last event says {changes[-1].new}"
            for before, after in pairwise(changes):
                if before.new != after.old:
                    yield f"{noun} {about[:8]}", f"event {after.seq} leaves {after.old}, and it was {before.new}"


def _statuses(history: History) -> dict[str, dict[str, str]]:
    return {
        "goal": dict.fromkeys(history.changes("goal"), history.goal.status),
        "rollout": {str(row.id): row.status for row in history.rollouts},
        "step": {str(row.id): row.status for row in history.steps},
        "run": {str(row.id): row.status for row in history.runs},
    }


def _one_winner(history: History) -> Found:
    won = Counter(run.step for run in history.runs if run.step is not None and run.status == RunStatus.SUCCEEDED)
    for step, times in won.items():
        if times > 1:
            yield f"step {str(step)[:8]}", f"{times} runs of it succeeded"


def _fences(history: History) -> Found:
    fence_now = {str(run.id): run.fence for run in history.runs}
    for about, changes in history.changes("run").items():
        claims = [event.fence for event in changes if event.new == RunStatus.RUNNING]
        if any(later <= earlier for earlier, later in pairwise(claims)):
            yield f"run {about[:8]}", f"its claims have the fences {claims}"
        written = [event.fence for event in changes]
        if any(later < earlier for earlier, later in pairwise(written)):
            yield f"run {about[:8]}", f"it was changed with an old fence: {written}"
        if claims and claims[-1] > fence_now.get(about, claims[-1]):
            yield f"run {about[:8]}", f"its fence is {fence_now[about]}, and it was claimed with {claims[-1]}"
    for run, calls in _by_run(history.calls).items():
        fences = [call.fence for call in calls]
        if any(later < earlier for earlier, later in pairwise(fences)):
            yield f"run {run[:8]}", f"a call was recorded with an old fence: {fences}"
        if max(fences) > fence_now.get(run, max(fences)):
            yield f"run {run[:8]}", f"a call has fence {max(fences)}, and the run {fence_now[run]}"


def _dependencies_in_base(history: History) -> Found:
    steps = {str(step.id): step for step in history.steps}
    in_plan = {(step.plan, step.index): str(step.id) for step in history.steps}
    runs = {str(run.id): run for run in history.runs}
    done: set[str] = {str(s.id) for s in history.steps if s.status in FINISHED_STEP} - set(history.changes("step"))
    heads = {rollout.id: "" if history.goal.is_retry else history.goal.base_sha for rollout in history.rollouts}
    for event in history.events:
        if event.noun == "step" and event.new == StepStatus.SKIPPED:  # by a person: nobody waits for it
            done.add(event.about)
        if event.noun == "step" and event.new == StepStatus.SUCCEEDED and event.about in steps:
            done.add(event.about)
            heads[steps[event.about].rollout] = steps[event.about].commit
        run = runs.get(event.about) if event.noun == "run" and event.fence == 1 else None
        if run is None or event.new != RunStatus.RUNNING or run.step is None:
            continue
        step = steps[str(run.step)]
        missing = [i for i in step.dependencies if in_plan.get((step.plan, i)) not in done]
        if missing:
            yield f"run {event.about[:8]}", f"it began step {step.index} before the steps {missing} were done"
        if run.base_commit and heads.get(run.rollout, "") not in ("", run.base_commit):
            yield (
                f"run {event.about[:8]}",
                f"it began at {run.base_commit[:12]}, and head was {heads.get(run.rollout, '')[:12]}",
            )


def _paid_once(history: History) -> Found:
    given_back = {
        about: sum(e.new == RunStatus.QUEUED for e in changes) for about, changes in history.changes("run").items()
    }
    told = {about for about, changes in history.changes("run").items() if changes}
    for run, calls in _by_run(history.calls).items():
        used = Counter((c.turn, c.index) for c in calls if c.kind == CallKind.LLM and c.status in PAID)
        again = sum(used.values()) - len(used)
        if run in told and again > given_back[run]:
            yield (
                f"run {run[:8]}",
                f"{again} model calls were made again, and it was given back {given_back[run]} times",
            )
        done = Counter((c.turn, c.index) for c in calls if c.status == CallStatus.DONE)
        if twice := [at for at, times in done.items() if times > 1]:
            yield f"run {run[:8]}", f"the calls at {twice} have two answers"


PAID = frozenset({CallStatus.DONE, CallStatus.UNKNOWN, CallStatus.INTENT})


def _books(history: History) -> Found:
    budget = history.budget
    if budget is None:
        return
    kinds = Counter(call.kind for call in history.calls)
    billed = sum(call.tokens for call in history.calls)
    unknown = sum(call.reserved for call in history.calls if call.status == CallStatus.UNKNOWN)
    in_flight = sum(call.reserved for call in history.calls if call.status == CallStatus.INTENT)
    for name, booked, counted in (
        ("model calls", budget.calls, kinds[CallKind.LLM]),
        ("commands", budget.commands, kinds[CallKind.COMMAND]),
        ("tokens spent", budget.spent, billed + unknown),
        ("tokens reserved", budget.reserved, in_flight),
        ("micro-USD spent", budget.micro_spent, sum(call.micro_cost for call in history.calls)),
        (
            "micro-USD reserved",
            budget.micro_reserved,
            sum(call.micro_reserved for call in history.calls if call.status == CallStatus.INTENT),
        ),
    ):
        if booked != counted:
            yield "budget", f"{name}: {booked} are booked, the journal has {counted}"


def _money_kept(history: History) -> Found:
    """What a provider billed beyond what was asked for is the one thing that nobody can hold back."""
    budget = history.budget
    if budget is None:
        return
    used = budget.micro_spent + budget.micro_reserved - budget.micro_overrun
    for name, most in (("its limit", budget.micro_max), ("its allotment", budget.micro_allotted)):
        if most is not None and used > most:
            yield "budget", f"{used} micro-USD are spent or reserved, {name} is {most}"


def _nothing_after_cancel(history: History) -> Found:
    asked = history.goal.cancelled_at
    late = [call for call in history.calls if asked is not None and call.started_at > asked]
    if late:
        yield "goal", f"{len(late)} calls were begun after cancel was asked for"


def _ended_whole(history: History) -> Found:
    if history.goal.status not in TERMINAL_GOAL:
        return
    left = [f"rollout {r.number} is {r.status}" for r in history.rollouts if r.status not in TERMINAL_ROLLOUT]
    left += [
        f"{run.kind} run {str(run.id)[:8]} is {run.status}" for run in history.runs if run.status not in TERMINAL_RUN
    ]
    left += [f"step {s.index} is {s.status}" for s in history.steps if s.status not in TERMINAL_STEP]
    open_calls = sum(call.status == CallStatus.INTENT for call in history.calls)
    left += [f"{open_calls} calls are in flight"] if open_calls else []
    left += [f"{history.goal.asks} approvals or questions wait"] if history.goal.asks else []
    budget = history.budget
    if budget is not None and (budget.reserved or budget.micro_reserved or budget.open):
        held = f"{budget.reserved} tokens and {budget.micro_reserved} micro-USD"
        left.append(f"{held} are reserved, its gate is {'open' if budget.open else 'shut'}")
    if budget is not None and budget.micro_allotted is not None and budget.micro_allotted > budget.micro_spent:
        left.append(f"it holds {budget.micro_allotted - budget.micro_spent} micro-USD of its team's month")
    yield from (("goal", detail) for detail in left)


def _one_selected(history: History) -> Found:
    goal = history.goal
    chosen = [rollout for rollout in history.rollouts if rollout.id == goal.selected]
    if goal.status == GoalStatus.SUCCEEDED and [r.status for r in chosen] != [RolloutStatus.SUCCEEDED]:
        yield "goal", f"it succeeded, and its selected rollout is {[r.status for r in chosen] or 'none of its own'}"
    if goal.status in (GoalStatus.FAILED, GoalStatus.CANCELLED) and goal.selected is not None:
        yield "goal", f"it is {goal.status}, and has a selected rollout"


def _not_neglected(history: History) -> Found:
    goal = history.goal
    if goal.status in TERMINAL_GOAL | WAITS_FOR_A_PERSON:
        return
    for run in history.runs:
        if run.overdue > PATIENCE:
            yield (
                f"run {str(run.id)[:8]}",
                f"its lease ran out {run.overdue.total_seconds():.0f} s ago, and nobody took it over",
            )
    if (
        goal.age > PATIENCE
        and not (goal.asks or goal.in_line)
        and not any(run.status in LIVE_RUN for run in history.runs)
    ):
        said = f", stuck: {goal.stuck.strip().splitlines()[-1]}" if goal.stuck.strip() else ""
        yield (
            "goal",
            f"it is {goal.status}, nobody works on it, and nothing happened for {goal.age.total_seconds():.0f} s{said}",
        )


def _by_run(calls: Iterable[CallFacts]) -> dict[str, list[CallFacts]]:
    found: dict[str, list[CallFacts]] = defaultdict(list)
    for call in calls:
        found[str(call.run)].append(call)
    return found


@dataclass(frozen=True, slots=True)
class Rule:
    """`sentence`: what holds, for people."""

    sentence: str
    find: Callable[[History], Found]


INVARIANTS = {
    "accepted_whole": Rule(
        "a goal is in the database with its budget and its rollouts, or not at all", _accepted_whole
    ),
    "events_gapless": Rule("events are numbered without gaps", _gapless),
    "terminal_final": Rule(
        "a terminal state never changes, and each status is what the last event says", _terminal_is_final
    ),
    "one_winner": Rule("a step is won by at most one run", _one_winner),
    "fences_increase": Rule("fences strictly increase, and no write carries an old one", _fences),
    "dependencies_in_base": Rule("a step begins only when what it depends on is in its base", _dependencies_in_base),
    "paid_once": Rule("a recorded answer is never bought twice; repeated calls ≤ losses and give-backs", _paid_once),
    "books_agree": Rule("what is booked is what the journal says", _books),
    "money_kept": Rule("no more USD are spent or reserved than a goal may, but for what was overbilled", _money_kept),
    "cancel_closes": Rule("no call is begun after cancel was asked for", _nothing_after_cancel),
    "ended_whole": Rule("an ended goal has nothing open, nothing live and nothing reserved", _ended_whole),
    "one_selected": Rule(
        "a goal that succeeded has one selected rollout, which succeeded; any other has none", _one_selected
    ),
    "not_neglected": Rule("a goal is ended, waits for a person, or is being worked on", _not_neglected),
}
