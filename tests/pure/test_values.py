"""Values as JSON text and back; what cannot be stored is refused by the name of its type."""

from __future__ import annotations

import json
import math
import threading
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from orchestration.values import dumps, loads


@dataclass(frozen=True)
class Point:
    x: int
    y: Any = None


class Wish(BaseModel):
    text: str
    due: date | None = None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(st.characters()),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(JSON)
def test_any_json_value_comes_back(value: Any) -> None:
    assert loads(dumps(value)) == value
    dumps(value).encode()


@pytest.mark.parametrize(
    "value",
    [
        b"\x00\xff",
        datetime(2026, 3, 29, 2, 30, tzinfo=UTC),
        date(2024, 2, 29),
        time(23, 59),
        timedelta(days=-1, microseconds=1),
        Decimal("0.10"),
        UUID(int=7),
        Path("/tmp/a b"),
        (1, (2, [3])),
        {1, 2},
        frozenset({("a", 1)}),
        {(1, 2): {b"k": Path("x")}},
        {1: "a", "1": "b"},
        {"__type__": "path", "value": "not a path"},
        math.inf,
        "half a pair: \ud83d",
        "€ \x00 \u2028",
        {"deep": [{"set": {1}}, (None,)]},
    ],
    ids=repr,
)
def test_what_json_lacks_comes_back(value: Any) -> None:
    found = loads(dumps(value))
    assert found == value
    assert type(found) is type(value)


def test_classes_come_back_as_dicts() -> None:
    assert loads(dumps([Point(1, Wish(text="a", due=date(2026, 1, 2)))])) == [
        {"x": 1, "y": {"text": "a", "due": date(2026, 1, 2)}}
    ]


ROUND: list[Any] = []
ROUND.append(ROUND)


@pytest.mark.parametrize(
    ("value", "named"),
    [
        (object(), "value is a builtins.object"),
        ({"a": [1, threading.Lock()]}, r"value\['a'\]\[1\] is a _thread.lock"),
        (lambda: 1, "builtins.function"),
        (Point, "builtins.type"),
        (1j, "builtins.complex"),
        ({Point(1)}, "Point.*in a set"),
        ({(Point(1), 2): 3}, "Point.*as a key"),
        (ROUND, "builtins.list that holds itself"),
    ],
)
def test_what_cannot_be_stored_is_refused_by_name(value: Any, named: str) -> None:
    with pytest.raises(TypeError, match=named):
        dumps(value)


@pytest.mark.parametrize(
    "text", ['{"__type__": "os.system", "value": "id"}', '{"__type__": [], "value": 1}', "{", "[" * 99999]
)
def test_a_text_of_others_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - JSON's own errors are as good as ours
        loads(text)


def test_a_reader_sees_plain_json() -> None:
    assert json.loads(dumps({"hello": ["wörld", 1]})) == {"hello": ["wörld", 1]}
