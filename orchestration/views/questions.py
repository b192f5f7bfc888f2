"""Questions that steps ask: those that wait, and the answer to one."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST, require_safe

from .. import services
from ..errors import BadInput, IllegalMove
from ..roles import Action
from ..selectors.access import questions_for
from ..selectors.people import question_rows
from .acting import needs


@needs(Action.SEE)
@require_safe
def question_list(request: HttpRequest) -> HttpResponse:
    waiting, answered = question_rows(request.user)
    return render(request, "orchestration/question_list.html", {"waiting": waiting, "answered": answered})


@needs(Action.MESSAGE)
@require_POST
def question_answer(request: HttpRequest, question_id: UUID) -> HttpResponse:
    """An answer that comes second is answered with the first."""
    question = get_object_or_404(questions_for(request.user), pk=question_id)
    try:
        done = services.answer_question(question.pk, request.POST.get("answer", ""), by=request.user.get_username())
    except (BadInput, IllegalMove) as error:
        messages.error(request, f"Nothing was changed: {error}.")
        return redirect("orchestration:question-list")
    (messages.success if done.first else messages.warning)(request, f"{done.said[:1].upper()}{done.said[1:]}.")
    return redirect("orchestration:goal-detail", question.goal_id)
