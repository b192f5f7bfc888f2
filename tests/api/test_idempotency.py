"""A POST that is sent again because its answer was lost acts once, whatever happens in between, on both databases."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import close_old_connections, connection
from django.utils import timezone

from orchestration.errors import KeyReused, RequestInFlight
from orchestration.models import Goal, IdempotencyKey, RecurringGoal
from orchestration.services.idempotency import Answer, answer_once
from tests.api.conftest import Api, expect_problem
from tests.support.people import member, team

KEY = {"Idempotency-Key": "2f0b5f0e"}
WISH = {"text": "Make the tests pass", "limits": {"calls": 9}}


def test_the_same_request_again_is_the_same_goal_and_the_same_answer(api: Api) -> None:
    one, two = api.post("/goals", WISH, **KEY), api.post("/goals", WISH, **KEY)
    assert one.status_code == two.status_code == 202
    assert one.json() == two.json()
    assert one.headers["Location"] == two.headers["Location"]
    assert ("Idempotency-Replayed" in one.headers, two.headers["Idempotency-Replayed"]) == (False, "true")
    # the order of fields and white space do not make it another request
    assert api.post("/goals", ' {"limits":{"calls":9}, "text":"Make the tests pass"}', **KEY).json() == one.json()
    assert Goal.objects.count() == 1


def test_another_request_under_the_same_key_is_422(api: Api) -> None:
    one = api.post("/goals", WISH, **KEY)
    expect_problem(api.post("/goals", {"text": "another"}, **KEY), 422, "idempotency-key-reused")
    expect_problem(api.post(f"/goals/{one.json()['id']}/cancel", WISH, **KEY), 422)
    expect_problem(api.post(f"/goals/{one.json()['id']}/cancel", {}, **KEY), 422, "idempotency-key-reused")
    assert Goal.objects.count() == 1


def test_each_user_has_keys_of_their_own_and_without_one_each_request_counts(api: Api, bobs: Api) -> None:
    for asked in (api, bobs):
        asked.post("/goals", WISH, **KEY)
        asked.post("/goals", WISH)
    assert Goal.objects.count() == 4


def test_a_request_that_was_refused_leaves_its_key_free(api: Api) -> None:
    expect_problem(api.post("/goals", {"text": "x", "repository": "/etc"}, **KEY), 422)
    assert not IdempotencyKey.objects.exists()
    assert api.post("/goals", WISH, **KEY).status_code == 202


def test_a_key_is_forgotten_after_a_day(api: Api) -> None:
    api.post("/goals", WISH, **KEY)
    IdempotencyKey.objects.update(created_at=timezone.now() - timedelta(hours=24, seconds=1))
    assert "Idempotency-Replayed" not in api.post("/goals", {"text": "another"}, **KEY).headers
    assert (Goal.objects.count(), IdempotencyKey.objects.count()) == (2, 1)


@pytest.mark.parametrize("key", ["", " ", "two words", "x" * 121, "\u00e9", "a\tb"])
def test_a_key_that_is_none_is_400(api: Api, key: str) -> None:
    expect_problem(api.post("/goals", WISH, **{"Idempotency-Key": key}), 400)
    assert not Goal.objects.exists()


def test_retry_and_schedules_take_keys_too(api: Api) -> None:
    wish = {"name": "nightly", "cron": "0 2 * * *", "text": "x"}
    made = [api.post("/schedules", wish, **KEY).json()["id"] for _ in range(2)]
    assert (len(set(made)), RecurringGoal.objects.count()) == (1, 1)
    ran = [api.post(f"/schedules/{made[0]}/run", **{"Idempotency-Key": "run"}).json()["id"] for _ in range(2)]
    assert len(set(ran)) == 1
    api.post(f"/goals/{ran[0]}/cancel")
    again = [api.post(f"/goals/{ran[0]}/retry", **{"Idempotency-Key": "retry"}).json()["id"] for _ in range(2)]
    assert (len(set(again)), Goal.objects.count()) == (1, 2)


def once(user: User, act: Any, digest: str = "d") -> Answer:
    return answer_once(user=user, key="k", request_sha256=digest, act=act)


def test_a_key_in_flight_is_409_and_is_taken_over_from_the_dead_after_a_minute(api: Api, ada: User) -> None:
    IdempotencyKey.objects.create(user=ada, key="api:2f0b5f0e", request_sha256="x")
    expect_problem(api.post("/goals", WISH, **KEY), 422, "idempotency-key-reused")
    IdempotencyKey.objects.all().delete()

    def another_comes_meanwhile() -> Answer:
        with pytest.raises(RequestInFlight):
            once(ada, lambda: Answer(202, "/two", {}))
        with pytest.raises(KeyReused):
            once(ada, lambda: Answer(202, "/two", {}), "other")
        return Answer(202, "/one", {})

    assert once(ada, another_comes_meanwhile).location == "/one"
    assert once(ada, lambda: Answer(202, "/two", {})) == Answer(202, "/one", {}, replayed=True)


def test_an_in_flight_key_is_answered_409_with_retry_after(api: Api, ada: User) -> None:
    api.post("/goals", WISH, **KEY)
    IdempotencyKey.objects.update(status=None, answer=None)
    answer = api.post("/goals", WISH, **KEY)
    expect_problem(answer, 409, "request-in-flight")
    assert answer.headers["Retry-After"] == "1"
    IdempotencyKey.objects.update(created_at=timezone.now() - timedelta(seconds=61))
    assert api.post("/goals", WISH, **KEY).status_code == 202


def test_the_late_one_that_lost_its_key_does_nothing(ada: User) -> None:
    def sleeps_too_long() -> Answer:
        Goal.objects.create(team=team(), text="late")
        IdempotencyKey.objects.update(created_at=timezone.now() - timedelta(seconds=61))
        return Answer(202, "/late", {})

    with pytest.raises(RequestInFlight):
        once(ada, sleeps_too_long)
    assert not Goal.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_of_many_at_the_same_time_one_makes_the_goal() -> None:
    user = member("ada")
    barrier, answers, errors = threading.Barrier(6), [], []

    def act() -> Answer:
        return Answer(202, f"/goals/{Goal.objects.create(team=team(), text='x').pk}", {"n": 1})

    def ask() -> None:
        barrier.wait(30)
        try:
            answers.append(once(user, act).location)
        except RequestInFlight as error:
            errors.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    close_old_connections()
    assert Goal.objects.count() == 1
    assert len(answers) + len(errors) == 6
    assert set(answers) == {f"/goals/{Goal.objects.get().pk}"}
