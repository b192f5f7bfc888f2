"""Which entries of a queue are a task's message."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from compymac_site.celery import app
from compymac_site.messages import trouble_with
from tests.support.poison import message, odd_forms, odd_headers, wrong_words

ODD = [*odd_forms("/nowhere"), *odd_headers()]
# what Celery itself understands in them (it is asked with a living worker in tests/services/test_untrusted_messages.py)
HARMLESS = {
    "expires tomorrow",
    "expires 9999-99-99",
    "expires 2999-01-01T00:00:00",
    "expires 2999-01-01T00:00:00+99:99",
}
HARMLESS |= {"delivery_mode odd", "argsrepr 'xxxxxxxxxxxxxxxxxxx", "kwargsrepr 'xxxxxxxxxxxxxxxxxxx"}


def sent(**options: object) -> dict[str, object]:
    """As Celery's own publisher would write it."""
    v2 = app.amqp.as_task_v2("an-id", "plan_task", (), {"run_id": "x"}, **options)
    return message(json.dumps(v2.body).encode(), headers=v2.headers)


@pytest.mark.parametrize(
    "found",
    [message(), message(args=["a goal"], kwargs={"context": {}}), sent(), sent(expires=30.0), sent(countdown=5)],
)
def test_what_a_publisher_writes_is_one(found: dict[str, object]) -> None:
    assert trouble_with(found) == ""


@pytest.mark.parametrize(("name", "found"), ODD, ids=[name for name, _ in ODD])
def test_what_has_another_form_is_none_and_is_not_repeated_in_the_log(name: str, found: object) -> None:
    trouble = trouble_with(found)
    assert bool(trouble) is (name not in HARMLESS)
    assert len(trouble) < 200


def test_what_it_names_is_for_others_to_judge() -> None:
    assert [name for name, entry in wrong_words("/nowhere") if trouble_with(json.loads(entry))] == []


def test_nothing_waits_in_a_workers_memory_for_long() -> None:
    now = datetime.now(UTC)
    assert trouble_with(message(headers={"eta": (now + timedelta(hours=1)).isoformat()})) == ""
    assert trouble_with(message(headers={"eta": (now + timedelta(days=2)).isoformat()})) == "headers.eta: value_error"
