"""What somebody who can write to Redis may put there: each is a name and the bytes of an entry in a queue's list."""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Iterator
from typing import Any

TOUCH = "touch {mark}"


def message(
    body: bytes | None = None, *, headers: Any = None, properties: Any = None, args: Any = (), kwargs: Any = None
) -> Any:
    """A good one of `plan_task`, except for what is named."""
    task_id = str(uuid.uuid4())
    said = json.dumps([list(args), kwargs or {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}])
    head = {"lang": "py", "task": "plan_task", "id": task_id, "root_id": task_id, "parent_id": None, "group": None}
    head |= {"eta": None, "expires": None, "retries": 0, "timelimit": [None, None], "ignore_result": True}
    head |= {"argsrepr": "()", "kwargsrepr": "{}", **(headers or {})}
    props = {
        "correlation_id": task_id,
        "reply_to": task_id,
        "delivery_mode": 2,
        "priority": 0,
        "body_encoding": "base64",
    }
    props |= {
        "delivery_info": {"exchange": "", "routing_key": "planning"},
        "delivery_tag": task_id,
        **(properties or {}),
    }
    encoded = base64.b64encode(said.encode() if body is None else body).decode()
    form = {"content-encoding": "utf-8", "content-type": "application/json"}
    return {"body": encoded, **form, "headers": head, "properties": props}


def without(part: str, name: str) -> dict[str, Any]:
    found = message()
    del found[part][name]
    return found


def bad_entries(mark: str) -> Iterator[tuple[str, bytes]]:
    """`mark`: a file that is made if one of them runs code."""
    nest = b"[" * 100_000 + b"]" * 100_000
    yield from (("garbage", b"\x80\xff\x00garbage"), ("truncated", as_bytes(message())[:100]), ("nothing", b""))
    yield from (("null", b"null"), ("a list", b"[1,2]"), ("a text", b'"x"'), ("empty", b"{}"), ("nested", nest))
    yield from (
        ("10 MB", b"x" * 10_000_000),
        ("NaN", as_bytes(message()).replace(b'"expires": null', b'"expires": NaN')),
    )
    for name, odd in (*odd_forms(mark), *odd_headers()):
        yield name, as_bytes(odd)


def odd_forms(mark: str) -> Iterator[tuple[str, dict[str, Any]]]:
    touch = TOUCH.format(mark=mark)
    pickled = f"cos\nsystem\n(S'{touch}'\ntR.".encode()
    yaml = f"!!python/object/apply:os.system ['{touch}']".encode()
    yield "pickle", message(pickled) | {"content-type": "application/x-python-serialize", "content-encoding": "binary"}
    yield "pickle as JSON", message(pickled)
    yield "yaml", message(yaml) | {"content-type": "application/x-yaml"}
    for part in ("content-type", "content-encoding"):
        for value in (None, {"a": 1}, "text/x-odd", 5):
            yield f"{part} {value}", message() | {part: value}
    yield "no base64", message() | {"body": "%%%"}
    yield "body null", message() | {"body": None}
    yield "headers null", message() | {"headers": None}
    yield "headers list", message() | {"headers": [1]}
    yield "properties list", message() | {"properties": []}
    yield from (
        (f"no {name}", without("properties", name)) for name in ("delivery_info", "delivery_tag", "body_encoding")
    )
    yield from ((f"{name} odd", message(properties={name: {"a": [1]}})) for name in message()["properties"])
    for text in (
        '{"a": 1}',
        '"abc"',
        "5",
        "[5, 6, 7]",
        '[[], {"run_',
        "[[], {}, [1]]",
        "[" * 100_000,
        '[[], {"run_id": "x"}, {"chord": {}}]',
    ):
        yield f"body {text[:30]}", message(text.encode())
    embedded = {"callbacks": [1], "errbacks": 5, "chain": "x", "chord": {"a": 1}}
    yield "embedded", message(json.dumps([[], {}, embedded]).encode())


def odd_headers() -> Iterator[tuple[str, dict[str, Any]]]:
    for name in message()["headers"]:
        if name not in ("lang", "ignore_result"):
            yield from (
                (f"{name} {value!r:.20}", message(headers={name: value})) for value in ({"a": 1}, [1], "x" * 300_000)
            )
    for moment in ("tomorrow", 5, "9999-99-99", "2999-01-01T00:00:00", -1, "2999-01-01T00:00:00+99:99"):
        yield f"eta {moment}", message(headers={"eta": moment})
        yield f"expires {moment}", message(headers={"expires": moment})
    for limit in ("soon", [1], ["a", "b"], 5):
        yield f"timelimit {limit}", message(headers={"timelimit": limit})
    yield "stamps", message(headers={"stamped_headers": 5, "stamps": [1]})
    yield "compression", message(headers={"compression": "application/x-odd"})
    yield "nesting", message(headers={"replaced_task_nesting": "x"})


def wrong_words(mark: str) -> Iterator[tuple[str, bytes]]:
    """Of the right form, and there is no such task, run or argument."""
    tasks = (
        "os.system",
        "celery.backend_cleanup",
        "celery.chord_unlock",
        "celery.accumulate",
        "celery.map",
        "celery.group",
        "celery.chain",
    )
    for task in tasks:
        yield task, as_bytes(message(headers={"task": task}, args=[TOUCH.format(mark=mark)]))
    yield "too many", as_bytes(message(args=[1, 2, 3, 4, 5]))
    yield "unknown argument", as_bytes(message(kwargs={"nothing": 1}))
    yield "odd arguments", as_bytes(message(kwargs={"goal": {"a": 1}, "context": 5}))
    for value in (
        5,
        [1],
        {"a": 1},
        "x",
        "' OR 1=1",
        "\x00",
        True,
        10**400,
        "x" * 1_000_000,
        1.5,
        f"{uuid.uuid4()}\n",
        str(uuid.uuid4()),
    ):
        yield f"run_id {value!r:.20}", as_bytes(message(kwargs={"run_id": value}))
    yield "once expired", as_bytes(message(headers={"expires": "2001-01-01T00:00:00+00:00"}))


def as_bytes(value: Any) -> bytes:
    return json.dumps(value).encode()
