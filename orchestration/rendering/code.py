"""Source text with its words marked by classes; static/pygments.css (made by scripts/pygments_css.py) gives them colours."""

from __future__ import annotations

from functools import lru_cache

from django.utils.html import escape
from django.utils.safestring import SafeString
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexer import Lexer
from pygments.lexers import get_lexer_by_name, get_lexer_for_filename
from pygments.util import ClassNotFound

from .safe import SPANS, cleaned
from .text import short_lines, visible

LARGEST = 100_000  # characters; above it marking words costs more than it helps


def code_html(text: str, language: str = "", filename: str = "") -> SafeString:
    """An unknown language is plain text."""
    said = short_lines(visible(text))
    lexer = _lexer(language, filename) if len(said) <= LARGEST else None
    html = str(highlight(said, lexer, HtmlFormatter(nowrap=True))) if lexer else escape(said)
    return cleaned(html, SPANS)


def code_lines(text: str, filename: str) -> list[SafeString]:
    """One piece of HTML for each line of the text; spans never reach over an end of line."""
    count = text.count("\n") + 1
    lines = [cleaned(line, SPANS) for line in code_html(text, filename=filename).split("\n")]
    if len(lines) < count:
        lines += [cleaned("", SPANS)] * (count - len(lines))
    return lines[:count]


@lru_cache(maxsize=128)
def _lexer(language: str, filename: str) -> Lexer | None:
    try:
        if language:
            return get_lexer_by_name(language[:40], stripnl=False, ensurenl=False)
        return get_lexer_for_filename(filename[-200:], stripnl=False, ensurenl=False) if filename else None
    except (ClassNotFound, ValueError):
        return None
