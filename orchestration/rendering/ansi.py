"""What a terminal would show of a command's output, with its colours as classes."""

from __future__ import annotations

import re

from ansi2html import Ansi2HTMLConverter
from django.utils.safestring import SafeString

from .safe import SPANS, cleaned
from .text import clipped, short_lines, visible

SHOWN = 64 * 1024
ESC = "\x1b"
# OSC, DCS, SOS, PM and APC carry text that is not for the screen (window titles, links), up to their end or the line's.
STRINGS = re.compile(r"(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c\n]*(?:\x07|\x1b\\|\x9c)?")
COLOURS = re.compile(r"\x1b\[([0-9;:]*)m")
OTHER = re.compile(r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]|\x1b[ -/]*[0-~]|\x1b")
OVERPRINTED = re.compile(r"[^\n]*\r(?=[^\n])")
# colours, bold, dim; not blink, not hidden, not reverse: what is written must stay readable
KEPT = frozenset({"0", "1", "2", "3", "4", "22", "23", "24", "39", *map(str, (*range(30, 38), *range(90, 98)))})
_MARK = "\ue000"  # stands for the escape of a kept colour while everything else is made visible
WHOLE_MARK = re.compile(_MARK + r"\[[0-9;]*m")  # a long line may have been cut in the middle of one


def terminal_html(text: object) -> SafeString:
    """Spans with classes `ansi31` and the like, and escaped text; nothing else survives."""
    said = clipped(str(text), SHOWN).replace(_MARK, "\ufffd")
    said = STRINGS.sub("", said.replace("\r\n", "\n"))
    said = COLOURS.sub(_kept, said)
    said = OTHER.sub("", said)
    said = OVERPRINTED.sub("", said).replace("\r", "")
    said = _backspaces(said)
    said = WHOLE_MARK.sub(lambda found: found.group().replace(_MARK, ESC), visible(short_lines(said))).replace(
        _MARK, ""
    )
    return cleaned(Ansi2HTMLConverter(inline=False).convert(said, full=False, ensure_trailing_newline=False), SPANS)


def _kept(found: re.Match[str]) -> str:
    codes = [code for code in found.group(1).split(";") if code.lstrip("0") in KEPT or code.strip("0") == ""]
    wanted = ";".join(code.lstrip("0") or "0" for code in codes) if found.group(1) else "0"
    # 38;5;n and 38;2;r;g;b name colours of a palette that has no place in ours: their text stays plain
    foreign = re.search(r"(?:^|;)[345]8[;:]", found.group(1)) is not None
    return "" if foreign or not wanted else f"{_MARK}[{wanted}m"


def _backspaces(text: str) -> str:
    """`x\\bx` is how man pages print bold."""
    if "\b" not in text:
        return text
    kept: list[str] = []
    for sign in text:
        if sign != "\b":
            kept.append(sign)
        elif kept and kept[-1] != "\n":
            kept.pop()
    return "".join(kept)
