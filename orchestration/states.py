"""The statuses of every noun, the moves between them, and which of them are final. Imports nothing of ours."""

from __future__ import annotations

from django.db.models import TextChoices


class GoalStatus(TextChoices):
    DRAFT = "draft", "draft"
    QUEUED = "queued", "queued"
    PLANNING = "planning", "planning"
    AWAITING_APPROVAL = "awaiting_approval", "awaiting approval"
    RUNNING = "running", "running"
    REVIEWING = "reviewing", "reviewing"
    PAUSED = "paused", "paused"
    CANCELLING = "cancelling", "cancelling"
    SUCCEEDED = "succeeded", "succeeded"
    FAILED = "failed", "failed"
    CANCELLED = "cancelled", "cancelled"


class RolloutStatus(TextChoices):
    QUEUED = "queued", "queued"
    PLANNING = "planning", "planning"
    AWAITING_APPROVAL = "awaiting_approval", "awaiting approval"
    RUNNING = "running", "running"
    REVIEWING = "reviewing", "reviewing"
    CANCELLING = "cancelling", "cancelling"
    SUCCEEDED = "succeeded", "succeeded"
    FAILED = "failed", "failed"
    CANCELLED = "cancelled", "cancelled"


class StepStatus(TextChoices):
    """A step has no *running*: that is the status of its live Run, not stored twice. `asking`: a person has to answer first."""

    PENDING = "pending", "pending"
    QUEUED = "queued", "queued"
    ASKING = "asking", "asking"
    SUCCEEDED = "succeeded", "succeeded"
    FAILED = "failed", "failed"
    SKIPPED = "skipped", "skipped"
    CANCELLED = "cancelled", "cancelled"


class RunStatus(TextChoices):
    QUEUED = "queued", "queued"
    RUNNING = "running", "running"
    SUCCEEDED = "succeeded", "succeeded"
    FAILED = "failed", "failed (the work said no)"
    ERRORED = "errored", "errored (we broke)"
    ASKED = "asked", "asked a person"
    CANCELLED = "cancelled", "cancelled"


class RunKind(TextChoices):
    PLAN = "plan", "plan"
    STEP = "step", "step"
    REVIEW = "review", "review"
    EXAM = "exam", "clean room"
    JUDGE = "judge", "comparison"


class Queue(TextChoices):
    PLANNING = "planning", "planning"
    EXECUTION = "execution", "execution"
    REVIEW = "review", "review"
    DEFAULT = "default", "default"


class CallKind(TextChoices):
    LLM = "llm", "model call"
    COMMAND = "command", "command"
    FILE = "file", "file"


class CallStatus(TextChoices):
    """`unknown`: the call was begun, and its worker was lost before the answer was recorded; it counts as spent."""

    INTENT = "intent", "in flight"
    DONE = "done", "done"
    FAILED = "failed", "failed"
    UNKNOWN = "unknown", "unknown"
    SUPERSEDED = "superseded", "superseded"


class AnswerShape(TextChoices):
    """How a model is asked for JSON, best first."""

    JSON_SCHEMA = "json_schema", "by a JSON schema"
    JSON_OBJECT = "json_object", "as any JSON object"
    TEXT = "text", "in words only"


class BreakerStatus(TextChoices):
    CLOSED = "closed", "closed: all is well"
    OPEN = "open", "open: what needs it waits"
    HALF_OPEN = "half_open", "half open: one run tries"


class ReviewWhen(TextChoices):
    FINAL = "final", "once, on the result"
    EACH_STEP = "each_step", "after every step, and on the result"
    ON_FAILURE = "on_failure", "where the checks do not prove the result"


class ReviewedBy(TextChoices):
    LLM = "llm", "the reviewer"
    DETERMINISTIC = "deterministic", "the checks alone"
    HUMAN = "human", "a person"
    LLM_THEN_HUMAN = "llm_then_human", "the reviewer, then a person"


class ApprovalStatus(TextChoices):
    WAITING = "waiting", "waits"
    APPROVED = "approved", "approved"
    REJECTED = "rejected", "rejected"
    EXPIRED = "expired", "expired: nobody decided in time"
    REPLACED = "replaced", "replaced: the plan was edited"
    WITHDRAWN = "withdrawn", "withdrawn: its goal ended"


class QuestionStatus(TextChoices):
    WAITING = "waiting", "waits"
    ANSWERED = "answered", "answered"
    EXPIRED = "expired", "expired: nobody answered in time"
    WITHDRAWN = "withdrawn", "withdrawn: nobody needs the answer any more"


class PlanOrigin(TextChoices):
    PLANNER = "planner", "planner"
    REVIEW = "review", "a review's verdict"
    RETRY = "retry", "retry of an earlier goal"
    GIVEN = "given", "given by the caller"
    PERSON = "person", "edited by a person"


class CheckPhase(TextChoices):
    BASE = "base", "on the base commit"
    STEP = "step", "after a step"
    FINAL = "final", "on the result"
    CLEAN = "clean", "in the clean room"


class CheckOrigin(TextChoices):
    PERSON = "person", "given by a person"
    HIDDEN = "hidden", "given by a person, hidden from those who do the work"
    DISCOVERED = "discovered", "discovered in the repository"
    STEP = "step", "a step's own"


class Strategy(TextChoices):
    EARLY_TERMINATION = "early_termination", "first verified success wins"
    BEST_OF_N = "best_of_n", "best of all candidates"


class OverlapPolicy(TextChoices):
    """A due time comes while the goal of an earlier one is still open."""

    SKIP = "skip", "skip this time"
    QUEUE = "queue", "start when the earlier one has ended"


class MissedPolicy(TextChoices):
    """Due times that passed while nobody was there to submit them."""

    ONCE = "once", "run once"
    SKIP = "skip", "skip them"


class OccurrenceOutcome(TextChoices):
    SUBMITTED = "submitted", "submitted"
    QUEUED = "queued", "waits for the earlier one"
    SKIPPED = "skipped", "skipped"
    REFUSED = "refused", "could not be submitted"
    BY_HAND = "by_hand", "run by hand"


QUEUE_OF = {
    RunKind.PLAN: Queue.PLANNING,
    RunKind.STEP: Queue.EXECUTION,
    RunKind.REVIEW: Queue.REVIEW,
    RunKind.EXAM: Queue.REVIEW,
    RunKind.JUDGE: Queue.REVIEW,
}
LIVE_RUN = frozenset({RunStatus.QUEUED, RunStatus.RUNNING})
FINISHED_STEP = frozenset({StepStatus.SUCCEEDED, StepStatus.SKIPPED})


def _moves(choices: type[TextChoices], allowed: dict[str, str]) -> dict[str, frozenset[str]]:
    """One row a status: `"queued": "running cancelled"`; an unnamed status is final."""
    table = {str(old): frozenset(new.split()) for old, new in allowed.items()}
    known = set(choices.values)
    stray = (set(table) | set().union(*table.values())) - known
    if stray:
        raise ValueError(f"{choices.__name__} has no status {sorted(stray)}")
    return {status: table.get(status, frozenset()) for status in choices.values}


_WORKING = "planning running reviewing paused cancelling succeeded failed cancelled"
MOVES: dict[str, dict[str, frozenset[str]]] = {
    "goal": _moves(
        GoalStatus,
        {
            "draft": "queued cancelled",
            "queued": f"{_WORKING} awaiting_approval",
            "planning": f"queued awaiting_approval {_WORKING}",
            "awaiting_approval": f"queued {_WORKING}",
            "running": f"queued awaiting_approval {_WORKING}",
            "reviewing": f"queued awaiting_approval {_WORKING}",
            "paused": f"queued awaiting_approval {_WORKING}",
            "cancelling": "succeeded failed cancelled",
        },
    ),
    "rollout": _moves(
        RolloutStatus,
        {
            "queued": "planning awaiting_approval running reviewing cancelling failed cancelled",
            "planning": "awaiting_approval running reviewing cancelling succeeded failed cancelled",
            "awaiting_approval": "planning running reviewing cancelling succeeded failed cancelled",
            "running": "planning reviewing cancelling succeeded failed cancelled",
            "reviewing": "planning running cancelling succeeded failed cancelled",
            "cancelling": "cancelled",
        },
    ),
    "step": _moves(
        StepStatus,
        {
            "pending": "queued succeeded skipped cancelled",
            "queued": "pending asking succeeded failed skipped cancelled",
            "asking": "queued succeeded failed skipped cancelled",
        },
    ),
    "run": _moves(
        RunStatus,
        {
            "queued": "running cancelled",
            # back to queued: the lease expired, or a draining worker gave the run back
            "running": "queued succeeded failed errored asked cancelled",
        },
    ),
    "approval": _moves(ApprovalStatus, {"waiting": "approved rejected expired replaced withdrawn"}),
    "question": _moves(QuestionStatus, {"waiting": "answered expired withdrawn"}),
    "breaker": _moves(
        BreakerStatus,
        {"closed": "closed open", "open": "open half_open closed", "half_open": "half_open open closed"},
    ),
}


def terminal(noun: str) -> frozenset[str]:
    """The final statuses of a noun: those that no move leaves."""
    return frozenset(status for status, targets in MOVES[noun].items() if not targets)


TERMINAL_GOAL = terminal("goal")
TERMINAL_ROLLOUT = terminal("rollout")
TERMINAL_STEP = terminal("step")
TERMINAL_RUN = terminal("run")
OPEN_GOAL = frozenset(GoalStatus.values) - TERMINAL_GOAL
OPEN_ROLLOUT = frozenset(RolloutStatus.values) - TERMINAL_ROLLOUT
