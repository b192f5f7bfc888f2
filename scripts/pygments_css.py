#!/usr/bin/env python3
"""Makes static/pygments.css: the classes of Pygments' token types, in the panel's own colours (light and dark by its tokens).

Run it after an upgrade of Pygments; a test says when. Inside a change of a diff the change speaks, so its words have no colour.
"""

from __future__ import annotations

from pathlib import Path

from pygments.token import (
    STANDARD_TYPES,
    Comment,
    Generic,
    Keyword,
    Literal,
    Name,
    Number,
    Operator,
    String,
    _TokenType,
)

TARGET = Path(__file__).resolve().parent.parent / "static" / "pygments.css"
COLOURS: tuple[tuple[_TokenType, str], ...] = (
    (Comment, "color: var(--code-comment)"),
    (Operator.Word, "color: var(--code-word)"),
    (Keyword, "color: var(--code-word)"),
    (Name.Function, "color: var(--code-name)"),
    (Name.Class, "color: var(--code-name)"),
    (Name.Decorator, "color: var(--code-name)"),
    (Name.Tag, "color: var(--code-word)"),
    (Name.Attribute, "color: var(--code-name)"),
    (String, "color: var(--code-string)"),
    (Literal.Date, "color: var(--code-string)"),
    (Number, "color: var(--code-number)"),
    (Generic.Inserted, "color: var(--good)"),
    (Generic.Deleted, "color: var(--bad)"),
    (Generic.Heading, "font-weight: 600"),
    (Generic.Subheading, "font-weight: 600"),
    (Generic.Strong, "font-weight: 600"),
)


def stylesheet() -> str:
    lines = ["/* Made by scripts/pygments_css.py: not to be edited. */", "@layer machine {"]
    for kind, rule in COLOURS:
        classes = sorted(name for token, name in STANDARD_TYPES.items() if name and token in kind)
        lines.append(f"  .marked :is({', '.join(f'.{name}' for name in classes)}) {{ {rule}; }}")
    return "\n".join([*lines, "  .marked :is(.add, .del) span { color: inherit; }", "}", ""])


if __name__ == "__main__":
    TARGET.write_text(stylesheet(), encoding="utf-8")
