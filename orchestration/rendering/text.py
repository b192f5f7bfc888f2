"""Characters that lie about the text around them, made visible; and text that is too long, cut in the middle."""

from __future__ import annotations

import re

# Controls, C1 controls, what turns the direction of the text, lone surrogates (no encoding has them).
INVISIBLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
LONGEST_LINE = 2_000


def visible(text: object) -> str:
    """The text with every control character shown as a sign, and CR LF as a plain end of line."""
    return INVISIBLE.sub(_shown, str(text).replace("\r\n", "\n"))


def one_line(text: object, longest: int = 0) -> str:
    """`visible`, in one line of at most `longest` characters (0: any), cut between words where one ends near."""
    line = " ".join(visible(text).split())
    if not longest or len(line) <= longest:
        return line
    cut = line[: longest - 1]
    at_word = cut.rpartition(" ")[0]
    return f"{at_word if len(cut) - len(at_word) < min(16, longest // 3) else cut}…"


def clipped(text: str, longest: int) -> str:
    """Head and tail, and a word about what was left out between them."""
    if len(text) <= longest:
        return text
    half = longest // 2
    return f"{text[:half]}\n[… {len(text) - 2 * half} characters are not shown …]\n{text[-half:]}"


def short_lines(text: str, longest: int = LONGEST_LINE) -> str:
    """No line longer than a browser can lay out at once."""
    return "\n".join(
        line if len(line) <= longest else f"{line[:longest]} [… {len(line) - longest} more characters]"
        for line in text.split("\n")
    )


def _shown(found: re.Match[str]) -> str:
    code = ord(found.group())
    if code < 0x20:
        return chr(0x2400 + code)  # the pictures of the controls
    if code == 0x7F:
        return "\u2421"
    if 0xD800 <= code <= 0xDFFF or code < 0xA0:
        return "\ufffd"
    return f"⟨U+{code:04X}⟩"
