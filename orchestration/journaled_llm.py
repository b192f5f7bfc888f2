"""The model as a run sees it: what was recorded is answered from the record, all else is reserved, asked, settled and recorded.

Where a goal names several models, one that cannot answer is followed by the next (`agents/chain.py`); each call is reserved and
settled at the price of the model that it asks, and a take-over goes on with the model that answered last.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from agents.chain import ChainedLLM, goes_on, to_be_told
from agents.errors import AgentError, Cause, Transient
from agents.ports import LLM, Completion, CompletionRequest, Message, ToolCall, Usage
from agents.text import storable_json

from . import hotpath
from .budget import estimate_tokens
from .hotpath import Position, Spent
from .journal import Journal, Stake, hash_of, release_connection
from .pacing import in_turn
from .secrecy import redact
from .selectors.prices import price_of
from .services.breaking import heard_from, not_to_be_asked, report_outage
from .services.journaling import note_fallback
from .states import CallKind

ROOM_WITHIN = 60.0  # seconds that a call waits for others of its goal, whose worst case is set aside, to be settled
LOOK_AGAIN = 0.25


class JournaledLLM:
    """One per conversation."""

    def __init__(self, journal: Journal, port: LLM) -> None:
        self._journal = journal
        self._port = port
        self._chain = port if isinstance(port, ChainedLLM) else None
        self._told = 0  # messages of earlier requests: a Call keeps only what was added

    @property
    def model(self) -> str:
        return self._port.model

    @property
    def max_tokens(self) -> int:
        return self._port.max_tokens

    @property
    def dependency(self) -> str:
        """Of whom is asked now: a chain may go on to another one."""
        return self._port.dependency

    def abort(self) -> None:
        self._port.abort()

    def complete(self, request: CompletionRequest) -> Completion:
        """With the messages of people where they belong; one that comes in just now is told first."""
        journal = self._journal
        turn = journal.at.turn + 1
        while True:
            try:
                return self._complete(journal.mail.put_into(request, turn))
            except hotpath.Unheard:
                journal.mail.fetch(turn, len(request.messages))
                journal.at = Position(turn - 1, 0)

    def _complete(self, request: CompletionRequest) -> Completion:
        journal = self._journal
        request = _without_secrets(request)
        whole = storable_json(_request_as_json(request))
        request_hash = hash_of(whole)
        if known := journal.replay(Position(journal.at.turn + 1, 0), request_hash):
            self._told = len(request.messages)
            if self._chain:
                self._chain.go_to(known.request.get("link", 0))
            return _completion_from_json(known.answer or {})
        pk, stake, answer = self._asked(request, request_hash, whole)
        self._told = len(request.messages)
        answer = _completion_from_json(storable_json(_completion_as_json(answer)))
        used = answer.usage
        told: dict[str, Any] = {"answer": _completion_as_json(answer), "model": answer.model[:200]}
        if provider := getattr(self._port, "provider", ""):
            told["provider"] = provider
        hotpath.settle_call(
            journal.run,
            pk,
            spent=Spent(used.prompt, used.completion, used.cached),
            reserved=stake.tokens,
            **stake.money,
            **told,
        )
        heard_from(self.dependency)
        release_connection()
        return answer

    # ---- one model after the other

    def _asked(
        self, request: CompletionRequest, request_hash: str, whole: Mapping[str, Any]
    ) -> tuple[int, Stake, Completion]:
        """(id of the Call, what is reserved for it, answer) of the first model of the chain that can answer."""
        failed: list[AgentError] = []
        gives_up = time.monotonic() + ROOM_WITHIN
        while True:
            try:
                self._refuse_away()
                return self._live(request, request_hash, whole)
            except hotpath.RoomTaken:
                if time.monotonic() > gives_up:
                    raise
                release_connection()
                time.sleep(LOOK_AGAIN)
                self._journal.active.check()
            except AgentError as error:
                failed.append(error)
                if not self._chain or not goes_on(error):
                    raise
                if not self._chain.has_more:
                    raise to_be_told(failed) from error
                self._go_on(self._chain, error)

    def _refuse_away(self) -> None:
        """A model that is known to be away need not be asked while there is another; whoever's turn it is tries it again."""
        if self._chain and self._chain.has_more and (said := not_to_be_asked(self._journal.run, self.dependency)):
            raise Transient(said, outage_of=self.dependency, cause=Cause.AWAY)

    def _go_on(self, chain: ChainedLLM, error: AgentError) -> None:
        """To the next model; the breaker is told about this one, and the goal's story."""
        if isinstance(error, Transient) and error.outage_of and error.cause != Cause.AWAY:
            report_outage(error.outage_of, str(error), asked=error.retry_after)
        before = chain.link.name
        chain.go_to(chain.at + 1)
        note_fallback(self._journal.run, before, chain.link.name, error.cause, redact(str(error)))
        release_connection()

    def _live(
        self, request: CompletionRequest, request_hash: str, whole: Mapping[str, Any]
    ) -> tuple[int, Stake, Completion]:
        journal, stake = self._journal, self._stake(whole, request)
        added = {"messages": whole["messages"][self._told :], "told": self._told, "model": self.model}
        if self._chain and self._chain.at:
            added["link"] = self._chain.at
        pace, haste = (self._chain.link.pace, self._chain.has_more) if self._chain else (None, False)
        waiting = in_turn(journal.active, pace, stake.tokens, haste=haste)
        with waiting as turn, journal.active.closing(self._port.abort):
            pk, answer = journal.live(CallKind.LLM, request_hash, added, stake, lambda: self._port.complete(request))
            turn.used = answer.usage.total or None
        return pk, stake, answer

    def _stake(self, whole: Mapping[str, Any], request: CompletionRequest) -> Stake:
        """The prompt by its size, the answer by its limit; in money at the price of now."""
        answer = request.max_tokens or self.max_tokens
        tokens = estimate_tokens(len(json.dumps(whole).encode()), answer)
        price = price_of(self.dependency, request.model or self.model, self._journal.run.goal.team_id)
        return Stake(tokens, price, price.worst(tokens, answer) if price else 0)


# ---- as JSON


def _request_as_json(request: CompletionRequest) -> dict[str, Any]:
    return {
        "messages": [asdict(message) for message in request.messages],
        "tools": [
            {"name": t.name, "description": t.description, "parameters": dict(t.parameters)} for t in request.tools
        ],
        "schema": dict(request.schema) if request.schema else None,
        "schema_name": request.schema_name,
        "max_tokens": request.max_tokens,
    }


def _without_secrets(request: CompletionRequest) -> CompletionRequest:
    """Of what is sent; what the model itself said stays in the record as it was, or it could not be replayed."""
    messages = (
        replace(
            message,
            content=redact(message.content),
            tool_calls=tuple(replace(call, arguments=redact(call.arguments)) for call in message.tool_calls),
        )
        for message in request.messages
    )
    return replace(request, messages=tuple(messages))


def _completion_as_json(answer: Completion) -> dict[str, Any]:
    return asdict(answer)


def _completion_from_json(answer: Mapping[str, Any]) -> Completion:
    said = answer["message"]
    calls = tuple(ToolCall(**call) for call in said["tool_calls"])
    message = Message(said["role"], said["content"], calls, said["tool_call_id"])
    return Completion(message, answer["finish_reason"], Usage(**answer["usage"]), answer["model"])
