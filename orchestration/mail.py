"""What people say to a running goal, as a run's model is told it: each message once, at a place of the conversation that is kept.

A take-over tells the same messages at the same calls, so that the record fits.
"""

from __future__ import annotations

from dataclasses import replace

from agents.ports import CompletionRequest, Message

from .models import Run, Telling
from .services.messaging import tell

SAID = "A message from {by}, who may steer this work:\n\n{text}"


class Mail:
    """One per journal. `heard`: how many messages to the goal this run knows of."""

    def __init__(self, run: Run) -> None:
        self.run, self.heard = run, 0
        self._told: list[Telling] = []

    def load(self) -> None:
        """What earlier claims of this run were told."""
        self._told = list(Telling.objects.filter(run_id=self.run.pk).select_related("message"))

    def fetch(self, turn: int, place: int) -> None:
        """What has come in; it is told from this turn on, after so many messages of the conversation."""
        new, self.heard = tell(self.run, turn, place)
        self._told += new

    def put_into(self, request: CompletionRequest, turn: int) -> CompletionRequest:
        """The request with what was told up to this turn."""
        messages = list(request.messages)
        due = sorted((t for t in self._told if t.turn <= turn), key=lambda t: (t.place, t.message.number))
        for telling in reversed(due):
            said = SAID.format(by=telling.message.by, text=telling.message.text)
            messages.insert(_after_answers(messages, telling.place), Message("user", said))
        return replace(request, messages=tuple(messages)) if due else request


def _after_answers(messages: list[Message], place: int) -> int:
    """Never between a tool's call and its answers: servers refuse that."""
    while place < len(messages) and messages[place].role == "tool":
        place += 1
    return min(place, len(messages))
