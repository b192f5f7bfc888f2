"""What there was before there were teams: everything goes into one, and everybody with it, as what they could do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone

from orchestration.models import Goal, Membership, RecurringGoal, Repository, Team, TeamEvent
from orchestration.selectors.access import goals_for

BEFORE = [("orchestration", "0004_breakers")]


@pytest.fixture
def before(transactional_db: None) -> Iterator[Any]:
    """The models as they were; the newest ones are back at the end, whatever happens."""
    executor = MigrationExecutor(connection)
    try:
        executor.migrate(BEFORE)
        yield executor.loader.project_state(BEFORE).apps
    finally:
        migrate()


def migrate() -> None:
    executor = MigrationExecutor(connection)
    executor.migrate(executor.loader.graph.leaf_nodes())


def test_old_rows_and_people_are_in_one_team(before: Any) -> None:
    boss = User.objects.create_superuser("boss")
    ada, gone = User.objects.create_user("ada"), User.objects.create_user("gone", is_active=False)
    place = before.get_model("orchestration", "Repository").objects.create(path="/srv/shop")
    goals = before.get_model("orchestration", "Goal").objects
    for number, owner in enumerate((ada, gone, boss, None)):
        goals.create(text=f"goal {number}", repository=place, submitted_by_id=owner and owner.pk)
    before.get_model("orchestration", "RecurringGoal").objects.create(
        name="nightly", cron="0 1 * * *", text="x", counted_from=timezone.now(), owner_id=ada.pk
    )
    migrate()
    team = Team.objects.get()
    assert team.name == "default"
    assert dict(Membership.objects.values_list("user__username", "role")) == {
        "boss": "admin",
        "ada": "operator",
        "gone": "operator",
    }
    assert {goal.team for goal in Goal.objects.all()} == {team}
    assert (RecurringGoal.objects.get().team, Repository.objects.get().team) == (team, team)
    assert TeamEvent.objects.filter(kind="member.added", by="migration").count() == 3
    assert goals_for(ada).count() == goals_for(boss).count() == 4
    assert not goals_for(gone).exists()


def test_an_empty_installation_gets_no_team_from_it(before: Any) -> None:
    migrate()
    assert not Team.objects.exists()
