"""Reads: `engine` for the views that `flow` decides on, `access` for what a user may see. Pages and the API build on `access`."""

from .engine import (
    Picture,
    due,
    fill_in,
    gate,
    goal_view,
    in_hand,
    keep,
    look_again,
    picture,
    rollout_view,
    waiting_goals,
)

__all__ = [
    "Picture",
    "due",
    "fill_in",
    "gate",
    "goal_view",
    "in_hand",
    "keep",
    "look_again",
    "picture",
    "rollout_view",
    "waiting_goals",
]
