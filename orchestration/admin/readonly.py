"""A list with search and filters, a page of one row with links up and down, and no way to change anything."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from ..models import ApiToken, IdempotencyKey
from ..rendering.text import visible as without_lies
from ..selectors.access import TEAM, visible

# never loaded for a list, unless it is a column there (a due time has a short `outcome` too)
HEAVY = {"data", "output", "brief", "context", "request", "answer", "outcome", "error"}


PERSONAL = {ApiToken, IdempotencyKey}


class ReadOnly(admin.ModelAdmin):  # type: ignore[type-arg]
    """`below`: the rows that hang on this one, as (reverse accessor, the words of the link)."""

    list_per_page = 50
    show_full_result_count = False
    hidden: ClassVar[tuple[str, ...]] = ()
    below: ClassVar[tuple[tuple[str, str], ...]] = ()
    readonly_fields: ClassVar[Any] = ("go_on",)

    def has_add_permission(self, request: HttpRequest, *_: Any) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_exclude(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return self.hidden

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows = staff_rows(super().get_queryset(request), request.user)
        names = {field.name for field in rows.model._meta.concrete_fields}
        one = bool(getattr(request.resolver_match, "kwargs", {}).get("object_id"))
        return rows.defer(*(set(self.hidden) if one else HEAVY - set(self.list_display)) & names)

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest) -> bool:
        """No row holds a NUL, and PostgreSQL refuses even to look for one."""
        return "\0" not in str(value) and super().lookup_allowed(lookup, value, request)

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        return honest(super().changelist_view(request, extra_context))

    def changeform_view(self, request: HttpRequest, *args: Any, **more: Any) -> HttpResponse:
        return honest(super().changeform_view(request, *args, **more))

    @admin.display(description="goes on with")
    def go_on(self, row: Model) -> SafeString | str:
        """Links to what hangs on this row, and to its page in the panel."""
        return format_html_join(" · ", '<a href="{}">{}</a>', self._links(row)) or "nothing"

    def _links(self, row: Model) -> Iterator[tuple[str, str]]:
        for accessor, words in self.below:
            relation = getattr(row, accessor)
            model, field = relation.model, relation.field
            listing = reverse(f"admin:orchestration_{model._meta.model_name}_changelist")
            yield f"{listing}?{field.name}__{field.target_field.name}__exact={row.pk}", f"{relation.count()} {words}"


def honest(answer: HttpResponse) -> HttpResponse:
    """The page without characters that lie about the text around them: here, since the admin writes its cells by itself."""

    def clean(page: Any) -> None:
        page.content = without_lies(page.content.decode())

    if isinstance(answer, TemplateResponse):
        answer.add_post_render_callback(clean)
    return answer


def staff_rows(rows: QuerySet[Any], user: Any) -> QuerySet[Any]:
    """Of staff who are no superusers: their teams' rows, their own programs' and, of what is the installation's, all."""
    if rows.model in TEAM:
        return visible(rows, user)
    return rows.filter(user=user.pk) if rows.model in PERSONAL and not user.is_superuser else rows


def may_operate(request: HttpRequest, model: type[Model]) -> bool:
    """Looking is one right, acting another: staff need the model's change permission for the actions."""
    return request.user.has_perm(f"{model._meta.app_label}.change_{model._meta.model_name}")


def link(href: str, words: str) -> SafeString:
    return format_html('<a href="{}">{}</a>', href, words)


def listed(
    model: type[Any],
    columns: str,
    *,
    search: str,
    filters: str = "",
    hidden: str = "",
    related: str = "",
    below: str = "",
) -> None:
    """Register a model; the words are field names. `below`: `plans runs reviews`, or `steps:its steps`."""
    options = {
        "list_display": columns.split(),
        "search_fields": search.split(),
        "list_filter": filters.split(),
        "hidden": tuple(hidden.split()),
        "list_select_related": related.split() or False,
        "below": tuple((name, name.replace("_", " ")) for name in below.split()),
    }
    admin.site.register(model, type(f"{model.__name__}Admin", (ReadOnly,), options))
