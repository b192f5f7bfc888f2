"""The verbs of the engine: each is one transaction (or one pass of many), and the only place where rows of the work are written."""

from .advancing import advance_goal
from .claiming import claim, current_head, pull, still_mine
from .controlling import cancel_goal, pause_goal, resume_goal, stand_down
from .people import Opened, invite, login_link, look_at_link, person, person_in_charge, use_link
from .planning import draft_of
from .recording import (
    Base,
    HeadMoved,
    Judged,
    Merged,
    artifact_id,
    record_base,
    record_failure,
    record_plan,
    record_review,
    record_step,
)
from .submitting import retry_goal, submit_goal, submit_piece
from .sweeping import sweep, take_turn, wake_forgotten

__all__ = [
    "Base",
    "HeadMoved",
    "Judged",
    "Merged",
    "Opened",
    "advance_goal",
    "artifact_id",
    "cancel_goal",
    "claim",
    "current_head",
    "draft_of",
    "invite",
    "login_link",
    "look_at_link",
    "pause_goal",
    "person",
    "person_in_charge",
    "pull",
    "record_base",
    "record_failure",
    "record_plan",
    "record_review",
    "record_step",
    "resume_goal",
    "retry_goal",
    "stand_down",
    "still_mine",
    "submit_goal",
    "submit_piece",
    "sweep",
    "take_turn",
    "use_link",
    "wake_forgotten",
]
