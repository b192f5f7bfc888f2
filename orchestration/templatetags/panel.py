"""Tags of the panel: a status is always icon + word + colour; an icon never stands without a text beside it."""

from __future__ import annotations

from typing import Any

from django import template
from django.templatetags.static import static
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

register = template.Library()

ICONS = {
    "draft": "draft",
    "pending": "draft",
    "queued": "clock",
    "planning": "list",
    "awaiting_approval": "hand",
    "running": "play",
    "reviewing": "review",
    "paused": "pause",
    "cancelling": "stopping",
    "succeeded": "check",
    "passed": "check",
    "unverified": "info",
    "failed": "cross",
    "errored": "warn",
    "cancelled": "slash",
    "skipped": "skip",
    "submitted": "check",
    "refused": "cross",
    "by_hand": "user",
    "asking": "question",
    "asked": "question",
    "waiting": "hand",
    "approved": "check",
    "answered": "check",
    "rejected": "cross",
    "expired": "clock",
    "replaced": "list",
    "withdrawn": "slash",
}
WORDS = {"awaiting_approval": "Waits for approval", "errored": "Errored (we broke)", "by_hand": "Run by hand"}
WORDS |= {"asking": "Waits for an answer", "asked": "Asked a person"}
COLOURS = {"passed": "succeeded", "submitted": "succeeded", "refused": "failed", "by_hand": "neutral"}
COLOURS |= {"asking": "question", "asked": "question", "waiting": "awaiting_approval", "approved": "succeeded"}
COLOURS |= {
    "answered": "succeeded",
    "rejected": "failed",
    "expired": "failed",
    "replaced": "neutral",
    "withdrawn": "neutral",
}
LIVE = frozenset({"planning", "running", "reviewing"})


@register.simple_tag
def icon(name: str) -> SafeString:
    """One of static/icons.svg, hidden from screen readers: the text beside it says it."""
    return format_html('<svg class="i" aria-hidden="true"><use href="{}#{}"/></svg>', static("icons.svg"), name)


@register.simple_tag
def status(value: str, pill: bool = False, word: str = "") -> SafeString:
    """A status as icon, word and colour. `value` is a status of any noun, or `unverified` for an unproven success."""
    value = str(value)
    classes = f"status s-{COLOURS.get(value, value)}{' pill' if pill else ''}{' live' if value in LIVE else ''}"
    said = word or status_word(value)
    return format_html('<span class="{}">{}{}</span>', classes, icon(ICONS.get(value, "info")), said)


@register.simple_tag
def status_icon(value: str) -> SafeString:
    """The icon alone, where the word stands beside it."""
    return icon(ICONS.get(str(value), "info"))


@register.filter
def status_word(value: str) -> str:
    return WORDS.get(str(value)) or str(value).replace("_", " ").capitalize()


@register.filter
def shown_status(goal: Any) -> str:
    """A goal's status as pages show it: a success that no check proved is `unverified`."""
    return "unverified" if goal.status == "succeeded" and not goal.verified else str(goal.status)


@register.simple_tag(takes_context=True)
def nav(context: template.Context, name: str, icon_name: str, text: str) -> SafeString:
    """A link of the navigation; the page that is open, and those below it, mark theirs."""
    href = reverse(f"orchestration:{name}")
    path = context["request"].path
    here = path == href if href == "/" else path.startswith(href)
    current = mark_safe(' aria-current="page"') if here else ""
    return format_html('<a href="{}"{}>{}{}</a>', href, current, icon(icon_name), text)


@register.filter
def seconds(value: float | None) -> str:
    """A duration in seconds as people say it: 8.4 s, 3 m 04 s, 2 h 05 m; a dash for none."""
    if value is None:
        return "\N{EN DASH}"
    if value < 60:
        return f"{value:.1f} s" if value < 10 else f"{value:.0f} s"
    minutes, rest = divmod(int(value), 60)
    return f"{minutes} m {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} m"
