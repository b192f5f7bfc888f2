"""The admin: every row can be looked at, none can be edited; what people may do to one are verbs of `services`."""

from . import goals, rows, schedules

__all__ = ["goals", "rows", "schedules"]
