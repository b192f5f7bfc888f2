"""Random plans, random outcomes, pauses and cancels: whatever happens, the flow keeps its rules and comes to an end."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import event, given, settings
from hypothesis import strategies as st

from orchestration.flow import (
    Action,
    CancelQueued,
    FailStep,
    Finish,
    Revise,
    RolloutView,
    RunView,
    StartExam,
    StartPlan,
    StartReview,
    StartStep,
    StepView,
    VerdictView,
    Wait,
    next_actions,
)
from orchestration.states import FINISHED_STEP, TERMINAL_ROLLOUT

MOST_TURNS = 3000
LIVE = ("queued", "running")
ENDS = (
    ("failed", "work"),
    ("failed", "conflict"),
    ("errored", "transient"),
    ("errored", "unknown"),
    ("errored", "permanent"),
)


@st.composite
def plans(draw: st.DrawFn) -> tuple[StepView, ...]:
    """An acyclic plan; ids are given when it is recorded."""
    steps = []
    for index in range(draw(st.integers(1, 6))):
        needs = draw(st.sets(st.integers(0, index - 1), max_size=3)) if index else set()
        parallel, priority = draw(st.booleans()), draw(st.integers(0, 10))
        steps.append(StepView(None, index, "pending", tuple(sorted(needs)), parallel, priority))
    return tuple(steps)


class World:
    """What `services` does with rows, done with values: it applies actions and checks each of them."""

    def __init__(self) -> None:
        self.view = RolloutView("queued")
        self.made = 0

    def live(self, kind: str | None = None) -> list[RunView]:
        return [run for run in self.view.runs if run.is_live and kind in (None, run.kind)]

    def settle(self) -> tuple[Action, ...]:
        """Decide and apply until there is rest."""
        for _ in range(20):
            actions, verdict = next_actions(self.view), self.view.verdict
            for action in actions:
                self.apply(action)
            if self.view.gate == "open" and self.view.verdict is verdict:
                self.view = replace(self.view, verdict=None)
            if not any(isinstance(action, FailStep | Revise) for action in actions):
                return actions
        raise AssertionError("no rest")

    def apply(self, action: Action) -> None:
        assert self.view.gate == "open" or isinstance(action, Wait | CancelQueued | Finish), "the gate is closed"
        match action:
            case StartPlan(replan=replan):
                self.view = replace(self.view, status="planning", planning=True, replans=self.view.replans + replan)
                self.queue("plan")
            case StartStep(step=pk):
                self.may_start(pk)
                self.set_step(pk, "queued")
                self.view = replace(self.view, status="running")
                self.queue("step", pk)
            case StartReview():
                self.view = replace(self.view, status="reviewing")
                self.queue("review")
            case StartExam():
                self.queue("exam")
            case FailStep(step=pk):
                self.set_step(pk, "failed")
            case Revise(kind=kind, steps=named):
                self.revise(kind, named)
            case CancelQueued():
                self.view = replace(
                    self.view,
                    runs=tuple(replace(r, status="cancelled") if r.status == "queued" else r for r in self.view.runs),
                )
            case Finish(status=status):
                self.view = replace(self.view, status=status)

    def may_start(self, pk: Any) -> None:
        step = next((step for step in self.view.steps if step.id == pk), None)
        assert step is not None, "a step of an old revision"
        met = {other.index for other in self.view.steps if other.status in FINISHED_STEP}
        assert set(step.dependencies) <= met, "unmet dependencies"
        beside = [other for other in self.view.steps if other.id in {run.step for run in self.live("step")}]
        assert step not in beside, "two live runs of one step"
        assert not beside or step.can_parallelize, "it may not run in parallel"
        assert all(other.can_parallelize for other in beside), "beside one that may not run in parallel"
        assert len(beside) < self.view.caps.parallel_steps

    def queue(self, kind: str, step: Any = None) -> None:
        assert kind == "step" or not self.live(), f"a {kind} beside other work"
        self.made += 1
        self.view = replace(self.view, runs=(*self.view.runs, RunView(self.made, kind, "queued", step)))

    def set_step(self, pk: Any, status: str) -> None:
        steps = tuple(replace(s, status=status) if s.id == pk else s for s in self.view.steps)
        self.view = replace(self.view, steps=steps)

    def record(self, steps: tuple[StepView, ...]) -> None:
        revision = self.view.revision + 1
        own = tuple(replace(step, id=(revision, step.index)) for step in steps)
        self.view = replace(self.view, revision=revision, steps=own, runs=(), planning=False)

    def revise(self, kind: str, named: tuple[int, ...]) -> None:
        assert not self.live(), "a new revision while work of the old one is live"
        again = {s.index for s in self.view.steps if s.index in named or s.status not in FINISHED_STEP}
        steps = tuple(replace(s, status="pending") if s.index in again else s for s in self.view.steps)
        if kind == "gather_info":
            asked = StepView(None, max(s.index for s in steps) + 1, "pending", (), False, 10)
            steps = tuple(
                replace(s, dependencies=(*s.dependencies, asked.index)) if s.index in named else s for s in steps
            )
            steps = (*steps, asked)
        self.view = replace(self.view, review_rounds=self.view.review_rounds + 1)
        self.record(steps)

    def end(self, run: RunView, status: str, error_kind: str = "") -> None:
        ended = replace(run, status=status, error_kind=error_kind, error="so it was")
        self.view = replace(self.view, runs=tuple(ended if r.id == run.id else r for r in self.view.runs))


def happens(world: World, data: st.DataObject) -> None:
    """Something that the world outside does: a run begins or ends, a person pauses, resumes or cancels."""
    if world.view.gate == "paused":
        world.view = replace(world.view, gate="open")
        return
    turn = data.draw(st.integers(0, 250))
    if turn == 0:
        world.view = replace(world.view, gate="cancelling")
    elif turn <= 3:
        world.view = replace(world.view, gate="paused")
    if not world.live():
        return
    run = data.draw(st.sampled_from(world.live()))
    if run.status == "queued" and world.view.gate == "open" and data.draw(st.booleans()):
        world.end(run, "running")
    elif run.status == "running" or world.view.gate == "open":
        outcome(world, run, data)


def outcome(world: World, run: RunView, data: st.DataObject) -> None:
    if world.view.gate == "cancelling":
        world.end(run, "cancelled")
    elif data.draw(st.integers(0, 3)) == 0:
        world.end(run, *data.draw(st.sampled_from(ENDS if run.kind == "step" else ENDS[2:])))
    elif run.kind == "plan":
        world.record(data.draw(plans()))
    elif run.kind == "step":
        world.end(run, "succeeded")
        world.set_step(run.step, "succeeded")
    elif run.kind == "exam":
        world.end(run, "succeeded")
        passed = data.draw(st.booleans())
        runs = tuple(replace(r, passed=passed, said="so it is") if r.id == run.id else r for r in world.view.runs)
        world.view = replace(world.view, runs=runs)
    else:
        world.end(run, "succeeded")
        actions = (
            "continue",
            "retry_same",
            "retry_with_changes",
            "gather_info",
            "replan",
            "replan",
            "complete",
            "stop",
        )
        named = tuple(data.draw(st.sets(st.integers(0, 7), max_size=3)))
        world.view = replace(world.view, verdict=VerdictView(data.draw(st.sampled_from(actions)), named, "because"))


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_it_keeps_its_rules_and_always_ends_or_waits_for_a_named_reason(data: st.DataObject) -> None:
    world = World()
    world.view = replace(world.view, examined=data.draw(st.booleans()))
    for _ in range(MOST_TURNS):
        actions = world.settle()
        if world.view.status in TERMINAL_ROLLOUT:
            event(f"{world.view.status} after {world.view.revision} revisions")
            assert next_actions(world.view) == ()
            return
        waits = [action.reason for action in actions if isinstance(action, Wait)]
        assert world.live() or waits == ["the goal is paused"], "nobody would ever go on with it"
        assert all(waits)
        happens(world, data)
    raise AssertionError("it never ends")
