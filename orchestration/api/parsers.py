"""JSON bodies: of a bounded size and depth, so that none can eat the server, or be one that a database cannot hold."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import IO, Any

from rest_framework.exceptions import ParseError
from rest_framework.parsers import BaseParser

from .problems import TooLarge

LARGEST = 1024 * 1024
DEEPEST = 64


class BoundedJSON(BaseParser):
    media_type = "application/json"

    def parse(self, stream: IO[Any], media_type: str | None = None, context: Mapping[str, Any] | None = None) -> Any:
        data = stream.read(LARGEST + 1)
        if len(data) > LARGEST:
            raise TooLarge(f"the body has more than {LARGEST} bytes: put long material into a file of the repository")
        try:
            value = json.loads(data.decode("utf-8"), parse_constant=_refuse)
        except (ValueError, RecursionError) as error:
            raise ParseError(f"the body is not JSON in UTF-8: {str(error)[:200]}") from error
        if _depth(value) > DEEPEST:
            raise ParseError(f"the body is nested more than {DEEPEST} levels deep")
        return value


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON value")


def _depth(value: Any) -> int:
    """Without recursion: that is what it guards against."""
    depth, level = 0, [value]
    while level and depth <= DEEPEST:
        depth += 1
        level = [
            item
            for holder in level
            if isinstance(holder, dict | list)
            for item in (holder.values() if isinstance(holder, dict) else holder)
        ]
    return depth
