"""A small helper for the constraint that every status column carries."""

from __future__ import annotations

from django.db.models import CheckConstraint, Q, TextChoices


def one_of(field: str, choices: type[TextChoices], name: str) -> CheckConstraint:
    """The database itself refuses a value that the table of choices does not have."""
    return CheckConstraint(condition=Q(**{f"{field}__in": choices.values}), name=name)
