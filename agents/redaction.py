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
# Kind: what a text must hold for it to be looked for at all (most texts hold none of these), and its shape.
_SHAPES: list[tuple[str, tuple[str, ...], re.Pattern[str]]] = [
    (kind, marks, re.compile(shape))
    for kind, marks, shape in (
        ("private key", ("PRIVATE KEY-----",), _PEM),
        ("GitHub token", ("ghp_", "gho_", "ghu_", "ghs_", "ghr_"), r"\bgh[pousr]_[A-Za-z0-9]{36,255}\b"),
        ("GitHub token", ("github_pat_",), r"\bgithub_pat_[A-Za-z0-9_]{22,255}\b"),
        ("GitLab token", ("glpat-",), r"\bglpat-[A-Za-z0-9_-]{20,}"),
        ("AWS access key", ("AKIA", "ASIA"), r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"),
        ("Google key", ("AIza",), r"\bAIza[A-Za-z0-9_-]{35}(?![A-Za-z0-9_-])"),
        ("Slack token", ("xox",), r"\bxox[abeoprs]-[A-Za-z0-9-]{10,}"),
        ("Stripe key", ("k_live_", "k_test_"), r"\b[rsp]k_(?:live|test)_[A-Za-z0-9]{16,}"),
        ("npm token", ("npm_",), r"\bnpm_[A-Za-z0-9]{36}\b"),
        ("PyPI token", ("pypi-AgE",), r"\bpypi-AgE[A-Za-z0-9_-]{50,}"),
        ("Hugging Face token", ("hf_",), r"\bhf_[A-Za-z]{30,}\b"),
        ("CompyMac token", ("cmk_",), r"\bcmk_[A-Za-z0-9_-]{43}"),
        ("API key", ("sk-",), r"(?<![A-Za-z0-9_-])sk-(?=[A-Za-z0-9_-]*[0-9])(?=[A-Za-z0-9_-]*[A-Z])[A-Za-z0-9_-]{20,}"),
        ("JWT", ("eyJ",), r"\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}"),
    )
]
_HEADER = re.compile(
    r"(?i)\b((?:proxy-)?authorization[\"']?\s*[:=]\s*[\"']?(?:bearer|basic|token)\s+)([A-Za-z0-9._~+/=-]{8,})"
)
_URL = re.compile(r"(?<=://)([^\s/:@\"'<>]{0,100}):([^\s/@\"'<>]{3,200})@(?=[A-Za-z0-9\[])")
# The value first, which is rare, and then whether a name stands before it.
_VALUE = re.compile(
    rf"((?::=|=>|[:=])\s{{0,3}}[\"']?)([A-Za-z0-9+/=_.~-]{{{SHORTEST_DRAWN},512}})(?=[\"'\s,;&)}}\]]|\Z)"
)
_NAME = re.compile(
    r"(?i)(?:password|passwd|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|credential)[a-z0-9_-]{0,20}[\"']?\s{0,3}$"
)
_NAME_BEFORE = 48  # characters that a name and what follows it take


def redacted(text: str, own: Iterable[str] = ()) -> str:
    """The text with `[redacted: what it was]` in the place of each secret; `own` are values that are known to be secret."""
    for value in own:
        if len(value) >= SHORTEST_OWN and value in text:
            text = text.replace(value, f"{MARK}a secret of this installation]")
    for kind, marks, shape in _SHAPES:
        if any(mark in text for mark in marks):
            text = shape.sub(f"{MARK}{kind}]", text)
    if "uthorization" in text or "UTHORIZATION" in text:
        text = _HEADER.sub(lambda found: f"{found[1]}{MARK}header]", text)
    if "://" in text and "@" in text:
        text = _URL.sub(_password_of_url, text)
    return _VALUE.sub(_named, text)


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
    before = found.string[max(0, found.start() - _NAME_BEFORE) : found.start()]
    return f"{found[1]}{MARK}secret]" if looks_drawn(found[2]) and _NAME.search(before) else found[0]


def looks_drawn(value: str) -> bool:
    """By lot rather than by a person: letters and digits mixed, hardly a character more often than another."""
    if not (re.search(r"[0-9]", value) and re.search(r"[A-Za-z]", value)):
        return False
    if re.fullmatch(r"[a-z_]+[0-9]{0,4}(?:[._-][A-Za-z_]+[0-9]{0,4})*", value):
        return False  # words, a path, a module: settings.oauth2.client
    counts = Counter(value)
    bits = -sum(n / len(value) * math.log2(n / len(value)) for n in counts.values())
    return bits >= BITS
