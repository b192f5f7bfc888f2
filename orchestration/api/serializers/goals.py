"""Goals, in and out."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from ... import services, story
from ...diversity import HINTS
from ...models import Check, Goal, Rollout
from ...policies import MOST_HOURS, ON_EXPIRY, POLICIES
from ...proof import SAID
from ...role_models import LONGEST_CHAIN, LONGEST_NAME
from ...selectors.goal_page import why_of
from ...selectors.models_used import models_used
from ...selectors.proofs import proofs_of
from ...states import CheckOrigin, ReviewedBy, ReviewWhen, Strategy
from .fields import Flag, Input, JSONObject, Limits, Number, Text

REPOSITORY = "id or path of one of the team's repositories, or a path below REPO_ROOTS"
TEAM = "name or id of the team whose it is; where you are in one only, or the repository is named by its id, it may be left out"


class ReviewPolicy(Input):
    """How the goal is judged; what the checks say is never overruled by any of it."""

    review_when = serializers.ChoiceField(ReviewWhen.choices, required=False)
    reviewed_by = serializers.ChoiceField(ReviewedBy.choices, required=False)
    ask_below = serializers.FloatField(
        required=False, min_value=0, max_value=1, help_text="a verdict with less confidence waits for a person"
    )


class Variation(Input):
    """How one rollout differs from the others; what is left out is as everybody's."""

    hint = serializers.ChoiceField([(hint, hint) for hint in HINTS], required=False)
    temperature = serializers.FloatField(required=False, min_value=0, max_value=2)
    model = Text(required=False, max_length=200, help_text="another model of the same server")


def _chain() -> serializers.ListField:
    words = "provider/model, first choice first; `environment/model` is the machine's own server"
    return serializers.ListField(
        child=Text(max_length=LONGEST_NAME), required=False, max_length=LONGEST_CHAIN, help_text=words
    )


class RoleModels(Input):
    """Which models work on it, by role; a role that is left out is as the team does it, else the machine's own model."""

    planner = _chain()
    executor = _chain()
    reviewer = _chain()
    judge = _chain()


class PickInput(Input):
    rollout = Number(min_value=1, max_value=16, help_text="its number; one that succeeded")
    reason = Text(max_length=500, help_text="kept with the event, and shown")


class ApprovalPolicyInput(Input):
    """When a person must look at a goal's plans."""

    policy = serializers.ChoiceField(
        list(POLICIES), required=False, help_text="`protected`: plans that may write protected paths or ask for network"
    )
    above_usd = Text(
        required=False, allow_blank=True, max_length=20, help_text="ask too when the forecast is above it, or unknown"
    )
    protected = serializers.ListField(
        child=Text(max_length=300), required=False, max_length=50, help_text="globs; empty: the installation's list"
    )
    four_eyes = Flag(required=False, help_text="who wanted the plan may not approve it, and a reason must be given")
    hours = Number(required=False, min_value=1, max_value=MOST_HOURS, help_text="how long a decision is waited for")
    on_expiry = serializers.ChoiceField(
        list(ON_EXPIRY), required=False, help_text="nobody decided: the goal ends (`reject`), or pauses"
    )


class GoalInput(Input):
    text = Text(help_text="what is to be achieved")
    team = Text(required=False, max_length=60, help_text=TEAM)
    context = JSONObject(required=False, help_text="anything else that the agents should know")  # type: ignore[assignment]  # fields leave the class
    repository = Text(required=False, allow_blank=True, allow_null=True, max_length=1000, help_text=REPOSITORY)
    base_ref = Text(required=False, allow_blank=True, max_length=250, help_text="branch, tag or commit; empty: HEAD")
    checks = serializers.ListField(
        child=Text(max_length=2000), required=False, max_length=20, help_text="commands whose exit code 0 proves it"
    )
    hidden_checks = serializers.ListField(
        child=Text(max_length=2000),
        required=False,
        max_length=20,
        help_text="the same, told to the reviewer alone: no planner and no executor sees them",
    )
    limits = Limits(required=False)
    priority = Number(required=False, min_value=0, max_value=10, help_text="higher ones are worked on first (5)")
    rollouts_wanted = Number(required=False, min_value=1, max_value=16)
    strategy = serializers.ChoiceField(Strategy.choices, required=False)
    diversity = serializers.ListField(
        child=Variation(), required=False, max_length=16, help_text="how the rollouts differ, one after the other"
    )
    stagger_seconds = Number(
        required=False,
        allow_null=True,
        min_value=1,
        max_value=86400,
        help_text="each rollout starts so long after the one before, or once that has ended without a verified success",
    )
    role_models = RoleModels(required=False)
    allow_check_edits = Flag(required=False, help_text="check files are not restored from the base")
    review = ReviewPolicy(required=False)
    approval = ApprovalPolicyInput(required=False)
    plan_only = Flag(required=False, help_text="stops after its plan, until POST …/run-plan")


class Nothing(Input):
    """No field at all."""


class ReasonInput(Input):
    reason = Text(required=False, allow_blank=True, max_length=500, help_text="kept with the event")


class PauseInput(ReasonInput):
    finish_running = Flag(required=False, help_text="what runs goes on to its own end; else it stops at a safe point")


class CancelInput(ReasonInput):
    force = Flag(
        required=False,
        help_text="10 seconds after cancel was asked: end it without what is not confirmed to be over; late reports are refused",
    )


class PriorityInput(ReasonInput):
    priority = Number(min_value=0, max_value=10, help_text="higher ones are worked on first")


class LimitsInput(Input):
    limits = Limits(required=False)


class ResumeInput(LimitsInput, ReasonInput):
    pass


class RetryInput(LimitsInput):
    from_step = Number(
        required=False,
        min_value=0,
        max_value=32767,
        help_text="do this step again, and what came after it; steps that are in the commit it had started from are kept",
    )
    rollout = Number(required=False, min_value=1, max_value=16, help_text="whose steps; by default the furthest one's")


class FollowUpInput(LimitsInput):
    text = Text(help_text="what is to be done beyond the result, or changed in it")


class MessageInput(Input):
    text = Text(max_length=4000)
    to = serializers.ChoiceField(
        ["executor", "planner", "reviewer"], required=False, help_text="whose next model calls have it (executor)"
    )


class StepInput(Input):
    step = Number(min_value=0, max_value=32767, help_text="its number in the newest plan")
    reason = Text(max_length=500, help_text="told in the goal's story")
    rollout = Number(required=False, min_value=1, max_value=16, help_text="where several are open")


class OverrideInput(Input):
    action = serializers.ChoiceField(list(services.VERDICTS), help_text="`complete`: it succeeds, unverified")
    reason = Text(max_length=500, help_text="told in the goal's story")
    steps = serializers.ListField(child=Number(min_value=0, max_value=32767), required=False, max_length=50)
    changes = Text(required=False, allow_blank=True, max_length=4000, help_text="what to do differently")
    rollout = Number(required=False, min_value=1, max_value=16, help_text="where several are open")


class GoalSummary(serializers.ModelSerializer[Goal]):
    title = serializers.SerializerMethodField(help_text="the beginning of its text, in one line")
    headline = serializers.SerializerMethodField(help_text="the status in words: an unverified success says so")
    team = serializers.CharField(source="team.name", read_only=True)
    owner = serializers.CharField(source="submitted_by.username", default=None, allow_null=True, read_only=True)
    repository = serializers.UUIDField(source="repository_id", allow_null=True, read_only=True)
    retry_of = serializers.UUIDField(source="retry_of_id", allow_null=True, read_only=True)

    follow_up_of = serializers.UUIDField(source="follow_up_of_id", allow_null=True, read_only=True)

    class Meta:
        model = Goal
        fields = [
            "id",
            "team",
            "title",
            "status",
            "headline",
            "verified",
            "unverified_by",
            "reason",
            "stuck",
            "paused_cap",
            "repository",
            "base_ref",
            "priority",
            "rollouts_wanted",
            "strategy",
            "origin",
            "owner",
            "retry_of",
            "follow_up_of",
            "created_at",
            "started_at",
            "ended_at",
        ]
        read_only_fields = fields

    def get_title(self, goal: Goal) -> str:
        return " ".join(str(getattr(goal, "opening", None) or goal.text).split())[:120]

    def get_headline(self, goal: Goal) -> str:
        return story.headline(goal)


class Counts(serializers.Serializer[Any]):
    """What a check's output says in numbers."""

    runner = serializers.CharField(help_text="pytest, unittest, go, cargo, node or junit")
    passed = serializers.IntegerField()
    failed = serializers.IntegerField()
    skipped = serializers.IntegerField()
    failures = serializers.ListField(child=serializers.CharField(), help_text="what failed, where the runner names it")


class CheckResult(serializers.ModelSerializer[Check]):
    rollout = serializers.IntegerField(source="rollout.number", default=None, allow_null=True, read_only=True)
    counts = Counts(allow_null=True, read_only=True)

    class Meta:
        model = Check
        fields = [
            *("phase", "origin", "command", "commit", "passed", "exit_code", "timed_out", "missing", "flaky"),
            *("counts", "environment", "log", "rollout"),
        ]
        read_only_fields = fields


class ProofSide(serializers.Serializer[Any]):
    """One check on one commit."""

    passed = serializers.BooleanField()
    exit_code = serializers.IntegerField(allow_null=True)
    timed_out = serializers.BooleanField()
    missing = serializers.CharField(help_text="the program that the sandbox lacks")
    flaky = serializers.BooleanField()
    counts = Counts(allow_null=True)
    commit = serializers.CharField()
    environment = serializers.CharField(help_text="a hash of what it ran in")
    log = serializers.CharField(help_text="the artifact with its whole output")


class ProofLine(serializers.Serializer[Any]):
    """A check before and after."""

    command = serializers.CharField()
    origin = serializers.ChoiceField(CheckOrigin.choices)
    turn = serializers.ChoiceField(list(SAID))
    said = serializers.CharField(help_text="the same in words")
    another_environment = serializers.BooleanField()
    before = ProofSide(allow_null=True)
    after = ProofSide(allow_null=True)


class Cost(serializers.Serializer[Any]):
    """What was used, of what was allowed."""

    calls = serializers.IntegerField()
    commands = serializers.IntegerField()
    spent_tokens = serializers.IntegerField()
    reserved_tokens = serializers.IntegerField(help_text="of calls that are in flight")
    overrun_tokens = serializers.IntegerField(help_text="billed beyond what was reserved")
    prompt_tokens = serializers.IntegerField()
    completion_tokens = serializers.IntegerField()
    cached_tokens = serializers.IntegerField()
    unknown_calls = serializers.IntegerField(help_text="begun, and lost before their answer was recorded")
    unknown_tokens = serializers.IntegerField()
    max_calls = serializers.IntegerField()
    max_tokens = serializers.IntegerField()
    max_commands = serializers.IntegerField()
    max_seconds = serializers.IntegerField()
    steps = serializers.IntegerField(help_text="attempts at steps, counted at their first model call")
    max_steps = serializers.IntegerField(allow_null=True, help_text="null: no limit")
    usd = serializers.DecimalField(
        14, 6, allow_null=True, help_text="of the calls whose price is known; null: of none is it known"
    )
    unpriced_calls = serializers.IntegerField(help_text="model calls that are not in `usd`: nobody knows their price")
    price = serializers.CharField(help_text="`usd` in words, with what is unknown")
    max_usd = serializers.DecimalField(14, 6, allow_null=True, help_text="null: no limit")
    reserved_usd = serializers.DecimalField(14, 6, help_text="of calls that are in flight")
    overrun_usd = serializers.DecimalField(14, 6, help_text="billed beyond what was reserved")
    near_limits = serializers.ListField(
        child=serializers.CharField(), help_text="limits of an open goal of which four fifths are used, in words"
    )


class ModelUse(serializers.Serializer[Any]):
    """What one model did in one kind of work; retries of a call that was lost or refused are counted too."""

    work = serializers.CharField(help_text="plan, step, review, exam or judge")
    provider = serializers.CharField(help_text="empty: the machine's own model")
    model = serializers.CharField(help_text="as its server calls it; empty: it has never answered")
    calls = serializers.IntegerField()
    prompt_tokens = serializers.IntegerField()
    cached_tokens = serializers.IntegerField()
    completion_tokens = serializers.IntegerField()
    hit_rate = serializers.FloatField(allow_null=True, help_text="cached of prompt tokens; null: nothing was asked")


class Confirmation(serializers.Serializer[Any]):
    """One thing that must be over before a cancelled goal is."""

    what = serializers.CharField(help_text="queued runs, model request, sandbox or reservations")
    subject = serializers.CharField()
    confirmed_at = serializers.DateTimeField(allow_null=True, help_text="null: not confirmed")


class Cancel(serializers.Serializer[Any]):
    """What of a cancelled goal is over for certain, and since when."""

    asked_at = serializers.DateTimeField()
    confirmations = Confirmation(many=True)
    unconfirmed = serializers.IntegerField()
    can_force = serializers.BooleanField(help_text="it has hung for 10 seconds: POST …/cancel with `force`")


class Way(serializers.Serializer[Any]):
    what = serializers.CharField()
    command = serializers.CharField()


class Handover(serializers.Serializer[Any]):
    """All that the next person or agent needs to go on without asking anybody."""

    goal = JSONObject()
    confidence = serializers.FloatField(
        allow_null=True, help_text="of the last review; 0 for what failed; null: nobody has judged yet"
    )
    choice = JSONObject(allow_null=True, help_text="of several rollouts: which one, by whom and why; null: no choice")
    result = JSONObject(allow_null=True, help_text="commit, branch and patch; null: nothing was committed")
    proof = ProofLine(many=True)
    plans = serializers.ListField(child=JSONObject(), help_text="each revision of each rollout, with its steps")
    tried = serializers.ListField(child=JSONObject(), help_text="each run, with how it ended")
    reviews = serializers.ListField(child=JSONObject())
    cost = Cost()
    models_used = ModelUse(many=True)
    approvals = serializers.ListField(child=JSONObject(), help_text="what people were asked, and what they decided")
    questions = serializers.ListField(child=JSONObject(), help_text="what steps asked people, and what they answered")
    open_questions = serializers.ListField(child=serializers.CharField())
    go_on = Way(many=True)


class Candidate(serializers.ModelSerializer[Rollout]):
    """One rollout, as far as it is compared with the others."""

    class Meta:
        model = Rollout
        fields = [
            *("id", "number", "status", "reason", "hint", "temperature", "model", "verified", "score"),
            *("changed_lines", "tokens", "votes"),
        ]
        read_only_fields = fields


class Range(serializers.Serializer[Any]):
    p50 = serializers.FloatField()
    p90 = serializers.FloatField()


class Forecast(serializers.Serializer[Any]):
    """What a goal would probably cost and take, as known at its first plan; all ranges null: too few goals have finished."""

    n = serializers.IntegerField(help_text="from so many finished goals")
    of = serializers.CharField(help_text="schedule, repository or team: what they share with this one")
    micro_usd = Range(allow_null=True, help_text="1e-6 USD; null: not known")
    tokens = Range(allow_null=True)
    seconds = Range(allow_null=True)
    said = serializers.CharField(help_text="the same in words")
    error = JSONObject(help_text="once it has ended, by measure: actual, ratio (of P50), within_p90")
    error_said = serializers.CharField(help_text="the same in words")
    record_said = serializers.CharField(help_text="how many of the team's earlier forecasts stayed within P90")


class InLine(serializers.Serializer[Any]):
    """Where a goal stands that waits for room under its team's caps of running goals."""

    place = serializers.IntegerField()
    length = serializers.IntegerField(help_text="how many wait")
    cap = serializers.CharField(help_text="team, user or repository; empty: there is room, it goes on within seconds")
    said = serializers.CharField(help_text="why, in words")


class GoalDetail(GoalSummary):
    forecast = serializers.SerializerMethodField()
    in_line = serializers.SerializerMethodField(help_text="null: it does not wait in line")
    cost = serializers.SerializerMethodField()
    cancel = serializers.SerializerMethodField()
    why = serializers.SerializerMethodField(help_text="a sentence: what holds it where it is, and what to do about it")
    check_results = CheckResult(many=True, read_only=True)
    context = JSONObject(read_only=True)  # type: ignore[assignment]  # fields leave the class
    approval = JSONObject(read_only=True, help_text="when a person must look at its plans; empty: never")
    checks = serializers.ListField(child=serializers.CharField(), read_only=True)
    hidden_checks = serializers.ListField(child=serializers.CharField(), read_only=True)
    proof = serializers.SerializerMethodField(help_text="each check before and after, and what that shows")
    diversity = serializers.ListField(child=JSONObject(), read_only=True, help_text="as declared, one a rollout")
    role_models = JSONObject(read_only=True, help_text="by role the models that work on it; empty: the machine's own")
    models_used = serializers.SerializerMethodField(help_text="who answered its model calls, and what each used")
    rollouts = Candidate(many=True, read_only=True, help_text="each attempt, with what it was compared by")
    selected = serializers.UUIDField(source="selected_id", allow_null=True, read_only=True, help_text="its rollout")

    class Meta(GoalSummary.Meta):
        fields = [
            *GoalSummary.Meta.fields,
            "text",
            "context",
            "base_sha",
            "checks",
            "hidden_checks",
            "proof",
            "allow_check_edits",
            "review_when",
            "reviewed_by",
            "ask_below",
            "approval",
            "plan_only",
            "model",
            "selected",
            "selected_by",
            "selected_reason",
            "diversity",
            "stagger_seconds",
            "role_models",
            "models_used",
            "rollouts",
            "deadline_at",
            "cancelled_at",
            "check_results",
            "cost",
            "cancel",
            "finishes_running",
            "why",
            "in_line",
            "forecast",
        ]
        read_only_fields = fields

    @extend_schema_field(ProofLine(many=True))
    def get_proof(self, goal: Goal) -> list[dict[str, Any]]:
        return [story.shown_proof(proof) for proof in proofs_of(goal, goal.check_results.all())]

    @extend_schema_field(ModelUse(many=True))
    def get_models_used(self, goal: Goal) -> list[dict[str, Any]]:
        return [asdict(used) for used in models_used(goal)]

    def get_why(self, goal: Goal) -> str:
        return why_of(goal)

    @extend_schema_field(Forecast)
    def get_forecast(self, goal: Goal) -> dict[str, Any]:
        return story.forecast(goal)

    @extend_schema_field(InLine(allow_null=True))
    def get_in_line(self, goal: Goal) -> dict[str, Any] | None:
        return story.line(goal)

    def get_cost(self, goal: Goal) -> Cost:
        return story.cost(goal)  # type: ignore[return-value]  # the annotation is what the documentation reads

    @extend_schema_field(Cancel(allow_null=True))
    def get_cancel(self, goal: Goal) -> dict[str, Any] | None:
        return story.cancel(goal)
