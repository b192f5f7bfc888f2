"""PURE: the handover packet, made of a goal's story: all that the next person (or agent) needs to go on without asking anybody.

`packet(story)` is JSON; `markdown(packet)` is the same to be read or pasted. What a model or command wrote is escaped, or put in code.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from .budget import ALL_NAMES
from .pricing import amount
from .rendering.text import one_line
from .replans import what_changed

GOOD_TURNS = frozenset({"fixed", "kept", "passed"})
DONE_STEPS = frozenset({"succeeded", "skipped"})
ENDED = frozenset({"succeeded", "failed", "cancelled"})
ERROR_SHOWN = 600
SHORT = 300
Story = Mapping[str, Any]


def packet(told: Story) -> dict[str, Any]:
    """Goal, result, proof, plans, what was tried, reviews, cost, open questions, and the commands to go on with."""
    goal = (
        "id",
        "text",
        "status",
        "headline",
        "verified",
        "reason",
        "repository",
        "base",
        "model",
        "given_checks",
    )
    return {
        "goal": {name: told[name] for name in (*goal, "started_at", "ended_at", "retry_of")}
        | {"role_models": told.get("role_models", {})},
        "confidence": confidence(told),
        "result": result(told),
        "choice": choice(told),
        "proof": told["proof"],
        "plans": [{"rollout": r["number"], **plan} for r in told["rollouts"] for plan in r["plans"]],
        "tried": [{"rollout": r["number"], **_tried(run)} for r in told["rollouts"] for run in r["runs"]],
        "reviews": [{"rollout": r["number"], **review} for r in told["rollouts"] for review in r["reviews"]],
        "cost": told["cost"],
        "models_used": list(told.get("models_used", ())),
        "approvals": list(told.get("approvals", ())),
        "questions": list(told.get("questions", ())),
        "open_questions": open_questions(told),
        "go_on": go_on(told),
    }


def confidence(told: Story) -> float | None:
    """The last review's; 0 for what failed, whatever a reviewer thought of it; None: nobody has judged yet."""
    if told["status"] in {"failed", "cancelled"}:
        return 0.0
    rollout = shown(told)
    if rollout is None or not rollout["reviews"]:
        return None
    return float(rollout["reviews"][-1]["confidence"])


def choice(told: Story) -> dict[str, Any] | None:
    """Of several rollouts: which one, who chose it and why, and what each was compared by. None: there was no choice."""
    if not told["selected_reason"]:
        return None
    names = (
        "number",
        "status",
        "verified",
        "hint",
        "temperature",
        "model",
        "score",
        "changed_lines",
        "tokens",
        "votes",
    )
    candidates = [{name: rollout[name] for name in names} for rollout in told["rollouts"]]
    return {
        "rollout": told["selected"],
        "by": told["selected_by"],
        "reason": told["selected_reason"],
        "candidates": candidates,
    }


def result(told: Story) -> dict[str, Any] | None:
    """Where the work is: of the selected rollout, else of the one that came furthest. None: nothing was committed."""
    rollout = shown(told)
    if rollout is None or not rollout["head"] or rollout["head"] == told["base"]:
        return None
    names = ("branch", "patch", "patch_sha256", "changed_lines", "verified")
    return {"rollout": rollout["number"], "commit": rollout["head"], **{name: rollout[name] for name in names}}


def shown(told: Story) -> Mapping[str, Any] | None:
    """The rollout that a handover is about."""
    rollouts: Sequence[Mapping[str, Any]] = told["rollouts"]
    if told["selected"] is not None:
        return next(rollout for rollout in rollouts if rollout["number"] == told["selected"])
    return max(rollouts, key=lambda r: (_finished(r), bool(r["reviews"]), -r["number"]), default=None)


def _finished(rollout: Mapping[str, Any]) -> int:
    return sum(step["status"] in DONE_STEPS for step in newest_steps(rollout))


def newest_steps(rollout: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """The steps of the newest revision."""
    return rollout["plans"][-1]["steps"] if rollout["plans"] else ()


def _tried(run: Mapping[str, Any]) -> dict[str, Any]:
    names = ("id", "kind", "revision", "step", "attempt", "status", "losses", "error_kind")
    return {**{name: run[name] for name in names}, "error": run["error"][:ERROR_SHOWN]}


# ---- what is open


def open_questions(told: Story) -> list[str]:
    """What nobody has answered or proven; empty for a result that is verified and whose review found nothing."""
    rollout = shown(told)
    return [
        *_of_checks(told),
        *(_of_steps(rollout) if rollout is not None and told["status"] != "succeeded" else ()),
        *(_of_reviews(rollout) if rollout is not None else ()),
        *_of_money(told["cost"]),
        *_of_people(told),
        *(["The engine itself failed on this goal: see `stuck` in its JSON."] if told["stuck"] else []),
    ]


def _of_checks(told: Story) -> Iterator[str]:
    if not told["proof"]:
        yield "No check says whether the goal is reached: nobody but the reviewer has looked."
    for line in told["proof"]:
        if line["turn"] not in GOOD_TURNS:
            yield f"The check {_line(line['command'])!r}: {line['said']}."
        elif line["another_environment"]:
            yield f"The check {_line(line['command'])!r} ran in another environment than before."
    if told["proof"] and all(line["turn"] == "kept" for line in told["proof"]):
        yield "Every check passed before the work began: none of them shows that the goal is reached."


def _of_steps(rollout: Mapping[str, Any]) -> Iterator[str]:
    for step in newest_steps(rollout):
        if step["status"] not in DONE_STEPS:
            why = step["reason"] or _last_error(rollout, step["index"])
            said = f": {_line(why)}" if why else ""
            yield f"Step {step['index']} is {step['status']} ({_line(step['description'], 100)}){said}"


def _last_error(rollout: Mapping[str, Any], index: int) -> str:
    errors = [run["error"] for run in rollout["runs"] if run["step"] == index and run["error"]]
    return str(errors[-1]) if errors else ""


def _of_reviews(rollout: Mapping[str, Any]) -> Iterator[str]:
    """What the last review found, and asked for in vain."""
    if not rollout["reviews"]:
        return
    last = rollout["reviews"][-1]
    for finding in last["findings"]:
        where = f" ({finding['file']}:{finding.get('line', 0)})" if finding.get("file") else ""
        yield f"Finding, {finding.get('severity', 'medium')}{where}: {_line(finding.get('text', ''))}"
    if last["action"] not in {"complete", "continue"} and last["suggested_changes"]:
        yield f"The last review asked for: {_line(last['suggested_changes'])}"


def _of_money(cost: Mapping[str, Any]) -> Iterator[str]:
    if cost["unknown_calls"]:
        yield f"{cost['unknown_calls']} model call(s) were lost in flight: whether they are billed, only the provider knows."
    if cost["overrun_tokens"]:
        yield f"The provider billed {cost['overrun_tokens']} tokens more than were asked for."


def _of_people(told: Story) -> Iterator[str]:
    for one in told.get("approvals", ()):
        if one["status"] == "waiting":
            asks = "; ".join(one["asks"]) or "the goal was to stop after its plan"
            yield f"Plan r{one['revision']} ({one['plan_sha256'][:12]}) waits for a person: {_line(asks)}"
    for one in _waiting_questions(told):
        choices = f" ({', '.join(one['choices'])})" if one["choices"] else ""
        yield f"Step {one['step']} asks: {_line(one['text'])}{_line(choices)}"
    for review in _waiting_verdicts(told):
        yield f"The verdict {review['action']} waits for a person: {_line(review['asks'])}"


def _waiting_verdicts(told: Story) -> list[Mapping[str, Any]]:
    reviews = [review for rollout in told["rollouts"] for review in rollout["reviews"]]
    return [review for review in reviews if review.get("asks") and not review.get("acted")]


def _waiting_questions(told: Story) -> list[Mapping[str, Any]]:
    return [one for one in told.get("questions", ()) if one["status"] == "waiting"]


# ---- how to go on


def go_on(told: Story) -> list[dict[str, str]]:
    """The exact commands, the most likely one first."""
    name, status = told["id"][:8], told["status"]
    if status == "paused":
        return [_way("go on from where it stands", f"manage.py goal resume {name}{raises(told)}"), *_look(told)]
    if status == "awaiting_approval":
        return [way for one in told.get("approvals", ()) if one["status"] == "waiting" for way in _decide(name, one)]
    if status not in ENDED:
        asked = [
            _way(f"answer step {one['step']}", f"manage.py goal answer {name} ANSWER --question {one['id'][:8]}")
            for one in _waiting_questions(told)
        ]
        verdicts = [
            _way("decide on the verdict", f"manage.py goal override {name} {one['action']} --reason WHY")
            for one in _waiting_verdicts(told)
        ]
        return [*asked, *verdicts, _way("watch it", f"manage.py goal watch {name}")]
    if status == "succeeded":
        more = _way("ask for changes", f"manage.py goal follow-up {name} TEXT")
        return [*_look(told), _way("take the result", f"manage.py goal apply {name}"), more]
    return [_way("try again what is not finished", f"manage.py goal retry {name}"), *_again_from(told), *_look(told)]


def _decide(name: str, approval: Mapping[str, Any]) -> list[dict[str, str]]:
    sha = approval["plan_sha256"][:12]
    yes = f"goal run-plan {name}" if approval["run_only"] else f"goal approve {name} --plan {sha}"
    return [
        _way("let it work by this plan", f"manage.py {yes}"),
        _way("have it planned again", f"manage.py goal reject {name} --plan {sha} --reason WHY"),
        _way("change the plan", f"manage.py goal edit-plan {name} --plan {sha} --file PLAN.json"),
    ]


def _again_from(told: Story) -> list[dict[str, str]]:
    """From the first step that did not succeed, if it was begun: a retry from there keeps what was in its base."""
    rollout = shown(told)
    if rollout is None:
        return []
    begun = {run["step"] for run in rollout["runs"] if run["step"] is not None}
    open_steps = [step["index"] for step in newest_steps(rollout) if step["status"] not in DONE_STEPS]
    first = next((index for index in open_steps if index in begun), None)
    if first is None:
        return []
    of = f" --rollout {rollout['number']}" if len(told["rollouts"]) > 1 else ""
    return [_way(f"do step {first} again", f"manage.py goal retry {told['id'][:8]} --from-step {first}{of}")]


def _look(told: Story) -> list[dict[str, str]]:
    found = result(told)
    if found is None or not found["branch"] or not told["repository"]:
        return []
    where = shlex.join(["git", "-C", told["repository"], "diff", told["base"][:12], found["branch"]])
    return [_way("see the changes", where)]


def _way(what: str, command: str) -> dict[str, str]:
    return {"what": what, "command": command}


# ---- as text


def markdown(handed: Mapping[str, Any]) -> str:
    """The packet to be read: GitHub's Markdown, nothing in it can become markup that the packet did not mean."""
    return "\n".join(_sections(handed)).strip() + "\n"


def _sections(handed: Mapping[str, Any]) -> Iterator[str]:
    goal = handed["goal"]
    yield f"# Goal {goal['id'][:8]}: {goal['headline']}\n"
    yield from _quoted(goal["text"])
    if handed["confidence"] is not None:
        yield f"\nConfidence: {handed['confidence']:.0%}"
    if handed["choice"]:
        yield f"\nWhy this rollout ({_prose(handed['choice']['by'])}): {_prose(handed['choice']['reason'])}"
    if goal["reason"]:
        yield f"\nReason: {_prose(goal['reason'])}"
    if goal["repository"]:
        yield f"\nRepository {_code(goal['repository'])} at {_code(goal['base'][:12])}"
    yield from _heading("Go on with", [f"{way['what']}: {_code(way['command'])}" for way in handed["go_on"]])
    yield from _heading("Open questions", [_prose(question) for question in handed["open_questions"]], "None.")
    yield from _heading("Proof", [_proof_line(line) for line in handed["proof"]], "No check was given or found.")
    yield from _heading("Result", _result_lines(handed["result"]), "Nothing was committed.")
    yield from _heading("Plans", [line for plan in handed["plans"] for line in _plan_lines(plan)], "No plan was made.")
    yield from _heading("What was tried", [_tried_line(run) for run in handed["tried"]], "Nothing yet.")
    yield from _heading("Decisions", [_decision_line(one) for one in handed["approvals"]], "Nobody was asked.")
    if handed["questions"]:
        yield from _heading("Questions", [_question_line(one) for one in handed["questions"]])
    yield from _heading("Reviews", [_review_line(review) for review in handed["reviews"]], "None.")
    yield from _heading("Cost", _cost_lines(handed["cost"]))


def _heading(title: str, lines: Sequence[str], without: str = "") -> Iterator[str]:
    yield f"\n## {title}\n"
    yield from (f"{'' if line.startswith('  ') else '- '}{line}" for line in lines) if lines else iter([without])


def _proof_line(line: Mapping[str, Any]) -> str:
    sides = [side for side in (line["before"], line["after"]) if side]
    ran = ", ".join(f"{'green' if s['passed'] else 'red'} at {_code(s['commit'][:12])}" for s in sides) or "not run"
    logs = ", ".join(_code(s["log"]) for s in sides if s["log"])
    return f"{_code(line['command'])} ({line['origin']}): {_prose(line['said'])}; {ran}{f'; output {logs}' if logs else ''}"


def _result_lines(found: Mapping[str, Any] | None) -> list[str]:
    if found is None:
        return []
    lines = [f"commit {_code(found['commit'])}, rollout {found['rollout']}, {found['changed_lines']} changed lines"]
    lines += [f"branch {_code(found['branch'])}"] if found["branch"] else []
    return lines + ([f"patch {_code(found['patch'])}, sha256 {_code(found['patch_sha256'])}"] if found["patch"] else [])


def _plan_lines(plan: Mapping[str, Any]) -> list[str]:
    head = f"rollout {plan['rollout']}, revision {plan['revision']} ({plan['origin']}), sha256 {_code(plan['sha256'][:12])}"
    if plan.get("replan") and (changed := what_changed(plan["replan"])):
        head += f"; of the one before: {changed}"
    steps = [
        f"  - step {s['index']}, {s['status']}{' (kept)' if s['carried'] else ''}: {_prose(_line(s['description'], 200))}"
        + (f" {_code(s['commit'][:12])}" if s["commit"] else "")
        for s in plan["steps"]
    ]
    return [head, *steps]


def _tried_line(run: Mapping[str, Any]) -> str:
    what = f"step {run['step']}" if run["step"] is not None else run["kind"]
    lost = f", lost {run['losses']} worker(s)" if run["losses"] else ""
    why = f": {_prose(_line(run['error']))}" if run["error"] else ""
    return f"rollout {run['rollout']}, revision {run['revision']}, {what}, attempt {run['attempt']}: {run['status']}{lost}{why}"


def _review_line(review: Mapping[str, Any]) -> str:
    cited = f", evidence {_prose(', '.join(map(str, review['evidence'])))}" if review["evidence"] else ""
    said = _prose(_line(review["reasoning"], 400))
    return f"rollout {review['rollout']}: {review['action']}, confidence {review['confidence']:.0%}{cited}: {said}"


def _question_line(one: Mapping[str, Any]) -> str:
    said = f": {_prose(_line(one['answer']))} ({_prose(one['by'])})" if one["answer"] else ""
    return f"step {one['step']}: {_prose(_line(one['text']))}, {one['status']}{said}"


def _decision_line(one: Mapping[str, Any]) -> str:
    asks = _prose("; ".join(one["asks"]) or "it was to stop after its plan")
    who = f" by {_prose(one['by'])}" if one["by"] else ""
    why = f": {_prose(_line(one['reason']))}" if one["reason"] else ""
    return f"plan r{one['revision']}, {_code(one['plan_sha256'][:12])} ({asks}): {one['status']}{who}{why}"


def _cost_lines(cost: Mapping[str, Any]) -> list[str]:
    return [
        f"{cost['calls']} of {cost['max_calls']} model calls, {cost['commands']} of {cost['max_commands']} commands",
        f"{cost['spent_tokens']} of {cost['max_tokens']} tokens",
        *money_lines(cost),
    ]


def money_lines(cost: Mapping[str, Any]) -> list[str]:
    """What it cost, of what; and what nobody knows."""
    most = f" of {amount(cost['max_usd'])}" if cost["max_usd"] is not None else ""
    lines = [f"price: {cost['price']}{most}"]
    if Decimal(cost["reserved_usd"]):
        lines.append(f"reserved by calls in flight: {amount(cost['reserved_usd'])}")
    if Decimal(cost["overrun_usd"]):
        lines.append(f"billed beyond what was reserved: {amount(cost['overrun_usd'])}")
    if cost["max_steps"] is not None:
        lines.append(f"{cost['steps']} of {cost['max_steps']} attempts at steps")
    return lines


def raises(told: Mapping[str, Any]) -> str:
    """What has to be said to go on from a limit; nothing where none of the goal's own was reached."""
    cap = told["paused_cap"]
    if cap == "price":
        return " --max-tokens N"
    return f" --max-{cap} {'USD' if cap == 'usd' else 'N'}" if cap in ALL_NAMES else ""


def _quoted(text: str) -> list[str]:
    return [f"> {_prose(line)}" for line in text.splitlines() if line.strip()]


def _line(text: object, longest: int = SHORT) -> str:
    return one_line(text, longest)


MARKUP = str.maketrans({char: f"\\{char}" for char in "\\`*_{}[]<>#|!~@&"})


def _prose(text: object) -> str:
    """Words of others as plain text in one line: no markup, no link, no character that lies about those around it."""
    return one_line(text).translate(MARKUP).replace("://", "\\://").replace("www.", "www\\.")


def _code(text: object) -> str:
    """As code, whatever backticks it holds."""
    said = one_line(text, 2000) or " "
    longest = max(map(len, re.findall("`+", said)), default=0)
    fence = "`" * (longest + 1)
    pad = " " if said.startswith("`") or said.endswith("`") else ""
    return f"{fence}{pad}{said}{pad}{fence}"
