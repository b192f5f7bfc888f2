"""Every kind of row that needs no more than a list, a search and links."""

from __future__ import annotations

from .. import models
from .readonly import listed

listed(
    models.Rollout,
    "__str__ status verified head branch changed_lines replans reason",
    search="goal__id branch head reason",
    filters="status",
    below="plans runs reviews check_results",
)
listed(
    models.Plan,
    "__str__ rollout revision origin summary created_at",
    search="rollout__goal__id summary",
    filters="origin",
    related="rollout",
    below="steps runs reviews",
)
listed(
    models.Step,
    "__str__ plan status description dependencies can_parallelize priority commit",
    search="rollout__goal__id description summary",
    filters="status",
    related="plan",
    below="runs",
)
listed(
    models.Run,
    "__str__ goal kind status attempt losses worker queued_at started_at ended_at error_kind",
    search="id goal__id worker error",
    filters="kind status error_kind",
    related="goal",
    below="calls check_results reviews",
)
listed(
    models.Call,
    "__str__ run status model prompt_tokens completion_tokens exit_code started_at duration",
    search="run__id run__goal__id model",
    filters="kind status",
    related="run",
)
listed(
    models.Check,
    "command phase origin passed exit_code commit goal created_at",
    search="goal__id command commit",
    filters="phase origin passed",
    related="goal",
)
listed(
    models.Review,
    "action rollout confidence proven by reasoning created_at",
    search="rollout__goal__id reasoning",
    filters="action proven",
    related="rollout",
)
listed(
    models.Approval,
    "__str__ goal status asks by reason expires_at created_at",
    search="goal__id plan_sha256 by reason",
    filters="status",
    related="goal",
)
listed(
    models.Question,
    "text goal step status answer by expires_at created_at",
    search="goal__id text by",
    filters="status",
    related="goal step",
)
listed(
    models.Message,
    "goal number to text by created_at",
    search="goal__id text by",
    filters="to",
    related="goal",
    below="tellings",
)
listed(models.Telling, "message run turn place", search="run__id", related="message run")
listed(
    models.Event,
    "goal seq kind subject old new by reason at",
    search="goal__id subject reason",
    filters="kind",
    related="goal",
)
listed(
    models.Budget,
    "goal open calls max_calls spent_tokens reserved_tokens max_tokens spent_micro_usd max_micro_usd overrun_micro_usd commands",
    search="goal__id",
    filters="open",
    related="goal",
)
listed(
    models.Repository,
    "path team setup_allowed toolchain created_at",
    search="path",
    filters="setup_allowed",
    related="team",
    below="goals recurring_goals",
)
listed(
    models.Provider,
    "name team base_url has_key requests_per_minute tokens_per_minute parallel_calls context_tokens created_at",
    search="name base_url team__name",
    hidden="sealed_key",
    related="team",
)
listed(
    models.Capability, "name answers tool_calls usage cached checked_at", search="name", filters="answers tool_calls"
)
listed(
    models.Team,
    "name created_at",
    search="name",
    below="memberships goals repositories recurring_goals providers events",
)
listed(
    models.Membership,
    "user team role created_at",
    search="user__username team__name",
    filters="role",
    related="team user",
)
listed(
    models.ModelPrice,
    "model provider team input_usd cached_input_usd output_usd effective_from by",
    search="model provider",
    filters="provider",
    related="team",
)
listed(models.TeamMonth, "team month drawn_micro_usd warned_at", search="team__name", filters="month", related="team")
listed(
    models.TeamEvent,
    "team kind subject old new by at",
    search="subject by",
    filters="kind",
    related="team",
)
listed(
    models.Breaker,
    "name status failures probes opened_at probe_at last_error",
    search="name last_error",
    filters="status",
)
listed(models.Worker, "id queues threads sandbox model started_at seen_at", search="id model")
listed(models.Lease, "name holder until", search="name holder")
listed(models.Installation, "id created_at", search="id")
listed(
    models.Occurrence,
    "schedule due_at outcome reason goal by",
    search="schedule__id schedule__name goal__id",
    filters="outcome",
    related="schedule goal",
)
listed(
    models.ApiToken,
    "shown name user created_at expires_at last_used_at revoked_at",
    search="name user__username",
    hidden="digest",
    related="user",
)
listed(
    models.IdempotencyKey,
    "key user status location created_at",
    search="key user__username",
    hidden="answer",
    related="user",
)
