"""PURE: Python values as JSON text and back, without pickle. What JSON lacks is tagged: {"__type__": "datetime", "value": "…"}.

A dataclass or a pydantic model comes back as a plain dict: a class is never imported by a name that was read from somewhere.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import math
import re
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path, PurePath
from typing import Any
from uuid import UUID

from pydantic import BaseModel

TAG = "__type__"
SURROGATE = re.compile("[\ud800-\udfff]")

_ENCODERS: dict[type, tuple[str, Callable[[Any], Any]]] = {
    datetime: ("datetime", datetime.isoformat),
    date: ("date", date.isoformat),
    time: ("time", time.isoformat),
    timedelta: ("timedelta", lambda value: [value.days, value.seconds, value.microseconds]),
    Decimal: ("decimal", str),
    UUID: ("uuid", str),
    bytes: ("bytes", lambda value: base64.b64encode(value).decode()),
    bytearray: ("bytes", lambda value: base64.b64encode(value).decode()),
}
_DECODERS: dict[str, Callable[[Any], Any]] = {
    "datetime": datetime.fromisoformat,
    "date": date.fromisoformat,
    "time": time.fromisoformat,
    "timedelta": lambda value: timedelta(*value),
    "decimal": Decimal,
    "uuid": UUID,
    "bytes": base64.b64decode,
    "path": Path,
    "tuple": tuple,
    "set": set,
    "frozenset": frozenset,
    "float": float,
    "dict": lambda pairs: {_hashable(key): value for key, value in pairs},
}


def dumps(value: Any) -> str:
    """The value as JSON text. Raises TypeError naming the type, and the place in the structure, that cannot be stored."""
    try:
        text = json.dumps(_encode(value, "value"), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except RecursionError:
        kind = type(value)
        raise TypeError(
            f"value is a {kind.__module__}.{kind.__qualname__} that holds itself, or is nested too deeply"
        ) from None
    # Half a surrogate pair is no UTF-8; as an escape it is fine.
    return SURROGATE.sub(lambda half: f"\\u{ord(half.group()):04x}", text)


def loads(text: str) -> Any:
    """The inverse of `dumps`. Raises ValueError for text that `dumps` did not make."""
    try:
        return json.loads(text, object_hook=_decode)
    except (TypeError, ArithmeticError, RecursionError) as error:
        raise ValueError(f"not a stored value: {error}") from error


def _encode(value: Any, where: str) -> Any:
    if value is None or (isinstance(value, bool | int | str) and type(value) in (bool, int, str)):
        return value
    if type(value) is float:
        return value if math.isfinite(value) else {TAG: "float", "value": repr(value)}
    if type(value) is list:
        return [_encode(item, f"{where}[{n}]") for n, item in enumerate(value)]
    if type(value) is dict:
        return _encode_dict(value, where)
    if isinstance(value, tuple | set | frozenset):
        tag = next(kind.__name__ for kind in (tuple, frozenset, set) if isinstance(value, kind))
        items = value if tag == "tuple" else sorted(value, key=repr)
        encode = _encode if tag == "tuple" else _encode_member
        return {TAG: tag, "value": [encode(item, f"{where}[{n}]") for n, item in enumerate(items)]}
    if isinstance(value, PurePath):
        return {TAG: "path", "value": str(value)}
    if isinstance(value, BaseModel):
        return _encode(value.model_dump(), where)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _encode({field.name: getattr(value, field.name) for field in dataclasses.fields(value)}, where)
    if known := _ENCODERS.get(type(value)):
        return {TAG: known[0], "value": known[1](value)}
    raise _refused(value, where, "as an artifact")


def _encode_member(value: Any, where: str) -> Any:
    """What is in a set, or is the key of a dict, must come back as something that can be there again: a dict cannot."""
    for part in value if isinstance(value, tuple) else (value,):
        if isinstance(part, BaseModel) or dataclasses.is_dataclass(part):
            raise _refused(part, where, "in a set or as a key: it comes back as a dict")
    return _encode(value, where)


def _refused(value: Any, where: str, how: str) -> TypeError:
    kind = type(value)
    return TypeError(f"{where} is a {kind.__module__}.{kind.__qualname__}, which cannot be stored {how}")


def _encode_dict(value: dict[Any, Any], where: str) -> Any:
    if all(type(key) is str for key in value) and TAG not in value:
        return {key: _encode(item, f"{where}[{key!r}]") for key, item in value.items()}
    pairs = [
        [_encode_member(key, f"{where}: a key"), _encode(item, f"{where}[{key!r}]")] for key, item in value.items()
    ]
    return {TAG: "dict", "value": pairs}


def _decode(found: dict[str, Any]) -> Any:
    if TAG not in found:
        return found
    decode = _DECODERS.get(found[TAG]) if isinstance(found[TAG], str) else None
    if decode is None:
        raise ValueError(f"not a stored value: unknown type {found[TAG]!r}")
    return decode(found["value"])


def _hashable(key: Any) -> Any:
    return tuple(key) if isinstance(key, list) else key
