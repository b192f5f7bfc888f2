"""The words that `manage.py goal` understands, each verb with an example."""

from __future__ import annotations

import argparse
from typing import Any

from django.core.management.base import CommandParser

from orchestration.budget import ALL_NAMES
from orchestration.diversity import HINTS, parse
from orchestration.fairness import HIGHEST, LOWEST, NORMAL, priority_of
from orchestration.policies import ON_EXPIRY, POLICIES
from orchestration.services import VERDICTS
from orchestration.states import ReviewedBy, ReviewWhen, Strategy

HELP = (
    "Submit goals, follow them, and take their results. "
    "Exit codes: 0 ok, 1 error, 2 usage, 3 goal failed, 4 needs a person, 124 timeout, 130 Ctrl-C."
)
LIMITS = {f"max_{name}": name for name in ALL_NAMES}


def add_subcommands(parser: CommandParser) -> None:
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    submit = _verb(
        verbs,
        "submit",
        "Submit a goal.",
        """goal submit "Make the tests pass" --repo . --check 'python3 -m unittest' --watch""",
    )
    submit.add_argument("text", nargs="?", default="", help="what is to be achieved, in a sentence or two")
    submit.add_argument("--file", default="", metavar="FILE", help="read the goal from a file (- for standard input)")
    submit.add_argument(
        "--repo", metavar="FOLDER", help="a git repository on this machine; without it the work starts from nothing"
    )
    add_team(submit)
    submit.add_argument("--ref", default="", help="branch, tag or commit to start from (default: HEAD)")
    submit.add_argument(
        "--check", action="append", default=[], metavar="CMD", help="a command that proves the goal; repeat for more"
    )
    submit.add_argument(
        "--hidden-check", action="append", default=[], metavar="CMD", help="the same, told to the reviewer alone"
    )
    submit.add_argument("--setup", default="", metavar="CMD", help="build the repository's tools once, with network")
    submit.add_argument(
        "--toolchain", action="append", default=[], metavar="FOLDER", help="a folder of tools to mount read-only"
    )
    submit.add_argument(
        "--rollouts", type=int, default=1, metavar="N", help="try it in N isolated ways at once (1 to 16)"
    )
    submit.add_argument("--strategy", choices=Strategy.values, default=Strategy.EARLY_TERMINATION.value)
    add_priority(submit)
    add_variety(submit)
    add_models(submit)
    submit.add_argument(
        "--allow-check-edits", action="store_true", help="tests and check files may be changed by the work"
    )
    add_review(submit)
    add_approval(submit)
    submit.add_argument("--plan-only", action="store_true", help="stop after the plan, until `goal run-plan`")
    listed = _verb(verbs, "list", "The newest goals.", "goal list --limit 5")
    listed.add_argument("--limit", type=_positive, default=20, metavar="N", help="at most so many (20)")
    add_team(listed)
    _verb(verbs, "show", "One goal: plan, commands, checks, review, cost, events.", "goal show last", goal=True)
    _verb(
        verbs,
        "handover",
        "The handover packet as Markdown (--json: as JSON): what was tried, evidence, open questions, how to go on.",
        "goal handover last > packet.md",
        goal=True,
    )
    watch = _verb(verbs, "watch", "Follow a goal live.", "goal watch last --timeout 600", goal=True)
    cancel = _verb(
        verbs, "cancel", "Cancel a goal; nothing more is begun from now on.", "goal cancel 1a2b3c4d", goal=True
    )
    cancel.add_argument("--reason", default="")
    cancel.add_argument(
        "--force",
        action="store_true",
        help="10 seconds after that was asked: end it without what is not confirmed to be over",
    )
    retry = _verb(
        verbs, "retry", "A new goal that carries over what an ended one finished.", "goal retry last --watch", goal=True
    )
    retry.add_argument(
        "--from-step",
        type=_index,
        metavar="K",
        help="do step K again, and what came after it",
    )
    retry.add_argument("--rollout", type=_positive, metavar="N", help="whose steps (default: the furthest)")
    pause = _verb(
        verbs,
        "pause",
        "Pause a goal: nothing new begins, what runs stops at a safe point.",
        "goal pause last",
        goal=True,
    )
    pause.add_argument("--finish-running", action="store_true", help="let what runs go on to its own end")
    resume = _verb(verbs, "resume", "Go on with a paused goal.", "goal resume last --max-calls 300", goal=True)
    diff = _verb(
        verbs,
        "diff",
        "A goal's changes as a patch: of any rollout, also of one that lost.",
        "goal diff last --rollout 2",
        goal=True,
    )
    diff.add_argument("--rollout", type=_positive, metavar="N", help="whose (default: the selected one's)")
    pick = _verb(
        verbs,
        "pick",
        "Take another rollout's result than the one that was selected.",
        "goal pick last --rollout 2 --reason 'it keeps the old name'",
        goal=True,
    )
    pick.add_argument("--rollout", type=_positive, metavar="N", required=True)
    pick.add_argument("--reason", required=True, help="kept among the events, and shown")
    priority = _verb(
        verbs, "priority", "Let a live goal come sooner, or later.", "goal priority last 8 --reason urgent", goal=True
    )
    priority.add_argument("priority", type=_priority, metavar="N", help="0 to 10; higher ones are worked on first")
    for parser_of in (pause, resume, priority):
        parser_of.add_argument("--reason", default="", help="kept among the events")
    add_people(verbs)
    add_answer(verbs)
    add_message(verbs)
    add_overrides(verbs)
    follow = add_follow_up(verbs)
    applied = _verb(verbs, "apply", "Put a goal's patch on a work tree.", "goal apply last", goal=True)
    applied.add_argument("--to", default="", metavar="FOLDER", help="another work tree than the goal's repository")
    applied.add_argument("--print", action="store_true", help="print the patch instead")
    for parser_of in (submit, retry, resume, follow):
        parser_of.add_argument("--watch", action="store_true", help="follow it until it has ended")
        add_limits(parser_of)
    for parser_of in (submit, retry, resume, follow, watch):
        parser_of.add_argument(
            "--timeout", type=float, metavar="SECONDS", help="stop watching after so long (exit code 124)"
        )


def add_limits(parser: argparse.ArgumentParser | CommandParser) -> None:
    """The goal's own limits: each a whole number, but the amount in USD."""
    for name, limit in LIMITS.items():
        kind: dict[str, Any] = {"metavar": "USD"} if limit == "usd" else {"type": int, "metavar": "N"}
        parser.add_argument(f"--{name.replace('_', '-')}", **kind, help=f"the goal's own limit of {ALL_NAMES[limit]}")


def add_variety(parser: argparse.ArgumentParser | CommandParser) -> None:
    """How several rollouts differ, and when they start."""
    parser.add_argument(
        "--diversity",
        action="append",
        default=[],
        type=_variation,
        metavar="HOW",
        help=f"how a rollout differs, once for each: 'hint=direct temperature=0.3 model=M' (hints: {', '.join(HINTS)})",
    )
    parser.add_argument(
        "--stagger",
        type=_positive,
        metavar="SECONDS",
        help="start each rollout so long after the one before, or once that has ended without a verified success",
    )


def add_priority(parser: argparse.ArgumentParser | CommandParser) -> None:
    parser.add_argument(
        "--priority",
        type=_priority,
        default=NORMAL,
        metavar="0…10",
        help=f"higher ones are worked on first ({NORMAL}); what waits rises by itself",
    )


def add_models(parser: argparse.ArgumentParser | CommandParser) -> None:
    """Who thinks for the goal."""
    parser.add_argument(
        "--model",
        action="append",
        default=[],
        metavar="[ROLE=]P/M[,…]",
        help="provider/model, with fallbacks after commas; repeat it with planner=, executor=, reviewer= or judge=",
    )


def _variation(text: str) -> dict[str, Any]:
    try:
        return parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def add_review(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--review-when", choices=ReviewWhen.values, default=None, help="final (default), each_step, or on_failure"
    )
    parser.add_argument(
        "--reviewed-by",
        choices=ReviewedBy.values,
        default=None,
        help="llm (default); deterministic: the checks alone, no model; human; llm_then_human",
    )
    parser.add_argument(
        "--ask-below", type=float, default=None, metavar="0…1", help="a verdict with less confidence waits for a person"
    )


def review_of(options: dict[str, Any]) -> dict[str, Any]:
    """As `services.submit_goal` takes it."""
    return {name: options[name] for name in ("review_when", "reviewed_by", "ask_below") if options[name] is not None}


def add_approval(parser: argparse.ArgumentParser) -> None:
    """When a person must look at the plans."""
    parser.add_argument(
        "--approve",
        choices=POLICIES,
        dest="approval",
        default=None,
        help="ask a person about every plan, or about those that touch protected paths or the network (never)",
    )
    parser.add_argument("--approve-above", metavar="USD", help="ask when the forecast is above it, or is not known")
    parser.add_argument(
        "--protect", action="append", metavar="GLOB", help="a protected path; repeat for more (default: a list of ours)"
    )
    parser.add_argument("--four-eyes", action="store_true", default=None, help="not the one who wanted it may approve")
    parser.add_argument(
        "--approval-hours",
        type=int,
        metavar="N",
        help="a decision about a plan or a verdict is waited for so long (72)",
    )
    parser.add_argument(
        "--on-expiry", choices=ON_EXPIRY, help="what happens when nobody decides: the goal ends (reject), or pauses"
    )


def approval_of(options: dict[str, Any]) -> dict[str, Any]:
    """The approval policy that was typed, in the words of `submit_goal`."""
    words = {"policy": "approval", "above_usd": "approve_above", "protected": "protect", "four_eyes": "four_eyes"}
    words |= {"hours": "approval_hours", "on_expiry": "on_expiry"}
    return {name: options[word] for name, word in words.items() if options.get(word) is not None}


def add_people(verbs: Any) -> None:
    """What a person says about a plan."""
    approve = _verb(
        verbs, "approve", "Approve the plan with this hash.", "goal approve last --plan 1a2b3c4d5e6f", goal=True
    )
    reject = _verb(
        verbs,
        "reject",
        "Reject a plan: it is planned again, and the planner is told why.",
        "goal reject last --plan 1a2b3c4d5e6f --reason 'leave the tests alone'",
        goal=True,
    )
    edit = _verb(
        verbs,
        "edit-plan",
        "Put another plan in the place of the one that waits (--print shows it as JSON).",
        "goal edit-plan last --print > plan.json; $EDITOR plan.json; goal edit-plan last --plan 1a2b3c4d --file plan.json",
        goal=True,
    )
    run = _verb(
        verbs, "run-plan", "Go on with a plan-only goal, by the plan that it has.", "goal run-plan last", goal=True
    )
    for parser in (approve, reject, edit):
        parser.add_argument("--plan", default="", metavar="SHA256", help="its hash as you saw it, 8 characters or more")
        parser.add_argument("--reason", default="", help="kept with the decision")
    edit.add_argument("--file", default="", metavar="FILE", help="the plan as JSON (- for standard input)")
    edit.add_argument("--print", action="store_true", help="print the plan that waits")
    for parser in (approve, run):
        parser.add_argument("--watch", action="store_true", help="follow it until it has ended")
        parser.add_argument("--timeout", type=float, metavar="SECONDS", help="stop watching after so long")


def add_answer(verbs: Any) -> None:
    answer = _verb(verbs, "answer", "Answer a step's question.", "goal answer last green", goal=True)
    answer.add_argument("answer", help="one of its choices, where it has some")
    answer.add_argument("--question", default="", metavar="ID", help="which, where several wait (its first characters)")


def add_message(verbs: Any) -> None:
    message = _verb(
        verbs,
        "message",
        "Say something to those who work on a goal: their next model call has it.",
        'goal message last "keep the public names" --to executor',
        goal=True,
    )
    message.add_argument("text", help="what you want to say")
    message.add_argument("--to", choices=("executor", "planner", "reviewer"), default="executor", help="(executor)")


def add_overrides(verbs: Any) -> None:
    for verb, words in (
        ("skip", "Leave a step out; what depends on it goes on as if it were done."),
        ("mark-done", "A step is done by hand: its work is taken to be in head."),
    ):
        parser = _verb(verbs, verb, words, f"goal {verb} last 3 --reason 'not needed any more'", goal=True)
        parser.add_argument("step", type=_index, help="its number in the newest plan")
        parser.add_argument("--reason", required=True, help="told in the goal's story")
        parser.add_argument("--rollout", type=_positive, metavar="N", help="where several are open")
    override = _verb(
        verbs,
        "override",
        "Your verdict in the place of the last review's; `complete` makes it succeed, unverified.",
        "goal override last complete --reason 'the reviewer misread the diff'",
        goal=True,
    )
    override.add_argument("action", choices=VERDICTS)
    override.add_argument("--reason", required=True, help="told in the goal's story")
    override.add_argument("--step", type=_index, action="append", default=[], metavar="K", help="which it means")
    override.add_argument("--changes", default="", help="what to do differently")
    override.add_argument("--rollout", type=_positive, metavar="N", help="where several are open")


def add_follow_up(verbs: Any) -> argparse.ArgumentParser:
    follow = _verb(
        verbs,
        "follow-up",
        "A goal that goes on from the result of an ended one, with what was pushed to its branch since.",
        'goal follow-up last "use the same words in the docs" --watch',
        goal=True,
    )
    follow.add_argument("text", help="what is to be done beyond it, or changed")
    return follow


def add_team(parser: argparse.ArgumentParser | CommandParser) -> None:
    parser.add_argument(
        "--team", default="", metavar="TEAM", help="whose it is; where there is one team it need not be said"
    )


def _priority(text: str) -> int:
    try:
        return priority_of(int(text))
    except ValueError:
        raise argparse.ArgumentTypeError(f"a number from {LOWEST} to {HIGHEST}, not {text!r}") from None


def _positive(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 100_000:
        raise argparse.ArgumentTypeError(f"a number from 1 to 100000, not {text!r}")
    return int(text)


def _index(text: str) -> int:
    if not (text.isascii() and text.isdecimal()) or len(text) > 5:
        raise argparse.ArgumentTypeError(f"a step's number, not {text!r}")
    return int(text)


def limits_of(options: dict[str, Any]) -> dict[str, Any]:
    return {limit: options[name] for name, limit in LIMITS.items() if options.get(name) is not None}


def _verb(verbs: Any, name: str, words: str, example: str, goal: bool = False) -> argparse.ArgumentParser:
    added: argparse.ArgumentParser = verbs.add_parser(
        name,
        help=words,
        description=words,
        epilog=f"example: manage.py {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    added.add_argument("--json", action="store_true", help="print JSON on stdout")
    if goal:
        added.add_argument("id", help="the goal's id, its first characters, or `last`")
    return added
