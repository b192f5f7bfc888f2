"""A goal's story on a terminal. Whatever a model or a command wrote is stripped of control characters first."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from .fairness import HIGHEST, NORMAL
from .handover import go_on, money_lines, open_questions, raises
from .replans import what_changed
from .role_models import as_lines
from .states import TERMINAL_GOAL, ReviewedBy, ReviewWhen
from .telling import sentence, taken_over

CONTROL = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|[\x00-\x08\x0b-\x1f\x7f-\x9f]|[\u202a-\u202e\u2066-\u2069]"
)
MARKS = {
    "succeeded": "✓",
    "passed": "✓",
    "failed": "✗",
    "errored": "✗",
    "cancelled": "-",
    "running": "▸",
    "queued": "·",
    "pending": "·",
}
COLOURS = {"✓": "32", "✗": "31", "▸": "36", "!": "33"}


def plain(text: object, longest: int = 0) -> str:
    """Safe to print: one line, at most `longest` characters (0: any)."""
    line = " ".join(CONTROL.sub("", str(text)).split())
    return f"{line[: longest - 1]}…" if longest and len(line) > longest else line


class Paint:
    """Marks in colour, where the stream is a terminal."""

    def __init__(self, colour: bool) -> None:
        self.colour = colour

    def mark(self, status: str) -> str:
        sign = MARKS.get(status, "·")
        return f"\x1b[{COLOURS[sign]}m{sign}\x1b[0m" if self.colour and sign in COLOURS else sign

    def strong(self, text: str) -> str:
        return f"\x1b[1m{text}\x1b[0m" if self.colour else text


def render(told: Mapping[str, Any], paint: Paint) -> Iterator[str]:
    """`goal show`: goal, plan with steps, commands, checks before and after, review, cost, events."""
    yield paint.strong(f"Goal {told['id']}: {told['headline']}")
    yield from (f"  {plain(line)}" for line in told["text"].splitlines() if line.strip())
    if told["model"]:
        yield f"  model: {plain(told['model'])}" + (
            " (scripted: a demo, not a language model)" if told["scripted"] else ""
        )
    yield from _models(told)
    if told["repository"]:
        yield f"  repository: {plain(told['repository'])} at {told['base'][:10] or '(not read yet)'}"
    if told["priority"] != NORMAL:
        yield f"  priority: {told['priority']} of {HIGHEST}"
    yield from _policy(told["review"])
    for one in told["overlaps"]:
        yield f"  works on files that {plain(one['who'])} works on too: {plain(', '.join(one['files']), 300)}"
    if told.get("follow_up_of"):
        yield f"  a follow-up of goal {told['follow_up_of'][:8]}"
    if told["reason"]:
        yield f"  reason: {plain(told['reason'], 600)}"
    elif told["why"] and told["status"] not in TERMINAL_GOAL:
        yield f"  {plain(told['why'], 1000)}"
    if told["paused_cap"]:
        yield f"  paused at its limit of {told['paused_cap']}; go on with:" if raises(told) else "  go on with:"
        yield f"    manage.py goal resume {told['id'][:8]}{raises(told)}"
    yield from _decisions(told, paint)
    yield from _questions(told, paint)
    if told["stuck"]:
        yield f"  STUCK, the engine itself failed: {plain(told['stuck'].strip().splitlines()[-1], 400)}"
    yield from _cancel(told, paint)
    yield from _proof(told, paint)
    for rollout in told["rollouts"]:
        yield from _rollout(rollout, told, paint)
    yield from _checks(told, paint)
    yield from _cost(told["cost"], paint)
    yield from _forecast(told["forecast"])
    yield from _open(told, paint)
    yield ""
    yield paint.strong("Events")
    yield from (f"  {row['at'][11:19]} {row['seq']:3} {event_line(row, paint)}" for row in told["events"])


def _policy(review: Mapping[str, Any]) -> Iterator[str]:
    """Who judges it, where that is not the reviewer alone and once."""
    below = f"; below {review['ask_below']:.0%} sure a person is asked" if review["ask_below"] else ""
    if below or (review["when"], review["by"]) != (ReviewWhen.FINAL, ReviewedBy.LLM):
        yield f"  reviewed {ReviewWhen(review['when']).label}, by {ReviewedBy(review['by']).label}{below}"


def _decisions(told: Mapping[str, Any], paint: Paint) -> Iterator[str]:
    """What people were asked about its plans, and what they said."""
    marks = {"approved": "passed", "waiting": "queued"}
    for one in told["approvals"]:
        asks = "; ".join(one["asks"]) or "it was to stop after its plan"
        who = f" by {one['by']}" if one["by"] else ""
        why = f": {one['reason']}" if one["reason"] else ""
        mark = paint.mark(marks.get(one["status"], "failed"))
        which = f"plan r{one['revision']} ({one['plan_sha256'][:12]})"
        yield f"  {mark} {which}, {plain(asks, 300)}: {one['status']} {plain(who, 60)}{plain(why, 300)}"


def _questions(told: Mapping[str, Any], paint: Paint) -> Iterator[str]:
    for one in told["questions"]:
        said = f" {one['answer']} ({one['by']})" if one["answer"] else ""
        mark = paint.mark({"answered": "passed", "waiting": "queued"}.get(one["status"], "failed"))
        choices = f" ({', '.join(one['choices'])})" if one["choices"] else ""
        yield f"  {mark} step {one['step']} asks: {plain(one['text'], 300)}{plain(choices, 200)}: {one['status']}{plain(said, 300)}"


def _cancel(told: Mapping[str, Any], paint: Paint) -> Iterator[str]:
    """What is over for certain; and the last resort, once it takes too long."""
    cancel = told["cancel"]
    if cancel is None:
        return
    yield f"  cancel was asked at {cancel['asked_at'][11:19]}:"
    for one in cancel["confirmations"]:
        over = f"over at {one['confirmed_at'][11:19]}" if one["confirmed_at"] else "NOT CONFIRMED"
        mark = paint.mark(
            "passed" if one["confirmed_at"] else "running" if told["status"] == "cancelling" else "failed"
        )
        yield f"    {mark} {one['what']}: {plain(one['subject'], 120)}: {over}"
    if cancel["can_force"]:
        yield f"  it takes long; end it without what is not confirmed: manage.py goal cancel {told['id'][:8]} --force"


def _rollout(rollout: Mapping[str, Any], told: Mapping[str, Any], paint: Paint) -> Iterator[str]:
    yield ""
    chosen = " (selected)" if told["selected"] == rollout["number"] and len(told["rollouts"]) > 1 else ""
    yield paint.strong(f"Rollout {rollout['number']}: {rollout['status']}{chosen}")
    if chosen and told["selected_reason"]:
        yield f"  why this one ({plain(told['selected_by'], 60)}): {plain(told['selected_reason'], 400)}"
    if len(told["rollouts"]) > 1 and (how := _how(rollout)):
        yield f"  {how}"
    if rollout["reason"] and rollout["reason"] != told["reason"]:
        yield f"  reason: {plain(rollout['reason'], 400)}"
    for plan in rollout["plans"]:
        yield f"  Plan revision {plan['revision']} ({plan['origin']}): {plain(plan['summary'], 200)}"
        if plan["replan"] and (changed := what_changed(plan["replan"])):
            yield f"    of the revision before: {changed}"
        for step in plan["steps"]:
            after = f", after {', '.join(map(str, step['dependencies']))}" if step["dependencies"] else ""
            yield f"    {paint.mark(step['status'])} {step['index']}. {plain(step['description'], 100)} [{step['status']}{after}]"
            yield from _runs_of(step["index"], plan["revision"], rollout, paint)
    yield from _commands(told, paint)
    for review in rollout["reviews"]:
        cited = f", cites {', '.join(map(plain, review['evidence']))}" if review["evidence"] else ""
        yield f"  Review: {review['action']} (confidence {review['confidence']:.0%}{cited}): {plain(review['reasoning'], 400)}"
    if rollout["branch"]:
        yield f"  branch: {plain(rollout['branch'])} at {rollout['head'][:10]}, {rollout['changed_lines']} changed line(s)"
    elif rollout["patch"]:
        yield f"  patch: artifact {rollout['patch']}, {rollout['changed_lines']} changed line(s)"


def _how(rollout: Mapping[str, Any]) -> str:
    """How it differs from the others, and what it was compared by."""
    names = ("hint", "temperature", "model", "score", "tokens")
    told = [f"{name} {plain(rollout[name], 80)}" for name in names if rollout[name] not in ("", None)]
    return ", ".join([*told, *([f"{rollout['votes']} vote(s) of the judge"] if rollout["votes"] else [])])


def _runs_of(step: int, revision: int, rollout: Mapping[str, Any], paint: Paint) -> Iterator[str]:
    for run in rollout["runs"]:
        if run["step"] == step and run["revision"] == revision and (run["error"] or run["losses"] or run["take_overs"]):
            losses = f", {run['losses']} lost worker(s)" if run["losses"] else ""
            yield f"        {paint.mark(run['status'])} attempt {run['attempt']}: {run['status']}{losses} {plain(run['error'], 200)}"
            for over in run["take_overs"]:
                who = f"{over['at'][11:19]} from {over['from_worker'] or 'another worker'} to {over['to_worker']}"
                yield f"          taken over at {plain(who, 120)}: {taken_over(over)}"


def _commands(told: Mapping[str, Any], paint: Paint) -> Iterator[str]:
    if told["commands"] and len(told["rollouts"]) == 1:
        yield "  Commands"
        yield from (f"    {command_line(command, paint)}" for command in told["commands"])


def _proof(told: Mapping[str, Any], paint: Paint) -> Iterator[str]:
    """The proof card: each check before → after, and what that shows."""
    if not told["proof"]:
        return
    yield ""
    yield paint.strong("Proof: verified" if told["verified"] else "Proof: not verified")
    for line in told["proof"]:
        mark = {"fixed": "passed", "kept": "passed", "passed": "passed", "pending": "queued", "flaky": "queued"}
        yield f"  {paint.mark(mark.get(line['turn'], 'failed'))} {plain(line['command'], 90)} [{line['origin']}]"
        yield f"      {_side(line['before'], 'before')} → {_side(line['after'], 'after')}: {plain(line['said'], 300)}"
        if line["another_environment"]:
            yield "      it ran in another environment than before"


def _side(check: Mapping[str, Any] | None, when: str) -> str:
    """Red or green with its numbers, of one side of the card."""
    if check is None:
        return f"not run {when}"
    how = f"{check['missing']} is missing" if check["missing"] else f"exit code {check['exit_code']}"
    counts = check["counts"] or {}
    numbers = [f"{counts[name]} {name}" for name in ("passed", "failed", "skipped") if counts.get(name)]
    where = [f"environment {check['environment'][:8]}"] if check["environment"] else []
    colour = "green" if check["passed"] else "red"
    return f"{colour} {when} ({', '.join(['timed out' if check['timed_out'] else how, *numbers, *where])})"


def _checks(told: Mapping[str, Any], paint: Paint) -> Iterator[str]:
    """The steps' checks; of several rollouts all, since the proof card is about one."""
    names = {"base": "before", "step": "step", "final": "after", "clean": "clean"}
    shown = [check for check in told["checks"] if check["phase"] == "step" or len(told["rollouts"]) > 1]
    if shown:
        yield ""
        yield paint.strong("Checks")
    for check in shown:
        how = (
            "passed"
            if check["passed"]
            else f"failed ({'timed out' if check['timed_out'] else 'exit code ' + str(check['exit_code'])})"
        )
        mark = paint.mark("passed" if check["passed"] else "failed")
        yield f"  {mark} {names[check['phase']]:6} {plain(check['command'], 90)} → {how} [{check['origin']}, {check['commit'][:8]}]"


def _models(told: Mapping[str, Any]) -> Iterator[str]:
    """Who was asked for, who answered, and how much of the prompts came from a cache."""
    for line in as_lines(told.get("role_models", {})):
        yield f"  asked for: {plain(line)}"
    for used in told.get("models_used", ()):
        who = "/".join(part for part in (used["provider"], used["model"] or "(no answer)") if part)
        hits = "" if used["hit_rate"] is None else f", {used['hit_rate']:.0%} of its prompts from the cache"
        yield f"  {used['work']}: {plain(who)}, {used['calls']} call(s){hits}"


def _cost(cost: Mapping[str, Any], paint: Paint) -> Iterator[str]:
    yield ""
    yield paint.strong("Cost")
    tokens = f"{cost['prompt_tokens']} in, {cost['cached_tokens']} of them cached, {cost['completion_tokens']} out"
    yield f"  {cost['calls']} of {cost['max_calls']} model calls, {cost['commands']} commands"
    yield f"  {cost['spent_tokens']} of {cost['max_tokens']} tokens ({tokens})"
    if cost["unknown_calls"]:
        yield f"  {cost['unknown_calls']} call(s) with unknown outcome count as spent ({cost['unknown_tokens']} tokens)"
    if cost["overrun_tokens"]:
        yield f"  the provider billed {cost['overrun_tokens']} tokens more than were reserved"
    yield from (f"  {line}" for line in money_lines(cost))
    yield from (f"  four fifths are used: {words}; the goal pauses at the limit" for words in cost["near_limits"])


def _forecast(told: Mapping[str, Any]) -> Iterator[str]:
    """What it would probably cost, how that came out, and how good such forecasts were."""
    yield f"  forecast: {told['said']}"
    if told["error_said"]:
        yield f"    it came to {told['error_said']}"
    if told["record_said"]:
        yield f"    {told['record_said']}"


def _open(told: Mapping[str, Any], paint: Paint) -> Iterator[str]:
    """What nobody has answered."""
    if told["status"] in TERMINAL_GOAL and (questions := open_questions(told)):
        yield ""
        yield paint.strong("Open questions")
        yield from (f"  {plain(question, 400)}" for question in questions)


def ways(told: Mapping[str, Any], paint: Paint) -> Iterator[str]:
    """The end of the handover packet: the exact commands to go on with."""
    yield ""
    yield paint.strong("Go on with")
    yield from (f"  {way['what']}: {plain(way['command'])}" for way in go_on(told))


def command_line(command: Mapping[str, Any], paint: Paint) -> str:
    """One command with its exit code."""
    where = f"step {command['step']}" if command["step"] is not None else "planner"
    code = command["exit_code"]
    mark = paint.mark("passed" if code == 0 else "failed")
    ended = f"exit code {'none' if code is None else code} ({command['seconds']:g} s)"
    return f"{mark} {where}: $ {plain(command['command'], 90)} → {ended}"


def event_line(row: Mapping[str, Any], paint: Paint) -> str:
    """One event as a sentence."""
    subject, reason, data = plain(row["subject"]), plain(row["reason"], 160), row["data"]
    tellers: dict[str, Callable[[], str]] = {
        "plan.recorded": lambda: f"{paint.mark('passed')} {subject} with {data.get('steps')} step(s): {reason}",
        "check.ran": lambda: (
            f"{paint.mark(row['new'])} check {subject}: {reason} → {row['new']} (exit code {data.get('exit_code')})"
        ),
        "review.recorded": lambda: f"{paint.mark('passed')} review says {subject}: {reason}",
        "run.taken_over": lambda: (
            f"{paint.mark('running')} {plain(sentence(row['kind'], subject, '', '', reason, data), 300)}"
        ),
        "model.fell_back": lambda: (
            f"{paint.mark('running')} {plain(sentence(row['kind'], subject, '', '', reason, data), 300)}"
        ),
        "budget.warned": lambda: f"{paint.mark('running')} four fifths of a limit are used: {reason}",
        "run.queued": lambda: f"{paint.mark('queued')} {_who(row)} queued {reason}",
        "run.status": lambda: f"{paint.mark(row['new'])} {_who(row)} {row['new']} {reason}",
    }
    if row["kind"] in tellers:
        return tellers[row["kind"]]().strip()
    moved = f"{row['old']} → {row['new']}" if row["old"] else row["new"]
    what = subject if row["kind"].endswith(".status") else f"{row['kind']} {subject}"
    return f"{paint.mark(row['new'])} {what} {moved} {reason}".strip()


def _who(row: Mapping[str, Any]) -> str:
    step = row["data"].get("step")
    kind = plain(row["subject"]).split(" ")[0]
    again = f" (attempt {row['data']['attempt']})" if row["data"].get("attempt", 1) > 1 else ""
    return (f"step {step}" if step is not None else kind) + again
