"""A model as one rollout wants it: another temperature, or another model of the same server. All else is the model's own."""

from __future__ import annotations

from dataclasses import replace

from .ports import LLM, Completion, CompletionRequest


class VariedLLM:
    def __init__(self, llm: LLM, model: str = "", temperature: float | None = None) -> None:
        self._llm, self._model, self._temperature = llm, model, temperature
        self.model = model or llm.model
        self.max_tokens = llm.max_tokens
        self.dependency = llm.dependency  # the server is what may be away, and that is the same one

    def complete(self, request: CompletionRequest) -> Completion:
        temperature = self._temperature if request.temperature is None else request.temperature
        return self._llm.complete(replace(request, model=request.model or self._model, temperature=temperature))

    def abort(self) -> None:
        self._llm.abort()
