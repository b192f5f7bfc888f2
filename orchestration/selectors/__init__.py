"""Reads: `engine` for the views that `flow` decides on, `access` for what a user may see. Pages and the API build on `access`."""

from .engine import Picture, due, gate, goal_view, look_again, picture, rollout_view, waiting_on

__all__ = ["Picture", "due", "gate", "goal_view", "look_again", "picture", "rollout_view", "waiting_on"]
