"""/questions: what steps ask people. The verb is the service that panel and shell call."""

from __future__ import annotations

from uuid import UUID

from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from .. import services
from ..roles import Action
from ..selectors.access import questions_for
from . import docs, filters
from .goals import name_of
from .permissions import READS
from .rows import Collection, checked
from .serializers.people import AnsweredOut, AnswerInput, QuestionOut


class Questions(Collection):
    visible = questions_for
    acts = READS | {"answer": Action.MESSAGE}
    related = ("step", "goal")
    serializer_class = QuestionOut
    filterset_class = filters.QuestionFilter

    @docs.changes(
        AnswerInput, AnsweredOut, "Answer: the step goes on with it. Who comes second is told what the first one said."
    )
    @action(detail=True, methods=["post"])
    def answer(self, request: Request, pk: UUID) -> Response:
        asked = checked(AnswerInput, request)
        done = services.answer_question(self.get_object().pk, asked["answer"], by=name_of(request))
        return Response(AnsweredOut(done.question, context={"first": done.first, "said": done.said}).data)
