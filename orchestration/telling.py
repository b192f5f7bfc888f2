"""PURE: an event as a sentence of the panel. Subjects and reasons are other people's words: whoever prints them makes them visible."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

LONGEST = 300
RUNS = {
    "step": "Step {step}",
    "plan": "Planning",
    "review": "The review",
    "exam": "The clean room",
    "judge": "The judge",
}
ENDS = {
    "running": "runs",
    "queued": "waits again",
    "succeeded": "succeeded",
    "failed": "failed",
    "errored": "broke",
    "asked": "asks a person",
    "cancelled": "was cancelled",
}
GOAL = {
    "queued": "Goes on",
    "planning": "Planning begins",
    "awaiting_approval": "Waits for a person to approve its plan",
    "running": "Steps begin",
    "reviewing": "The review begins",
    "paused": "Paused",
    "cancelling": "Stops what still runs",
    "succeeded": "The goal succeeded",
    "failed": "The goal failed",
    "cancelled": "The goal is cancelled",
}
# what these say is said by another event too; the short list leaves them out, the whole log has them
QUIET = frozenset({"run.queued", "step.status", "rollout.status"})


def sentence(kind: str, subject: str, old: str, new: str, reason: str, data: Mapping[str, Any]) -> str:
    why = " ".join(reason.split())[:LONGEST]
    if kind in TELLERS:
        return TELLERS[kind](subject, old, new, why, data)
    return _with(" ".join(part for part in (kind, subject, f"{old} → {new}" if old else new) if part), why)


def _goal(subject: str, old: str, new: str, reason: str, data: Mapping[str, Any]) -> str:
    return _with(GOAL.get(new, f"{old} → {new}"), reason)


def _run(subject: str, old: str, new: str, reason: str, data: Mapping[str, Any]) -> str:
    kind = subject.split(" ")[0]
    who = RUNS.get("step" if "step" in data else kind, subject).format(step=data.get("step", "?"))
    attempt = data.get("attempt", 1)
    again = f", attempt {attempt}," if isinstance(attempt, int) and attempt > 1 else ""
    return _with(f"{who}{again} {ENDS.get(new, new)}", reason)


def _queued(subject: str, old: str, new: str, reason: str, data: Mapping[str, Any]) -> str:
    return _run(subject, old, "queued", reason, data).replace("waits again", "is queued")


def _step(subject: str, old: str, new: str, reason: str, data: Mapping[str, Any]) -> str:
    return _with(f"{subject.capitalize()}: {old} → {new}", reason)


def _plan(subject: str, old: str, new: str, reason: str, data: Mapping[str, Any]) -> str:
    steps = data.get("steps")
    return _with(f"Plan revision {data.get('revision', '?')}, {steps} step{'' if steps == 1 else 's'}", reason)


def _check(subject: str, old: str, new: str, reason: str, data: Mapping[str, Any]) -> str:
    code = data.get("exit_code")
    return f"A check {new} {subject}, exit {'none' if code is None else code}: {reason}"


def _named(words: str) -> Callable[[str, str, str, str, Mapping[str, Any]], str]:
    return lambda subject, old, new, reason, data: _with(words, reason)


def _forced(subject: str, old: str, new: str, reason: str, data: Mapping[str, Any]) -> str:
    left = ", ".join(map(str, data.get("unconfirmed", [])))
    return _with(f"Ended by force; not confirmed: {left or 'nothing'}", reason)


def taken_over(data: Mapping[str, Any]) -> str:
    """What was replayed, as a part of a sentence: "3 model answers and 2 commands from its record, in the tree of 1a2b3c4d5e"."""
    counted = [
        ("model answer", data.get("answers", 0)),
        ("command", data.get("commands", 0)),
        ("file access", data.get("files", 0)),
    ]
    parts = [f"{n} {word}{'' if n == 1 else 'es' if word.endswith('s') else 's'}" for word, n in counted if n]
    known = f"{', '.join(parts)} replayed from its record" if parts else "nothing was recorded yet"
    tree = f", in the tree of {str(data['checkpoint'])[:10]}" if data.get("checkpoint") else ""
    again = data.get("repeated", 0)
    lost = (
        f"; {again} call{'' if again == 1 else 's'} in flight made once more (unknown, counts as spent)"
        if again
        else ""
    )
    return f"{known}{tree}{lost}"


def _taken_over(subject: str, old: str, new: str, reason: str, data: Mapping[str, Any]) -> str:
    who = RUNS.get("step" if "step" in data else subject.split(" ")[0], subject).format(step=data.get("step", "?"))
    lost = f"{data.get('from') or 'another worker'}{f' ({reason})' if reason else ''}"
    return f"{who} goes on at {data.get('to')}, from {lost}: {taken_over(data)}"


CAUSES = {
    "rate_limited": "was rate limited",
    "no_credit": "has no credit left",
    "failing": "failed",
    "timed_out": "did not answer in time",
    "unreachable": "cannot be reached",
    "context_too_long": "cannot read so long a request",
    "refused": "refused to answer",
    "away": "is known to be away",
}


def _fell_back(subject: str, old: str, new: str, reason: str, data: Mapping[str, Any]) -> str:
    cause = CAUSES.get(str(data.get("cause")), "could not answer")
    return _with(f"{data.get('from')} {cause}, {data.get('to')} is asked", reason)


def _review(subject: str, old: str, new: str, reason: str, data: Mapping[str, Any]) -> str:
    return _with(f"The review says {subject.replace('_', ' ')}", reason)


def _with(said: str, reason: str) -> str:
    return f"{said}: {reason}" if reason else said


TELLERS: dict[str, Callable[[str, str, str, str, Mapping[str, Any]], str]] = {
    "goal.submitted": _named("Submitted"),
    "goal.status": _goal,
    "goal.cancel_asked": _named("Cancel was asked"),
    "goal.forced": _forced,
    "goal.pause_stops": _named("What the pause let run is stopped"),
    "goal.picked": lambda subject, old, new, reason, data: _with(f"The result is that of {subject} now", reason),
    "candidates.judged": _named("A judge compared equal results"),
    "goal.stuck": _named("The engine failed on this goal"),
    "goal.unstuck": _named("The engine goes on with it"),
    "rollout.status": _step,
    "step.status": _step,
    "run.status": _run,
    "run.queued": _queued,
    "run.taken_over": _taken_over,
    "plan.recorded": _plan,
    "check.ran": _check,
    "review.recorded": _review,
    "approval.asked": lambda subject, old, new, reason, data: _with(f"A person must look at {subject}", reason),
    "approval.status": lambda subject, old, new, reason, data: _with(f"The {subject} is {new}", reason),
    "step.skipped": lambda subject, old, new, reason, data: _with(f"{subject.capitalize()} is left out", reason),
    "step.done_by_hand": lambda subject, old, new, reason, data: _with(
        f"{subject.capitalize()} is done by hand", reason
    ),
    "review.overridden": lambda subject, old, new, reason, data: _with(
        f"The verdict {old.replace('_', ' ')} is overridden with {new.replace('_', ' ')}", reason
    ),
    "goal.admitted": lambda subject, old, new, reason, data: (
        f"There is room for it, after {data.get('waited_seconds', 0)} s in line"
    ),
    "goal.priority": lambda subject, old, new, reason, data: _with(f"Its priority is {new} now, it was {old}", reason),
    "message.sent": lambda subject, old, new, reason, data: _with(f"A message {subject}", reason),
    "message.told": lambda subject, old, new, reason, data: _with(f"The {subject} is told", reason),
    "question.asked": lambda subject, old, new, reason, data: _with(f"{subject.capitalize()} asks", reason),
    "question.status": lambda subject, old, new, reason, data: _with(
        f"The question of step {data.get('step', '?')} is {new}", reason
    ),
    "plan.edited": lambda subject, old, new, reason, data: _with(f"Edited into {subject}", reason),
    "model.fell_back": _fell_back,
    "goal.overlaps": lambda subject, old, new, reason, data: f"Works on files that {subject} works on too: {reason}",
    "budget.warned": _named("Four fifths of a limit are used"),
    "journal.diverged": _named("The work took another way than its record"),
    "repository.warning": _named("About the repository"),
    "branch.refused": _named("No branch was made"),
}
