"""The verbs of the engine: each is one transaction (or one pass of many), and the only place where rows of the work are written."""

from .admission import CAPS, admit_waiting, set_caps
from .advancing import advance_goal
from .approving import Decision, approval_of, approve_plan, edit_plan, reject_plan, run_plan
from .asking import Answered, answer_question, question_of
from .breaking import close_breaker, heard_from, probe, report_outage, wait_out
from .claiming import claim, current_head, pull, still_mine
from .controlling import cancel_goal, lose_sandbox, pause_goal, resume_goal, stand_down
from .following import follow_up
from .messaging import send_message
from .modelling import set_team_models
from .months import NO_LIMIT, set_month_limit
from .overriding import VERDICTS, mark_done, override_verdict, skip_step
from .people import Opened, invite, login_link, look_at_link, person, person_in_charge, use_link
from .picking import pick_rollout
from .planning import draft_of
from .prices import set_price
from .prioritizing import set_priority
from .providers import (
    add_provider,
    change_provider,
    known_providers,
    provider_named,
    record_capability,
    remove_provider,
    reseal_providers,
)
from .rebuilding import Rebuilt, rebuild_queue
from .recording import (
    Base,
    Examined,
    HeadMoved,
    Judged,
    Merged,
    artifact_id,
    record_base,
    record_exam,
    record_failure,
    record_plan,
    record_question,
    record_review,
    record_step,
    record_votes,
)
from .retrying import retry_goal
from .scheduling import (
    add_schedule,
    change_schedule,
    pause_schedule,
    remove_schedule,
    resume_schedule,
    run_now,
    submit_due_goals,
)
from .submitting import submit_goal, submit_piece
from .sweeping import sweep, take_turn, wake_forgotten
from .teams import (
    add_member,
    change_role,
    create_team,
    default_team,
    member_of,
    remove_member,
    set_four_eyes,
    team_of_machine,
)

__all__ = [
    "CAPS",
    "NO_LIMIT",
    "VERDICTS",
    "Answered",
    "Base",
    "Decision",
    "Examined",
    "HeadMoved",
    "Judged",
    "Merged",
    "Opened",
    "Rebuilt",
    "add_member",
    "add_provider",
    "add_schedule",
    "admit_waiting",
    "advance_goal",
    "answer_question",
    "approval_of",
    "approve_plan",
    "artifact_id",
    "cancel_goal",
    "change_provider",
    "change_role",
    "change_schedule",
    "claim",
    "close_breaker",
    "create_team",
    "current_head",
    "default_team",
    "draft_of",
    "edit_plan",
    "follow_up",
    "heard_from",
    "invite",
    "known_providers",
    "login_link",
    "look_at_link",
    "lose_sandbox",
    "mark_done",
    "member_of",
    "override_verdict",
    "pause_goal",
    "pause_schedule",
    "person",
    "person_in_charge",
    "pick_rollout",
    "probe",
    "provider_named",
    "pull",
    "question_of",
    "rebuild_queue",
    "record_base",
    "record_capability",
    "record_exam",
    "record_failure",
    "record_plan",
    "record_question",
    "record_review",
    "record_step",
    "record_votes",
    "reject_plan",
    "remove_member",
    "remove_provider",
    "remove_schedule",
    "report_outage",
    "reseal_providers",
    "resume_goal",
    "resume_schedule",
    "retry_goal",
    "run_now",
    "run_plan",
    "send_message",
    "set_caps",
    "set_four_eyes",
    "set_month_limit",
    "set_price",
    "set_priority",
    "set_team_models",
    "skip_step",
    "stand_down",
    "still_mine",
    "submit_due_goals",
    "submit_goal",
    "submit_piece",
    "sweep",
    "take_turn",
    "team_of_machine",
    "use_link",
    "wait_out",
    "wake_forgotten",
]
