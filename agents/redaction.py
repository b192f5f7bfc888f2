"""PURE: what looks like a secret is taken out of a text before anybody is sent it, or keeps it.

Known shapes first (they name what they are), then values that something like `password=` names, if they look drawn by lot: a digest, a
commit or a UUID without such a name stays, and so does `token = get_token(request)`.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache

MARK = "[redacted: "
SHORTEST_OWN = 8  # a shorter value of our own would be taken out of ordinary words
SHORTEST_DRAWN = 16
BITS = 3.2  # of a character: English words have less, at this length
PLACEHOLDERS = frozenset(
    {
        "password",
        "passwd",
        "pass",
        "secret",
        "postgres",
        "user",
        "username",
        "admin",
        "root",
        "changeme",
        "token",
        "key",
    }
)

# Whole, or cut off somewhere; in JSON the ends of its lines are written as \n.
_PEM = (
    r"-----BEGIN (?:[A-Z0-9]+ ){0,3}PRIVATE KEY-----"
    r"(?:(?:[\s\\A-Za-z0-9+/=:,.]|-(?!-)){0,20000}-----END (?:[A-Z0-9]+ ){0,3}PRIVATE KEY-----"
    r"|(?:(?:\s|\\[nr]){0,4}[A-Za-z0-9+/=]{16,})*)"
)
_SHAPES = {
    "private key": _PEM,
    "GitHub token": r"\b(?:gh[pousr]_[A-Za-z0-9]{36,255}|github_pat_[A-Za-z0-9_]{22,255})\b",
    "GitLab token": r"\bglpat-[A-Za-z0-9_-]{20,}",
    "AWS access key": r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b",
    "Google key": r"\bAIza[A-Za-z0-9_-]{35}(?![A-Za-z0-9_-])",
    "Slack token": r"\bxox[abeoprs]-[A-Za-z0-9-]{10,}",
    "Stripe key": r"\b[rsp]k_(?:live|test)_[A-Za-z0-9]{16,}",
    "npm token": r"\bnpm_[A-Za-z0-9]{36}\b",
    "PyPI token": r"\bpypi-AgE[A-Za-z0-9_-]{50,}",
    "Hugging Face token": r"\bhf_[A-Za-z]{30,}\b",
    "CompyMac token": r"\bcmk_[A-Za-z0-9_-]{43}",
    "API key": r"(?<![A-Za-z0-9_-])sk-(?=[A-Za-z0-9_-]*[0-9])(?=[A-Za-z0-9_-]*[A-Z])[A-Za-z0-9_-]{20,}",
    "JWT": r"\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}",
}
_SHAPED = re.compile("|".join(f"(?P<s{n}>{shape})" for n, shape in enumerate(_SHAPES.values())))
_KINDS = {f"s{n}": kind for n, kind in enumerate(_SHAPES)}
_HEADER = re.compile(
    r"(?i)\b((?:proxy-)?authorization[\"']?\s*[:=]\s*[\"']?(?:bearer|basic|token)\s+)([A-Za-z0-9._~+/=-]{8,})"
)
_URL = re.compile(r"(?<=://)([^\s/:@\"'<>]{0,100}):([^\s/@\"'<>]{3,200})@(?=[A-Za-z0-9\[])")
_NAMED = re.compile(
    r"(?i)((?:password|passwd|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|credential)[a-z0-9_-]{0,20}[\"']?\s{0,3}(?::=|=>|[:=])\s{0,3}[\"']?)"
    rf"([A-Za-z0-9+/=_.~-]{{{SHORTEST_DRAWN},512}})(?=[\"'\s,;&)}}\]]|\Z)"
)


def redacted(text: str, own: Iterable[str] = ()) -> str:
    """The text with `[redacted: what it was]` in the place of each secret; `own` are values that are known to be secret."""
    for value in own:
        if len(value) >= SHORTEST_OWN and value in text:
            text = text.replace(value, f"{MARK}a secret of this installation]")
    if len(text) < SHORTEST_OWN:
        return text
    text = _SHAPED.sub(lambda found: f"{MARK}{_KINDS[found.lastgroup or '']}]", text)
    text = _HEADER.sub(lambda found: f"{found[1]}{MARK}header]", text)
    text = _URL.sub(_password_of_url, text)
    return _NAMED.sub(_named, text)


@lru_cache(maxsize=1024)
def remembered(text: str, own: tuple[str, ...]) -> str:
    """`redacted`, for the messages of a conversation, which are sent again with each turn."""
    return redacted(text, own)


def _password_of_url(found: re.Match[str]) -> str:
    user, password = found[1], found[2]
    said = password.lower()
    if said in PLACEHOLDERS or password == user or password[0] in "$<{%*[" or not said.strip("x.*"):
        return found[0]
    return f"{user}:{MARK}password]@"


def _named(found: re.Match[str]) -> str:
    return f"{found[1]}{MARK}secret]" if looks_drawn(found[2]) else found[0]


def looks_drawn(value: str) -> bool:
    """By lot rather than by a person: letters and digits mixed, hardly a character more often than another."""
    if not (re.search(r"[0-9]", value) and re.search(r"[A-Za-z]", value)):
        return False
    if re.fullmatch(r"[a-z_]+[0-9]{0,4}(?:[._-][A-Za-z_]+[0-9]{0,4})*", value):
        return False  # words, a path, a module: settings.oauth2.client
    counts = Counter(value)
    bits = -sum(n / len(value) * math.log2(n / len(value)) for n in counts.values())
    return bits >= BITS
