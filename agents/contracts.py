"""The language of the seam between engine and agents: briefs go in, drafts, outcomes and verdicts come out. Strict pydantic."""

from __future__ import annotations

import graphlib
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from .text import storable_json

MAX_STEPS = 50
Complexity = Literal["low", "medium", "high"]
Action = Literal["continue", "retry_same", "retry_with_changes", "gather_info", "replan", "complete", "stop"]
Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=8000)]
LongText = Annotated[str, StringConstraints(max_length=200_000)]


class Contract(BaseModel):
    """Closed, immutable and storable: an unknown field is an error, not a surprise."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _can_be_stored(cls, value: Any) -> Any:
        return storable_json(value) if isinstance(value, dict) else value


# ---- what agents answer


class StepDraft(Contract):
    """One step of a plan, in CompyMac's words."""

    index: int = Field(ge=0, le=9999)
    description: Text
    expected_outcome: str = Field(default="", max_length=8000)
    tools_hint: list[str] = Field(default_factory=list, max_length=20)
    dependencies: list[int] = Field(default_factory=list, max_length=MAX_STEPS)
    can_parallelize: bool = False
    priority: int = Field(default=5, ge=0, le=10)
    estimated_complexity: Complexity = "medium"
    check: str = Field(default="", max_length=2000, description="a shell command that proves the step, or empty")
    writes: list[str] = Field(
        default_factory=list, max_length=100, description="globs of the files it may touch; empty: any"
    )


class PlanDraft(Contract):
    """1 to 50 steps with unique indices and known, acyclic dependencies."""

    summary: str = Field(default="", max_length=4000)
    steps: list[StepDraft] = Field(min_length=1, max_length=MAX_STEPS)

    @model_validator(mode="after")
    def _is_a_dag(self) -> Self:
        indices = [step.index for step in self.steps]
        if doubled := sorted({index for index in indices if indices.count(index) > 1}):
            raise ValueError(f"step indices must be unique; doubled: {doubled}")
        for step in self.steps:
            if unknown := sorted(set(step.dependencies) - set(indices)):
                raise ValueError(f"step {step.index} depends on unknown steps {unknown}")
        try:
            graphlib.TopologicalSorter({step.index: step.dependencies for step in self.steps}).prepare()
        except graphlib.CycleError as error:
            raise ValueError(f"the dependencies form a cycle: {' -> '.join(map(str, error.args[1]))}") from error
        return self


class Question(Contract):
    """What the executor asks a person. `choices` empty: any answer; `default` empty: without an answer in time the step fails."""

    text: str = Field(min_length=1, max_length=2000)
    choices: list[Annotated[str, StringConstraints(min_length=1, max_length=200)]] = Field(
        default_factory=list, max_length=10
    )
    default: str = Field(default="", max_length=2000)
    hours: int = Field(default=24, ge=1, le=720)


class StepOutcome(Contract):
    """How the executor ended a step: by its own word (`finish`, a `question`), or because a limit of its loop struck."""

    success: bool
    summary: str = Field(default="", max_length=8000)
    evidence: list[str] = Field(default_factory=list, max_length=50)
    stopped: Literal["", "stuck", "turns", "talk", "asks"] = ""
    question: Question | None = None


class Finding(Contract):
    severity: Literal["low", "medium", "high"] = "medium"
    file: str = Field(default="", max_length=1000)
    line: int = Field(default=0, ge=0)
    text: str = Field(max_length=4000)


class Verdict(Contract):
    """A review's answer. `steps` are the step indices that it names; `evidence` cites ids of the review's packet (c1, c2 …)."""

    action: Action
    reasoning: str = Field(default="", max_length=8000)
    suggested_changes: str = Field(default="", max_length=8000)
    confidence: float = Field(default=0.5, ge=0, le=1)
    steps: list[int] = Field(default_factory=list, max_length=MAX_STEPS)
    evidence: list[str] = Field(default_factory=list, max_length=100)
    findings: list[Finding] = Field(default_factory=list, max_length=100)


class Choice(Contract):
    """A judge's answer: the letter of the result that it prefers."""

    best: str = Field(max_length=1)
    reasoning: str = Field(default="", max_length=4000)


# ---- what agents are told


class Counts(Contract):
    """What a check's output says in numbers; `failures` names what failed, where the runner names it."""

    runner: str
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    failures: list[str] = Field(default_factory=list)


class CheckResult(Contract):
    """One check's run. `missing` names the program that the sandbox lacks (exit 127): then the check says nothing at all.

    `hidden`: a person's, which no planner and no executor is told. `flaky`: it ran twice on the same tree, and once each way.
    `environment` is a hash of what it ran in, `log` the artifact with its whole output.
    """

    command: str
    origin: Literal["person", "hidden", "discovered", "step"] = "person"
    passed: bool
    exit_code: int | None = None
    timed_out: bool = False
    missing: str = ""
    flaky: bool = False
    counts: Counts | None = None
    output: LongText = ""
    commit: str = ""
    environment: str = ""
    log: str = ""


class DoneStep(Contract):
    """A step that an earlier revision finished, or tried: what a planner must know about it."""

    index: int
    description: str
    status: str
    summary: str = ""


class PlanBrief(Contract):
    """What the planner is asked. `survey` is the text of `agents.survey` about the repository at `commit`."""

    goal: LongText
    context: dict[str, Any] = Field(default_factory=dict)
    commit: str = ""
    survey: LongText = ""
    checks: list[CheckResult] = Field(default_factory=list)
    done: list[DoneStep] = Field(default_factory=list)
    feedback: LongText = ""


class Answer(Contract):
    """What a person said to an earlier attempt's question; `by` "default": nobody did in time."""

    question: str
    answer: str
    by: str = ""


class StepBrief(Contract):
    """What the executor is asked: one step, the outline around it, and what earlier attempts ran into."""

    goal: LongText
    context: dict[str, Any] = Field(default_factory=dict)
    step: StepDraft
    outline: list[DoneStep] = Field(default_factory=list)
    guidance: LongText = ""
    failures: list[str] = Field(default_factory=list)
    answers: list[Answer] = Field(default_factory=list)
    checks: list[str] = Field(default_factory=list, description="the goal's own checks, as commands")


class Evidence(Contract):
    """One citable item: a check or a command that the system ran."""

    id: str
    title: str
    exit_code: int | None = None
    output: LongText = ""


class ReviewBrief(Contract):
    """What the reviewer is asked: evidence only (diff, checks, commands), never the executor's own story."""

    goal: LongText
    steps: list[DoneStep] = Field(default_factory=list)
    expected: list[str] = Field(default_factory=list)
    diff: LongText = ""
    checks_before: list[CheckResult] = Field(default_factory=list)
    checks_after: list[CheckResult] = Field(default_factory=list)
    evidence: list[Evidence] = Field(default_factory=list)
    earlier: list[Verdict] = Field(default_factory=list)
    problem: LongText = Field(default="", description="set when a step failed for good: why the engine asks now")
    still_to_come: list[str] = Field(default_factory=list, description="steps that follow: this is no final review")


class JudgeBrief(Contract):
    """What a judge is asked: the goal, and results that are equal by all that is measured, as diffs by letter."""

    goal: LongText
    results: dict[str, LongText]
