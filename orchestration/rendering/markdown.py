"""Prose that a model wrote, as markdown: no HTML of its own, no images, no headings that look like the page's."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from django.utils.html import escape
from django.utils.safestring import SafeString
from markdown_it import MarkdownIt
from markdown_it.token import Token

from .code import code_html
from .safe import PROSE, cleaned
from .text import clipped, short_lines, visible

SHOWN = 100_000
DEEPEST = 20


def markdown_html(text: object) -> SafeString:
    said = clipped(short_lines(visible(text), SHOWN), SHOWN)
    return cleaned(_markdown().render(said), PROSE)


@cache
def _markdown() -> MarkdownIt:
    options = {"html": False, "linkify": False, "highlight": _code, "maxNesting": DEEPEST}
    markdown = MarkdownIt("gfm-like", options)
    markdown.add_render_rule("heading_open", lambda *_: "<p><strong>")
    markdown.add_render_rule("heading_close", lambda *_: "</strong></p>")
    markdown.add_render_rule("image", _image)
    return markdown


def _code(text: str, language: str, _: str) -> str:
    return str(code_html(text, language=language))


def _image(_: Any, tokens: Sequence[Token], at: int, *__: Any) -> str:
    """Its description in words: an image would ask another host."""
    return escape(f"[image: {tokens[at].content}]")
