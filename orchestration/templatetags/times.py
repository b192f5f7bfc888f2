"""Points in time as people say them, with the exact one at hand for whoever needs it."""

from __future__ import annotations

from datetime import datetime, timedelta

from django import template
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

register = template.Library()
DASH = "\N{EN DASH}"


@register.filter
def span(value: float | None) -> str:
    """Seconds as one figure: 8 s, 3 min, 2 h, 4 d."""
    if value is None:
        return DASH
    for unit, size, until in (("s", 1, 100), ("min", 60, 100 * 60), ("h", 3600, 48 * 3600)):
        if value < until:
            return f"{max(0, value) // size:.0f} {unit}"
    return f"{value // 86400:.0f} d"


@register.simple_tag
def ago(moment: datetime | None) -> SafeString:
    """How long since; the date itself after a week."""
    if moment is None:
        return format_html("{}", DASH)
    past = timezone.now() - moment
    said = f"{moment:%-d %b %Y}" if past > timedelta(days=7) else f"{span(past.total_seconds())} ago"
    return _time(moment, "now" if past < timedelta(seconds=1) else said)


@register.simple_tag
def at(moment: datetime) -> SafeString:
    """The clock's time in the moment's own zone; with the day unless it is within half a day."""
    near = abs(moment - timezone.now()) < timedelta(hours=12)
    return _time(moment, f"{moment:%H:%M}" if near else f"{moment:%-d %b %H:%M}")


def _time(moment: datetime, said: str) -> SafeString:
    return format_html(
        '<time datetime="{}" title="{}">{}</time>', moment.isoformat(), f"{moment:%Y-%m-%d %H:%M:%S %Z}", said
    )
