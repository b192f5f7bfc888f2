"""What each page, each route of the API and each command is, written down a second time: a new one has to be put here, too.

OWN: one's own things, or what everybody who may log in sees of the installation. OPEN: without a login. MACHINE: whoever has a shell.
"""

from __future__ import annotations

from orchestration.roles import Action

OWN, OPEN, MACHINE = "own", "open", "machine"
S, M = Action.SEE, Action.MANAGE_SCHEDULES

PANEL: dict[str, str | dict[str, str]] = {
    "approval-list": S,
    "question-list": S,
    "question-answer": Action.MESSAGE,
    "approval-detail": S,
    "approval-decide": {
        **dict.fromkeys(("approve", "reject", "edit"), Action.APPROVE),
        "run": Action.RESUME,
    },
    **dict.fromkeys(("overview", "goal-list", "repository-list", "schedule-list", "team-list", "provider-list"), S),
    **{f"goal-{tab}": S for tab in ("detail", "commands", "changes", "reviews", "events", "artifacts")},
    **{f"goal-{part}": S for part in ("artifact", "output", "json", "stream", "handover", "handover-file")},
    **dict.fromkeys(("step-detail", "run-detail", "schedule-detail", "team-detail"), S),
    **dict.fromkeys(("cost-list", "cost-file"), Action.SEE_COSTS),
    "goal-new": Action.SUBMIT,
    "goal-act": {
        "cancel": Action.CANCEL,
        "force": Action.CANCEL,
        "pause": Action.PAUSE,
        "resume": Action.RESUME,
        "retry": Action.RETRY,
        "pick": Action.PICK,
        "follow-up": Action.SUBMIT,
        "message": Action.MESSAGE,
        "priority": Action.PRIORITIZE,
        **dict.fromkeys(("skip", "mark-done", "override"), Action.OVERRIDE),
    },
    **{f"schedule-{verb}": M for verb in ("new", "change", "run", "pause", "resume", "remove")},
    "team-limit": Action.MANAGE_MONEY,
    **{f"member-{verb}": Action.MANAGE_MEMBERS for verb in ("add", "role", "remove")},
    **{f"provider-{verb}": Action.MANAGE_PROVIDERS for verb in ("add", "change", "remove")},
    **dict.fromkeys(("worker-list", "token-list", "token-revoke", "set-password", "logout"), OWN),
    **dict.fromkeys(("theme", "login", "login-link", "healthz", "readyz", "metrics"), OPEN),
}
POSTED = {  # forms that only post; all else is asked for by GET
    *(
        "approval-decide",
        "question-answer",
        "goal-act",
        "schedule-run",
        "schedule-pause",
        "schedule-resume",
        "schedule-remove",
        "token-revoke",
        "logout",
    ),
    *("team-limit", "member-add", "member-role", "member-remove"),
    *("provider-add", "provider-change", "provider-remove"),
}

READ = ("rollout", "plan", "step", "run", "call", "review", "repository", "artifact", "approval", "question")
API: dict[str, dict[str, str]] = {
    **{f"{name}-list": {"get": S} for name in (*READ, "event", "worker", "breaker", "queue", "team")},
    **{f"{name}-detail": {"get": S} for name in (*READ, "goal", "team")},
    **{f"{name}-{part}": {"get": S} for name in ("goal", "rollout") for part in ("patch", "bundle")},
    "goal-handover": {"get": S},
    "artifact-content": {"get": S},
    "goal-list": {"get": S, "post": Action.SUBMIT},
    "goal-events": {"get": S},
    "goal-cancel": {"post": Action.CANCEL},
    "goal-pause": {"post": Action.PAUSE},
    "goal-resume": {"post": Action.RESUME},
    "goal-retry": {"post": Action.RETRY},
    "goal-pick": {"post": Action.PICK},
    "question-answer": {"post": Action.MESSAGE},
    "goal-follow-up": {"post": Action.SUBMIT},
    "goal-message": {"post": Action.MESSAGE},
    "goal-priority": {"post": Action.PRIORITIZE},
    **{f"goal-{verb}": {"post": Action.OVERRIDE} for verb in ("skip-step", "mark-done", "override")},
    "goal-run-plan": {"post": Action.RESUME},
    **{f"approval-{verb}": {"post": Action.APPROVE} for verb in ("approve", "reject", "edit-plan")},
    "schedule-list": {"get": S, "post": M},
    "schedule-detail": {"get": S, "patch": M, "delete": M},
    **{f"schedule-{verb}": {"post": M} for verb in ("run", "pause", "resume")},
    "team-events": {"get": Action.SEE_AUDIT},
    "team-month": {"get": S, "patch": Action.MANAGE_MONEY},
    "price-list": {"get": S, "post": Action.MANAGE_MONEY},
    "price-detail": {"get": S},
    "cost-list": {"get": Action.SEE_COSTS},
    "member-list": {"get": S, "post": Action.MANAGE_MEMBERS},
    "provider-list": {"get": S, "post": Action.MANAGE_PROVIDERS},
    "provider-detail": {"get": S, "patch": Action.MANAGE_PROVIDERS, "delete": Action.MANAGE_PROVIDERS},
    "member-detail": {"get": S, "patch": Action.MANAGE_MEMBERS, "delete": Action.MANAGE_MEMBERS},
}
DOCUMENTS = {"schema", "docs", ""}  # of the API itself: for whoever is logged in; "": what is not there

COMMANDS: dict[str, str | dict[str, str]] = {
    "goal": {
        "submit": Action.SUBMIT,
        **dict.fromkeys(("list", "show", "handover", "watch", "apply", "diff"), S),
        "cancel": Action.CANCEL,
        "retry": Action.RETRY,
        "pause": Action.PAUSE,
        "resume": Action.RESUME,
        "pick": Action.PICK,
        "run-plan": Action.RESUME,
        "follow-up": Action.SUBMIT,
        **dict.fromkeys(("answer", "message"), Action.MESSAGE),
        "priority": Action.PRIORITIZE,
        **dict.fromkeys(("skip", "mark-done", "override"), Action.OVERRIDE),
        **dict.fromkeys(("approve", "reject", "edit-plan"), Action.APPROVE),
    },
    "schedule": {"list": S, **dict.fromkeys(("add", "run", "pause", "resume", "remove"), M)},
    "repository": Action.MANAGE_REPOSITORIES,
    "price": {"list": S, "set": Action.MANAGE_MONEY},
    "costs": Action.SEE_COSTS,
    "provider": {
        **dict.fromkeys(("list", "test"), S),
        **dict.fromkeys(("add", "change", "remove", "reseal"), Action.MANAGE_PROVIDERS),
    },
    "team": {
        "list": S,
        **dict.fromkeys(("create", "add", "role", "remove", "four-eyes"), Action.MANAGE_MEMBERS),
        "models": Action.MANAGE_PROVIDERS,
        "limit": Action.MANAGE_MONEY,
    },
    "caps": {"list": S, "set": Action.MANAGE_CAPS},
    "invite": Action.MANAGE_MEMBERS,
    **dict.fromkeys(("create_token", "login_link"), OWN),
    **dict.fromkeys(
        (
            *(
                "audit_invariants",
                "breakers",
                "check_llm",
                "check_sandbox",
                "demo",
                "demo_llm",
                "doctor",
                "evaluate",
                "migrate",
            ),
            *("rebuild_queue", "sweep", "up", "worker"),
        ),
        MACHINE,
    ),
}

# What the admin shows to staff of any team, if Django's own permissions let them: rows that belong to no team.
INSTALLATION = {"Breaker", "Capability", "Worker", "Lease", "Installation"}
