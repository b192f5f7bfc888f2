"""Reads: `engine` for the views that `flow` decides on, `access` for what a user may see. Pages and the API build on `access`."""

from .engine import gate, goal_view, pending_verdict, revision_of, rollout_view

__all__ = ["gate", "goal_view", "pending_verdict", "revision_of", "rollout_view"]
