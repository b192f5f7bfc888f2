"""The one place that calls HTML safe: after nh3 has left nothing in it but the tags and attributes named here."""

from __future__ import annotations

import nh3
from django.utils.safestring import SafeString, mark_safe

SPANS = ({"span"}, {"span": {"class"}})
PROSE = (
    nh3.ALLOWED_TAGS - {"img", "map", "area", "h1", "h2", "h3", "h4", "h5", "h6", "details", "summary", "figure"},
    {"a": {"href", "title"}, "span": {"class"}, "code": {"class"}},
)
SCHEMES = {"http", "https", "mailto"}


def cleaned(html: str, allowed: tuple[set[str], dict[str, set[str]]]) -> SafeString:
    tags, attributes = allowed
    return mark_safe(nh3.clean(html, tags=tags, attributes=attributes, url_schemes=SCHEMES))  # noqa: S308 - see above
