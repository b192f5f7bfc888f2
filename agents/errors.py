"""Every way in which an agent's work can end other than with an answer.

    AgentError
    ├── Transient            we or the world broke, and trying again may help (the Run retries, with backoff)
    │   ├── Busy             there is no room just now: the run waits for some, and nothing is counted
    │   │   ├── SandboxBusy  no sandbox can be had
    │   │   └── ModelBusy    what the model's provider allows is used up
    │   ├── StaleEvidence    a check is older than the newest change of the files: the review is made again
    │   └── SandboxLost      the sandbox is gone: the run goes on in a new one, from its last checkpoint, and one loss is counted
    ├── Permanent            trying again cannot help: a wrong key, an unknown model, a refused repository
    │   ├── InvalidReply     the model could not give an answer of the agreed shape, also when shown its error
    │   └── EnvironmentMissing  a program that a check needs is not in the sandbox
    ├── Conflict             the work is good but does not merge onto the current head
    ├── BudgetExceeded       a limit of the goal stood in the way, *before* the call was made
    ├── Cancelled            a person (or the end of the goal) asked us to stop
    ├── FileProblem          a file in the workspace could not be read or written; the model is told
    └── Fenced               the run belongs to somebody else by now; say nothing more about it

Adapters turn every foreign exception into one of these, in one place each, with the cause kept. Anything that is not an
`AgentError` counts as *unknown* and is retried like a transient one.
"""

from __future__ import annotations

from enum import StrEnum


class Cause(StrEnum):
    """Why a model could not answer, as far as another model might (`agents/chain.py: goes_on`)."""

    RATE_LIMITED = "rate_limited"
    NO_CREDIT = "no_credit"
    FAILING = "failing"  # 5xx, or half an answer
    TIMED_OUT = "timed_out"
    UNREACHABLE = "unreachable"
    TOO_LONG = "context_too_long"
    REFUSED = "refused"  # the key, or no such model
    AWAY = "away"  # known to be, and so not asked


class AgentError(Exception):
    """Root of the tree; catch it to handle every expected end. `billed`: it may have cost what it was to cost; nobody knows.

    `cause`: why a model could not answer, empty where it is nothing that another one would do better.
    """

    kind = "unknown"

    def __init__(self, message: str = "", *, billed: bool = False, cause: str = "") -> None:
        super().__init__(message)
        self.billed = billed
        self.cause = cause


class Transient(AgentError):
    """Trying again may help. `retry_after` is what the other side asked for, in seconds.

    `outage_of`: the dependency that did not work at all (nobody answers, it fails, it has no capacity), by its port's own name for
    it; empty where only this one answer was no good.
    """

    kind = "transient"

    def __init__(
        self,
        message: str,
        *,
        retry_after: float | None = None,
        billed: bool = False,
        outage_of: str = "",
        cause: str = "",
    ) -> None:
        super().__init__(message, billed=billed, cause=cause)
        self.retry_after = retry_after
        self.outage_of = outage_of


class Busy(Transient):
    """There is no room just now; the message says where. No attempt and no loss."""

    kind = "busy"


class SandboxBusy(Busy):
    """All sandbox services are at their limits."""


class ModelBusy(Busy):
    """The requests or tokens that a provider allows are used up, or it asked to be left alone; `retry_after` says for how long."""


class SandboxLost(Transient):
    """The machine with the workspace is gone. What was recorded stands; a fresh sandbox starts from the last checkpoint."""

    kind = "lost"


class StaleEvidence(Transient):
    """A check, or the review itself, is about another commit than the newest one: it proves nothing."""

    kind = "stale"


class Permanent(AgentError):
    """Trying again cannot help; the message says what to change."""

    kind = "permanent"


class InvalidReply(Permanent):
    """The model's reply had no usable shape after the re-asks; `reply` keeps its last text."""

    kind = "invalid_reply"

    def __init__(self, message: str, *, reply: str = "") -> None:
        super().__init__(message)
        self.reply = reply


class EnvironmentMissing(Permanent):
    """A program is missing in the sandbox; the message names it and the remedy (setup commands or toolchain)."""

    kind = "environment_missing"


class Conflict(AgentError):
    """The commit does not merge onto the head; `files` are the paths in conflict."""

    kind = "conflict"

    def __init__(self, message: str, *, files: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.files = files


class BudgetExceeded(AgentError):
    """A limit of the goal was reached; `cap` names it (calls, tokens, commands, seconds, cost)."""

    kind = "budget"

    def __init__(self, message: str, *, cap: str) -> None:
        super().__init__(message)
        self.cap = cap


class Cancelled(AgentError):
    """Stop now: the goal was cancelled, paused or ended."""

    kind = "cancelled"


class Fenced(AgentError):
    """Another worker owns the run now; nothing that we still report is accepted."""

    kind = "fenced"


class FileProblem(AgentError):
    """A file of the workspace could not be read or written (missing, a link, a directory, too large); shown to the model."""

    kind = "file"
