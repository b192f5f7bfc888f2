"""PURE: why is a goal in the state in which it is? Facts go in, one sentence comes out; it says what to do where that is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .pricing import usd
from .states import GoalStatus

CAP_WORDS = {"calls": "model calls", "tokens": "tokens", "commands": "commands", "seconds": "seconds"}
CAP_WORDS |= {"steps": "attempts at steps", "usd": "USD"}
NO_LIMIT_OF_ITS_OWN = frozenset({"overrun", "price", "team_usd"})
LONGEST = 400


@dataclass(frozen=True, slots=True)
class LiveRun:
    """A run that is queued or running. `since` is a clock time; `wait` the seconds until it may be claimed (a retry's delay)."""

    what: str  # "Step 4", "The planner", "The reviewer"
    queue: str
    running: bool = False
    worker: str = ""
    since: str = ""
    wait: float = 0.0
    attempt: int = 1
    last_error: str = ""  # the kind of error of the attempt before
    served: bool = True  # some living worker takes its queue
    waits_for: str = ""  # what is away, since when, and its last words


@dataclass(frozen=True, slots=True)
class Facts:
    status: str
    reason: str = ""
    stuck: str = ""
    paused_cap: str = ""
    used: int = 0
    limit: int = 0
    verified: bool = False
    checks: int = 0  # on the final commit
    passed: int = 0
    turned: int = 0  # red on the base, green on the final commit
    commit: str = ""
    live: tuple[LiveRun, ...] = ()
    by: str = ""  # who cancelled or paused it
    said: str = ""  # ... and the reason they gave
    deadline: str = ""  # a clock time, if its hours count already
    decided: bool = False  # a rollout won, the others are being stopped
    finishes: bool = False  # paused, and what runs goes on to its own end
    question: str = ""  # of a step, that waits for an answer: "Step 2 asks: red or green?"
    accepted: str = ""  # who let it succeed by overriding the verdict
    asks: str = ""  # why a person must look at its plan
    until: str = ""  # when that expires, and what happens then
    line: str = ""  # it waits for room: its place and why
    place: str = ""  # among what waits for a worker: "3 of 20"
    unconfirmed: int = 0  # things of a cancelled goal that nobody has confirmed to be over


def why(facts: Facts) -> str:
    """One sentence (or two): what holds the goal where it is, and what to do about it."""
    if facts.stuck:
        return (
            f"The engine itself failed on this goal: {_last_line(facts.stuck)}. It tries again by itself; "
            "the traceback is among the events."
        )
    if facts.line:
        return f"It waits in line, {_sentence(facts.line)}"
    tellers = {
        GoalStatus.DRAFT: lambda f: "It is a draft: nobody has started it yet.",
        GoalStatus.AWAITING_APPROVAL: _awaiting,
        GoalStatus.PAUSED: _paused,
        GoalStatus.CANCELLING: _cancelling,
        GoalStatus.SUCCEEDED: _succeeded,
        GoalStatus.FAILED: lambda f: _sentence(f.reason) or "It failed, and nobody recorded why.",
        GoalStatus.CANCELLED: _cancelled,
    }
    return tellers.get(GoalStatus(facts.status), _working)(facts)


def _working(facts: Facts) -> str:
    running = [run for run in facts.live if run.running]
    queued = [run for run in facts.live if not run.running]
    if running:
        return f"{_at_work(running)}.{_also(queued)}"
    if not queued and facts.question:
        return f"{_short(facts.question)} What depends on it waits for a person's answer."
    if not queued:
        return "Nothing of it is queued or running; a worker's housekeeper looks after it within seconds."
    if unserved := [run for run in queued if not run.served]:
        queue = unserved[0].queue
        return f"{unserved[0].what} waits, and no worker serves the {queue} queue. Start one: manage.py worker --queues {queue}"
    if held := [run for run in queued if run.waits_for]:
        clock = f" The goal's time limit ({facts.deadline}) keeps counting." if facts.deadline else ""
        return f"{_held(held)} It goes on by itself, and no attempt is spent.{clock}"
    first = min(queued, key=lambda run: run.wait)
    if first.wait > 0:
        return f"{first.what}{_after(first)} is tried again in {first.wait:.0f} s, as attempt {first.attempt}."
    place = f", place {facts.place}" if facts.place else ""
    if len(queued) > 1:
        return f"{_list([run.what for run in queued])} wait for a free worker, since {first.since}{place}."
    return f"{first.what} waits for a free worker, since {first.since}{place}."


def _at_work(running: Sequence[LiveRun]) -> str:
    if len(running) == 1:
        run = running[0]
        again = f", attempt {run.attempt}" if run.attempt > 1 else ""
        return f"{run.what} {_works(run)} on {run.worker} since {run.since}{again}"
    where = _list(sorted({run.worker for run in running}))
    said = f"{_list([run.what for run in running])} run on {where}, the first since {min(run.since for run in running)}"
    held = [run for run in running if run.waits_for]
    return f"{said}; {_list([run.what for run in held]).lower()} {_works(held[0])[:-1]}" if held else said


def _works(run: LiveRun) -> str:
    if run.waits_for:
        return f"waits for {run.waits_for},"
    return "runs" if run.what.startswith("Step") else "works"


def _also(queued: Sequence[LiveRun]) -> str:
    if not queued:
        return ""
    if unserved := [run for run in queued if not run.served]:
        return f" {unserved[0].what} waits: no worker serves the {unserved[0].queue} queue."
    if held := [run for run in queued if run.waits_for]:
        return f" {_held(held)}"
    return f" {_list([run.what for run in queued])} {'waits' if len(queued) == 1 else 'wait'} for a free worker."


def _held(held: Sequence[LiveRun]) -> str:
    words = _list([run.what for run in held])
    return _sentence(f"{words} {'is' if len(held) == 1 else 'are'} waiting for {held[0].waits_for}")


def _after(run: LiveRun) -> str:
    return f" broke ({run.last_error}) and" if run.last_error else ""


def _awaiting(facts: Facts) -> str:
    if not facts.asks:
        return f"It waits until somebody approves its plan.{f' {facts.until}' if facts.until else ''}"
    return (
        f"It waits until somebody approves its plan: {_sentence(facts.asks)}{f' {facts.until}' if facts.until else ''}"
    )


def _paused(facts: Facts) -> str:
    if facts.paused_cap == "team_usd":
        return f"{_sentence(facts.reason)} Its work is kept: it goes on by itself when there is room again."
    if facts.paused_cap in NO_LIMIT_OF_ITS_OWN:
        return f"{_sentence(facts.reason)} Its work is kept: resume it when that is settled."
    if facts.paused_cap == "usd":
        figures = f" ({usd(facts.used)} of {usd(facts.limit)} USD are spent)"
        return f"It reached its limit of USD{figures}. Its work is kept: resume it with a higher limit."
    if facts.paused_cap:
        words = CAP_WORDS.get(facts.paused_cap, facts.paused_cap)
        figures = f" ({facts.used:,} of {facts.limit:,} are used)" if facts.limit else ""
        return f"It reached its limit of {words}{figures}. Its work is kept: resume it with a higher limit."
    who = facts.by or "Somebody"
    if facts.finishes and (running := [run.what for run in facts.live if run.running]):
        goes = "goes" if len(running) == 1 else "go"
        return f"{who} paused it{_because(facts.said or facts.reason)}. {_list(running)} {goes} on to the end, nothing new is begun."
    return f"{who} paused it{_because(facts.said or facts.reason)}. Resume it to go on; what is queued waits."


def _cancelling(facts: Facts) -> str:
    stopping = sum(run.running for run in facts.live)
    waits = f"{stopping} run{'s' if stopping != 1 else ''} still stop{'s' if stopping == 1 else ''}"
    if not stopping and facts.unconfirmed:
        waits = f"the end of {facts.unconfirmed} thing{'s' if facts.unconfirmed > 1 else ''} is not confirmed yet"
    if facts.decided:
        return f"A rollout won; the others are ended, and {waits}."
    return f"{facts.by or 'Somebody'} asked to cancel it{_because(facts.said)}; {waits}, and nothing new is begun."


def _cancelled(facts: Facts) -> str:
    return f"{facts.by or 'Somebody'} cancelled it{_because(facts.said)}."


def _succeeded(facts: Facts) -> str:
    if facts.verified:
        where = f" on the final commit {facts.commit[:10]}" if facts.commit else ""
        if facts.checks == 1:
            before = "; it was red before" if facts.turned else ""
            return f"Its check passes{where}, in a fresh sandbox{before}."
        before = f"; {facts.turned} of them {'was' if facts.turned == 1 else 'were'} red before" if facts.turned else ""
        return f"{facts.passed} of {facts.checks} checks pass{where}, in a fresh sandbox{before}."
    if facts.accepted:
        return f"{facts.accepted} accepted it against the review{_because(facts.reason)}. Read the changes before you use them."
    if not facts.checks:
        return (
            "No check was given and none was found, so nothing proves the result: read the changes before you use them."
        )
    return (
        f"{facts.checks} check{'s' if facts.checks != 1 else ''} ran on the result, and none of those that count "
        "passed: read the changes before you use them."
    )


def _because(reason: str) -> str:
    said = _short(reason).rstrip(".")
    return f": {said}" if said else ""


def _sentence(reason: str) -> str:
    said = _short(reason)
    return said if not said or said[-1] in ".!?…" else f"{said}."


def _short(reason: str) -> str:
    line = " ".join(reason.split())
    return f"{line[: LONGEST - 1]}…" if len(line) > LONGEST else line


def _last_line(traceback: str) -> str:
    lines = [line for line in traceback.splitlines() if line.strip()]
    return _short(lines[-1]).rstrip(".") if lines else "unknown"


def _list(words: Sequence[str]) -> str:
    """Steps 1, 2 and 3; a, b and c."""
    steps = [word.removeprefix("Step ") for word in words]
    if len(words) > 1 and all(word.startswith("Step ") for word in words):
        return f"Steps {', '.join(steps[:-1])} and {steps[-1]}"
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
