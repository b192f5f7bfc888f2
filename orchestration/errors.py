"""What the engine refuses, each with a sentence that says what happened and what to do.

OrchestrationError
├── BadInput          what a person or a program handed in cannot be used
│   └── KeyReused     an idempotency key that belongs to another request
├── NotFound          no such goal, artifact …
├── NotAllowed        whoever asks may see it, and may not do this to it
├── IllegalMove       a status that this row cannot take now
│   └── StaleApproval a decision about a plan that is another one by now
├── RequestInFlight   the same request, under the same key, is being answered right now
├── GoalFailed        a piece of work called by hand did not succeed
├── ArtifactTooLarge  more bytes than ARTIFACT_MAX_BYTES
├── ArtifactExists    an id that is written once holds another value already
├── BrokerRefused     this Redis must not be used: it is another installation's, or it evicts keys
└── BrokerAway        nobody answers at the Redis address now
"""

from __future__ import annotations


class OrchestrationError(Exception):
    """Root of the tree."""


class BadInput(OrchestrationError, ValueError):
    """What was handed in cannot be used."""


class KeyReused(BadInput):
    """An idempotency key that belongs to another request."""


class NotFound(OrchestrationError):
    """There is no such row."""


class NotAllowed(OrchestrationError):
    """Whoever asks has no role that allows it."""


class IllegalMove(OrchestrationError):
    """The row cannot take that status now."""


class StaleApproval(IllegalMove):
    """The plan that somebody decided about is not the one that waits."""


class RequestInFlight(OrchestrationError):
    """The same request is being answered right now."""


class GoalFailed(OrchestrationError):
    """A piece of work called by hand did not succeed; the message has the reason."""


class ArtifactTooLarge(OrchestrationError, ValueError):
    """More bytes than ARTIFACT_MAX_BYTES."""


class ArtifactExists(OrchestrationError):
    """A write-once id holds another value already."""


class BrokerRefused(OrchestrationError):
    """This Redis must not be used."""


class BrokerAway(OrchestrationError):
    """Nobody answers at the Redis address."""
