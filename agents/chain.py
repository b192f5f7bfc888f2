"""Several models in the place of one: the first choice works, until it cannot; then the next one goes on, with the same words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .ports import LLM, Completion, CompletionRequest


@dataclass(frozen=True, slots=True)
class Link:
    """One choice. `name`: provider/model, as goals call it; `provider` empty: the machine's own."""

    name: str
    provider: str
    llm: LLM


class ChainedLLM:
    """Whoever has fallen back stays there: a conversation that changes its model each time is in nobody's cache."""

    def __init__(self, links: Sequence[Link]) -> None:
        self.links = tuple(links)
        self._at = 0

    @property
    def link(self) -> Link:
        return self.links[self._at]

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
