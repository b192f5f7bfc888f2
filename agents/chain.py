"""Several models in the place of one: the first choice works, until it cannot; then the next one goes on, with the same words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .errors import AgentError, Transient
from .ports import LLM, Completion, CompletionRequest


@dataclass(frozen=True, slots=True)
class Pace:
    """What a provider allows, to all who use its key: requests and tokens a minute, calls at once; None: as many as they like."""

    key: str
    provider: str
    requests: int | None = None
    tokens: int | None = None
    parallel: int | None = None

    def __str__(self) -> str:
        allowed = (
            (self.requests, "requests a minute"),
            (self.tokens, "tokens a minute"),
            (self.parallel, "calls at once"),
        )
        return (
            f"the limits of provider {self.provider} ({', '.join(f'{most} {what}' for most, what in allowed if most)})"
        )


@dataclass(frozen=True, slots=True)
class Link:
    """One choice. `name`: provider/model, as goals call it; `provider` empty: the machine's own; `pace`: None without limits."""

    name: str
    provider: str
    llm: LLM
    pace: Pace | None = None


def goes_on(error: AgentError) -> bool:
    """PURE: is the next one asked after this? An answer of no use, or a request that is no good, would be the same there."""
    return bool(error.cause)


def to_be_told(failed: Sequence[AgentError]) -> AgentError:
    """PURE: of a chain in which none could answer: what may pass, for then the run waits for it; else what the last one said."""
    if isinstance(failed[-1], Transient):
        return failed[-1]
    return next((error for error in failed if isinstance(error, Transient)), failed[-1])


class ChainedLLM:
    """Whoever has fallen back stays there: a conversation that changes its model each time is in nobody's cache."""

    def __init__(self, links: Sequence[Link]) -> None:
        self.links = tuple(links)
        self.at = 0

    @property
    def link(self) -> Link:
        return self.links[self.at]

    @property
    def has_more(self) -> bool:
        return self.at + 1 < len(self.links)

    def go_to(self, number: int) -> None:
        """Where a record says that it was, or one further."""
        self.at = min(max(number, 0), len(self.links) - 1)

    @property
    def provider(self) -> str:
        return self.link.provider

    @property
    def model(self) -> str:
        return self.link.llm.model

    @property
    def max_tokens(self) -> int:
        return self.link.llm.max_tokens

    @property
    def dependency(self) -> str:
        return self.link.llm.dependency

    def complete(self, request: CompletionRequest) -> Completion:
        return self.link.llm.complete(request)

    def abort(self) -> None:
        """Of every link: the one that was in flight, and those that might come next."""
        for link in self.links:
            link.llm.abort()
