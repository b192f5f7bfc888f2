"""Text from outside, made storable: no NUL (PostgreSQL's text and JSON refuse it), no lone surrogates (UTF-8 has none)."""

from __future__ import annotations

from typing import Any


def storable(text: str) -> str:
    """The same text with what no database stores shown as U+FFFD."""
    if text.isascii() and "\0" not in text:
        return text
    return text.encode("utf-8", "replace").decode("utf-8").replace("\0", "\ufffd")


def storable_json(value: Any) -> Any:
    """`storable` for every string in a JSON-like value, keys included."""
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, dict):
        return {storable_json(key): storable_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [storable_json(item) for item in value]
    return value
