"""One noun a file; see design §4 for what each one is."""

from .access import ApiToken, IdempotencyKey
from .artifacts import Artifact
from .breakers import Breaker
from .budgets import Budget
from .calls import Call
from .checks import Check
from .events import Event
from .goals import Goal, Rollout
from .installation import Installation, Lease, Worker
from .people import Approval, Message, Question, Telling
from .plans import Plan, Step
from .prices import ModelPrice
from .providers import Capability, Provider
from .repositories import Repository
from .reviews import Review
from .runs import Run
from .schedules import Occurrence, RecurringGoal
from .teams import Membership, Team, TeamEvent, TeamMonth

__all__ = [
    "ApiToken",
    "Approval",
    "Artifact",
    "Breaker",
    "Budget",
    "Call",
    "Capability",
    "Check",
    "Event",
    "Goal",
    "IdempotencyKey",
    "Installation",
    "Lease",
    "Membership",
    "Message",
    "ModelPrice",
    "Occurrence",
    "Plan",
    "Provider",
    "Question",
    "RecurringGoal",
    "Repository",
    "Review",
    "Rollout",
    "Run",
    "Step",
    "Team",
    "TeamEvent",
    "TeamMonth",
    "Telling",
    "Worker",
]
