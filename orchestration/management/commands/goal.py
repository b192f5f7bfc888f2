"""manage.py goal submit|list|show|watch|cancel|retry|apply|diff|pick|approve …: thin, over services and the story."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from agents.delivery import apply_patch
from agents.source import local_changes, local_commit
from orchestration import services, story
from orchestration.blobs import load_blob
from orchestration.errors import BadInput
from orchestration.handover import markdown, packet
from orchestration.management import deciding
from orchestration.management.arguments import HELP, add_subcommands, approval_of, limits_of, review_of
from orchestration.management.problems import EXIT_INTERRUPTED, in_a_sentence
from orchestration.models import Goal, Rollout
from orchestration.selectors.results import patch_of, result_of, rollout_of
from orchestration.states import GoalStatus
from orchestration.terminal import Paint, plain, render, ways
from orchestration.watching import NO_WORKER, Watcher

EXIT_FAILED, EXIT_PERSON, EXIT_TIMEOUT = 3, 4, 124


class Command(BaseCommand):
    help = HELP
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        add_subcommands(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        verbs: dict[str, Callable[..., int]] = {
            "submit": self.submit,
            "list": self.list,
            "show": self.show,
            "handover": self.handover,
            "watch": self.watch,
            "cancel": self.cancel,
            "retry": self.retry,
            "pause": self.pause,
            "resume": self.resume,
            "apply": self.apply,
            "diff": self.diff,
            "pick": self.pick,
            "approve": self.approve,
            "reject": self.reject,
            "edit-plan": self.edit_plan,
            "run-plan": self.run_plan,
            "answer": self.answer,
            "follow-up": self.follow_up,
            "message": self.message,
            "priority": self.priority,
            "skip": self.skip,
            "mark-done": self.mark_done,
            "override": self.override,
        }
        with in_a_sentence():
            code = verbs[options["verb"]](options)
        if code:
            sys.exit(code)

    # ---- verbs

    def submit(self, options: dict[str, Any]) -> int:
        goal = services.submit_goal(
            self._text(options),
            team=options["team"],
            repo=options["repo"],
            ref=options["ref"],
            checks=options["check"],
            hidden_checks=options["hidden_check"],
            limits=limits_of(options),
            priority=options["priority"],
            rollouts=options["rollouts"],
            strategy=options["strategy"],
            diversity=options["diversity"],
            stagger=options["stagger"],
            role_models=options["model"],
            allow_check_edits=options["allow_check_edits"],
            review=review_of(options),
            approval=approval_of(options),
            plan_only=options["plan_only"],
            setup=options["setup"],
            toolchain=options["toolchain"],
            allow_repo=True,
        )
        self._tell_where(goal)
        if not options["watch"]:
            self._out(options, story.summary(goal), str(goal.pk))
            self._talk(f"goal {goal.short_id} is {goal.status}; follow it with: manage.py goal watch {goal.short_id}")
            if not story.workers_alive():
                self._talk(NO_WORKER)
            return 0
        return self._follow(goal, options)

    def list(self, options: dict[str, Any]) -> int:
        goals = Goal.objects.order_by("-created_at")
        if options["team"]:
            goals = goals.filter(team=services.team_of_machine(options["team"]))
        goals = goals.select_related("team")[: options["limit"]]
        rows = [story.summary(goal) for goal in goals]
        if options["json"]:
            self._json(rows)
            return 0
        for row in rows:
            self.stdout.write(
                f"{row['id'][:8]}  {row['created_at'][:16]}  {row['headline']:32}  {plain(row['text'], 80)}"
            )
        if not rows:
            self._talk('no goals yet; submit one: manage.py goal submit "what is to be done" --repo .')
        return 0

    def show(self, options: dict[str, Any]) -> int:
        self._show(story.find_goal(options["id"]), options)
        return 0

    def handover(self, options: dict[str, Any]) -> int:
        handed = packet(story.handed_over(story.find_goal(options["id"])))
        self._out(options, handed, markdown(handed).rstrip())
        return 0

    def watch(self, options: dict[str, Any]) -> int:
        return self._follow(story.find_goal(options["id"]), options)

    def cancel(self, options: dict[str, Any]) -> int:
        goal = services.cancel_goal(story.find_goal(options["id"]).pk, reason=options["reason"], force=options["force"])
        self._out(options, story.summary(goal), f"goal {goal.short_id} is {goal.status}")
        return 0

    def retry(self, options: dict[str, Any]) -> int:
        goal = services.retry_goal(
            story.find_goal(options["id"]).pk,
            limits=limits_of(options),
            from_step=options["from_step"],
            rollout=options["rollout"],
        )
        if options["watch"]:
            return self._follow(goal, options)
        self._out(options, story.summary(goal), str(goal.pk))
        return 0

    def pause(self, options: dict[str, Any]) -> int:
        pk, how = story.find_goal(options["id"]).pk, {"finish_running": options["finish_running"]}
        goal = services.pause_goal(pk, by="shell", reason=options["reason"], **how)
        self._out(options, story.summary(goal), f"goal {goal.short_id} is {goal.status}")
        return 0

    def resume(self, options: dict[str, Any]) -> int:
        goal = services.resume_goal(
            story.find_goal(options["id"]).pk, limits=limits_of(options), reason=options["reason"]
        )
        if options["watch"]:
            return self._follow(goal, options)
        self._out(options, story.summary(goal), f"goal {goal.short_id} goes on")
        return 0

    def apply(self, options: dict[str, Any]) -> int:
        """The selected rollout's patch onto a work tree."""
        goal = story.find_goal(options["id"])
        rollout = goal.selected
        if rollout is None or rollout.patch_id is None:
            raise BadInput(f"goal {goal.short_id} is {goal.status} and has no result to apply")
        patch = load_blob(rollout.patch_id)
        if options["print"]:
            self._print(patch)
            return 0
        if not patch:
            raise BadInput(f"goal {goal.short_id} changed nothing, so there is nothing to apply")
        tree = self._tree(goal, options)
        apply_patch(tree, patch)
        how = "verified" if goal.verified else "UNVERIFIED: no check proved it"
        self._out(
            options, {**story.summary(goal), "applied_to": str(tree)}, f"{tree}: {_size(rollout)} applied ({how})"
        )
        return 0

    def diff(self, options: dict[str, Any]) -> int:
        """A rollout's patch, as it is."""
        goal = story.find_goal(options["id"])
        rollout = result_of(goal) if options["rollout"] is None else rollout_of(goal, options["rollout"])
        self._print(load_blob(patch_of(rollout)))
        return 0

    def pick(self, options: dict[str, Any]) -> int:
        goal = services.pick_rollout(
            story.find_goal(options["id"]).pk, options["rollout"], reason=options["reason"], by="shell"
        )
        how = "verified" if goal.verified else "UNVERIFIED: no check proved it"
        self._out(
            options,
            story.summary(goal),
            f"goal {goal.short_id} has the result of rollout {options['rollout']} now ({how})",
        )
        return 0

    def approve(self, options: dict[str, Any]) -> int:
        return self._decided(deciding.approve(options), options)

    def reject(self, options: dict[str, Any]) -> int:
        return self._decided(deciding.reject(options), options)

    def run_plan(self, options: dict[str, Any]) -> int:
        return self._decided(deciding.run_plan(story.find_goal(options["id"])), options)

    def edit_plan(self, options: dict[str, Any]) -> int:
        if options["print"]:
            self._json(deciding.plan_that_waits(options))
            return 0
        made = deciding.edit(options)
        how = f"approve it with: manage.py goal approve {made.goal.short_id} --plan {made.plan_sha256[:12]}"
        self._out(options, story.approval(made), f"plan r{made.plan.revision} ({made.plan_sha256[:12]}) waits; {how}")
        return 0

    def answer(self, options: dict[str, Any]) -> int:
        done = deciding.answer(options)
        self._out(options, {**story.question(done.question), "first": done.first}, done.said)
        return 0

    def follow_up(self, options: dict[str, Any]) -> int:
        goal = services.follow_up(story.find_goal(options["id"]).pk, options["text"], limits=limits_of(options))
        if options["watch"]:
            return self._follow(goal, options)
        self._out(options, story.summary(goal), str(goal.pk))
        return 0

    def message(self, options: dict[str, Any]) -> int:
        goal = story.find_goal(options["id"])
        services.send_message(goal.pk, options["text"], to=options["to"])
        self._out(options, story.summary(goal), f"the {options['to']}'s next model call of goal {goal.short_id} has it")
        return 0

    def priority(self, options: dict[str, Any]) -> int:
        pk, how = story.find_goal(options["id"]).pk, {"reason": options["reason"]}
        goal = services.set_priority(pk, options["priority"], by="shell", **how)
        self._out(options, story.summary(goal), f"goal {goal.short_id} has priority {goal.priority}")
        return 0

    def skip(self, options: dict[str, Any]) -> int:
        return self._settled(services.skip_step, options)

    def mark_done(self, options: dict[str, Any]) -> int:
        return self._settled(services.mark_done, options)

    def _settled(self, act: Callable[..., Any], options: dict[str, Any]) -> int:
        why = {"reason": options["reason"], "rollout": options["rollout"]}
        goal = story.find_goal(options["id"])
        step = act(goal.pk, options["step"], by="shell", **why)
        self._out(options, story.summary(Goal.objects.get(pk=goal.pk)), f"step {step.index} is {step.status}")
        return 0

    def override(self, options: dict[str, Any]) -> int:
        said = {name: options[name] for name in ("reason", "changes", "rollout")}
        pk, action = story.find_goal(options["id"]).pk, options["action"]
        goal = services.override_verdict(pk, action, by="shell", steps=options["step"], **said)
        self._out(options, story.summary(goal), f"goal {goal.short_id} is {story.headline(goal)}")
        return 0

    def _decided(self, decision: services.Decision, options: dict[str, Any]) -> int:
        if options.get("watch"):
            self._talk(decision.said)
            return self._follow(decision.approval.goal, options)
        self._out(options, {**story.approval(decision.approval), "first": decision.first}, decision.said)
        return 0

    # ---- their parts

    def _text(self, options: dict[str, Any]) -> str:
        if options["file"] == "-":
            return sys.stdin.read()
        if options["file"]:
            try:
                return Path(options["file"]).read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                raise BadInput(f"the goal cannot be read from {options['file']}: {error}") from error
        return options["text"] or ""

    def _tell_where(self, goal: Goal) -> None:
        if goal.repository is not None:
            place, ref = Path(goal.repository.path), goal.base_ref or "HEAD"
            changed = local_changes(place)
            left_out = f", {changed} uncommitted file(s) not included" if changed else ""
            self._talk(f"works from {local_commit(place, ref) or 'an unknown commit'} ({ref}) of {place}{left_out}")

    def _follow(self, goal: Goal, options: dict[str, Any]) -> int:
        say = self._talk if options["json"] else self.stdout.write
        watcher = Watcher(goal, say, self._talk, self._paint(), seq=0)
        self._talk(f"watching goal {goal.short_id} (Ctrl-C leaves it running)")
        try:
            goal = watcher.follow(options["timeout"])
        except TimeoutError as error:
            self._talk(str(error))
            return EXIT_TIMEOUT
        except KeyboardInterrupt:
            self._talk(f"\ngoal {goal.short_id} goes on; come back with: manage.py goal watch {goal.short_id}")
            return EXIT_INTERRUPTED
        self._show(goal, options, brief=True)
        if goal.status in {GoalStatus.PAUSED, GoalStatus.AWAITING_APPROVAL}:
            return EXIT_PERSON
        return 0 if goal.status == GoalStatus.SUCCEEDED else EXIT_FAILED

    def _show(self, goal: Goal, options: dict[str, Any], brief: bool = False) -> None:
        told = story.story(goal)
        if options["json"]:
            self._json(told)
            return
        if brief:
            told |= {"events": [], "commands": []}
            self.stdout.write("")
        for line in render(told, self._paint()):
            if not (brief and line.endswith("Events")):
                self.stdout.write(line)
        # beside a story just watched it is talk; asked for, it is part of the answer
        say = self._talk if brief else self.stdout.write
        for line in ways(told, self._paint()):
            say(line)

    def _tree(self, goal: Goal, options: dict[str, Any]) -> Path:
        if options["to"]:
            return Path(options["to"]).resolve()
        if goal.repository is None:
            raise BadInput("the goal had no repository: say where the patch goes with --to FOLDER")
        return Path(goal.repository.path)

    def _out(self, options: dict[str, Any], value: Any, line: str) -> None:
        if options["json"]:
            self._json(value)
        else:
            self.stdout.write(line)

    def _print(self, data: bytes) -> None:
        """As it is: a patch holds whatever bytes its files hold."""
        self.stdout.flush()
        if (raw := getattr(self.stdout, "buffer", None)) is not None:
            raw.write(data)
        else:
            self.stdout.write(data.decode("utf-8", "replace"), ending="")

    def _json(self, value: Any) -> None:
        self.stdout.write(json.dumps(value, indent=1, default=str))

    def _talk(self, line: str) -> None:
        self.stderr.write(line, style_func=lambda text: text)

    def _paint(self) -> Paint:
        return Paint(self.stdout.isatty())


def _size(rollout: Rollout) -> str:
    return f"{rollout.changed_lines} changed line(s)"
