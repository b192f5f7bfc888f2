"""DistributedArtifactStore with a real Redis: what it holds, what it forgets, and what happens while Redis is away."""

from __future__ import annotations

import base64
import json
import logging
import time
import zlib
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from orchestration import DistributedArtifactStore, artifacts
from orchestration.errors import ArtifactExists, ArtifactTooLarge
from orchestration.models import Artifact
from orchestration.redis_server import RedisServer

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.services]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest.fixture
def store(server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> DistributedArtifactStore:
    monkeypatch.setattr(artifacts, "LEAVE_ALONE", 0.0)
    made = DistributedArtifactStore(redis_url=server.url)
    made.redis.flushall()
    return made


@pytest.fixture
def away(monkeypatch: pytest.MonkeyPatch) -> DistributedArtifactStore:
    """The same store while nobody answers at its address."""
    monkeypatch.setattr(artifacts, "LEAVE_ALONE", 0.0)
    return DistributedArtifactStore(redis_url="redis://127.0.0.1:1/0")


def test_a_value_is_in_both_for_a_day_and_then_in_the_database(store: DistributedArtifactStore) -> None:
    assert store.store("a", {"passed": 12}) is None
    assert b'"passed":12' in store.redis.get("artifact:a")
    assert 86_000 < store.redis.ttl("artifact:a") <= 86_400
    store.redis.delete("artifact:a")
    assert (store.get("a"), store.exists("a")) == ({"passed": 12}, True)


def test_a_ttl_is_the_lifetime_in_both(store: DistributedArtifactStore) -> None:
    store.store("a", 1, ttl=timedelta(seconds=0.4))
    assert (store.get("a"), store.exists("a")) == (1, True)
    time.sleep(0.5)
    assert (store.get("a"), store.exists("a")) == (None, False)
    with pytest.raises(ValueError, match="ttl"):
        store.store("a", 1, ttl=timedelta(0))


def test_delete_removes_both_and_what_is_not_there_is_none(store: DistributedArtifactStore) -> None:
    store.store("a", [1])
    assert store.delete("a") is None
    store.delete("a")
    assert (store.get("a"), store.exists("a"), store.redis.get("artifact:a")) == (None, False, None)


def test_what_is_large_is_compressed(store: DistributedArtifactStore) -> None:
    value = {"log": "the same line\n" * 5000}
    store.store("a", value)
    assert len(store.redis.get("artifact:a")) < 2000
    assert Artifact.objects.get(pk="a").encoding == "zlib"
    assert store.get("a") == value


def test_too_large_is_refused_with_the_limit(store: DistributedArtifactStore, settings: object) -> None:
    settings.ARTIFACT_MAX_BYTES = 1000  # type: ignore[attr-defined]
    with pytest.raises(ArtifactTooLarge, match=r"1000 \(ARTIFACT_MAX_BYTES\)"):
        store.store("a", "x" * 1001)
    assert not store.exists("a")


def test_a_type_that_cannot_be_stored_is_named(store: DistributedArtifactStore) -> None:
    with pytest.raises(TypeError, match=r"builtins\.object"):
        store.store("a", {"key": object()})


@pytest.mark.parametrize("prefix", ["plan-", "result-"])
def test_plans_and_results_are_written_once(store: DistributedArtifactStore, prefix: str) -> None:
    store.store(f"{prefix}1", {"steps": []})
    store.store(f"{prefix}1", {"steps": []})
    with pytest.raises(ArtifactExists, match="written once"):
        store.store(f"{prefix}1", {"steps": [1]})
    assert store.get(f"{prefix}1") == {"steps": []}
    store.store(f"{prefix}2", 1, ttl=timedelta(seconds=0.05))
    time.sleep(0.1)
    store.store(f"{prefix}2", 2)
    assert store.get(f"{prefix}2") == 2


def test_without_redis_the_row_is_written_and_read_and_a_warning_is_given(
    away: DistributedArtifactStore, caplog: pytest.LogCaptureFixture
) -> None:
    begun = time.monotonic()
    with caplog.at_level(logging.WARNING):
        away.store("a", {"b": Path("/c")})
    assert "in the database only" in caplog.text
    assert (away.get("a"), away.exists("a")) == ({"b": Path("/c")}, True)
    away.delete("a")
    assert away.get("a") is None
    assert time.monotonic() - begun < 3


def test_what_was_changed_while_redis_was_away_is_what_it_says_afterwards(
    store: DistributedArtifactStore, away: DistributedArtifactStore
) -> None:
    store.store("changed", "old")
    store.store("deleted", "old")
    store.store("shortened", "old")
    away.store("changed", "new")
    away.delete("deleted")
    away.store("shortened", "old", ttl=timedelta(milliseconds=1))
    time.sleep(0.01)
    assert store.redis.exists("artifact:changed", "artifact:deleted", "artifact:shortened") == 3
    assert [store.get(name) for name in ("changed", "deleted", "shortened")] == ["new", None, None]
    assert [store.exists(name) for name in ("changed", "deleted", "shortened")] == [True, False, False]


@pytest.mark.parametrize(
    "planted",
    [
        *(b"", b"\x80\x04K\x01.", b'{"sha256": "0", "value": 2}', b'{"zlib": "AAAA"}', b"null"),
        b'{"zlib": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        json.dumps({"zlib": base64.b64encode(zlib.compress(b"0" * 200_000_000)).decode()}).encode(),
    ],
    ids=["nothing", "pickle", "another value", "no zlib", "null", "nested", "a bomb"],
)
def test_what_others_write_into_redis_is_not_believed(store: DistributedArtifactStore, planted: bytes) -> None:
    store.store("a", 1)
    store.redis.set("artifact:a", planted)
    assert store.get("a") == 1


def test_an_address_that_is_away_does_not_speak_for_another(store: DistributedArtifactStore) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(artifacts, "LEAVE_ALONE", 60.0)
        DistributedArtifactStore(redis_url="redis://127.0.0.1:2/0").store("a", 1)
        store.store("b", 2)
    assert store.redis.exists("artifact:b")


@pytest.mark.parametrize("bad", ["", "x" * 201, "a\nb", 7, None])
def test_a_bad_id_is_refused(store: DistributedArtifactStore, bad: object) -> None:
    with pytest.raises(ValueError, match="1 to 200 printable"):
        store.store(bad, 1)  # type: ignore[arg-type]
