"""Schedules: list, one with its due times, new, change; run now, pause, resume and remove are forms that post here."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from .. import services
from ..errors import BadInput
from ..models import RecurringGoal
from ..roles import Action, may
from ..selectors.access import schedules_for, with_role
from ..selectors.schedules import beat_silence, schedule_page, schedule_row
from .acting import needs
from .schedule_forms import ScheduleForm

SHOWN = 50  # occurrences on the page of one schedule


@needs(Action.SEE)
@require_safe
def schedule_list(request: HttpRequest) -> HttpResponse:
    ticked, silent = beat_silence()
    rows = schedule_page(request.user, request.GET.get("page", "1"))
    page = {"rows": rows, "beat_ticked_at": ticked, "beat_is_silent": silent}
    return render(request, "orchestration/schedule_list.html", page)


@needs(Action.SEE)
@require_safe
def schedule_detail(request: HttpRequest, schedule_id: UUID) -> HttpResponse:
    schedule = _mine(request, schedule_id)
    newest = schedule.occurrences.select_related("goal").order_by("-due_at")[:SHOWN]
    ticked, silent = beat_silence()
    page = {"row": schedule_row(schedule, newest), "beat_ticked_at": ticked, "beat_is_silent": silent}
    page["may_manage"] = may(schedule.role, Action.MANAGE_SCHEDULES)  # type: ignore[attr-defined]  # `with_role`
    return render(request, "orchestration/schedule_detail.html", page)


@needs(Action.MANAGE_SCHEDULES)
@require_http_methods(["GET", "HEAD", "POST"])
def schedule_new(request: HttpRequest) -> HttpResponse:
    form = ScheduleForm(request)
    if request.method == "POST" and form.is_valid():
        try:
            schedule = services.add_schedule(owner=request.user, key=form.cleaned_data["key"], **form.wanted())
        except BadInput as error:
            form.add_error(None, str(error))
        else:
            messages.success(request, f"{schedule.name} is scheduled.")
            return redirect("orchestration:schedule-detail", schedule.pk)
    return _form(request, form)


@needs(Action.MANAGE_SCHEDULES)
@require_http_methods(["GET", "HEAD", "POST"])
def schedule_change(request: HttpRequest, schedule_id: UUID) -> HttpResponse:
    schedule = _mine(request, schedule_id)
    form = ScheduleForm(request, schedule)
    if request.method == "POST" and form.is_valid():
        try:
            services.change_schedule(schedule.pk, **form.wanted())
        except BadInput as error:
            form.add_error(None, str(error))
        else:
            messages.success(request, "Saved. New times count from now.")
            return redirect("orchestration:schedule-detail", schedule.pk)
    return _form(request, form, schedule)


@needs(Action.MANAGE_SCHEDULES)
@require_POST
def schedule_run(request: HttpRequest, schedule_id: UUID) -> HttpResponse:
    schedule = _mine(request, schedule_id)
    try:
        goal = services.run_now(schedule.pk, by=request.user.get_username())
    except BadInput as error:
        messages.error(request, str(error))
    else:
        messages.success(request, f"Goal {goal.short_id} is submitted.")
    return redirect("orchestration:schedule-detail", schedule.pk)


@needs(Action.MANAGE_SCHEDULES)
@require_POST
def schedule_pause(request: HttpRequest, schedule_id: UUID) -> HttpResponse:
    schedule = _mine(request, schedule_id)
    try:
        reason = request.POST.get("reason", "")
        services.pause_schedule(schedule.pk, by=request.user.get_username(), reason=reason)
    except BadInput as error:
        messages.error(request, str(error))
    return redirect("orchestration:schedule-detail", schedule.pk)


@needs(Action.MANAGE_SCHEDULES)
@require_POST
def schedule_resume(request: HttpRequest, schedule_id: UUID) -> HttpResponse:
    services.resume_schedule(_mine(request, schedule_id).pk)
    return redirect("orchestration:schedule-detail", schedule_id)


@needs(Action.MANAGE_SCHEDULES)
@require_POST
def schedule_remove(request: HttpRequest, schedule_id: UUID) -> HttpResponse:
    schedule = _mine(request, schedule_id)
    services.remove_schedule(schedule.pk)
    messages.success(request, f"{schedule.name} is removed; its goals stay.")
    return redirect("orchestration:schedule-list")


def _mine(request: HttpRequest, schedule_id: UUID) -> RecurringGoal:
    rows = schedules_for(request.user).select_related("repository", "owner", "team")
    found: RecurringGoal = get_object_or_404(with_role(rows, request.user), pk=schedule_id)
    return found


def _form(request: HttpRequest, form: ScheduleForm, schedule: RecurringGoal | None = None) -> HttpResponse:
    status = 422 if form.errors else 200
    return render(request, "orchestration/schedule_form.html", {"form": form, "schedule": schedule}, status=status)
